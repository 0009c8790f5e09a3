"""What lies around the tensors of a checkpoint, and which of several things in it are the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..text import few
from .arguments import EXTRA_STATE, NOT_RUN, is_name
from .arrays import COPIED, PLAIN, as_tensor, described, is_plain
from .fitting import best_fit
from .matching import tensors_of
from .nests import DEPTH, NESTS, mappings_in

WITHOUT_OTHERS = "state_dict = {{key: t for key, t in state_dict.items() if {condition}}}"

Counts = dict[int, tuple[int, Mapping[Any, Any]]]  # id of a mapping -> how well it fits; kept, so that its id stays


@dataclass
class Unwrapped:
    """What was found.

    Attributes:
        tensors: by name; None if there are none, or nobody can say which.
        extras: what modules of the model keep beside tensors, by name.
        causes: sentences on what was around them.
        lines: of Python that take it off `state_dict`.
    """

    tensors: dict[str, Tensor] | None = None
    extras: dict[str, object] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def unwrap(model: nn.Module, state_dict: Mapping[Any, Any]) -> Unwrapped:
    """Take off nests, and what is no tensor."""
    in_model = tensors_of(model)
    counts: Counts = {}
    result = Unwrapped()
    found = state_dict
    above: set[int] = set()  # one may lie in itself
    for _ in range(DEPTH):
        above.add(id(found))
        named = {key: value for key, value in found.items() if is_name(key)}
        below = {key: value for key, value in named.items() if id(value) not in above}
        nests = {key: inner for key, value in below.items() if (inner := as_nest(value)) is not None}
        if {"state", "param_groups"} <= named.keys():
            result.causes.append("It is the state of an optimizer, and holds no weights of a model.")
            return result
        here = best_fit(in_model, _shaped(found)).named
        fits = {key: _fit(in_model, nest, counts) for key, nest in nests.items()}
        deeper = max(fits.values(), default=0)
        if not nests or (here and here >= deeper) or (not deeper and _shaped(found)):
            break
        names = _choose(fits)
        if len({id(nests[name]) for name in names}) > 1 and not any(name in NESTS for name in names):
            result.causes.append(
                f"{few(map(repr, names))} hold tensors under the same names: say which you want, "
                f"for instance state_dict = state_dict[{names[0]!r}]."
            )
            return result
        name = next((known for known in NESTS if known in names), names[0])
        cause = f"The tensors lie one level deeper, under {name!r}."
        others = [other for other in names if nests[other] is not nests[name]]
        if others:
            cause += f" Under {few(map(repr, others))} lie others of the same names."
        result.causes.append(cause)
        is_module = isinstance(found[name], nn.Module)
        result.lines.append(f"state_dict = state_dict[{name!r}]" + (".state_dict()" if is_module else ""))
        found = nests[name]
    return _without_others(model, found, result)


def as_nest(value: object) -> Mapping[Any, Any] | None:
    """What lies in a value of a checkpoint, if it can hold tensors by name."""
    if isinstance(value, nn.Module):
        return value.state_dict()
    if isinstance(value, Mapping) and any(map(_holds_tensors, mappings_in(value))):
        return value
    return None


def _holds_tensors(found: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor | np.ndarray) for value in found.values())


def _shaped(found: Mapping[Any, Any]) -> dict[str, Any]:
    """What can be a weight by its kind: tensors, and arrays of numpy as they are."""
    return {
        str(key): value
        for key, value in found.items()
        if is_name(key) and isinstance(value, Tensor | np.ndarray) and not is_lazy(value)  # type: ignore[arg-type]
    }


def _choose(fits: Mapping[Any, int]) -> list[Any]:
    """The nests that fit the model best; if none fits, one of a usual name, or the first."""
    best = max(fits.values())
    if best == 0:
        known = [name for name in NESTS if name in fits]
        return known[:1] or list(fits)[:1]
    return [name for name, count in fits.items() if count == best]


def _fit(in_model: Mapping[str, Tensor], found: Mapping[Any, Any], counts: Counts) -> int:
    """How many names of the model the best of the mappings in it has."""
    for inner in mappings_in(found):
        if id(inner) not in counts:
            counts[id(inner)] = best_fit(in_model, _shaped(inner)).named, inner
    return max(counts[id(inner)][0] for inner in mappings_in(found))


def _without_others(model: nn.Module, found: Mapping[Any, Any], result: Unwrapped) -> Unwrapped:
    """Leave out what is no tensor; numpy's arrays become tensors."""
    if odd := sorted({type(key).__name__ for key in found if not is_name(key)}):
        result.causes.append(
            f"There are keys that are no names, of type {few(odd)}: give what lies there names as text."
        )
        return result
    wanted = tuple(key for key in model.state_dict() if key.endswith(EXTRA_STATE))
    result.extras = {key: value for key, value in found.items() if wanted and str(key).endswith(wanted)}
    named = {key: value for key, value in found.items() if key not in result.extras}
    if lazy := [key for key, value in named.items() if is_lazy(value)]:
        result.causes.append(f"{lazy[0]!r} {NOT_RUN}.")
        return result
    arrays = {key: value for key, value in named.items() if isinstance(value, np.ndarray)}
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    made = {key: tensor for key, array in arrays.items() if (tensor := as_tensor(array)) is not None}
    others = [key for key in named if key not in tensors and key not in made]
    if others == list(named):
        said = f"; it holds {few(others)}" if others and (result.causes or arrays) else ""
        result.causes.append(f"There are no tensors in it{said}.")
    if unlike := [f"{key} ({described(arrays[key])})" for key in others if key in arrays]:
        result.causes.append(f"No tensor can hold what these arrays of numpy do: {few(unlike)}.")
    if others == list(named):
        return result
    if others:
        result.causes.append(f"Beside the tensors lies what is none: {few(sorted(map(str, others)))}.")
        result.lines.append(WITHOUT_OTHERS.format(condition=_condition(named, others, bool(result.extras))))
    if made:
        result.causes.append(f"{few(map(repr, made))} are arrays of numpy, not tensors.")
        are_plain = all(is_plain(arrays[key]) for key in made)
        only_arrays = " if hasattr(t, 'astype') else t" if result.extras or not are_plain else ""
        line = f"state_dict = {{key: {PLAIN if are_plain else COPIED}{only_arrays} for key, t in state_dict.items()}}"
        result.lines += ["import torch", line]
    numbers = [key for key in named if not isinstance(key, str)]
    if numbers:
        names = [str(key) for key in named]
        if len(set(names)) < len(names):
            result.causes.append(f"{few(numbers)} are no names, and as text they would be names that are there.")
            return result
        result.causes.append(f"{few(numbers)} are no names: names are text.")
        result.lines.append("state_dict = {str(key): t for key, t in state_dict.items()}")
    result.tensors = {str(key): made[key] if key in made else tensors[key] for key in named if key not in others}
    return result


def _condition(named: Mapping[Any, Any], others: list[Any], with_extras: bool) -> str:
    """Python that is true for what is kept of `key` and `t`."""
    if any(hasattr(named[key], "shape") for key in others):  # as numbers of numpy have it
        return f"key not in {others!r}"
    return "hasattr(t, 'shape')" + (f" or str(key).endswith({EXTRA_STATE!r})" if with_extras else "")
