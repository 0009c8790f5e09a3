"""What reading a file may cost: memory by its size, and only what a network needs of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import MatConvNetError

SPARE = 40 << 20  # bytes that any file may take, however small
VALUE = 512  # bytes, more than a small object of Python costs, for it takes time, too
SMALL = 1 << 20  # bytes; numbers up to here are read wherever they stand
SHAPES_ONLY = 1 << 16  # the same if only shapes are asked for
PLACES = frozenset(  # a network's own fields, with all that lies in them
    {"layers", "params", "meta", "normalization", "weights", "filters", "biases"}
    | {"averageImage", "imageMean", "imageStd"}
)


class BeyondBoundsError(MatConvNetError):
    """The file may be whole, but reading it would take more than a file of its size may."""


Trail = tuple[str, ...]  # a variable and the fields that lead to a value


def cost(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of such an array, and of the float32 that are made of it if it has others."""
    count = math.prod(shape)
    return count * dtype.itemsize + (0 if dtype == np.float32 else 4 * count)


class Bounds:
    """How much may still be read of one file.

    Twice its size is more than weights take: they hardly shrink when they are deflated, doubles that hold float32 by
    half. What goes beyond is made to starve the reader, or was pruned, and can be saved without compression.
    """

    def __init__(self, path: Path, only_shapes: bool = False, show: Callable[[float], object] | None = None) -> None:
        self.size = path.stat().st_size
        self.show = show
        self.failed: Exception | None = None  # what `show` raised, which says nothing of the file
        self.left = 2 * self.size + SPARE
        self.to_inflate = 20 * self.size + SPARE
        self.only_shapes = only_shapes

    def take(self, count: int, what: str) -> None:
        """Account for that many bytes of memory.

        Raises:
            MatConvNetError: the file has no right to so many.
        """
        self.left -= count
        if self.left < 0:
            raise BeyondBoundsError(
                f"{what} would take {count:,} bytes of memory, and the file has {self.size:,} in all; if they "
                "are a network's, save them as single and without compression, in MATLAB save(..., '-v6')"
            )

    def inflate(self, count: int) -> None:
        """Account for the time that inflating to that many bytes takes, whether they are kept or not.

        Raises:
            MatConvNetError: no network shrinks so well.
        """
        self.to_inflate -= count
        if self.to_inflate < 0:
            raise MatConvNetError(
                f"a deflated element claims {count:,} bytes, and the file has {self.size:,} in all: it is damaged, or "
                "made to starve who reads it"
            )

    def passed(self, place: int) -> None:
        """Say how far the file was read."""
        if self.show is not None:
            try:
                self.show(min(1, place / self.size))
            except Exception as error:
                self.failed = error
                raise

    def wants(self, trail: Trail, count: int) -> bool:
        """Whether numbers of that many bytes are to be read: not those of a training's momentum, or of its images."""
        if self.only_shapes:
            return count <= SHAPES_ONLY
        if count <= SMALL:
            return True
        # the variable itself may have any name
        return not PLACES.isdisjoint(trail) and not any("momentum" in name.lower() for name in trail[1:])
