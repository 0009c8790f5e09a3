"""Names that hold numbers: `features.24` is a position, and positions move when layers are inserted."""

from __future__ import annotations

import re
from collections import defaultdict

Module = dict[str, tuple[int, ...]]  # leaf, such as "weight" -> shape
Modules = dict[str, Module]


def signature(module: Module) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Its shapes. A counter of batches is left out: old checkpoints have none."""
    return frozenset(item for item in module.items() if item[0] != "num_batches_tracked")


def family(name: str) -> str:
    """The name with its numbers left open: layer1.0.conv2 -> layer#.#.conv#."""
    return re.sub(r"\d+", "#", name)


def numbers_by_family(modules: Modules) -> dict[str, list[tuple[int, ...]]]:
    """Each family of names -> the numbers in them, in the order in which they come."""
    found = defaultdict(list)
    for name in modules:
        found[family(name)].append(tuple(map(int, re.findall(r"\d+", name))))
    return found


def renumbered_families(mine: Modules, yours: Modules) -> set[str]:
    """Families that have numbers of their own on both sides, so that an equal number need not be the same module."""
    ours, theirs = numbers_by_family(mine), numbers_by_family(yours)
    return {name for name in ours.keys() & theirs.keys() if _differ(set(ours[name]), set(theirs[name]))}


def _differ(ours: set, theirs: set) -> bool:
    return bool(ours - theirs and theirs - ours)


def order_can_be_trusted(mine: Modules, yours: Modules) -> bool:
    """Whether the numbers in the names rise, and the names were not sorted by somebody."""
    families = numbers_by_family(mine)
    if any(numbers != sorted(numbers) for numbers in families.values()):
        return False
    if list(mine.values()) and all(set(module) == {""} for module in mine.values()):
        return len(families) == 1  # single tensors: only if numbers are all there is
    return len(families) == 1 or list(mine) != sorted(mine) or list(yours) == sorted(yours)


def doubtful_numbers(mine: Modules, yours: Modules) -> dict[str, tuple[str, ...]]:
    """Names that both sides have -> modules of the same family and shapes that only one of the sides has.

    If those were inserted, not appended, the numbers behind them have moved, and equal names are different modules.
    """
    extra = defaultdict(list)
    for modules, others in ((mine, yours), (yours, mine)):
        for name in modules.keys() - others.keys():
            extra[family(name), signature(modules[name])].append(name)
    both = [name for name in mine if name in yours and "#" in family(name)]
    found = {name: tuple(sorted(extra[family(name), signature(mine[name])])) for name in both}
    return {name: names for name, names in found.items() if names}
