"""What stands for a MATLAB value that has no place here, or that nobody asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Unread:
    """What is no number, text, cell or struct, such as a function or an object on the GPU: what it is, and no more."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<a MATLAB {self.kind}, not read>"


def briefly(value: object) -> str:
    """What stands in a field, in a few letters; a long list is not written out to be cut."""
    if isinstance(value, (list, dict)):
        return f"a {'cell' if isinstance(value, list) else 'struct'} of {len(value)}"
    return f"{value!r:.60}"


def whole_letters(text: str) -> str:
    """MATLAB's text, in units of UTF-16: two that belong together become one letter, half a letter becomes a mark."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shape_only(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """An array of that shape that takes no memory: one zero, repeated."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def is_shape_only(array: NDArray) -> bool:
    """Whether it came from `shape_only`."""
    return array.size > 1 and not any(array.strides)
