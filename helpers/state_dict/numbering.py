"""Names that hold numbers: `features.24` is a position, and positions move when layers are inserted."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

Module = dict[str, tuple[int, ...]]  # leaf, such as "weight" -> shape
Modules = dict[str, Module]
Signature = frozenset[tuple[str, tuple[int, ...]]]


def signature(module: Module) -> Signature:
    """Its shapes. A counter of batches is left out: old checkpoints have none."""
    return frozenset(item for item in module.items() if item[0] != "num_batches_tracked")


def family(name: str) -> str:
    """The name with its numbers left open: layer1.0.conv2 -> layer#.#.conv#."""
    return re.sub(r"\d+", "#", name)


def numbers_by_family(modules: Modules) -> dict[str, list[tuple[int, ...]]]:
    """Each family of names -> the numbers in them, in the order in which they come."""
    found: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for name in modules:
        found[family(name)].append(tuple(map(int, re.findall(r"\d+", name))))
    return found


def renumbered_families(in_checkpoint: Modules, in_model: Modules) -> set[str]:
    """Families that have numbers of their own on both sides, so that an equal number need not be the same module."""
    of_checkpoint, of_model = numbers_by_family(in_checkpoint), numbers_by_family(in_model)
    both = of_checkpoint.keys() & of_model.keys()
    return {name for name in both if _each_has_its_own(set(of_checkpoint[name]), set(of_model[name]))}


def _each_has_its_own(a: set[tuple[int, ...]], b: set[tuple[int, ...]]) -> bool:
    return bool(a - b and b - a)


def order_can_be_trusted(in_checkpoint: Modules, in_model: Modules) -> bool:
    """Whether the numbers in the names rise, and the names were not sorted by somebody."""
    families = numbers_by_family(in_checkpoint)
    if any(numbers != sorted(numbers) for numbers in families.values()):
        return False
    if in_checkpoint and all(set(module) == {""} for module in in_checkpoint.values()):
        return len(families) == 1  # single tensors: only if numbers are all there is
    return len(families) == 1 or list(in_checkpoint) != sorted(in_checkpoint) or _numbers_decide(list(in_checkpoint))


def _numbers_decide(names: list[str]) -> bool:
    """Whether each name differs from the one before it first in a number that is larger."""
    for before, name in pairwise(names):
        pairs = zip(before.split("."), name.split("."), strict=False)
        one, other = next(((a, b) for a, b in pairs if a != b), ("", ""))
        if not (one.isdecimal() and other.isdecimal() and int(one) < int(other)):
            return False
    return True


def doubtful_numbers(in_checkpoint: Modules, in_model: Modules) -> dict[str, tuple[str, ...]]:
    """Names that both sides have -> modules of the same family and shapes that only one of the sides has.

    If those were inserted, not appended, the numbers behind them have moved, and equal names are different modules.
    """
    extra: dict[tuple[str, Signature], list[str]] = defaultdict(list)
    for modules, others in ((in_checkpoint, in_model), (in_model, in_checkpoint)):
        for name in modules.keys() - others.keys():
            extra[family(name), signature(modules[name])].append(name)
    both = [name for name in in_checkpoint if name in in_model and "#" in family(name)]
    found = {name: tuple(sorted(extra[family(name), signature(in_checkpoint[name])])) for name in both}
    return {name: names for name, names in found.items() if names}
