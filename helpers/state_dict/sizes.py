"""What it means that one tensor has two shapes: another width, other classes, another image size, and so on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from torch import nn

from ..text import few
from .findings import Finding, Look, Mismatched, some
from .outputs import outputs
from .places import Where, module_name
from .report import Shape
from .widths import inner_layers, widths

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
OF_IMAGES = 4  # channels, at most


def _empty(left: Mismatched, _where: Where) -> Iterator[Finding]:
    keys = [key for key, (there, here) in left.items() if 0 in there and 0 not in here]
    if keys:
        yield Finding(
            f"{few(keys)}: no numbers in the checkpoint, {left[keys[0]][0]}. One process of several saved it, which "
            "held none of them: take the checkpoint that all of them made together.",
            set(keys),
            is_fatal=True,
        )


def _groups(left: Mismatched, where: Where) -> Iterator[Finding]:
    keys, said = set(), ""
    for key, (in_checkpoint, in_model) in left.items():
        module = where.module(key)
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


def _dimensions(left: Mismatched, _where: Where) -> Iterator[Finding]:
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


def _recurrent(left: Mismatched, where: Where) -> Iterator[Finding]:
    keys = {key for key in left if isinstance(where.module(key), nn.RNNBase)}
    if not keys:
        return
    key = next(key for key in left if key in keys)
    module = where.module(key)
    assert isinstance(module, nn.RNNBase)
    there, here = left[key]
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    hidden = {name: shapes for name, shapes in left.items() if name in keys and "hh" in name}
    cells = [CELLS.get(rows // columns) for rows, columns in _weights(hidden)]
    if len(cells) == 2 and all(cells) and cells[0] != cells[1]:
        yield Finding(
            f"Another cell: {cells[0]} in the checkpoint, {cells[1]} in the model ({some(_modules(keys))}), as the "
            "number of gates shows. Build the model with the same.",
            keys,
            is_fatal=True,
        )
    elif hidden:
        there, here = next(iter(hidden.values()))
        sizes = f"{there[0] // gates} in the checkpoint, {here[0] // gates} in the model"
        yield Finding(f"Another hidden size: {sizes} ({some(_modules(keys))}).", keys, is_fatal=True)
    else:
        yield Finding(f"Another input size: {there[1]} in the checkpoint, {here[1]} in the model ({key}).", keys, True)


CELLS = {4: "an LSTM", 3: "a GRU", 1: "a plain RNN"}  # how many gates lie in one weight


def _weights(hidden: Mismatched) -> tuple[tuple[int, ...], ...]:
    """The shapes in the checkpoint and in the model of a weight from one step to the next."""
    return next((shapes for shapes in hidden.values() if len(shapes[0]) == len(shapes[1]) == 2), ())


def _computed(left: Mismatched, where: Where) -> Iterator[Finding]:
    keys = {key for key in left if where.is_computed(key)}
    if keys:
        yield Finding(
            f"{few(sorted(keys))}: computed from sizes, not trained; the model keeps its own.",
            keys,
        )


def _windows(left: Mismatched, _where: Where) -> Iterator[Finding]:
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


POSITIONS = r"(?<![a-z])(abs|rel)?_?pos(ition)?(al)?s?(?![a-z])|(?<![a-z])pos_?(emb|enc)|(?<![a-z])wpe"


def _positions(left: Mismatched, _where: Where) -> Iterator[Finding]:
    keys = {
        key
        for key, (there, here) in left.items()
        if re.search(POSITIONS, key.lower()) and len(there) == len(here) and there[-1] == here[-1]
    }
    for key in [key for key in left if key in keys]:
        shapes = left[key]
        counts = [math.prod(shape[:-1]) for shape in shapes]
        grids = [(0, 0) if "rel" in key else _grid(count) for count in counts]
        there, here = (_said(shape, grid) for shape, grid in zip(shapes, grids, strict=True))
        what = "relative positions" if "rel" in key else "positions"
        said = f"{counts[0]} {what} in the checkpoint{there}, {counts[1]} in the model{here}"
        if grids[0][0] == grids[1][0] > 0:
            yield Finding(
                f"Another number of tokens in front of the positions: {key} has {said}, so the picture has the same "
                "size. It stays as it is, random in a new model: build the model with the same tokens, or copy the "
                "positions of the picture.",
                {key},
            )
            continue
        yield Finding(
            f"Another image size or length: {key} has {said}. It stays as it is, random in a new model: build the "
            "model for the same size, or interpolate the table to the new one before loading.",
            {key},
        )


TOKENS = ("", " and a class token", " and two tokens")


def _grid(count: int) -> tuple[int, int]:
    """(the side of a square, how many tokens stand in front of it), if so many positions are one; else (0, 0)."""
    for tokens in range(len(TOKENS)):
        side = round((count - tokens) ** 0.5)
        if side > 1 and side * side == count - tokens:
            return side, tokens
    return 0, 0


def _said(shape: Shape, grid: tuple[int, int]) -> str:
    if len(shape) == 4 and shape[0] == 1:
        return f" ({shape[1]} x {shape[2]})"
    return f" ({grid[0]} x {grid[0]}{TOKENS[grid[1]]})" if grid[0] else ""


def _tables(left: Mismatched, where: Where) -> Iterator[Finding]:
    for key, (there, here) in left.items():
        if isinstance(where.module(key), nn.Embedding) and there[1:] == here[1:]:
            what = "queries" if "query" in key else "entries in an embedding"
            yield Finding(
                f"Another number of {what}: {there[0]} in the checkpoint, {here[0]} in the model ({key}). It stays as "
                "it is, random in a new model: train it, or copy the rows that both have.",
                {key},
            )


def _inputs(left: Mismatched, where: Where) -> Iterator[Finding]:
    """The conv that meets the image, if only its input channels differ."""
    convs = [name for name, module in where.model.named_modules() if isinstance(module, Conv)]
    for key, (there, here) in left.items():
        module = where.module(key)
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


def _kernels(left: Mismatched, _where: Where) -> Iterator[Finding]:
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


def _flattened(left: Mismatched, where: Where) -> Iterator[Finding]:
    """A Linear whose inputs alone differ."""
    for key, (there, here) in left.items():
        if len(there) == len(here) == 2 and there[0] == here[0] and isinstance(where.module(key), nn.Linear):
            yield Finding(
                f"{key} takes {there[1]} numbers in the checkpoint, {here[1]} in the model: another image size before "
                "a flatten, or other channels in front of it. It stays as it is, random in a new model; train it, or "
                "build the model for the same image size.",
                {key},
            )


LOOKS: tuple[Look, ...] = (
    _empty,
    _groups,
    _dimensions,
    _recurrent,
    widths,
    _windows,
    _computed,
    _positions,
    _tables,
    inner_layers,
    outputs,
    _inputs,
    _kernels,
    _flattened,
)


def _modules(keys: Iterable[str]) -> set[str]:
    return {module_name(key) for key in keys}
