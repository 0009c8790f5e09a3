"""What the check shows to those who learn, and what it keeps back to judge them by. All of it is painted here."""

from __future__ import annotations

from functools import cache

from torch import Tensor

from ...data import garment_scenes
from ...training import few_of_each
from ...wren import KINDS


@cache
def few_pictures() -> tuple[Tensor, Tensor]:
    """Ten of each kind to learn from: (60, 4, 64, 64) uint8 with one garment each, and which of `KINDS` it is."""
    pictures, kinds = painted(240, train=True, seed=1000)
    chosen = few_of_each(kinds, 10, seed=0)
    return pictures[chosen], kinds[chosen]


@cache
def unseen_pictures() -> tuple[Tensor, Tensor]:
    """600 that are kept back."""
    return painted(600, train=False, seed=3000)


def painted(count: int, train: bool, seed: int) -> tuple[Tensor, Tensor]:
    """(count, 4, 64, 64) uint8 with one garment each, and which of `KINDS` it is."""
    scenes, masks = garment_scenes(count, (64, 64), train=train, seed=seed, garments=KINDS, most=1, depth=True)
    return scenes, masks.flatten(1).amax(1) - 1


@cache
def few_scenes() -> tuple[Tensor, Tensor]:
    """24 to learn from: (24, 4, 96, 128) uint8 and their masks."""
    return garment_scenes(24, train=True, seed=2000, garments=KINDS, depth=True)


@cache
def unseen_scenes() -> tuple[Tensor, Tensor]:
    """60 that are kept back."""
    return garment_scenes(60, train=False, seed=2000, garments=KINDS, depth=True)
