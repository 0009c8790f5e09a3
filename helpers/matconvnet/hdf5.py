"""MATLAB's v7.3 files, which are HDF5, as plain Python values.

What MATLAB makes of its values in HDF5: axes come reversed; a cell is a dataset of references; a struct is a group, a
struct array a group whose members are datasets of references without a class; text is uint16; an empty value is the
dataset of its size with the attribute `MATLAB_empty`. Links to other places and other files are never followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import MatConvNetError
from .bounds import SMALL, VALUE, Bounds, Trail, cost
from .layout import from_planes
from .sources import Inflated, Source, Stored
from .unread import Unread, shape_only, whole_letters

DEEPEST = 50  # structs and cells in one another
AGAIN = 6 * VALUE  # bytes, for a value that many refer to: reading it takes time each time
ATTRIBUTE = 1 << 15  # bytes, more than MATLAB writes into one
FEW = 64  # bytes of numbers that a file may leave out


def read_hdf5(path: Path, bounds: Bounds | None = None) -> dict[str, Any]:
    """Its variables by name: struct -> dict, cell or struct array -> list, char -> str, numbers -> arrays.

    Arrays have MATLAB's shape, and lie in memory as PyTorch has kernels.

    Raises:
        MatConvNetError: it has links, lies deeper in itself than any network, claims more than it holds, or would take
            more memory than a file of its size may (`Bounds`).
        OSError and others of h5py: it is damaged.
    """
    with path.open("rb") as raw, h5py.File(path, "r") as file:
        reader = _Reader(file, raw, bounds or Bounds(path))
        return {name: reader.member(file, name, (name,)) for name in file if not name.startswith("#")}


class _Column(list):
    """The values of one field in the structs of an array; a cell has the attribute MATLAB_class, and this has not."""


class _Reader:
    def __init__(self, file: h5py.File, raw: BinaryIO, bounds: Bounds) -> None:
        self.file, self.raw, self.bounds, self.stored = file, raw, bounds, 0
        self.places: set[int] = set()  # of values that were read

    def member(self, group: h5py.Group, name: str, trail: Trail) -> Any:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise MatConvNetError(
                f"{name!r} is a link to another place, which MATLAB does not write: it is not followed"
            )
        return self.value(group[name], trail)

    def value(self, found: Any, trail: Trail) -> Any:
        place = h5py.h5o.get_info(found.id).addr
        self.bounds.take(AGAIN if place in self.places else VALUE, "so many values")
        self.places.add(place)
        if len(trail) > DEEPEST:
            raise MatConvNetError("cells lie in one another deeper than any network has them, or in a circle")
        if isinstance(found, h5py.Group):
            return self._group(found, trail)
        if not isinstance(found, h5py.Dataset):
            return Unread(type(found).__name__)
        kind = _text(_attribute(found, b"MATLAB_class", b""))
        if h5py.h5a.exists(found.id, b"MATLAB_object_decode") or kind == "function_handle":
            return Unread("function" if kind == "function_handle" else f"object of the class {kind or 'unknown'}")
        if _attribute(found, b"MATLAB_empty", 0):
            return _empty(kind, self._numbers(found, trail))
        dtype = found.dtype
        if dtype == h5py.ref_dtype:
            values = [self._referred(place, trail) for place in self._references(found)]
            return values if kind else _Column(values)
        if dtype.names:
            return Unread("complex array")
        if kind == "struct" or dtype.kind not in "fiub":
            return Unread(kind or str(dtype))
        numbers = self._numbers(found, trail)
        return _chars(numbers) if kind == "char" and not isinstance(numbers, Unread) else numbers

    def _group(self, group: h5py.Group, trail: Trail) -> Any:
        if h5py.h5a.exists(group.id, b"MATLAB_sparse"):
            return Unread("sparse array")
        names = list(group)  # the order in MATLAB means nothing, and stands in attributes that damaged files make long
        fields = {name: self.member(group, name, (*trail, name)) for name in names}
        if not names or not all(isinstance(values, _Column) for values in fields.values()):
            return fields
        length = max(len(values) for values in fields.values())
        return [{name: values[i] for name, values in fields.items() if i < len(values)} for i in range(length)]

    def _referred(self, place: h5py.Reference, trail: Trail) -> Any:
        if not place:
            return Unread("reference to nothing")
        return self.value(self.file[place], (*trail, ""))

    def _references(self, dataset: h5py.Dataset) -> list[h5py.Reference]:
        """The places to which a cell or a struct array refers."""
        self._check_size(dataset)
        self.bounds.take(VALUE * math.prod(dataset.shape), "so many values")
        if dataset.chunks:
            for _ in self._chunks(dataset):
                pass  # h5py inflates them again, and is not told how far it may go
        return dataset[()].ravel().tolist()

    def _numbers(self, dataset: h5py.Dataset, trail: Trail) -> Any:
        shape, dtype = dataset.shape[::-1] + (1,) * (2 - dataset.ndim), dataset.dtype
        if not self.bounds.wants(trail, _size(dataset)):
            return shape_only(shape, dtype) if self.bounds.only_shapes else Unread(f"array {shape} of {dtype}")
        self._check_size(dataset)
        # large doubles are weights, which become float32 anyway
        is_long = dtype.kind == "f" and dtype.itemsize > 4 and _size(dataset) > SMALL
        to = np.dtype(np.float32) if is_long else dtype.newbyteorder("=")
        self.bounds.take(cost(shape, to), f"an array {shape} of {dtype}")
        self.stored += dataset.id.get_storage_size()
        self.bounds.passed(self.stored)
        found = self._assembled(dataset, to) if dataset.chunks else np.asarray(dataset[()])
        planes = np.ascontiguousarray(np.swapaxes(found.reshape(shape[::-1]), -1, -2), to)
        if is_long and np.isinf(planes).any():
            raise MatConvNetError(f"an array {shape} goes beyond float32")
        return from_planes(planes)

    def _check_size(self, dataset: h5py.Dataset) -> None:
        """See to it that the numbers lie in this file, and are as many as it says, before memory is asked for."""
        if dataset.external or dataset.is_virtual:
            raise MatConvNetError(f"{dataset.name!r} lies in another file, which MATLAB does not write: it is not read")
        size, stored = _size(dataset), dataset.id.get_storage_size()
        if not dataset.chunks and size > max(stored, FEW):
            raise MatConvNetError(
                f"{dataset.name!r} claims {size:,} bytes and has {stored:,} in the file: it is damaged"
            )

    def _assembled(self, dataset: h5py.Dataset, to: np.dtype) -> NDArray:
        found = np.empty(dataset.shape, to)
        for place, data in self._chunks(dataset):
            numbers = np.frombuffer(data, dataset.dtype).reshape(dataset.chunks)
            part = found[tuple(slice(start, start + size) for start, size in zip(place, dataset.chunks, strict=True))]
            part[...] = numbers[tuple(map(slice, part.shape))]  # one at the edge is longer than what is left
        return found

    def _chunks(self, dataset: h5py.Dataset) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """(first index, bytes) of each chunk.

        HDF5 itself inflates a chunk as far as it goes, some thousand times its size, whatever the file says.
        """
        size = math.prod(dataset.chunks) * dataset.dtype.itemsize
        self.bounds.take(size, "a chunk of numbers")
        stored: list[Any] = []
        dataset.id.chunk_iter(stored.append)
        expected = math.prod(-(-all_ // one) for all_, one in zip(dataset.shape, dataset.chunks, strict=True))
        if len(stored) != expected:
            raise MatConvNetError(f"{dataset.name!r} has {len(stored):,} of its {expected:,} chunks: it is damaged")
        filters = _filters(dataset)
        for chunk in stored:
            # not by `read_direct_chunk`, which writes beyond its memory where a chunk is longer than it should be
            is_deflated = h5py.h5z.FILTER_DEFLATE in filters
            if chunk.filter_mask or not filters <= KNOWN_FILTERS or (chunk.size != size and not is_deflated):
                raise MatConvNetError(f"{dataset.name!r} is packed as MATLAB does not do it, or is damaged")
            source: Source = Stored(self.raw, chunk.byte_offset)
            if is_deflated:
                self.bounds.inflate(size)
                source = Inflated(self.raw, chunk.size)
            data = source.take(size)
            if h5py.h5z.FILTER_SHUFFLE in filters:  # first bytes of all numbers, then all second ones
                data = np.frombuffer(data, np.uint8).reshape(dataset.dtype.itemsize, -1).T.tobytes()
            yield chunk.chunk_offset, data


KNOWN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}


def _size(dataset: h5py.Dataset) -> int:
    """Bytes; h5py's own `nbytes` counts in 64 bits, and damaged files claim more."""
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _filters(dataset: h5py.Dataset) -> set[int]:
    made = dataset.id.get_create_plist()
    return {made.get_filter(i)[0] for i in range(made.get_nfilters())}


