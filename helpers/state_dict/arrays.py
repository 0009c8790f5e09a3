"""Arrays of numpy: as tensors, and out of a pickle without calling numpy with what the file says."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PLAIN = "torch.as_tensor(t)"  # both as lines of Python over an array t
COPIED = "torch.from_numpy(t.astype(t.dtype.newbyteorder('='), order='C'))"
NUMBERS = re.compile(r"b1|[iu][1248]|f[248]|c(8|16)")  # as pickles name what a tensor can hold


def as_tensor(array: NDArray[Any]) -> Tensor | None:
    """The same numbers, in the same memory if it can be; None if no tensor can hold them."""
    if array.dtype.kind not in "biufc" or isinstance(array, np.ma.MaskedArray):
        return None
    try:
        return torch.from_numpy(array if is_plain(array) else array.astype(array.dtype.newbyteorder("="), order="C"))
    except TypeError:  # numbers of more than 64 bits
        return None


def is_plain(array: NDArray[Any]) -> bool:
    """Whether a tensor can use its memory: the machine's order of bytes, whole steps forward, and writable."""
    steps_are_whole = all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)
    return array.dtype.isnative and array.flags.writeable and steps_are_whole


def described(array: NDArray[Any]) -> str:
    """Why no tensor can hold what this array does, and the way out if there is one."""
    if isinstance(array, np.ma.MaskedArray):
        return "masked: take its filled(0)"
    if array.dtype.kind == "f":
        return f"{array.dtype}: take its astype('float64')"
    return str(array.dtype)


class NumpyDtype:
    """Takes the place of `numpy.dtype` in a pickle."""

    def __init__(self, name: str, *_options: object) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class NumpyArray:
    """Takes the place of an array of numpy in a pickle, and keeps what is said of it."""

    shape: tuple[int, ...] = ()
    dtype: NumpyDtype | None = None
    by_columns = False
    content = b""

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, self.shape, self.dtype, self.by_columns, self.content = state

    def tensor(self) -> Tensor | None:
        """Its numbers, in memory of their own; None if no tensor can hold them.

        Raises:
            ValueError: what is said of it contradicts itself.
        """
        if not isinstance(self.dtype, NumpyDtype) or not NUMBERS.fullmatch(self.dtype.name):
            return None
        dtype = np.dtype(self.dtype.order + self.dtype.name)
        if len(self.content) != math.prod(self.shape) * dtype.itemsize:
            raise ValueError(f"an array of {self.shape} numbers has {len(self.content)} bytes")
        flat = np.frombuffer(self.content, dtype)
        return as_tensor(flat.reshape(self.shape, order="F" if self.by_columns else "C"))


def no_bytes() -> bytes:
    """Takes the place of `bytes`, by which pickles of this protocol write that there are none."""
    return b""


# what takes the place of which name, as torch.serialization.safe_globals wants it
STORED: list[Any] = [
    (NumpyArray, "numpy._core.multiarray._reconstruct"),
    (NumpyArray, "numpy.core.multiarray._reconstruct"),
    (NumpyArray, "numpy.ndarray"),
    (NumpyDtype, "numpy.dtype"),
    (no_bytes, "builtins.bytes"),
]
