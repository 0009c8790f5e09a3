"""One difference between a checkpoint and a model, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..text import few
from .places import Where
from .report import Shape

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


Look = Callable[[Mismatched, Where], Iterator[Finding]]


def some(names: Iterable[str]) -> str:
    """A few names, sorted."""
    return few(sorted(name or "the model itself" for name in names))


def stays(names: Iterable[str]) -> tuple[str, str]:
    """What becomes of layers that nothing is loaded into, and what to do."""
    if len(list(names)) > 1:
        return "Those layers stay as they are", "train them"
    return "That layer stays as it is", "train it"
