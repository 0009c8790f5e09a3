"""Why a checkpoint does not load, in sentences, with the way out as code."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .matching import compare
from .reading import NESTS
from .renames import find_prefix, suggest_renames
from .report import Shape

Mismatched = Mapping[str, tuple[Shape, Shape]]


@dataclass(frozen=True)
class Explanation:
    """Why, and what to do.

    Attributes:
        causes: one sentence each, the outermost first.
        fix: lines of Python, if some can help, with `model`, `state_dict` and what `helpers.state_dict` offers at hand.
    """

    causes: tuple[str, ...]
    fix: str

    def __repr__(self) -> str:
        return "\n".join([*(f"- {cause}" for cause in self.causes), self.fix])


def explain(model: nn.Module, state_dict: Mapping[str, object]) -> Explanation:
    """Why `model.load_state_dict(state_dict)` fails, or that it does not.

    Recognises a nested state_dict, a prefix, other names, another number of classes or of input channels, another
    width, fully connected layers kept as convs, kernels in the order (height, width, in, out), BatchNorm on one side
    only, and another architecture. Neither argument is changed.
    """
    causes, fix, arguments = [], [], ""
    while nest := next((key for key in NESTS if isinstance(state_dict.get(key), Mapping)), None):
        causes.append(f"The tensors lie one level deeper, under {nest!r}.")
        fix.append(f"state_dict = state_dict[{nest!r}]")
        state_dict = state_dict[nest]
    tensors = {key: value for key, value in state_dict.items() if isinstance(value, Tensor)}
    if not tensors:
        return Explanation((*causes, "There are no tensors in it."), "\n".join(fix))

    rename, cause, arguments = _names(model, tensors)
    report = compare(model, tensors, rename=rename)
    causes += [cause] * bool(cause)
    left = dict(report.mismatched)
    for find in (_orders, _forms, _classes, _inputs, _widths):
        keys, cause, line = find(left, list(model.state_dict()))
        if keys:
            causes.append(cause)
            fix += [line] * bool(line)
            left = {key: shapes for key, shapes in left.items() if key not in keys}
    if left:
        key, (mine, yours) = next(iter(left.items()))
        causes.append(
            f"{len(left)} tensors have another shape, for instance {key}: {mine} in the checkpoint, {yours} here."
        )
    causes += _only_here(report.missing, "the model", "stay as they are")
    causes += _only_here(report.unexpected, "the checkpoint", "are not used")
    if not causes:
        return Explanation(("It loads: all names and shapes are the same.",), "model.load_state_dict(state_dict)")
    if fix or report.loaded:
        fix.append(f"report = load_matching(model, state_dict{arguments})")
    return Explanation(tuple(causes), "\n".join(fix))


def _names(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[object, str, str]:
    """(how to rename, why, how `load_matching` is told)."""
    present = model.state_dict()
    ours, theirs = find_prefix(tensors, model)
    shared = len(tensors.keys() & present.keys())
    if 2 * shared < min(len(tensors), len(present)):
        if ours:
            pattern = f"^{re.escape(ours)}"
            cause = f"The names in the checkpoint have {ours!r} in front."
            return [(pattern, "")], cause, f', rename=[(r"{pattern}", "")]'
        if theirs:
            return [("^", theirs)], f"The names in the model have {theirs!r} in front.", f', rename=[("^", {theirs!r})]'
    mapping = suggest_renames(model, tensors).mapping
    if 2 * max(shared, len(mapping)) < len(tensors):
        few = f"only {len(mapping)} of {len(tensors)} tensors can be paired by name, shape and order"
        return None, f"It is another architecture: {few}.", ""
    fitting = sum(tensors[key].shape == present[key].shape for key in tensors.keys() & present.keys())
    if 2 * len(mapping) < len(tensors) or len(mapping) <= fitting:
        return None, "", ""
    cause = f"The names differ; by shape and order {len(mapping)} of {len(tensors)} tensors can be paired."
    return mapping, cause, ", rename=suggest_renames(model, state_dict).mapping"


# Each of these finds the keys whose shapes differ for one reason: (keys, the reason, a line that mends it or "").
Found = tuple[set[str], str, str]


def _orders(mismatched: Mismatched, _present: list[str]) -> Found:
    keys = {key for key, (mine, yours) in mismatched.items() if len(mine) == 4 and _oihw(mine) == yours}
    if not keys:
        return set(), "", ""
    linear = {key for key, (mine, yours) in mismatched.items() if len(mine) == 2 and mine[::-1] == yours}
    cause = (
        "Kernels are in the order (height, width, in, out), as in TensorFlow and MatConvNet. Equal sizes hide it in "
        "other layers, so all of them must be moved."
    )
    moved = "v.permute(3, 2, 0, 1) if v.ndim == 4 else " + ("v.T if v.ndim == 2 else v" if linear else "v")
    return keys | linear, cause, f"state_dict = {{k: {moved} for k, v in state_dict.items()}}"


def _oihw(shape: Shape) -> Shape:
    return shape[3], shape[2], shape[0], shape[1]


def _forms(mismatched: Mismatched, _present: list[str]) -> Found:
    keys = {
        key
        for key, (mine, yours) in mismatched.items()
        if {len(mine), len(yours)} == {2, 4} and mine[0] == yours[0] and math.prod(mine) == math.prod(yours)
    }
    names = ", ".join(map(repr, sorted(keys)))
    line = f"state_dict = dict(state_dict)\nfor key in ({names},):\n"
    line += "    state_dict[key] = state_dict[key].reshape(model.state_dict()[key].shape)"
    cause = f"Fully connected layers are convs on one side and Linear on the other: {_list(keys)}."
    return keys, cause, line


def _classes(mismatched: Mismatched, present: list[str]) -> Found:
    keys = {key for key, (mine, yours) in mismatched.items() if mine[1:] == yours[1:]}
    heads = {key.rpartition(".")[0] for key in keys}
    if not keys or len(heads) > 3 or mismatched.keys() - keys - set(present[:2]):
        return set(), "", ""
    mine, yours = mismatched[next(key for key in present if key in keys)]
    cause = f"Another number of classes: {mine[0]} in the checkpoint, {yours[0]} in the model ({_list(heads)})."
    return keys, f"{cause} That layer stays as it is; train it.", ""


def _inputs(mismatched: Mismatched, present: list[str]) -> Found:
    for key in present[:1]:
        mine, yours = mismatched.get(key, ((), ()))
        if len(mine) == len(yours) > 1 and (mine[0], mine[2:]) == (yours[0], yours[2:]):
            cause = f"Another number of input channels: {mine[1]} in the checkpoint, {yours[1]} in the model ({key})."
            return {key}, f"{cause} That layer stays as it is.", ""
    return set(), "", ""


def _widths(mismatched: Mismatched, _present: list[str]) -> Found:
    ratios = Counter(yours[0] / mine[0] for mine, yours in mismatched.values() if mine and yours and mine[0])
    ratio, count = ratios.most_common(1)[0] if ratios else (1, 0)
    keys = {key for key, (mine, yours) in mismatched.items() if len(mine) == len(yours) and mine[2:] == yours[2:]}
    if count < 4 or ratio == 1 or 2 * count < len(mismatched):
        return set(), "", ""
    return keys, f"Another width: most layers of the model have {ratio:g} times as many channels. Build it as wide.", ""


def _only_here(keys: tuple[str, ...], side: str, fate: str) -> list[str]:
    counters = [key for key in keys if key.endswith("num_batches_tracked")]
    norms = {key.rpartition(".")[0] for key in keys if key.endswith("running_var")}
    others = [key for key in keys if key not in counters and key.rpartition(".")[0] not in norms]
    said = []
    if norms:
        said.append(f"Only {side} has BatchNorm: {_list(norms)}; they {fate}.")
    elif counters:
        said.append(f"Only {side} counts batches in its BatchNorms, which does no harm.")
    if others:
        said.append(f"Only {side} has {_list(others)}; they {fate}.")
    return said


def _list(names: Collection[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
