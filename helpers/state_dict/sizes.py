"""What it means that one tensor has two shapes: another width, other classes, another image size, and so on."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from ..text import few
from .report import Shape

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CLASSES = ("num_classes", "num_columns", "n_classes", "num_labels")  # what modules call the number that they keep
OF_IMAGES = 4  # channels, at most
Mismatched = Mapping[str, tuple[Shape, Shape]]


@dataclass(frozen=True)
class Finding:
    """One difference.

    Attributes:
        cause: a sentence or two: what differs, what happens to it, what to do.
        keys: of the model, or of the checkpoint, that it explains.
        is_fatal: whether the rest, if loaded, would not be the network that was trained.
        is_known: whether it has a name, and is not just another shape.
        is_end: whether the keys are known to come behind all that both sides have.
    """

    cause: str
    keys: set[str] = field(default_factory=set)
    is_fatal: bool = False
    is_known: bool = True
    is_end: bool = False


def _empty(left: Mismatched, _model: nn.Module) -> Iterator[Finding]:
    keys = [key for key, (there, here) in left.items() if 0 in there and 0 not in here]
    if keys:
        yield Finding(
            f"{few(keys)}: no numbers in the checkpoint, {left[keys[0]][0]}. One process of several saved it, which "
            "held none of them: take the checkpoint that all of them made together.",
            set(keys),
            is_fatal=True,
        )


def _groups(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    keys, said = set(), ""
    for key, (in_checkpoint, in_model) in left.items():
        module = _module(model, key)
        if not isinstance(module, Conv) or not len(in_checkpoint) == len(in_model) > 2:
            continue
        per_group, here = in_checkpoint[1], in_model[1]
        if per_group == here or in_checkpoint[2:] != in_model[2:]:
            continue
        in_groups_here = module.groups > 1 and per_group > here
        in_groups_there = module.groups == 1 and per_group < here and in_checkpoint[0] % per_group == 0
        in_groups_there = in_groups_there and in_model[0] == in_model[1] and in_checkpoint[0] > per_group
        if in_groups_here and in_checkpoint[0] == per_group:
            keys.add(key)
            said = said or f"{key} has {module.groups} groups in the model, none in the checkpoint"
        elif in_groups_there and in_checkpoint[0] == in_model[0]:
            keys.add(key)
            said = said or f"{key} has {here // per_group} groups in the checkpoint, none in the model"
        elif in_groups_here and in_checkpoint[0] == in_model[0]:
            keys.add(key)
            there = module.in_channels // per_group
            said = said or f"{key} has {module.groups} groups in the model, {there} in the checkpoint"
    if keys:
        rest = set(left)
        yield Finding(
            f"Another number of groups: {said}. It is another network: build the model with the same groups.",
            keys if len(keys) * 2 < len(left) and len(keys) < 3 else rest,
            is_fatal=True,
        )


def _dimensions(left: Mismatched, _model: nn.Module) -> Iterator[Finding]:
    keys = {key for key, (there, here) in left.items() if len(there) != len(here) and min(len(there), len(here)) > 2}
    if keys:
        key = min(keys)
        there, here = left[key]
        yield Finding(
            f"The checkpoint is of a network in {len(there) - 2}D, the model in {len(here) - 2}D: {key} is {there} in "
            f"the checkpoint, {here} here.",
            keys,
            is_fatal=True,
        )


def _recurrent(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    keys = {key for key in left if isinstance(_module(model, key), nn.RNNBase)}
    if not keys:
        return
    key = next(key for key in left if key in keys)
    module = _module(model, key)
    assert isinstance(module, nn.RNNBase)
    there, here = left[key]
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    hidden = {name: shapes for name, shapes in left.items() if name in keys and "hh" in name}
    if hidden:
        there, here = next(iter(hidden.values()))
        sizes = f"{there[0] // gates} in the checkpoint, {here[0] // gates} in the model"
        yield Finding(f"Another hidden size: {sizes} ({some(_modules(keys))}).", keys, is_fatal=True)
    else:
        yield Finding(f"Another input size: {there[1]} in the checkpoint, {here[1]} in the model ({key}).", keys, True)


def _widths(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    """Channels that differ both where they come out of a layer and where they go into the next."""
    same_kind = {
        key: shapes
        for key, shapes in left.items()
        if len(shapes[0]) == len(shapes[1]) and shapes[0][2:] == shapes[1][2:] and shapes[0] and 0 not in shapes[0]
    }
    into = {key for key, (there, here) in same_kind.items() if len(there) > 1 and there[1] != here[1]}
    out = {key for key, (there, here) in same_kind.items() if len(there) > 1 and there[0] != here[0]}
    if len(into) < 2 or not into & out:
        return
    ratios: dict[float, int] = defaultdict(int)
    for key in into & out:
        there, here = same_kind[key]
        ratios[here[1] / there[1]] += 1
    ratio = max(ratios, key=lambda ratio: ratios[ratio])
    key = next(key for key in left if key in into & out)
    there, here = left[key]
    much = f"{ratio:g} times as many" if ratio.is_integer() or (1 / ratio).is_integer() else "another number of"
    cause = (
        f"Another width: most layers of the model have {much} channels, for instance {key}: {there} in the checkpoint, "
        f"{here} here. Build it as wide."
    )
    yield Finding(cause, {key for key in left if len(left[key][0]) == len(left[key][1])}, is_fatal=True)


def _windows(left: Mismatched, _model: nn.Module) -> Iterator[Finding]:
    tables = {key for key in left if key.endswith("relative_position_bias_table") or "relative_position" in key}
    if not tables:
        return
    key = next((key for key in left if key.endswith("table")), next(iter(tables)))
    there, here = left[key]
    windows = [_window(size) for size in (there[0], here[0])]
    window = f" ({windows[0]} in the checkpoint, {windows[1]} in the model)" if all(windows) else ""
    yield Finding(
        f"Another window of relative positions{window}: {key} is {there} in the checkpoint, {here} here. These tables "
        "stay as they are, random in a new model: build the model with the same window, or interpolate them.",
        tables,
    )


def _window(entries: int) -> str:
    """The side of a window whose table has so many entries, (2 side - 1)²; "" if there is none."""
    side = round(entries**0.5)
    return f"{(side + 1) // 2} x {(side + 1) // 2}" if side * side == entries and side % 2 else ""


def _positions(left: Mismatched, _model: nn.Module) -> Iterator[Finding]:
    keys = {
        key
        for key, (there, here) in left.items()
        if re.search(r"pos(ition)?(al)?s?(?![a-z])|pos_?emb|wpe", key.lower())
        and len(there) == len(here)
        and there[-1] == here[-1]
    }
    for key in [key for key in left if key in keys]:
        there, here = left[key]
        counts = [max(shape[:-1], default=1) for shape in (there, here)]
        grids = [_grid(count) for count in counts]
        said = f"{counts[0]} positions in the checkpoint{grids[0]}, {counts[1]} in the model{grids[1]}"
        yield Finding(
            f"Another image size or length: {key} has {said}. It stays as it is, random in a new model: build the "
            "model for the same size, or interpolate the table to the new one before loading.",
            {key},
        )


def _grid(count: int) -> str:
    for extra, what in ((0, ""), (1, " and a class token"), (2, " and two tokens")):
        side = round((count - extra) ** 0.5)
        if side > 1 and side * side == count - extra:
            return f" ({side} x {side}{what})"
    return ""


def _tables(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    for key, (there, here) in left.items():
        if isinstance(_module(model, key), nn.Embedding) and there[1:] == here[1:]:
            what = "queries" if "query" in key else "entries in an embedding"
            yield Finding(
                f"Another number of {what}: {there[0]} in the checkpoint, {here[0]} in the model ({key}). It stays as "
                "it is, random in a new model: train it, or copy the rows that both have.",
                {key},
            )


def _classes(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    """Layers whose outputs alone differ."""
    keys = {key for key, (there, here) in left.items() if there and here and there[1:] == here[1:]}
    keys = {key for key in keys if 0 not in left[key][1]}
    with_matrices = {module_name(key) for key in keys if len(left[key][0]) > 1}  # a norm is no head
    heads = _in_order(model, with_matrices)
    keys = {key for key in keys if module_name(key) in heads}
    if not heads:
        return
    groups: dict[tuple[int, int, int], list[str]] = defaultdict(list)  # classes there and here, outputs for each
    for head in heads:
        there, here = next(shapes for key, shapes in left.items() if key in keys and module_name(key) == head)
        each = _outputs_for_each(model, head, there[0], here[0])
        groups[there[0] // each, here[0] // each, each].append(head)
    smallest = min(groups)
    said = [f"{smallest[0]} in the checkpoint, {smallest[1]} in the model ({_heads(groups[smallest], smallest[2])})"]
    for group in sorted(groups):
        times = group[0] / smallest[0]
        if group[:2] == smallest[:2] and group != smallest:
            said.append(_heads(groups[group], group[2]))
        elif group != smallest and times.is_integer() and times * smallest[1] == group[1]:
            said.append(_heads(groups[group], group[2] * int(times)))
        elif group != smallest:
            said.append(f"{group[0]} and {group[1]} in {_heads(groups[group], group[2])}")
    stays, train = ("That layer stays as it is", "train it")
    if len(heads) > 1:
        stays, train = "Those layers stay as they are", "train them"
    yield Finding(f"Another number of classes: {'; '.join(said)}. {stays}, random in a new model; {train}.", keys)


def _outputs_for_each(model: nn.Module, head: str, there: int, here: int) -> int:
    """How many outputs a head has for each class: anchors, for instance, if a module around it says the number."""
    name = head
    while name:
        name = module_name(name)
        for attribute in CLASSES:
            classes = getattr(_at(model, name), attribute, None)
            if isinstance(classes, int) and classes > 0 and here % classes == 0 and there % (here // classes) == 0:
                return here // classes
    return 1


def _heads(names: list[str], each: int) -> str:
    shown = few([name or "the model itself" for name in names])
    shown = f"{len(names)} heads: {shown}" if len(names) > 1 else shown
    return f"{shown}, {each} outputs for each class" if each > 1 else shown


def _inputs(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    """The conv that meets the image, if only its input channels differ."""
    convs = [name for name, module in model.named_modules() if isinstance(module, Conv)]
    for key, (there, here) in left.items():
        module = _module(model, key)
        if not isinstance(module, Conv) or module.groups != 1 or not len(there) == len(here) > 2:
            continue
        is_first = module_name(key) == convs[0] or min(there[1], here[1]) <= OF_IMAGES
        if is_first and there[:1] + there[2:] == here[:1] + here[2:]:
            yield Finding(
                f"Another number of input channels: {there[1]} in the checkpoint, {here[1]} in the model ({key}). That "
                f"layer stays as it is, random in a new model: or build the model with {there[1]} channels, load, and "
                f"call adapt_first_conv(model, {here[1]}) of helpers.first_conv.",
                {key},
            )
            return


def _kernels(left: Mismatched, _model: nn.Module) -> Iterator[Finding]:
    keys = [key for key, (there, here) in left.items() if len(there) == len(here) > 2 and there[:2] == here[:2]]
    if not keys:
        return
    there, here = left[keys[0]]
    what = "patch size" if re.search("patch|proj|embed", keys[0]) else "kernel size"
    sizes = f"{' x '.join(map(str, there[2:]))} in the checkpoint, {' x '.join(map(str, here[2:]))} in the model"
    one = "It stays as it is, random in a new model: train it, or build the model with the same."
    yield Finding(
        f"Another {what}: {sizes} ({few(keys)}). {one if len(keys) == 1 else 'Build the model with the same.'}",
        set(keys),
        is_fatal=len(keys) > 1,
    )


def _flattened(left: Mismatched, model: nn.Module) -> Iterator[Finding]:
    """A Linear whose inputs alone differ."""
    for key, (there, here) in left.items():
        if len(there) == len(here) == 2 and there[0] == here[0] and isinstance(_module(model, key), nn.Linear):
            yield Finding(
                f"{key} takes {there[1]} numbers in the checkpoint, {here[1]} in the model: another image size before "
                "a flatten, or other channels in front of it. It stays as it is, random in a new model; train it, or "
                "build the model for the same image size.",
                {key},
            )


Look = Callable[[Mismatched, nn.Module], Iterator[Finding]]
LOOKS: tuple[Look, ...] = (
    _empty,
    _groups,
    _dimensions,
    _recurrent,
    _widths,
    _windows,
    _positions,
    _tables,
    _classes,
    _inputs,
    _kernels,
    _flattened,
)


def _module(model: nn.Module, key: str) -> nn.Module | None:
    return _at(model, module_name(key))


def _at(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def module_name(key: str) -> str:
    """What stands in front of the last dot."""
    return key.rpartition(".")[0]


def _modules(keys: Iterable[str]) -> set[str]:
    return {module_name(key) for key in keys}


def _in_order(model: nn.Module, names: set[str]) -> list[str]:
    return [name for name, _ in model.named_modules(remove_duplicate=False) if name in names]


def some(names: Iterable[str]) -> str:
    """A few names, sorted."""
    return few(sorted(name or "the model itself" for name in names))
