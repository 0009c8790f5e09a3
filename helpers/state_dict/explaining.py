"""Why a checkpoint does not load, in sentences, with the way out as code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .matching import compare, tensors_of
from .reading import find_nest
from .renames import find_prefix, inserted, renumbered, suggest_renames
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
    causes, fix = [], []
    while nest := find_nest(state_dict):
        causes.append(f"The tensors lie one level deeper, under {nest!r}.")
        fix.append(f"state_dict = state_dict[{nest!r}]")
        state_dict = state_dict[nest]
    tensors = {str(key): value for key, value in state_dict.items() if isinstance(value, Tensor)}
    if not tensors:
        return Explanation((*causes, "There are no tensors in it."), "\n".join(fix))
    if others := [str(key) for key, value in state_dict.items() if not isinstance(value, Tensor)]:
        causes.append(f"Beside the tensors lies what is none: {_list(others)}.")
        fix.append("state_dict = {key: t for key, t in state_dict.items() if hasattr(t, 'shape')}")

    names, cause, lines = _names(model, tensors)
    causes += [cause] * bool(cause)
    fix += lines
    tensors = {names.get(key, key): tensor for key, tensor in tensors.items()}
    report = compare(model, tensors)
    left = dict(report.mismatched)
    for find in (_orders, _forms, _classes, _inputs, _widths):
        keys, cause, line = find(left, model)
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
    causes += _insertions(inserted(model, tensors))
    moved = renumbered(model, tensors)
    if moved:
        causes.append(f"Numbers differ on both sides ({_list(moved)}), so equal names may be different layers.")
    if not causes:
        return Explanation(("It loads: all names and shapes are the same.",), "model.load_state_dict(state_dict)")
    if (fix or report.loaded) and not moved:
        fix.append("report = load_matching(model, state_dict)")
    return Explanation(tuple(causes), "\n".join(fix))


def _names(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[Mapping[str, str], str, list[str]]:
    """(old names -> new ones, why they differ, lines that rename)."""
    present = tensors_of(model)
    ours, theirs = find_prefix(tensors, model)
    shared = len(tensors.keys() & present.keys())
    if 2 * shared < min(len(tensors), len(present)) and (ours or theirs):
        if ours:
            cause, new = f"The names in the checkpoint have {ours!r} in front.", f"key.removeprefix({ours!r})"
        else:
            cause, new = f"The names in the model have {theirs!r} in front.", f"{theirs!r} + key"
        lines = [f"state_dict = {{{new}: t for key, t in state_dict.items()}}"]
        return {key: theirs + key.removeprefix(ours) for key in tensors}, cause, lines
    suggestion = suggest_renames(model, tensors)
    mapping = suggestion.mapping
    if 2 * max(shared, len(suggestion.why)) < len(tensors):
        few = f"only {len(suggestion.why)} of {len(tensors)} tensors can be paired by name, shape and order"
        return {}, f"It may be another architecture: {few}.", []
    fitting = sum(tensors[key].shape == present[key].shape for key in tensors.keys() & present.keys())
    if 2 * len(suggestion.why) < len(tensors) or len(suggestion.why) <= fitting:
        return {}, "", []
    cause = f"The names differ; by shape and order {len(suggestion.why)} of {len(tensors)} tensors can be paired."
    if suggestion.ambiguous:
        mine, yours = suggestion.ambiguous[0]
        cause += f" Nothing decides which of {_list(mine)} is which of {_list(yours)}, so they are left out."
    lines = [
        "names = suggest_renames(model, state_dict).mapping",
        "state_dict = {names.get(key, key): t for key, t in state_dict.items()}",
    ]
    return mapping, cause, lines


# Each of these finds the keys whose shapes differ for one reason: (keys, the reason, a line that mends it or "").
Found = tuple[set[str], str, str]


def _orders(mismatched: Mismatched, model: nn.Module) -> Found:
    keys = {key for key, (mine, yours) in mismatched.items() if len(mine) == 4 and _oihw(mine) == yours}
    if not keys:
        return set(), "", ""
    matrices = {key: tensor.shape for key, tensor in tensors_of(model).items() if tensor.ndim == 2}
    linear = {key for key, (mine, yours) in mismatched.items() if len(mine) == 2 and mine[::-1] == yours}
    as_they_are = any(len(set(shape)) == 2 and key not in mismatched for key, shape in matrices.items())
    cause = (
        "Kernels are in the order (height, width, in, out), as in TensorFlow and MatConvNet. Equal sizes hide it in "
        "other layers, so all of them must be moved."
    )
    if linear:
        cause += (
            " So must Linears, and the first one behind a flatten may count pixels before channels: compare outputs."
        )
    elif matrices and not as_they_are:
        cause += " Square Linears may have to be transposed as well, which shapes cannot show: compare outputs."
    moved = "v.permute(3, 2, 0, 1) if v.ndim == 4 else " + ("v.T if v.ndim == 2 else v" if linear else "v")
    return keys | linear, cause, f"state_dict = {{k: {moved} for k, v in state_dict.items()}}"


def _oihw(shape: Shape) -> Shape:
    return shape[3], shape[2], shape[0], shape[1]


def _forms(mismatched: Mismatched, _model: nn.Module) -> Found:
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


def _classes(mismatched: Mismatched, model: nn.Module) -> Found:
    present = list(tensors_of(model))
    keys = {key for key, (mine, yours) in mismatched.items() if mine[1:] == yours[1:]}
    heads = {key.rpartition(".")[0] for key in keys}
    if not keys or len(heads) > 3 or mismatched.keys() - keys - set(present[:2]):
        return set(), "", ""
    mine, yours = mismatched[next(key for key in present if key in keys)]
    tables = all(isinstance(model.get_submodule(head), nn.Embedding) for head in heads)
    what = "entries in an embedding" if tables else "classes"
    cause = f"Another number of {what}: {mine[0]} in the checkpoint, {yours[0]} in the model ({_list(heads)})."
    return keys, f"{cause} That layer stays as it is; train it.", ""


def _inputs(mismatched: Mismatched, model: nn.Module) -> Found:
    for key in list(tensors_of(model))[:1]:
        mine, yours = mismatched.get(key, ((), ()))
        if len(mine) == len(yours) > 1 and (mine[0], mine[2:]) == (yours[0], yours[2:]):
            cause = f"Another number of input channels: {mine[1]} in the checkpoint, {yours[1]} in the model ({key})."
            return {key}, f"{cause} That layer stays as it is.", ""
    return set(), "", ""


def _widths(mismatched: Mismatched, _model: nn.Module) -> Found:
    ratios = Counter(yours[0] / mine[0] for mine, yours in mismatched.values() if mine and yours and mine[0])
    ratio, count = ratios.most_common(1)[0] if ratios else (1, 0)
    keys = {key for key, (mine, yours) in mismatched.items() if len(mine) == len(yours) and mine[2:] == yours[2:]}
    if count < 4 or ratio == 1 or 2 * count < len(mismatched):
        return set(), "", ""
    return keys, f"Another width: most layers of the model have {ratio:g} times as many channels. Build it as wide.", ""


def _only_here(keys: tuple[str, ...], side: str, fate: str) -> list[str]:
    counters = [key for key in keys if key.endswith("num_batches_tracked")]
    modules = {key.rpartition(".")[0] for key in keys if key.endswith("running_var")}
    norms = {module for module in modules if f"{module}.weight" in keys}
    others = [key for key in keys if key not in counters and key.rpartition(".")[0] not in modules]
    said = []
    if norms:
        said.append(f"Only {side} has BatchNorm: {_list(norms)}; they {fate}.")
    if modules - norms:
        said.append(f"Only {side} has the running statistics of {_list(modules - norms)}; they {fate}.")
    if counters and not modules:
        said.append(f"Only {side} counts batches in its BatchNorms, which does no harm.")
    if others:
        said.append(f"Only {side} has {_list(others)}; they {fate}.")
    return said


def _insertions(doubtful: Mapping[str, tuple[str, ...]]) -> list[str]:
    if not doubtful:
        return []
    extra = {name for names in doubtful.values() for name in names}
    return [
        f"Only one side has {_list(extra)}, of the same shapes as {_list(doubtful)}. Numbers in names are positions: "
        "if a layer was inserted before the end, equal names may be different layers. Compare outputs."
    ]


def _list(names: Collection[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
