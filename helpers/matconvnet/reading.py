"""Read a MatConvNet network, SimpleNN or DagNN, from a `.mat` file of version 5, 7 or 7.3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MatConvNetError
from ..file_kinds import HDF5, MATLAB_5, MATLAB_73, UNKNOWN, kind_of
from .bounds import BeyondBoundsError, Bounds
from .dagnn import read_dagnn
from .fields import MOST, is_empty, read_layer, unique_names
from .foreign import refuse_other_toolboxes, what_else
from .graph import in_order
from .hdf5 import read_hdf5
from .layer import Layer
from .network import Network
from .v5 import read_v5


def load_matconvnet(
    path: str | Path, *, only_shapes: bool = False, show: Callable[[float], object] | None = None
) -> Network:
    """The network in `path`, with PyTorch tensors in PyTorch's layout.

    Reads SimpleNN and DagNN networks in the forms met in real files: `layers` at the top, under `net` or in another
    struct, or `net` itself; class names and normalization beside them, under `meta` or at the top; weights as `weights`
    or, in old betas, as `filters` and `biases`; layers without names; fields in any order; dimensions of size 1 that
    MATLAB dropped; biases in any orientation.

    Numbers are written once, into memory of the tensors' own; a training's momentum is passed over. Compressed files
    take two thirds of the time if the package isal is installed.

    Args:
        path: the file.
        only_shapes: leave large arrays where they are; their tensors are on `meta`. To see what a file holds.
        show: called again and again with the share of the file that was read, from 0 to 1.

    Raises:
        FileNotFoundError: there is no such file.
        MatConvNetError: it holds no such network; the message says what was found and what to do.
    """
    if not isinstance(path, (str, Path)) or str(path) == "" or "\0" in str(path):
        raise MatConvNetError(f"{path!r} names no file: give a path as text or as a pathlib.Path")
    if show is not None and not callable(show):
        raise MatConvNetError(f"show is a function that is called with a share from 0 to 1, not {show!r:.60}")
    path = Path(path)
    contents = _read(path, only_shapes, show)
    net, fields = _layers(contents)
    if not fields:
        raise MatConvNetError(f"{path.name}: {what_else(contents)}")
    is_dag = all(isinstance(layer, dict) and "block" in layer for layer in fields)
    try:
        if is_dag:
            layers = in_order(read_dagnn(net | {"layers": fields}))
        else:
            layers = [read_layer(layer, number) for number, layer in enumerate(fields, start=1)]
            refuse_other_toolboxes(layers)
    except MatConvNetError as error:
        raise MatConvNetError(f"{path.name}: {error}") from error
    layers = unique_names(layers)
    found = {name: _metadata(contents, net, name) for name in METADATA}
    meta = found["meta"] if isinstance(found["meta"], dict) else {}
    return Network(layers, _classes(found["classes"], _count_outputs(layers)), _normalization(found), meta)


METADATA = ("meta", "classes", "normalization", "imageMean", "imageStd", "inputSize")


def _layers(contents: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """(the struct in which the layers lie, the layers); none if there are none."""
    places = [contents, contents.get("net"), *contents.values()]
    places += [inner for place in contents.values() if isinstance(place, dict) for inner in place.values()]
    net = next((place for place in places if isinstance(place, dict) and "layers" in place), contents)
    fields, cell = net.get("layers"), contents.get("net")
    if fields is None and isinstance(cell, list) and all(isinstance(layer, dict) and "type" in layer for layer in cell):
        fields = cell  # `net` itself is the cell
    if isinstance(fields, dict):  # a 1x1 struct array instead of a cell
        fields = [fields]
    return net, fields if isinstance(fields, list) else []


def _count_outputs(layers: list[Layer]) -> int:
    """Of the last layer with kernels; 0 if there is none."""
    kernels = [layer.params["weight"] for layer in layers if layer.type == "conv" and "weight" in layer.params]
    return len(kernels[-1]) if kernels else 0


def _read(path: Path, only_shapes: bool, show: Callable[[float], object] | None) -> dict[str, Any]:
    """The variables: struct -> dict, cell or struct array -> list, char -> str; numbers are arrays."""
    try:
        kind = kind_of(path)
    except FileNotFoundError:
        raise
    except OSError as error:  # a circle of links, a name that is too long, a folder that is closed
        raise MatConvNetError(f"{path.name:.60} cannot be read: {error.strerror or error}") from error
    if kind.name == UNKNOWN:
        raise MatConvNetError(f"{path.name} is not a MATLAB file, but {kind.what}: {kind.way_out}")
    if kind.name not in (MATLAB_5, MATLAB_73, HDF5):
        raise MatConvNetError(kind.refusal(path))
    bounds = Bounds(path, only_shapes, show)
    try:
        contents = read_v5(path, bounds) if kind.name == MATLAB_5 else read_hdf5(path, bounds)
    except BeyondBoundsError as error:
        raise MatConvNetError(f"{path.name}: {error}") from error
    except Exception as error:
        if error is bounds.failed:
            raise
        # h5py raises a dozen different types on damaged files
        reason = str(error) if isinstance(error, MatConvNetError) else f"{type(error).__name__}: {error}"
        raise MatConvNetError(
            f"{path.name}: {kind.what} that cannot be read to its end ({reason}); it is {path.stat().st_size:,} bytes, "
            "compare that with its source and download it again"
        ) from error
    if kind.name == HDF5 and contents.keys().isdisjoint(("layers", "net")):
        raise MatConvNetError(kind.refusal(path))
    return contents


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
        value = next((names for names in there if _length(names) == outputs), there[0] if there else [])
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if not isinstance(value, list):
        value = [value] if isinstance(value, str) else []
    return [", ".join(map(str, name)) if isinstance(name, list) else str(name).strip() for name in value]


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(np.size(value))


def _normalization(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of `normalization`, and what some networks have of them beside it."""
    value = found["normalization"] if isinstance(found["normalization"], dict) else {}
    value = {key: item[0] if isinstance(item, list) and len(item) == 1 else item for key, item in value.items()}
    kept = {key: item for key, item in value.items() if not is_empty(item)}
    if "averageImage" not in kept and found["imageMean"] is not None:
        kept["averageImage"] = found["imageMean"]
    for key, other in (("imageStd", "imageStd"), ("imageSize", "inputSize")):
        if kept and found[other] is not None:
            kept.setdefault(key, found[other])
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
