"""Values in MATLAB's v7.3 form, which is HDF5: what `save(..., '-v7.3')` makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def save73(path: Path, **variables: Any) -> Path:
    """Dictionaries become structs, lists of alike ones struct arrays, other lists cells, texts char, arrays numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, value in variables.items():
            write(file, refs, name, value)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def write(place: h5py.Group, refs: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, dict):
        group = place.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, inner in value.items():
            write(group, refs, field, inner)
        _order(group, list(value))
    elif isinstance(value, list) and value and _are_alike(value):
        group = place.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in value[0]:
            group[field] = _references(refs, [item[field] for item in value])
        _order(group, list(value[0]))
    elif isinstance(value, list) and value:
        place[name] = _references(refs, value)
        place[name].attrs["MATLAB_class"] = np.bytes_("cell")
    elif isinstance(value, str) and value:
        place[name] = np.array([[ord(letter)] for letter in value], np.uint16)
        place[name].attrs["MATLAB_class"] = np.bytes_("char")
        place[name].attrs["MATLAB_int_decode"] = np.int32(2)
    else:
        _numbers(place, name, value)


def _are_alike(values: list[Any]) -> bool:
    return all(isinstance(value, dict) and value.keys() == values[0].keys() for value in values)


def _numbers(place: h5py.Group, name: str, value: Any) -> None:
    kind = {list: "cell", str: "char"}.get(type(value), "double")
    array = np.atleast_2d(np.asarray(value if kind == "double" else np.zeros((0, 0)), float))
    if not array.size:
        place[name] = np.array(array.shape, np.uint64)
        place[name].attrs["MATLAB_empty"] = np.uint8(1)
    else:
        while array.ndim > 2 and array.shape[-1] == 1:
            array = array[..., 0]
        options = {"compression": "gzip", "chunks": True} if array.size > 60 else {}
        place.create_dataset(name, data=array.T, **options)
    place[name].attrs["MATLAB_class"] = np.bytes_(kind)


def _references(refs: h5py.Group, values: list[Any]) -> np.ndarray:
    found = np.empty((len(values), 1), h5py.ref_dtype)
    for i, value in enumerate(values):
        name = f"r{len(refs)}"
        refs.create_group(name + "_taken")  # so that names that are asked for inside differ
        write(refs, refs, name, value)
        found[i, 0] = refs[name].ref
    return found


def _order(group: h5py.Group, names: list[str]) -> None:
    if len(names) > 1:  # MATLAB leaves it out for one field
        letters = h5py.vlen_dtype(np.dtype("S1"))
        value = np.empty(len(names), object)
        for i, name in enumerate(names):
            value[i] = np.array([letter.encode() for letter in name], "S1")
        group.attrs.create("MATLAB_fields", value, dtype=letters)
