"""What lies around the tensors of a checkpoint, and which of several things in it are the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..text import few
from .arguments import EXTRA_STATE
from .fitting import best_fit
from .matching import tensors_of
from .nests import NESTS

DEPTH = 8  # nests within nests that are looked into
WITHOUT_OTHERS = "state_dict = {{key: t for key, t in state_dict.items() if {condition}}}"


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
    result = Unwrapped()
    found: Mapping[Any, Any] = state_dict
    for _ in range(DEPTH):
        nests = {key: inner for key, value in found.items() if (inner := as_nest(value)) is not None}
        if {"state", "param_groups"} <= found.keys():
            result.causes.append("It is the state of an optimizer, and holds no weights of a model.")
            return result
        here = _fit(in_model, found, 0)
        deeper = max([_fit(in_model, nest, DEPTH) for nest in nests.values()], default=0)
        if not nests or (here and here >= deeper) or (not deeper and _tensors(found)):
            break
        names = _choose(in_model, nests)
        if len(names) > 1 and not any(name in NESTS for name in names):
            result.causes.append(
                f"{few(map(repr, names))} hold tensors under the same names: say which you want, "
                f"for instance state_dict = state_dict[{names[0]!r}]."
            )
            return result
        name = next((known for known in NESTS if known in names), names[0])
        cause = f"The tensors lie one level deeper, under {name!r}."
        others = [other for other in names if other != name]
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
    if isinstance(value, Mapping) and _holds_tensors(value, DEPTH):
        return value
    return None


def _holds_tensors(value: object, depth: int) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return True
    if isinstance(value, nn.Module):
        return True
    return (
        isinstance(value, Mapping) and depth > 0 and any(_holds_tensors(inner, depth - 1) for inner in value.values())
    )


def _tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def _choose(in_model: Mapping[str, Tensor], nests: Mapping[Any, Mapping[Any, Any]]) -> list[Any]:
    """The nests that fit the model best; if none fits, those of usual names, or all."""
    counts = {name: _fit(in_model, inner, DEPTH) for name, inner in nests.items()}
    best = max(counts.values())
    if best == 0:
        known = [name for name in NESTS if name in nests]
        return known[:1] or list(nests)[:1]
    return [name for name, count in counts.items() if count == best]


def _fit(in_model: Mapping[str, Tensor], found: Mapping[Any, Any], depth: int) -> int:
    count = best_fit(in_model, _tensors(found)).named
    inner = [nest for value in found.values() if (nest := as_nest(value)) is not None] if depth else []
    return max([count, *(_fit(in_model, nest, depth - 1) for nest in inner)])


def _without_others(model: nn.Module, found: Mapping[Any, Any], result: Unwrapped) -> Unwrapped:
    """Leave out what is no tensor; numpy's arrays become tensors."""
    wanted = [key for key in model.state_dict() if key.endswith(EXTRA_STATE)]
    result.extras = {key: found[key] for key in wanted if key in found}
    named = {key: value for key, value in found.items() if key not in wanted}
    arrays = [key for key, value in named.items() if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"]
    others = [str(key) for key, value in named.items() if not isinstance(value, Tensor) and key not in arrays]
    if not arrays and len(others) == len(named):
        said = f"; it holds {few(others)}" if others and result.causes else ""
        result.causes.append(f"There are no tensors in it{said}.")
        return result
    if others:
        result.causes.append(f"Beside the tensors lies what is none: {few(sorted(others))}.")
        condition = "hasattr(t, 'shape')" + (f" or key.endswith({EXTRA_STATE!r})" if result.extras else "")
        result.lines.append(WITHOUT_OTHERS.format(condition=condition))
    if arrays:
        result.causes.append(f"{few(map(repr, arrays))} are arrays of numpy, not tensors.")
        result.lines += ["import torch", "state_dict = {key: torch.as_tensor(t) for key, t in state_dict.items()}"]
    numbers = [key for key in named if not isinstance(key, str)]
    if numbers:
        names = [str(key) for key in named]
        if len(set(names)) < len(names):
            result.causes.append(
                f"{few(map(repr, numbers))} are no names, and as text they would be names that are there."
            )
            return result
        result.causes.append(f"{few(map(repr, numbers))} are no names: names are text.")
        result.lines.append("state_dict = {str(key): t for key, t in state_dict.items()}")
    result.tensors = {}
    for key, value in named.items():
        if isinstance(value, Tensor):
            result.tensors[str(key)] = value
        elif key in arrays:
            result.tensors[str(key)] = torch.as_tensor(value)
    return result
