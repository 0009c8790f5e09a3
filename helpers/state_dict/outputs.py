"""Layers at the end that give another number of outputs: classes, anchors, numbers of a box, keypoints."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from ..text import few
from .findings import Finding, Mismatched, stays
from .places import Where, at, module_name

CLASSES = ("num_classes", "num_columns", "n_classes", "num_labels")  # what modules call the number that they keep
OF_CLASSES = re.compile(r"cls|class|logit|label|score|categor", re.IGNORECASE)
OF_OTHERS = re.compile(
    r"box|regress|(^|_)reg(_|$)|kps|keypoint|kpt|landmark|offset|delta|anchor|(^|_)loc(s|_|$)|center|pose|rpn",
    re.IGNORECASE,
)
ANCHORS = 3  # of YOLO, on each of its levels
OF_A_BOX = 5  # numbers of YOLO for a box: four, and whether something is there


class Head(NamedTuple):
    """A layer whose outputs alone differ."""

    name: str
    there: int
    here: int


def outputs(left: Mismatched, where: Where) -> Iterator[Finding]:
    """Layers whose outputs alone differ, and behind which nothing takes them."""
    heads = _heads(left, where)
    if heads:
        keys = _keys(heads, left, where)
        cause = _yolo(heads) or _classes(heads, where) or _anything(heads)
        yield Finding(f"{cause} {_fate(heads, keys)}", keys, is_end=True)


def _keys(heads: list[Head], left: Mismatched, where: Where) -> set[str]:
    """Those of the heads, and of factors behind them, which have their channels."""
    names = {head.name for head in heads}
    numbers = {(head.there, head.here) for head in heads}
    keys = {key for key in left if module_name(key) in names}
    for key, (there, here) in left.items():
        are_channels = len(there) == len(here) and where.in_model[key].numel() == max(here, default=0)
        if are_channels and (max(there, default=0), max(here, default=0)) in numbers:
            keys.add(key)
    return keys


def _fate(heads: list[Head], keys: set[str]) -> str:
    stay, train = stays(head.name for head in heads)
    factors = sorted({module_name(key) for key in keys} - {head.name for head in heads})
    more = f" So does what stands behind them: {few(factors, 2)}." if factors else ""
    return f"{stay}, random in a new model; {train}.{more}"


def _anything(heads: list[Head]) -> str:
    listed = [
        f"{there} in the checkpoint, {here} in the model ({few(names)})" for there, here, names in _by_numbers(heads)
    ]
    return (
        f"Another number of outputs: {'; '.join(listed)}. They may be anchors, keypoints, numbers of a box or classes."
    )


def _classes(heads: list[Head], where: Where) -> str | None:
    """Heads by the number of classes they are for; None if it may be something else."""
    of_classes = [head for head in heads if not _is_of_others(head.name)]
    each = {head: _outputs_for_each(head, where) for head in of_classes}
    groups: dict[tuple[int, int], dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for head, number in each.items():
        groups[head.there // number, head.here // number][number].append(head.name)
    beside = []
    for head in heads:
        time = _times(head, sorted(groups)) if head not in of_classes else None
        if time and "rpn" not in head.name.lower():
            groups[time[1]][time[0]].append(head.name)
        elif head not in of_classes:
            beside.append(head)
    unsure = any(_are_beside(head.name, other.name, where) for head in of_classes for other in beside)
    if not of_classes or unsure:
        return None
    said: list[str] = []
    for count in sorted(groups):
        for number, names in sorted(groups[count].items()):
            listed = _listed(names, number)
            if not said:
                said.append(f"{count[0]} in the checkpoint, {count[1]} in the model ({listed})")
            elif count == min(groups):
                said.append(listed)
            else:
                said.append(f"{count[0]} and {count[1]} in {listed}")
    cause = f"Another number of classes: {'; '.join(said)}."
    if beside:
        others = [f"{there} and {here} in {few(names)}" for there, here, names in _by_numbers(beside)]
        cause += f" And another number of anchors, keypoints or numbers of a box: {'; '.join(others)}."
    return cause


def _heads(left: Mismatched, where: Where) -> list[Head]:
    """In the order of the model."""
    found: dict[str, Head] = {}
    for key, (there, here) in left.items():
        name = module_name(key)
        if len(there) > 1 and len(there) == len(here) and there[0] != here[0] and there[1:] == here[1:] and here[0]:
            found[name] = Head(name, there[0], here[0])
    order = [name for name, _ in where.model.named_modules(remove_duplicate=False) if name in found]
    layers = where.layers
    heads = []
    for name in order:
        says_so = bool(OF_CLASSES.search(name.rpartition(".")[2]))
        if name in layers and (says_so or not where.is_used(name)):
            heads.append(found[name])
    return heads


def _is_of_others(name: str) -> bool:
    """Whether names say that a layer gives boxes, keypoints or anchors, the last part of the name first."""
    if "rpn" in name.lower():
        return True
    for part in reversed(name.split(".")):
        if OF_CLASSES.search(part) and not re.search(r"box_?(head|pred)", part):
            return False
        if OF_OTHERS.search(part):
            return True
    return False


def _outputs_for_each(head: Head, where: Where) -> int:
    """How many outputs a head has for each class: anchors, if a module around it says so, or boxes beside it."""
    name = head.name
    while name:
        name = module_name(name)
        for attribute in CLASSES:
            classes = getattr(at(where.model, name), attribute, None)
            if isinstance(classes, int) and classes > 0 and head.here % classes == 0:
                each = head.here // classes
                if head.there % each == 0:
                    return each
    for other in where.fitting:
        weight = where.in_model.get(f"{other}.weight")
        if weight is None or not _is_of_others(other) or not _are_beside(head.name, other, where):
            continue
        anchors = len(weight) // 4
        if len(weight) % 4 == 0 and anchors > 1 and head.there % anchors == 0 and head.here % anchors == 0:
            return anchors
    return 1


def _times(head: Head, counts: list[tuple[int, int]]) -> tuple[int, tuple[int, int]] | None:
    """(outputs for each class, the numbers of classes) of a layer of boxes; the background may have none."""
    for there, here in counts:
        for background in (0, 1):
            if there > background < here and (head.there, head.here) != (there, here):
                time, rest = divmod(head.there, there - background)
                if not rest and time > 1 and time * (here - background) == head.here:
                    return time, (there, here)
    return None


def _are_beside(one: str, other: str, where: Where) -> bool:
    """Whether two layers take the same."""
    weights = [where.in_model.get(f"{name}.weight") for name in (one, other)]
    shapes = [weight.shape[1:] for weight in weights if weight is not None and weight.ndim > 1]
    return len(shapes) == 2 and shapes[0] == shapes[1]


def _yolo(heads: list[Head]) -> str | None:
    """What heads of YOLO give; None if these are none."""
    same = {(head.there, head.here) for head in heads}
    if len(heads) < 2 or len(same) > 1 or any(OF_CLASSES.search(head.name) for head in heads):
        return None
    there, here = same.pop()
    classes = [number // ANCHORS - OF_A_BOX for number in (there, here)]
    if there % ANCHORS or here % ANCHORS or min(classes) < 1:
        return None
    names = few([head.name for head in heads])
    return (
        f"Another number of outputs: {there} in the checkpoint, {here} in the model ({len(heads)} heads: {names}). As "
        f"{ANCHORS} anchors with {OF_A_BOX} numbers and the classes each, which is what YOLO has, that would be "
        f"{classes[0]} and {classes[1]} classes."
    )


def _by_numbers(heads: list[Head]) -> list[tuple[int, int, list[str]]]:
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for head in heads:
        found[head.there, head.here].append(head.name)
    return [(*numbers, names) for numbers, names in sorted(found.items())]


def _listed(names: list[str], each: int) -> str:
    shown = few([name or "the model itself" for name in names])
    shown = f"{len(names)} heads: {shown}" if len(names) > 1 else shown
    return f"{shown}, {each} outputs for each class" if each > 1 else shown
