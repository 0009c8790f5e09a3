"""What checks are made of: call the learner's function safely, compare, and name the likely cause."""

from __future__ import annotations

import copy
import dis
import linecache
import re
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class NotAttempted(Exception):  # noqa: N818 - an outcome, not an error
    """The answer is still the stub."""


class NotYet(Exception):  # noqa: N818
    """The answer differs from what is asked; the message says where and why."""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        verify: takes the learner's answer, raises `NotAttempted` or `NotYet`, returns if it is right.
        hints: shown one at a time, the last one nearly the answer.
        praise: what a right answer has shown.
    """

    verify: Callable[[Any], None]
    hints: tuple[str, ...]
    praise: str


def call(
    function: Any,
    *inputs: Any,
    case: str = "",
    crashes: Sequence[tuple[str, str]] = (),
    may_change: Collection[int] = (),
) -> Any:
    """What the learner's function returns for copies of `inputs`.

    Args:
        function: what the learner handed in.
        inputs: what to call it with.
        case: how messages call these inputs, for instance "for a kernel (2, 3, 4)".
        crashes: pairs of a part of an error, "TypeError: ..." for instance, and the likely cause of that error.
        may_change: positions of inputs that the exercise asks to change.

    Raises:
        NotAttempted: it is no answer yet: the stub, or a part of it is still `...`.
        NotYet: it is no function, it raised, it returned nothing, or it changed what it was given.
    """
    if function is ... or function is None:
        raise NotAttempted
    if not callable(function):
        raise NotYet(f"hand in the function itself, not a {type(function).__name__}.")
    given = copy.deepcopy(inputs)
    try:
        answer = function(*given)
    except NotImplementedError:
        raise NotAttempted from None
    except (Exception, SystemExit) as error:
        if re.search(r"'ellipsis'|\bnot ellipsis", str(error)):
            raise NotAttempted from None
        said = f"{type(error).__name__}: {error}"
        cause = next((f"\nLikely cause: {cause}" for part, cause in crashes if part in said), "")
        where = f"{case}, your" if case else "your"
        raise NotYet(f"{where} code stopped with {said}{_line(error)}{cause}") from None
    if answer is ... or (isinstance(answer, (tuple, list)) and any(part is ... for part in answer)):
        raise NotAttempted
    if answer is None:
        if is_stub(function):
            raise NotAttempted
        if case:
            raise NotYet(f"{case}, your function returns None.\nLikely cause: the `return` is missing, or not reached.")
        raise NotYet("your function returns None.\nLikely cause: the `return` is missing.")
    pairs = enumerate(zip(inputs, given, strict=True))
    if not all(_same(before, after) for i, (before, after) in pairs if i not in may_change):
        raise NotYet(
            "your function changes what it was given.\nLikely cause: an in-place operation such as `*=`, "
            "`+=`, `copy_` or `load_state_dict` on an argument, or an assignment to a part of it; work on a copy."
        )
    return answer


def compare(got: Any, expected: Tensor, what: str, causes: Sequence[tuple[str, Tensor]], atol: float = 1e-5) -> None:
    """Raise `NotYet` at the first difference, with the cause whose wrong value the answer equals.

    Args:
        got: what the learner computed.
        expected: what is right.
        what: how the message calls it, for instance "the weight".
        causes: pairs of a likely cause and the value that this mistake gives.
        atol: what rounding may add, where a right answer can be reached by way of larger numbers.
    """
    if not isinstance(got, Tensor):
        raise NotYet(f"{what} should be a torch.Tensor, but it is a {type(got).__name__}.")
    cause = next((text for text, wrong in causes if _same(got, wrong, atol)), None)
    because = f"\nLikely cause: {cause}" if cause else ""
    if got.shape != expected.shape:
        raise NotYet(f"{what} should have shape {tuple(expected.shape)}, but has {tuple(got.shape)}.{because}")
    if _same(got, expected, atol):
        return
    place = tuple((~torch.isclose(got.double(), expected.double(), rtol=1e-4, atol=atol)).nonzero()[0].tolist())
    where = f" at [{', '.join(map(str, place))}]" if place else ""
    raise NotYet(f"{what}{where} should be {expected[place]:.4f}, but is {got[place]:.4f}.{because}")


def must_refuse(function: Any, *inputs: Any, case: str, cause: str) -> None:
    """`NotYet` unless the learner's function raises a ValueError for copies of `inputs`.

    Args:
        function: what the learner handed in; it is known to answer other inputs.
        inputs: what it cannot do anything good with.
        case: how messages call these inputs, for instance "if two names become one".
        cause: the likely cause if it answers all the same.
    """
    try:
        answer = function(*copy.deepcopy(inputs))
    except ValueError:
        return
    except Exception as error:
        raise NotYet(f"{case}, a ValueError is wanted, not {type(error).__name__}: {error}{_line(error)}") from None
    found = f"returns a {type(answer).__name__}" if answer is not None else "returns None"
    raise NotYet(f"{case}, a ValueError is wanted, but your function {found}.{because(cause)}")


def compare_dicts(
    got: Any,
    expected: Mapping[str, Tensor],
    what: str,
    missing: Mapping[str, str],
    extra: Mapping[str, str] | None = None,
) -> None:
    """`NotYet` at the first name or value that differs.

    Args:
        got: what the learner made.
        expected: what is right.
        what: how the message calls it.
        missing: a part of a name that is missing or has other numbers -> the likely cause.
        extra: a name that should not be there -> the likely cause.
    """
    if not isinstance(got, Mapping):
        raise NotYet(f"{what} should be a dictionary, but is a {type(got).__name__}.")
    for key in got:
        if key not in expected:
            raise NotYet(f"{what} has {key!r}, which should not be there.{because((extra or {}).get(key))}")
    for key, tensor in expected.items():
        why = because(next((cause for part, cause in missing.items() if part in key), None))
        if key not in got:
            raise NotYet(f"{what} lacks {key!r}.{why}")
        if not isinstance(got[key], Tensor):
            raise NotYet(f"{what} has a {type(got[key]).__name__} under {key!r}, not a tensor.")
        if got[key].shape != tensor.shape or not torch.equal(got[key], tensor):
            raise NotYet(f"{what} has other numbers in {key!r}.{why}")


def because(cause: str | None) -> str:
    return f"\nLikely cause: {cause}" if cause else ""


def pair(got: Any, what: str) -> tuple[Any, Any]:
    """The two values that the learner returned, as a tuple, a list or a row of objects; else `NotYet`."""
    if isinstance(got, np.ndarray) and got.dtype == object and got.ndim == 1:
        got = tuple(got)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        found = f"{len(got)} values" if isinstance(got, (tuple, list)) else f"a {type(got).__name__}"
        raise NotYet(f"expected two values, {what}, but got {found}.")
    return got[0], got[1]


def is_stub(function: Callable) -> bool:
    """Whether it does nothing at all: it is compiled to three instructions or fewer, which return None."""
    return hasattr(function, "__code__") and len(list(dis.get_instructions(function))) <= 3


def _same(a: Any, b: Any, atol: float = 1e-5) -> bool:
    if isinstance(a, nn.Module) and isinstance(b, nn.Module):
        return _same(a.state_dict(), b.state_dict())
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=atol)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype == object or a.dtype.names:
            return all(_same(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        return bool(np.array_equal(a, b))
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _line(error: BaseException) -> str:
    """The learner's own line in which it happened: the deepest one that stands in a notebook cell or a test."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" not in frame.filename and not frame.filename.endswith("feedback.py"):
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            return f"\nIt happened in: {line}" if line else ""
    return ""
