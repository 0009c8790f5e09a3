"""MATLAB's files of version 5 and 7 as plain Python values, with every length held against what is there.

Such a file is a row of elements: a tag of type and length, and the data. A variable is an element of type 14, of whose
own elements the first say its class, its dimensions and its name; version 7 has each variable in an element of type 15,
deflated. Source: MathWorks, MAT-File Format (2021).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MatConvNetError
from .bounds import SMALL, VALUE, Bounds, Trail, cost
from .layout import read_planes
from .sources import Inflated, Source, Stored
from .unread import Unread, shape_only, whole_letters

DEEPEST = 50  # structs and cells in one another
HEADER = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
NUMERIC = range(6, 16)


def read_v5(path: Path, bounds: Bounds | None = None) -> dict[str, Any]:
    """Its variables by name: struct -> dict, cell or struct array -> list, char -> str, numbers -> arrays.

    Arrays have MATLAB's shape and the dtype in which they are stored, but large doubles, which are weights, become
    float32; they lie in memory as PyTorch has kernels.

    Raises:
        MatConvNetError: it is damaged, claims more than it holds, or would take more memory than a file of its size
            may (`Bounds`).
    """
    bounds = bounds or Bounds(path)
    variables: dict[str, Any] = {}
    with path.open("rb") as file:
        head = file.read(HEADER)
        if len(head) < HEADER:
            raise MatConvNetError(f"it ends within its head, {len(head)} bytes")
        order = ">" if head[126:] == b"MI" else "<"
        place = HEADER
        while place + 8 <= bounds.size:
            reader = _Reader(Stored(file, place), order, bounds)
            kind, length, following = reader.element(bounds.size)
            if kind == COMPRESSED:
                following = place + 8 + length  # which is not rounded up
                reader = _Reader(Inflated(file, length), order, bounds)
                kind, length = struct.unpack(order + "II", reader.source.take(8))
                bounds.inflate(length)
            if kind == MATRIX:
                name, value = reader.variable(reader.source.place + length)
                if name and not name.startswith("__"):
                    variables[name] = value
            place = following
    return variables


class _Reader:
    """Elements one after the other; `end` is where the element ends in which they lie."""

    def __init__(self, source: Source, order: str, bounds: Bounds) -> None:
        self.source, self.order, self.bounds = source, order, bounds

    def element(self, end: int) -> tuple[int, int, int]:
        """(type, length, place of the next one) of the element that begins here; its data comes next."""
        if end - self.source.place < 8:
            raise MatConvNetError("a variable ends before all of it was there")
        (first,) = struct.unpack(self.order + "I", self.source.take(4))
        if first >> 16:  # a small one: type and length in one word, the data in the other
            kind, length, following = first & 0xFFFF, first >> 16, self.source.place + 4
            if length > 4:
                raise MatConvNetError(f"a small element claims {length} bytes, and has 4")
        else:
            (length,) = struct.unpack(self.order + "I", self.source.take(4))
            kind, following = first, self.source.place + -(-length // 8) * 8
        if self.source.place + length > end:
            left = end - self.source.place
            raise MatConvNetError(f"an element claims {length:,} bytes, and {left:,} are left")
        return kind, length, min(following, end)

    def variable(self, end: int) -> tuple[str, Any]:
        """The one whose elements begin here: (name, value)."""
        kind, shape, name, is_complex = self._head(end)
        return name, self._value(kind, shape, is_complex, end, (name,))

    def _head(self, end: int) -> tuple[int, tuple[int, ...], str, bool]:
        """(class, shape, name, whether the numbers are complex)."""
        flags = self._integers("the flags", 2, end)
        kind = flags[0] & 0xFF
        if kind == OPAQUE:
            return kind, (), self._name(end), False
        shape = self._integers("the dimensions", None, end)
        if len(shape) < 2 or min(shape) < 0:
            raise MatConvNetError(f"a variable has the dimensions {shape}")
        return kind, shape, self._name(end), bool(flags[0] & 0x0800)

    def _value(self, kind: int, shape: tuple[int, ...], is_complex: bool, end: int, trail: Trail) -> Any:
        if kind == CELL:
            # a large claim costs nothing: the first that lacks ends it
            return [self._inner(end, trail) for _ in range(math.prod(shape))]
        if kind == STRUCT:
            return self._structs(math.prod(shape), end, trail)
        if kind == OPAQUE:
            self._name(end)  # "MCOS"
        if kind in (OBJECT, OPAQUE):
            return Unread(f"object of the class {self._name(end)}")
        if kind == CHAR:
            return self._chars(shape, end)
        if kind in UNREAD:
            return Unread(UNREAD[kind])
        if kind not in NUMERIC:
            raise MatConvNetError(f"a variable is of class {kind}, which there is not")
        return Unread("complex array") if is_complex else self._array(shape, end, trail)

    def _inner(self, end: int, trail: Trail) -> Any:
        """The value that begins here, without its name, which is empty."""
        kind, length, following = self.element(end)
        if kind != MATRIX:
            raise MatConvNetError(f"a cell or struct holds an element of type {kind}, where a value belongs")
        if len(trail) > DEEPEST:
            raise MatConvNetError("cells lie in one another deeper than any network has them")
        self.bounds.take(VALUE, "so many values")
        if not length:
            return np.zeros((0, 0))
        inner_end = self.source.place + length
        kind, shape, _, is_complex = self._head(inner_end)
        value = self._value(kind, shape, is_complex, inner_end, (*trail, ""))
        self.source.skip(following - self.source.place)
        return value

    def _structs(self, count: int, end: int, trail: Trail) -> Any:
        (length,) = self._integers("the length of field names", 1, end)
        _, letters = self._data(end)
        if length < 1 or len(letters) % length:
            raise MatConvNetError(f"the names of fields are {length} bytes each, of {len(letters)}")
        names = [_text(letters[place : place + length]) for place in range(0, len(letters), length)]
        if not names:
            return {} if count == 1 else []
        found = []
        for _ in range(count):
            self.bounds.take(VALUE, "so many values")
            found.append({name: self._inner(end, (*trail, name)) for name in names})
        return found[0] if len(found) == 1 else found

    def _array(self, shape: tuple[int, ...], end: int, trail: Trail) -> Any:
        kind, length, following = self.element(end)
        if kind not in NUMBERS:
            raise MatConvNetError(f"numbers are stored as type {kind}, which there is not")
        dtype = np.dtype(self.order + NUMBERS[kind])
        if length != math.prod(shape) * dtype.itemsize:
            raise MatConvNetError(f"an array {shape} of {dtype} has {length:,} bytes")
        if self.bounds.wants(trail, length):
            # large doubles are weights, which become float32 anyway
            to = np.dtype(np.float32) if dtype.kind == "f" and length > SMALL else None
            self.bounds.take(cost(shape, to or dtype), f"an array {shape} of {dtype}")
            found: Any = read_planes(shape, dtype, self._read_into, to)
            if to and dtype.itemsize > 4 and np.isinf(found).any():
                raise MatConvNetError(f"an array {shape} goes beyond float32")
        else:
            found = shape_only(shape, dtype) if self.bounds.only_shapes else Unread(f"array {shape} of {dtype}")
        self.source.skip(following - self.source.place)
        return found

    def _read_into(self, memory: memoryview) -> None:
        self.source.read_into(memory)
        self.bounds.passed(self.source.file.tell())

    def _chars(self, shape: tuple[int, ...], end: int) -> Any:
        kind, data = self._data(end)
        self.bounds.take(VALUE * shape[0] if shape[0] > 1 else 0, "so many lines of text")
        if kind in TEXTS:
            ending = "" if kind == 16 else "-le" if self.order == "<" else "-be"
            text = data.decode(TEXTS[kind] + ending, "replace")
        elif kind in NUMBERS and NUMBERS[kind][0] != "f":
            text = "".join(chr(code) for code in np.frombuffer(data, self.order + NUMBERS[kind]).tolist() if code >= 0)
        else:
            raise MatConvNetError(f"text is stored as type {kind}, which there is not")
        rows, columns = shape[0], math.prod(shape[1:])
        if len(text) != rows * columns:
            raise MatConvNetError(f"text {shape} has {len(text)} letters")
        lines = [whole_letters(text[row::rows]) for row in range(rows)]
        return [line.rstrip() for line in lines] if rows > 1 else "".join(lines)

    def _name(self, end: int) -> str:
        return _text(self._data(end)[1])

    def _integers(self, what: str, count: int | None, end: int) -> tuple[int, ...]:
        kind, data = self._data(end)
        if kind not in (5, 6) or not data or len(data) % 4 or count not in (None, len(data) // 4):
            raise MatConvNetError(f"{what} of a variable are {len(data)} bytes of type {kind}")
        return tuple(np.frombuffer(data, self.order + NUMBERS[kind]).tolist())

    def _data(self, end: int) -> tuple[int, bytes]:
        """(type, data) of a short element."""
        kind, length, following = self.element(end)
        self.bounds.take(MANIFOLD * length, "text or sizes")
        data = self.source.take(length)
        self.source.skip(following - self.source.place)
        return kind, data


MANIFOLD = 12  # bytes of memory for one byte of text or of a size, while they are read
UNREAD = {SPARSE: "sparse array", FUNCTION: "function"}


def _text(letters: bytes) -> str:
    return letters.partition(b"\0")[0].decode("latin-1")
