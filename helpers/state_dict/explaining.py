"""Why a checkpoint does not load, in sentences, with the way out as code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..text import few
from .matching import match_keys, tensors_of
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
        name, state_dict = nest
        causes.append(f"The tensors lie one level deeper, under {name!r}.")
        fix.append(f"state_dict = state_dict[{name!r}]")
    tensors = {str(key): value for key, value in state_dict.items() if isinstance(value, Tensor)}
    if not tensors:
        return Explanation((*causes, "There are no tensors in it."), "\n".join(fix))
    if others := [str(key) for key, value in state_dict.items() if not isinstance(value, Tensor)]:
        causes.append(f"Beside the tensors lies what is none: {_some(others)}.")
        fix.append("state_dict = {key: t for key, t in state_dict.items() if hasattr(t, 'shape')}")

    names, cause, lines = _names(model, tensors)
    if cause:
        causes.append(cause)
    fix += lines
    tensors = {names.get(key, key): tensor for key, tensor in tensors.items()}
    report = match_keys(model, tensors)
    left = dict(report.mismatched)
    for find in (_orders, _forms, _classes, _inputs, _widths):
        keys, cause, line = find(left, model)
        if keys:
            causes.append(cause)
            if line:
                fix.append(line)
            left = {key: shapes for key, shapes in left.items() if key not in keys}
    if left:
        key, (in_checkpoint, in_model) = next(iter(left.items()))
        causes.append(
            f"{len(left)} tensors have another shape, for instance {key}: {in_checkpoint} in the checkpoint, "
            f"{in_model} here."
        )
    causes += _only_here(report.missing, "the model", "stay as they are")
    causes += _only_here(report.unexpected, "the checkpoint", "are not used")
    causes += _insertions(inserted(model, tensors))
    moved = renumbered(model, tensors)
    if moved:
        causes.append(f"Numbers differ on both sides ({_some(moved)}), so equal names may be different layers.")
    if not causes:
        return Explanation(("It loads: all names and shapes are the same.",), "model.load_state_dict(state_dict)")
    if (fix or report.loaded) and not moved:
        fix.append("report = load_matching(model, state_dict)")
    return Explanation(tuple(causes), "\n".join(fix))


def _names(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[Mapping[str, str], str, list[str]]:
    """(old names -> new ones, why they differ, lines that rename)."""
    model_tensors = tensors_of(model)
    of_checkpoint, of_model = find_prefix(tensors, model)
    shared = len(tensors.keys() & model_tensors.keys())
    if 2 * shared < min(len(tensors), len(model_tensors)) and (of_checkpoint or of_model):
        if of_checkpoint:
            cause = f"The names in the checkpoint have {of_checkpoint!r} in front."
            new = f"key.removeprefix({of_checkpoint!r})"
        else:
            cause = f"The names in the model have {of_model!r} in front."
            new = f"{of_model!r} + key"
        lines = [f"state_dict = {{{new}: t for key, t in state_dict.items()}}"]
        return {key: of_model + key.removeprefix(of_checkpoint) for key in tensors}, cause, lines
    suggestion = suggest_renames(model, tensors)
    mapping = suggestion.mapping
    if 2 * max(shared, len(suggestion.why)) < len(tensors):
        paired = f"only {len(suggestion.why)} of {len(tensors)} tensors can be paired by name, shape and order"
        return {}, f"It may be another architecture: {paired}.", []
    both = tensors.keys() & model_tensors.keys()
    fitting = sum(tensors[key].shape == model_tensors[key].shape for key in both)
    if 2 * len(suggestion.why) < len(tensors) or len(suggestion.why) <= fitting:
        return {}, "", []
    cause = f"The names differ; by shape and order {len(suggestion.why)} of {len(tensors)} tensors can be paired."
    if suggestion.ambiguous:
        in_checkpoint, in_model = suggestion.ambiguous[0]
        cause += (
            f" Nothing decides which of {_some(in_checkpoint)} is which of {_some(in_model)}, so they are left out."
        )
    lines = [
        "names = suggest_renames(model, state_dict).mapping",
        "state_dict = {names.get(key, key): t for key, t in state_dict.items()}",
    ]
    return mapping, cause, lines


# Each of these finds the keys whose shapes differ for one reason: (keys, the reason, a line that mends it or "").
Found = tuple[set[str], str, str]


def _orders(mismatched: Mismatched, model: nn.Module) -> Found:
    keys = {
        key
        for key, (in_checkpoint, in_model) in mismatched.items()
        if len(in_checkpoint) == 4 and _oihw(in_checkpoint) == in_model
    }
    if not keys:
        return set(), "", ""
    matrices = {key: tensor.shape for key, tensor in tensors_of(model).items() if tensor.ndim == 2}
    linear = {
        key
        for key, (in_checkpoint, in_model) in mismatched.items()
        if len(in_checkpoint) == 2 and in_checkpoint[::-1] == in_model
    }
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
        for key, (in_checkpoint, in_model) in mismatched.items()
        if {len(in_checkpoint), len(in_model)} == {2, 4}
        and in_checkpoint[0] == in_model[0]
        and math.prod(in_checkpoint) == math.prod(in_model)
    }
    names = ", ".join(map(repr, sorted(keys)))
    line = f"state_dict = dict(state_dict)\nfor key in ({names},):\n"
    line += "    state_dict[key] = state_dict[key].reshape(model.state_dict()[key].shape)"
    cause = f"Fully connected layers are convs on one side and Linear on the other: {_some(keys)}."
    return keys, cause, line


def _classes(mismatched: Mismatched, model: nn.Module) -> Found:
    model_keys = list(tensors_of(model))
    keys = {key for key, (in_checkpoint, in_model) in mismatched.items() if in_checkpoint[1:] == in_model[1:]}
    heads = {key.rpartition(".")[0] for key in keys}
    if not keys or len(heads) > 3 or mismatched.keys() - keys - set(model_keys[:2]):
        return set(), "", ""
    in_checkpoint, in_model = mismatched[next(key for key in model_keys if key in keys)]
    tables = all(isinstance(model.get_submodule(head), nn.Embedding) for head in heads)
    what = "entries in an embedding" if tables else "classes"
    counts = f"{in_checkpoint[0]} in the checkpoint, {in_model[0]} in the model"
    cause = f"Another number of {what}: {counts} ({_some(heads)})."
    return keys, f"{cause} That layer stays as it is; train it.", ""


def _inputs(mismatched: Mismatched, model: nn.Module) -> Found:
    for key in list(tensors_of(model))[:1]:
        in_checkpoint, in_model = mismatched.get(key, ((), ()))
        if len(in_checkpoint) == len(in_model) > 1 and _without_inputs(in_checkpoint) == _without_inputs(in_model):
            counts = f"{in_checkpoint[1]} in the checkpoint, {in_model[1]} in the model"
            return {key}, f"Another number of input channels: {counts} ({key}). That layer stays as it is.", ""
    return set(), "", ""


def _without_inputs(shape: Shape) -> Shape:
    return shape[:1] + shape[2:]


def _widths(mismatched: Mismatched, _model: nn.Module) -> Found:
    ratios = Counter(
        in_model[0] / in_checkpoint[0]
        for in_checkpoint, in_model in mismatched.values()
        if in_checkpoint and in_model and in_checkpoint[0]
    )
    ratio, count = ratios.most_common(1)[0] if ratios else (1, 0)
    keys = {
        key
        for key, (in_checkpoint, in_model) in mismatched.items()
        if len(in_checkpoint) == len(in_model) and in_checkpoint[2:] == in_model[2:]
    }
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
        said.append(f"Only {side} has BatchNorm: {_some(norms)}; they {fate}.")
    if modules - norms:
        said.append(f"Only {side} has the running statistics of {_some(modules - norms)}; they {fate}.")
    if counters and not modules:
        said.append(f"Only {side} counts batches in its BatchNorms, which does no harm.")
    if others:
        said.append(f"Only {side} has {_some(others)}; they {fate}.")
    return said


def _insertions(doubtful: Mapping[str, tuple[str, ...]]) -> list[str]:
    if not doubtful:
        return []
    extra = {name for names in doubtful.values() for name in names}
    return [
        f"Only one side has {_some(extra)}, of the same shapes as {_some(doubtful)}. Numbers in names are positions: "
        "if a layer was inserted before the end, equal names may be different layers. Compare outputs."
    ]


def _some(names: Iterable[str]) -> str:
    return few(sorted(names))