def _attribute(found: h5py.HLObject, name: bytes, default: Any) -> Any:
    """That attribute, if it is no longer than MATLAB writes one; h5py's upper layer takes ten times as long."""
    if not h5py.h5a.exists(found.id, name):
        return default
    stored = h5py.h5a.open(found.id, name)
    shape, dtype = stored.shape, stored.dtype
    if dtype.kind not in "Siu" or math.prod(shape) * dtype.itemsize > ATTRIBUTE:
        raise MatConvNetError(f"{found.name!r} has an attribute {name.decode()} {shape} of {dtype}: it is damaged")
    value = np.empty(shape, dtype)
    stored.read(value)
    return value.ravel()[0] if value.size else default


def _empty(kind: str, size: Any) -> Any:
    if kind == "char":
        return ""
    if kind in ("cell", "struct"):
        return []
    shape = tuple(int(number) for number in np.ravel(size))
    return np.zeros(shape if math.prod(shape) == 0 else (0, 0))


def _chars(codes: NDArray) -> Any:
    """Text; several rows are several texts, which MATLAB pads."""
    lines = [whole_letters("".join(map(chr, row))) for row in codes.reshape(len(codes), -1).tolist()]
    return lines[0] if len(lines) == 1 else [line.rstrip() for line in lines]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
