"""How well the names of a checkpoint fit a model, and what stands in front of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

DEEPEST = 64  # modules within modules that names are cut at


class Fit(NamedTuple):
    """How tensors fit if a prefix is taken off, or put in front.

    Attributes:
        shaped: names of the model under which there is a tensor of the same shape.
        named: names of the model under which there is a tensor.
        taken_off: what stands in front of the checkpoint's names.
        put_in_front: what stands in front of the model's.
    """

    shaped: int = 0
    named: int = 0
    taken_off: str = ""
    put_in_front: str = ""


def fits(in_model: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> int:
    """How many tensors have the name and the shape of one of the model's."""
    return sum(key in tensors and tensors[key].shape == tensor.shape for key, tensor in in_model.items())


def prefixes_by_fit(in_model: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[Fit]:
    """All prefixes on one of the sides with which names fit, best first; none at all goes before others."""
    counts: Counter[tuple[str, str]] = Counter()
    named: Counter[tuple[str, str]] = Counter()
    for key, tensor in tensors.items():
        for prefix, rest in cut(key):
            if rest in in_model:
                named[prefix, ""] += 1
                counts[prefix, ""] += in_model[rest].shape == tensor.shape
    for key, tensor in in_model.items():
        for prefix, rest in cut(key):
            if prefix and rest in tensors:
                named["", prefix] += 1
                counts["", prefix] += tensors[rest].shape == tensor.shape
    found = [Fit(counts[prefix], named[prefix], *prefix) for prefix in named]
    return sorted(found, key=lambda fit: (-fit.shaped, -fit.named, fit.taken_off + fit.put_in_front != ""))


def best_fit(in_model: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Fit:
    """The first of them."""
    return next(iter(prefixes_by_fit(in_model, tensors)), Fit())


def without(component: str, name: str) -> str:
    """A name without one of its components, wherever it stands."""
    return re.sub(component_pattern(component), "", name)


def component_pattern(component: str) -> str:
    """A regular expression for a component of a name and the dot behind it."""
    return rf"(?<![^.]){re.escape(component)}\."


def cut(key: str) -> Iterator[tuple[str, str]]:
    """(what stands in front, the rest), at each dot; first with nothing in front."""
    yield "", key
    place = -1
    for _ in range(DEEPEST):
        place = key.find(".", place + 1)
        if place < 0:
            return
        yield key[: place + 1], key[place + 1 :]
