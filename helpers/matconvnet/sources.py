"""The bytes of a file from front to back, as they lie there or inflated on the way."""

from __future__ import annotations

import zlib
from types import ModuleType
from typing import BinaryIO, Protocol

from ..errors import MatConvNetError

INFLATING: ModuleType = zlib
try:
    from isal import isal_zlib

    INFLATING = isal_zlib  # twice as fast, and else the same
except ImportError:
    pass

PIECE = 1 << 18  # bytes at a time, which stay in the processor's cache


class Source(Protocol):
    """Where bytes come from; `place` counts those that came.

    All raise MatConvNetError where there are fewer than asked for.
    """

    file: BinaryIO
    place: int

    def take(self, count: int) -> bytes: ...

    def read_into(self, memory: memoryview) -> None: ...

    def skip(self, count: int) -> None: ...


class Stored:
    """The bytes of a file as they lie there."""

    def __init__(self, file: BinaryIO, place: int = 0) -> None:
        self.file, self.place = file, place
        file.seek(place)

    def take(self, count: int) -> bytes:
        found = self.file.read(count)
        self._came(len(found), count)
        return found

    def read_into(self, memory: memoryview) -> None:
        self._came(self.file.readinto(memory), len(memory))  # type: ignore[attr-defined]

    def skip(self, count: int) -> None:
        self.file.seek(count, 1)
        self.place += count

    def _came(self, count: int, asked: int) -> None:
        self.place += count
        if count < asked:
            raise MatConvNetError(f"it ends where {asked - count:,} bytes more belong")


class Inflated:
    """What comes out of `length` deflated bytes of a file."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file, self.length, self.place = file, length, 0
        self.stream = INFLATING.decompressobj()
        self.ready = memoryview(b"")

    def take(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            found += self._some(count - len(found))
        return bytes(found)

    def read_into(self, memory: memoryview) -> None:
        start = 0
        while start < len(memory):
            some = self._some(len(memory) - start)
            memory[start : start + len(some)] = some
            start += len(some)

    def skip(self, count: int) -> None:
        while count:
            count -= len(self._some(count))

    def _some(self, most: int) -> memoryview:
        """The next bytes, one at least."""
        if not self.ready:
            self.ready = memoryview(self._inflate())
        some, self.ready = self.ready[:most], self.ready[most:]
        self.place += len(some)
        return some

    def _inflate(self) -> bytes:
        found = b""
        while not found:
            deflated = self.stream.unconsumed_tail
            if not deflated:
                deflated = self.file.read(min(PIECE, self.length))
                self.length -= len(deflated)
            try:
                found = self.stream.decompress(deflated, PIECE)
            except (zlib.error, INFLATING.error) as error:
                raise MatConvNetError(f"a deflated element cannot be read ({error})") from error
            if not found and (self.stream.eof or not deflated):
                raise MatConvNetError(f"a deflated element ends after {self.place:,} bytes, where more belong")
        return found
