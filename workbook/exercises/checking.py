"""What checks are made of: call the learner's function safely, compare, and name the likely cause.

An exercise is one file, `lesson_05/exercise_5_1.py`: its cases, the right answer, its known mistakes as wrong answers,
the likely causes of crashes, hints, and at its end `EXERCISE`, where all of these come together.
"""

from __future__ import annotations

import copy
import dis
import linecache
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

FOLDER = Path(__file__).parent


class NotAttempted(Exception):  # noqa: N818 - an outcome, not an error
    """The answer is still the stub."""


class NotYet(Exception):  # noqa: N818
    """The answer differs from what is asked; the message says where and why."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, written as a learner would write it, and what the check must say of it.

    Attributes:
        cause: the likely cause; or a part of what is said, where `verify` finds it out from what the answer does.
        answer: the wrong answer.
    """

    cause: str
    answer: Any


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        verify: takes the learner's answer, raises `NotAttempted` or `NotYet`, returns if it is right.
        right: an answer that passes.
        mistakes: answers that are told their cause; each stands here once.
        hints: shown one at a time, the last one nearly the answer.
        praise: what a right answer has shown.
    """

    verify: Callable[[Any], None]
    right: Any
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, ...]
    praise: str


@contextmanager
def case(name: str) -> Iterator[None]:
    """What is found inside is said of this case, for instance "for a kernel (2, 3, 4)"; cases may be nested."""
    try:
        yield
    except NotYet as difference:
        raise NotYet(f"{name}, {difference}") from None


LONGEST = 500  # characters of an error that are shown

CRASHES = (  # a part of an error -> its likely cause, in any exercise
    ("leaf Variable", "PyTorch guards what is trained; write inside `with torch.no_grad():`."),
)


def call(
    function: Any,
    *inputs: Any,
    crashes: Sequence[tuple[str, str]] = (),
    may_change: Collection[int] = (),
) -> Any:
    """What the learner's function returns for copies of `inputs`.

    Args:
        function: what the learner handed in.
        inputs: what to call it with.
        crashes: pairs of a part of an error, "TypeError: ..." for instance, and the likely cause of that error; they
            come before the `CRASHES` that all exercises know.
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
    before = torch.is_grad_enabled(), torch.get_default_dtype()
    with no_hooks_on_all_modules():
        answer = _run(function, given, crashes)
    if (torch.is_grad_enabled(), torch.get_default_dtype()) != before:
        raise NotYet(f"your function leaves gradients or the default type switched.{because(SWITCHED)}")
    if answer is ... or (isinstance(answer, (tuple, list)) and any(part is ... for part in answer)):
        raise NotAttempted
    if answer is None:
        if is_stub(function):
            raise NotAttempted
        raise NotYet("your function returns None.\nLikely cause: the `return` is missing, or not reached.")
    for i, (before, after) in enumerate(zip(inputs, given, strict=True)):
        if i not in may_change and (change := what_changed(before, after)):
            raise NotYet(f"your function changes what it was given{change}")
    return answer


def _run(function: Any, given: Sequence[Any], crashes: Sequence[tuple[str, str]]) -> Any:
    """What it returns; `NotAttempted` or `NotYet` for what it raises."""
    try:
        return function(*given)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and GeneratorExit, too
        said = describe(error)
        if isinstance(error, NotImplementedError) and "not implemented for" not in said:  # as torch says of some types
            raise NotAttempted from None
        if re.search(r"'ellipsis'|\bnot ellipsis", said):
            raise NotAttempted from None
        cause = next((cause for part, cause in (*crashes, *CRASHES) if part in said), None)
        raise NotYet(f"your code stopped with {said}{_line(error)}{because(cause)}") from None


