"""MATLAB values for tests, and what MatConvNet's layers compute, written as plain numpy loops in MATLAB's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray


def struct(**fields: Any) -> NDArray:
    """A 1x1 struct with its fields in the order given."""
    value = np.empty((1, 1), dtype=[(name, object) for name in fields])
    value[0, 0] = tuple(fields.values())
    return value


def cell(*values: Any) -> NDArray:
    """A 1xN cell; without values a 0x0 cell."""
    value = np.empty((1, len(values)) if values else (0, 0), dtype=object)
    for i, item in enumerate(values):
        value[0, i] = item
    return value


def save(path: Path, compressed: bool = False, **variables: Any) -> Path:
    """A `.mat` of version 5, or 7 if compressed."""
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


def pad(x: NDArray, padding: tuple[int, int, int, int], value: float = 0.0) -> NDArray:
    top, bottom, left, right = padding
    return np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=value)


def conv(
    x: NDArray,
    kernel: NDArray,
    bias: NDArray,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilate: tuple[int, int] = (1, 1),
) -> NDArray:
    """(H, W, C) with a (h, w, C / groups, K) kernel -> (H', W', K), one product at a time."""
    x = pad(x, padding)
    height, width, group_in, out = kernel.shape
    groups = x.shape[2] // group_in
    rows = (x.shape[0] - (height - 1) * dilate[0] - 1) // stride[0] + 1
    columns = (x.shape[1] - (width - 1) * dilate[1] - 1) // stride[1] + 1
    y = np.empty((rows, columns, out))
    for i, j, k in np.ndindex(*y.shape):
        group = k // (out // groups)
        total = bias[k]
        for u, v, c in np.ndindex(height, width, group_in):
            row, column = i * stride[0] + u * dilate[0], j * stride[1] + v * dilate[1]
            total += kernel[u, v, c, k] * x[row, column, group * group_in + c]
        y[i, j, k] = total
    return y


def pool(x: NDArray, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int], method: str):
    """(H, W, C) -> (H', W', C); padding never wins a maximum and never counts in an average."""
    x = pad(x, padding, np.nan)
    rows, columns = ((x.shape[i] - size[i]) // stride[i] + 1 for i in range(2))
    y = np.empty((rows, columns, x.shape[2]))
    for i, j, c in np.ndindex(*y.shape):
        top, left = i * stride[0], j * stride[1]
        window = x[top : top + size[0], left : left + size[1], c]
        y[i, j, c] = np.nanmax(window) if method == "max" else np.nanmean(window)
    return y


def lrn(x: NDArray, size: int, kappa: float, alpha: float, beta: float) -> NDArray:
    """(H, W, C): each channel k over the channels from k - floor((n-1)/2) to k + ceil((n-1)/2), section 4.5."""
    y = np.empty(x.shape)
    for i, j, k in np.ndindex(*x.shape):
        low, high = max(0, k - (size - 1) // 2), min(x.shape[2], k + size // 2 + 1)
        y[i, j, k] = x[i, j, k] * (kappa + alpha * (x[i, j, low:high] ** 2).sum()) ** -beta
    return y


def convt(
    x: NDArray,
    kernel: NDArray,
    bias: NDArray,
    upsample: tuple[int, int],
    crop: tuple[int, int, int, int],
    groups: int = 1,
) -> NDArray:
    """(H, W, C) with a (h, w, K / groups, C) kernel -> (H', W', K): each number of x adds its kernel to y."""
    height, width, group_out, _ = kernel.shape
    rows = (x.shape[0] - 1) * upsample[0] + height
    columns = (x.shape[1] - 1) * upsample[1] + width
    y = np.zeros((rows, columns, group_out * groups)) + bias
    for i, j, c in np.ndindex(*x.shape):
        first = c // (x.shape[2] // groups) * group_out
        for u, v, k in np.ndindex(height, width, group_out):
            y[i * upsample[0] + u, j * upsample[1] + v, first + k] += x[i, j, c] * kernel[u, v, k, c]
    top, bottom, left, right = crop
    return y[top : rows - bottom, left : columns - right]


def sub_pixels(x: NDArray, scale: int) -> NDArray:
    """(H, W, C · scale²) -> (H · scale, W · scale, C): within a block channels go down the columns first."""
    y = np.empty((x.shape[0] * scale, x.shape[1] * scale, x.shape[2] // scale**2))
    for i, j, channel in np.ndindex(*x.shape):
        place = channel % scale**2
        y[i * scale + place % scale, j * scale + place // scale, channel // scale**2] = x[i, j, channel]
    return y


def structs(*items: dict[str, Any]) -> NDArray:
    """A 1xN struct array; a field that an item lacks is an empty array in it, as MATLAB has it."""
    names = list(dict.fromkeys(name for item in items for name in item))
    value = np.empty((1, len(items)), dtype=[(name, object) for name in names])
    for i, item in enumerate(items):
        value[0, i] = tuple(item.get(name, np.zeros((0, 0))) for name in names)
    return value


def dag_layer(name: str, kind: str, inputs: Any, outputs: Any, params: Any = (), **block: Any) -> dict[str, Any]:
    """One of a DagNN's layers, as `saveobj` has it; a block without fields is empty."""
    return {
        "name": name,
        "type": kind,
        "inputs": cell(*inputs) if isinstance(inputs, tuple) else cell(inputs),
        "outputs": cell(*outputs) if isinstance(outputs, tuple) else cell(outputs),
        "params": cell(*params),
        "block": struct(**block) if block else np.zeros((0, 0)),
    }


def dag(layers: list[dict[str, Any]], params: dict[str, Any], meta: Any = None) -> dict[str, Any]:
    """The four variables of a DagNN."""
    names = [name for layer in layers for field in ("inputs", "outputs") for name in layer[field].ravel()]
    return {
        "vars": structs(*[{"name": name, "precious": 0.0} for name in dict.fromkeys(names)]),
        "params": structs(*[{"name": name, "value": value, "learningRate": 1.0} for name, value in params.items()])
        if params
        else np.zeros((0, 0)),
        "layers": structs(*layers),
        "meta": np.zeros((0, 0)) if meta is None else meta,
    }


def plain(value: Any) -> Any:
    """What scipy would save -> dictionaries, lists, texts and arrays, as the writer of v7.3 takes them."""
    if isinstance(value, np.ndarray) and (value.dtype.names or value.dtype == object):
        if value.dtype.names:
            items = [{name: plain(item[name]) for name in value.dtype.names} for item in value.ravel()]
            return items[0] if value.size == 1 else items
        return [plain(item) for item in value.ravel()]
    return np.asarray(value) if isinstance(value, list) else value
