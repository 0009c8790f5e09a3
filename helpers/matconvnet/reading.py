"""Read a MatConvNet network, SimpleNN or DagNN, from a `.mat` file of version 5, 7 or 7.3."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from scipy.io.matlab import MatlabFunction, MatlabOpaque

from ..errors import MatConvNetError
from ..file_kinds import MATLAB_5, MATLAB_73, UNKNOWN, kind_of
from .dagnn import read_dagnn
from .fields import MOST, is_empty, read_layer, unique_names
from .graph import in_order
from .hdf5 import read_hdf5
from .layer import Layer
from .network import Network

ZLIB_AT_MOST = 1032  # bytes out of one


def load_matconvnet(path: str | Path) -> Network:
    """The network in `path`, with PyTorch tensors in PyTorch's layout.

    Reads SimpleNN and DagNN networks in the forms met in real files: `layers` at the top, under `net` or in another
    struct, or `net` itself; class names and normalization beside them, under `meta` or at the top; weights as `weights`
    or, in old betas, as `filters` and `biases`; layers without names; fields in any order; dimensions of size 1 that
    MATLAB dropped; biases in any orientation.

    Raises:
        FileNotFoundError: there is no such file.
        MatConvNetError: it holds no such network; the message says what was found and what to do.
    """
    if not isinstance(path, (str, Path)) or str(path) == "" or "\0" in str(path):
        raise MatConvNetError(f"{path!r} names no file: give a path as text or as a pathlib.Path")
    path = Path(path)
    contents = _read(path)
    places = [contents, contents.get("net"), *contents.values()]
    net = next((place for place in places if isinstance(place, dict) and "layers" in place), contents)
    fields = net.get("layers")
    cell = contents.get("net")
    if fields is None and isinstance(cell, list) and all(isinstance(layer, dict) and "type" in layer for layer in cell):
        fields = cell  # `net` itself is the cell
    if isinstance(fields, dict):  # a 1x1 struct array instead of a cell
        fields = [fields]
    if not isinstance(fields, list) or not fields:
        there = ", ".join(sorted(contents)) or "nothing"
        raise MatConvNetError(f"{path.name}: a MATLAB file without a `layers` cell (it has {there}); is it a network?")
    is_dag = all(isinstance(layer, dict) and "block" in layer for layer in fields)
    try:
        if is_dag:
            layers = in_order(read_dagnn(net | {"layers": fields}))
        else:
            layers = [read_layer(layer, number) for number, layer in enumerate(fields, start=1)]
    except MatConvNetError as error:
        raise MatConvNetError(f"{path.name}: {error}") from error
    layers = unique_names(layers)
    meta = _metadata(contents, net, "meta")
    return Network(
        layers,
        _classes(_metadata(contents, net, "classes"), _count_outputs(layers)),
        _normalization(_metadata(contents, net, "normalization")),
        meta if isinstance(meta, dict) else {},
    )


def _count_outputs(layers: list[Layer]) -> int:
    """Of the last layer with kernels; 0 if there is none."""
    kernels = [layer.params["weight"] for layer in layers if layer.type == "conv" and "weight" in layer.params]
    return len(kernels[-1]) if kernels else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        kind = kind_of(path)
    except FileNotFoundError:
        raise
    except OSError as error:  # a circle of links, a name that is too long, a folder that is closed
        raise MatConvNetError(f"{path.name:.60} cannot be read: {error.strerror or error}") from error
    if kind.name == UNKNOWN:
        raise MatConvNetError(f"{path.name} is not a MATLAB file, but {kind.what}: {kind.way_out}")
    if kind.name not in (MATLAB_5, MATLAB_73):
        raise MatConvNetError(kind.refusal(path))
    try:
        if kind.name == MATLAB_73:
            return read_hdf5(path)
        _check_sizes(path)
        contents = scipy.io.loadmat(path)
    except MatConvNetError as error:
        said = str(error)
        raise error if said.startswith(path.name) else MatConvNetError(f"{path.name}: {said}") from error
    except Exception as error:  # scipy raises a dozen different types on damaged files
        raise MatConvNetError(
            f"{path.name}: {kind.what} that cannot be read to its end ({type(error).__name__}: {error}); "
            f"it is {path.stat().st_size:,} bytes, compare that with its source and download it again"
        ) from error
    try:
        return {key: _plain(value) for key, value in contents.items() if not key.startswith("__")}
    except RecursionError as error:
        raise MatConvNetError(f"{path.name}: cells lie in one another deeper than any network has them") from error


def _check_sizes(path: Path) -> None:
    """See to it that the file can hold as many numbers or cells as its variables claim, before memory is asked for.

    Raises:
        MatConvNetError: it cannot, even if all of it were compressed as far as zlib goes.
    """
    most = ZLIB_AT_MOST * path.stat().st_size
    for name, shape, kind in scipy.io.whosmat(path):
        if kind != "sparse" and math.prod(shape) > most:
            raise MatConvNetError(
                f"{path.name}: {name} claims {math.prod(shape):,} elements, more than a file of "
                f"{path.stat().st_size:,} bytes can hold: it is damaged"
            )


def _plain(value: Any) -> Any:
    """A MATLAB value in Python: struct -> dict, cell or struct array -> list, char -> str; numbers stay arrays."""
    if isinstance(value, (MatlabFunction, MatlabOpaque)) or not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        structs = [_plain_struct(item) for item in value.ravel(order="F")]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype == object:
        return [_plain(item) for item in value.ravel(order="F")]
    if value.dtype.kind == "U":
        lines = [str(line).rstrip() for line in value.ravel()]  # MATLAB pads the rows of a char matrix
        return lines[0] if len(lines) == 1 else lines or ""
    return value


def _plain_struct(item: np.void) -> dict[str, Any]:
    return {name: _plain(item[name]) for name in item.dtype.names or ()}


def _metadata(contents: dict[str, Any], net: dict[str, Any], name: str) -> Any:
    """From the first place that has it: beside the layers, under their `meta`, at the top, under its `meta`."""
    places = [net, net.get("meta"), contents, contents.get("meta")]
    return next(
        (place[name] for place in places if isinstance(place, dict) and not is_empty(place.get(name, []))), None
    )


def _classes(value: Any, outputs: int) -> list[str]:
    """`classes.description` ("tabby cat") or `classes.name` ("n02123045"), the first with one for each output.

    If none has, the first that is there; a bare cell stands for itself.
    """
    if isinstance(value, dict):
        there = [value[key] for key in ("description", "name") if not is_empty(value.get(key, []))]
        value = next((names for names in there if np.size(names) == outputs), there[0] if there else [])
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if not isinstance(value, list):
        value = [value] if isinstance(value, str) else []
    return [", ".join(map(str, name)) if isinstance(name, list) else str(name).strip() for name in value]


def _normalization(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    value = {key: item[0] if isinstance(item, list) and len(item) == 1 else item for key, item in value.items()}
    kept = {key: item for key, item in value.items() if not is_empty(item)}
    if "imageSize" in kept:
        size = _whole_numbers(kept["imageSize"])
        if size and size[0] < 1:  # importers write 0 where they do not know it
            del kept["imageSize"]
        elif size and min(size) > 0 and max(size) <= MOST:
            kept["imageSize"] = size if len(size) > 1 else size * 2
    return kept  # what is no size stays as it is, and preprocess refuses it


def _whole_numbers(value: Any) -> tuple[int, ...]:
    """Numbers of an array; () if they are none, or not whole."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        return ()
    numbers = value.ravel().tolist()
    return tuple(map(int, numbers)) if all(float(number).is_integer() for number in numbers) else ()