IN_PLACE = (
    "an in-place operation such as `*=`, `+=`, `copy_` or `load_state_dict` on an argument, or an assignment to a part "
    "of it; work on a copy."
)
FROM_THE_DICTIONARY = "pop, del or an assignment on the dictionary itself; work on dict(...) of it, or fill a new one."
OTHER_MODE = "eval() and train() act on the model that was given, for good; this needs neither, or a copy."
OTHER_TYPE = "double(), half() and to() act on the model that was given, for good; work on a copy."
FROZEN = "requires_grad_(...) acts on the model that was given, for good; detach() or no_grad() leave it alone."
SWITCHED = "set_grad_enabled and set_default_dtype act on all that follows; `with torch.no_grad():` ends by itself."
ATTRIBUTE = "what you set on a module of the model stays; run a copy."
GRADIENTS = "backward() leaves gradients in what was given; this needs none, or a copy."
OTHER_LENGTH = "pop(), append() and remove() change the list of whoever calls; take a copy, list(...)."
SETTING = "momentum, p, out_features and the like stay as they are; or change those of a copy."
HOOKS_LEFT = "a hook stays until its handle's remove() is called; or hang it into a copy."


def what_changed(before: Any, after: Any) -> str | None:
    """The rest of a sentence on what is other in an argument than it was, with the likely cause; None if nothing is."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        gone, new = [key for key in before if key not in after], [key for key in after if key not in before]
        if gone or new:
            how = f"{gone[0]!r} is gone from" if gone else f"{new[0]!r} is new in"
            return f": {how} the dictionary.{because(FROM_THE_DICTIONARY)}"
    if isinstance(before, nn.Module) and isinstance(after, nn.Module):
        other = _what_changed_in_a_model(before, after)
        if other:
            return other
    if isinstance(before, list) and isinstance(after, list) and len(before) != len(after):
        return f": it has {len(after)} entries now, not {len(before)}.{because(OTHER_LENGTH)}"
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)) and len(before) == len(after):
        return next((other for pair in zip(before, after, strict=True) if (other := what_changed(*pair))), None)
    if isinstance(before, Tensor) and isinstance(after, Tensor) and before.requires_grad != after.requires_grad:
        return f": whether a tensor requires a gradient.{because(FROZEN)}"
    return None if _same(before, after) else f".{because(IN_PLACE)}"


def _what_changed_in_a_model(before: nn.Module, after: nn.Module) -> str | None:
    pairs = list(zip(before.modules(), after.modules(), strict=False))
    if any(a.training != b.training for a, b in pairs):
        return f": it came in {'train' if before.training else 'eval'} mode.{because(OTHER_MODE)}"
    tensors = zip(before.state_dict().values(), after.state_dict().values(), strict=False)
    if any(a.dtype != b.dtype for a, b in tensors if isinstance(a, Tensor) and isinstance(b, Tensor)):
        return f": its tensors have another type than they had.{because(OTHER_TYPE)}"
    parameters = zip(before.parameters(), after.parameters(), strict=False)
    if any(a.requires_grad != b.requires_grad for a, b in parameters):
        return f": other parameters require a gradient than did.{because(FROZEN)}"
    if any(_hooks(a) != _hooks(b) for a, b in pairs):
        return f": it has other hooks than it had.{because(HOOKS_LEFT)}"
    if any(set(vars(a)) != set(vars(b)) for a, b in pairs):
        return f": a module of it has other attributes than it had.{because(ATTRIBUTE)}"
    if any(settings_of(a) != settings_of(b) for a, b in pairs):
        return f": a layer of it has another setting than it had.{because(SETTING)}"
    if any(parameter.grad is not None for parameter in after.parameters()):  # its copy came without
        return f": it has gradients now.{because(GRADIENTS)}"
    return None


def settings_of(module: nn.Module) -> dict[str, Any]:
    """What is plain in a module: momentum, p, out_features, a stride."""
    plain = (bool, int, float, str, tuple, type(None))
    return {name: value for name, value in vars(module).items() if isinstance(value, plain) and name != "training"}


def _hooks(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


@contextmanager
def no_hooks_on_all_modules() -> Iterator[None]:
    """`NotYet` if hooks that see every module of this process are left behind; they are taken away."""
    places = (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks)
    before = [set(place) for place in places]
    left = []
    try:
        yield
    finally:
        for place, known in zip(places, before, strict=True):
            new = [key for key in place if key not in known]
            left += new
            for key in new:
                del place[key]
    if left:
        raise NotYet(f"a hook on all modules of this kernel is left behind.{because(HOOKS_LEFT)}")


def compare(got: Any, expected: Tensor, what: str, causes: Sequence[tuple[str, Any]] = (), atol: float = 1e-5) -> None:
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
    if got.shape != expected.shape:
        raise NotYet(f"{what} should have shape {tuple(expected.shape)}, but has {tuple(got.shape)}.{because(cause)}")
    if _same(got, expected, atol):
        return
    place = tuple((~torch.isclose(got.double(), expected.double(), rtol=1e-4, atol=atol)).nonzero()[0].tolist())
    where = f" at [{', '.join(map(str, place))}]" if place else ""
    raise NotYet(f"{what}{where} should be {expected[place]:.4f}, but is {got[place]:.4f}.{because(cause)}")


RAISE = "an error that is returned is a value like others; `raise ValueError(...)` stops the function."


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
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        why = because("`assert` raises an AssertionError; write `raise ValueError(...)`.")
        why = why if isinstance(error, AssertionError) else ""
        raise NotYet(f"{case}, a ValueError is wanted, not {describe(error)}{_line(error)}{why}") from None
    if isinstance(answer, Exception) or (isinstance(answer, type) and issubclass(answer, Exception)):
        raise NotYet(f"{case}, a ValueError is wanted, but your function returns one.{because(RAISE)}")
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
        if got[key].dtype != tensor.dtype:
            raise NotYet(f"{what} has {got[key].dtype} under {key!r}, not {tensor.dtype}.{why}")
        if got[key].shape != tensor.shape or not torch.equal(got[key], tensor):
            raise NotYet(f"{what} has other numbers in {key!r}.{why}")


def because(cause: str | None) -> str:
    """What to add to a message whose likely cause is known."""
    return f"\nLikely cause: {cause}" if cause else ""


def describe(error: BaseException) -> str:
    """Its type and its text, cut where it is long."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # an error of the learner's own, whose text fails
        text = type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"


