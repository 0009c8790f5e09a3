"""MATLAB's v7.3 files, which are HDF5, as plain Python values.

What MATLAB makes of its values in HDF5: axes come reversed; a cell is a dataset of references; a struct is a group, a
struct array a group whose members are datasets of references without a class; text is uint16; an empty value is the
dataset of its size with the attribute `MATLAB_empty`. Links to other places and other files are never followed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import MatConvNetError
from .unread import Unread

DEEPEST = 50  # structs and cells in one another
GZIP_AT_MOST = 1032  # bytes out of one
MOST = 1_000_000  # values in one file


def read_hdf5(path: Path) -> dict[str, Any]:
    """Its variables by name: struct -> dict, cell or struct array -> list, char -> str, numbers -> arrays.

    Raises:
        MatConvNetError: it has links, lies deeper in itself than any network, or claims more than it holds.
        OSError and others of h5py: it is damaged.
    """
    with h5py.File(path, "r") as file:
        reader = _Reader(file)
        return {name: reader.member(file, name, 0) for name in file if not name.startswith("#")}


class _Reader:
    def __init__(self, file: h5py.File) -> None:
        self.file, self.count = file, 0

    def member(self, group: h5py.Group, name: str, depth: int) -> Any:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise MatConvNetError(
                f"{name!r} is a link to another place, which MATLAB does not write: it is not followed"
            )
        return self.value(group[name], name, depth)

    def value(self, found: Any, name: str, depth: int) -> Any:
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            raise MatConvNetError("cells lie in one another deeper than any network has them, or in a circle")
        if isinstance(found, h5py.Group):
            return self._group(found, depth)
        if not isinstance(found, h5py.Dataset):
            return Unread(type(found).__name__)
        _check(found, name)
        kind = _text(found.attrs.get("MATLAB_class", b""))
        if "MATLAB_object_decode" in found.attrs or kind == "function_handle":
            return Unread(kind or "object")
        if found.attrs.get("MATLAB_empty", 0):
            return _empty(kind, found[()])
        if found.dtype == h5py.ref_dtype:
            return [self._referred(place, name, depth) for place in found[()].ravel()]
        if kind == "char":
            return _chars(found[()])
        if kind == "struct" or found.dtype.kind not in "fiub":
            return Unread(kind or str(found.dtype))
        return np.asarray(found[()]).T

    def _group(self, group: h5py.Group, depth: int) -> Any:
        if "MATLAB_sparse" in group.attrs:
            return Unread("sparse array")
        names = _fields(group)
        fields = {name: self.member(group, name, depth + 1) for name in names}
        are_arrays = [_is_struct_array(group[name]) for name in names]
        if not names or not all(are_arrays):
            return fields
        length = max(len(values) for values in fields.values())
        return [{name: values[i] for name, values in fields.items() if i < len(values)} for i in range(length)]

    def _referred(self, place: h5py.Reference, name: str, depth: int) -> Any:
        if not place:
            return Unread("reference to nothing")
        return self.value(self.file[place], name, depth + 1)


def _is_struct_array(member: Any) -> bool:
    is_reference = isinstance(member, h5py.Dataset) and member.dtype == h5py.ref_dtype
    return is_reference and "MATLAB_class" not in member.attrs


def _fields(group: h5py.Group) -> list[str]:
    """The names of a struct's fields, in MATLAB's order if the file has it."""
    there = list(group)
    named = ["".join(map(_text, letters)) for letters in group.attrs.get("MATLAB_fields", [])]
    return named if sorted(named) == sorted(there) else there


def _check(dataset: h5py.Dataset, name: str) -> None:
    """See to it that the numbers lie in this file, and can be as many as it says, before memory is asked for."""
    if dataset.external or dataset.is_virtual:
        raise MatConvNetError(f"{name!r} lies in another file, which MATLAB does not write: it is not read")
    size, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if size > max(stored, 1) * (GZIP_AT_MOST if dataset.chunks else 1) and size > 64:
        raise MatConvNetError(f"{name!r} claims {size:,} bytes and has {stored:,} in the file: it is damaged")


def _empty(kind: str, size: Any) -> Any:
    if kind == "char":
        return ""
    if kind in ("cell", "struct"):
        return []
    shape = tuple(int(number) for number in np.ravel(size))
    return np.zeros(shape if math.prod(shape) == 0 else (0, 0))


def _chars(codes: Any) -> Any:
    """Text; several rows are several texts, which MATLAB pads."""
    rows = np.atleast_2d(np.asarray(codes).T)
    lines = ["".join(map(chr, row)).rstrip() if len(rows) > 1 else "".join(map(chr, row)) for row in rows.tolist()]
    return lines[0] if len(lines) == 1 else lines


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
