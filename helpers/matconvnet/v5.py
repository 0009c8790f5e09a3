"""MATLAB's files of version 5 and 7 as plain Python values, with every length held against what is there.

Such a file is a row of elements: a tag of type and length, and the data. A variable is an element of type 14, of whose
own elements the first say its class, its dimensions and its name; version 7 has each variable in an element of type 15,
deflated. Source: MathWorks, MAT-File Format (2021).
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MatConvNetError
from .unread import Unread

DEEPEST = 50  # structs and cells in one another
ZLIB_AT_MOST = 1032  # bytes out of one
SMALL = 1 << 20  # bytes; what is larger is not copied here
HEADER = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
NUMERIC = range(6, 16)


def read_v5(path: Path) -> dict[str, Any]:
    """Its variables by name: struct -> dict, cell or struct array -> list, char -> str, numbers -> arrays.

    Arrays have MATLAB's shape and the dtype in which they are stored. Large ones of an uncompressed file lie in the
    file, which is mapped.

    Raises:
        MatConvNetError: it is damaged, or claims more than it holds.
    """
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if len(data) < HEADER:
        raise MatConvNetError(f"it ends within its head, {len(data)} bytes")
    order = ">" if bytes(data[126:128]) == b"MI" else "<"
    variables: dict[str, Any] = {}
    for kind, part in _elements(data[HEADER:], order):
        if kind == COMPRESSED:
            kind, part = _inflated(part, order)
        if kind == MATRIX:
            name, value = _Matrix(part, order).read(0)
            if name and not name.startswith("__"):
                variables[name] = value
    return variables


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, data) of the elements one after the other."""
    place = 0
    while place + 8 <= len(data):
        first, length = struct.unpack_from(order + "II", data, place)
        if first >> 16:  # a small one: type and length in one word, the data in the other
            kind, length, start, following = first & 0xFFFF, first >> 16, place + 4, place + 8
            if length > 4:
                raise MatConvNetError(f"a small element claims {length} bytes, and has 4")
        else:
            kind, start = first, place + 8
            following = start + (length if kind == COMPRESSED else -(-length // 8) * 8)
        if start + length > len(data):
            raise MatConvNetError(f"an element claims {length:,} bytes, and {len(data) - start:,} are left")
        yield kind, data[start : start + length]
        place = following


def _inflated(part: memoryview, order: str) -> tuple[int, memoryview]:
    """The element in a deflated one; what comes out is not longer than its own tag says."""
    stream = zlib.decompressobj()
    try:
        tag = stream.decompress(part[:SMALL], 8)
        kind, length = struct.unpack(order + "II", tag)
        if kind != MATRIX or length > ZLIB_AT_MOST * len(part):
            raise MatConvNetError(f"a deflated element claims {length:,} bytes out of {len(part):,}: it is damaged")
        found = bytearray(length)
        place, taken = 0, min(SMALL, len(part))
        while place < length:
            left: bytes | memoryview = stream.unconsumed_tail
            if not left:
                left, taken = part[taken : taken + SMALL], taken + SMALL  # all of it at once would be copied each time
            piece = stream.decompress(left, min(SMALL, length - place))
            if not piece and (stream.eof or taken >= len(part)):
                raise MatConvNetError(f"a deflated element claims {length:,} bytes, and has {place:,}")
            found[place : place + len(piece)] = piece
            place += len(piece)
    except (zlib.error, struct.error) as error:
        raise MatConvNetError(f"a deflated element cannot be read ({error})") from error
    return kind, memoryview(found)


class _Matrix:
    """One variable, or what lies in one."""

    def __init__(self, part: memoryview, order: str) -> None:
        self.order, self.elements = order, _elements(part, order)

    def read(self, depth: int) -> tuple[str, Any]:
        """(name, value)."""
        if depth > DEEPEST:
            raise MatConvNetError("cells lie in one another deeper than any network has them")
        flags = self._numbers("the flags", 2)
        kind, is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & 0x0800)
        if kind == OPAQUE:
            return self._text(), Unread("object")
        shape = tuple(int(size) for size in self._numbers("the dimensions", None))
        if len(shape) < 2 or min(shape) < 0:
            raise MatConvNetError(f"a variable has the dimensions {shape}")
        return self._text(), self._value(kind, shape, is_complex, depth)

    def _value(self, kind: int, shape: tuple[int, ...], is_complex: bool, depth: int) -> Any:
        count = math.prod(shape)
        if kind == CELL:
            return [self._inner(depth) for _ in range(count)]  # a large claim costs nothing: the first lack ends it
        if kind in (STRUCT, OBJECT):
            if kind == OBJECT:
                self._text()
            return self._structs(count, depth)
        if kind == CHAR:
            return self._chars(shape)
        if kind == SPARSE:
            return Unread("sparse array")
        if kind == FUNCTION:
            return Unread("function")
        if kind not in NUMERIC:
            raise MatConvNetError(f"a variable is of class {kind}, which there is not")
        array = self._array(shape)
        return array + 1j * self._array(shape) if is_complex else array

    def _structs(self, count: int, depth: int) -> Any:
        length = int(self._numbers("the length of field names", 1)[0])
        _, letters = self._next()
        if length < 1 or len(letters) % length:
            raise MatConvNetError(f"the names of fields are {length} bytes each, of {len(letters)}")
        names = [_name(letters[place : place + length]) for place in range(0, len(letters), length)]
        if not names:
            return {} if count == 1 else []
        found = [{name: self._inner(depth) for name in names} for _ in range(count)]
        return found[0] if len(found) == 1 else found

    def _inner(self, depth: int) -> Any:
        kind, part = self._next()
        if kind != MATRIX:
            raise MatConvNetError(f"a cell or struct holds an element of type {kind}, where a value belongs")
        return _Matrix(part, self.order).read(depth + 1)[1] if len(part) else np.zeros((0, 0))

    def _array(self, shape: tuple[int, ...]) -> NDArray[Any]:
        kind, part = self._next()
        if kind not in NUMBERS:
            raise MatConvNetError(f"numbers are stored as type {kind}, which there is not")
        dtype = np.dtype(self.order + NUMBERS[kind])
        if len(part) != math.prod(shape) * dtype.itemsize:
            raise MatConvNetError(f"an array {shape} of {dtype} has {len(part):,} bytes")
        array = np.frombuffer(part, dtype).reshape(shape, order="F")
        return array.copy(order="F") if len(part) <= SMALL else array

    def _chars(self, shape: tuple[int, ...]) -> Any:
        kind, part = self._next()
        if kind in TEXTS:
            text = bytes(part).decode(
                TEXTS[kind] + ("" if kind == 16 else "-le" if self.order == "<" else "-be"), "replace"
            )
        elif kind in NUMBERS and NUMBERS[kind][0] != "f":
            text = "".join(chr(code) for code in np.frombuffer(part, self.order + NUMBERS[kind]).tolist() if code >= 0)
        else:
            raise MatConvNetError(f"text is stored as type {kind}, which there is not")
        rows, columns = shape[0], math.prod(shape[1:])
        if len(text) != rows * columns:
            raise MatConvNetError(f"text {shape} has {len(text)} letters")
        lines = [text[row::rows].rstrip() if rows > 1 else text for row in range(rows)]
        return lines[0] if len(lines) == 1 else lines or ""

    def _text(self) -> str:
        return _name(self._next()[1])

    def _numbers(self, what: str, count: int | None) -> NDArray[Any]:
        kind, part = self._next()
        if kind not in (5, 6) or not len(part) or len(part) % 4 or count not in (None, len(part) // 4):
            raise MatConvNetError(f"{what} of a variable are {len(part)} bytes of type {kind}")
        return np.frombuffer(part, self.order + NUMBERS[kind])

    def _next(self) -> tuple[int, memoryview]:
        found = next(self.elements, None)
        if found is None:
            raise MatConvNetError("a variable ends before all of it was there")
        return found


def _name(letters: memoryview) -> str:
    return bytes(letters).partition(b"\0")[0].decode("latin-1")