def shorten(text: str) -> str:
    """A whole message, without its middle where it is long; the likely cause stands at its end."""
    if len(text) <= 4 * LONGEST:
        return text
    return f"{text[: 3 * LONGEST]} ... ({len(text):,} characters) ... {text[-LONGEST:]}"


def wrong_values(mistakes: Sequence[Mistake], *inputs: Any, part: int | None = None) -> list[tuple[str, Any]]:
    """What known mistakes make of these inputs: pairs of a cause and a wrong value, as `compare` takes them.

    Args:
        mistakes: those of the exercise; the ones that crash on these inputs are left out.
        inputs: what the learner's function was called with.
        part: which of several values that the answer returns; None if it returns one.
    """
    found = []
    for mistake in mistakes:
        try:
            value = mistake.answer(*copy.deepcopy(inputs))
            found.append((mistake.cause, value if part is None else value[part]))
        except Exception:  # it is wrong in another way here
            continue
    return found


def cause_of(got: Any, mistakes: Sequence[Mistake], *inputs: Any, part: int | None = None) -> str | None:
    """The cause of the first mistake that makes of these inputs what the learner got; see `wrong_values`."""
    return next((cause for cause, value in wrong_values(mistakes, *inputs, part=part) if _same(got, value)), None)


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
    """The learner's own line in which it happened, not one of a library, or of the network that a check has made."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" not in frame.filename and FOLDER.parent not in Path(frame.filename).parents:
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            return f"\nIt happened in: {line}" if line else ""
    return ""
