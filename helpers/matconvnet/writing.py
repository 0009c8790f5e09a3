"""Write a SimpleNN network the way MATLAB writes MatConvNet's own `imagenet-vgg-verydeep-16.mat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray
from torch import Tensor

from ..atomic_files import replacing
from ..errors import MatConvNetError
from .layer import Layer

KEPT = {"conv": {"stride", "pad"}, "relu": set(), "pool": {"method", "pool", "stride", "pad"}, "softmax": set()}
"""The layer types that can be written, and the options of each that can differ from MatConvNet's defaults."""


def save_matconvnet(
    path: str | Path,
    layers: list[Layer],
    *,
    classes: list[str],
    normalization: dict[str, Any],
    compressed: bool = True,
) -> None:
    """Write layers of type conv, relu, pool and softmax, in the form of the published file.

    `layers` is a 1xN cell of 1x1 structs. A conv has the fields name, type, weights, size, pad, stride, precious,
    dilate, opts; a pool name, type, method, pool, stride, pad, precious, opts; the others name, type, precious
    (and a relu weights and leak). Class names go to `classes.name` and `classes.description`.

    Args:
        path: the `.mat` to write, in MATLAB's version 7 (`compressed`) or 5.
        layers: weights in PyTorch's layout, (out, in, H, W) and (out,).
        classes: one name for each output.
        normalization: `averageImage` (3 values), `imageSize` and the like.
        compressed: zlib-compress each variable, as MATLAB does by default.

    Raises:
        MatConvNetError: a layer that cannot be written without loss, or no normalization; nothing is written then.
    """
    if not normalization:
        raise MatConvNetError("normalization is empty: give averageImage at least, for MatConvNet reads it")
    cell = np.empty((1, len(layers)), dtype=object)
    for i, layer in enumerate(layers):
        cell[0, i] = _struct(_fields(layer))
    contents = {
        "layers": cell,
        "classes": _struct({"name": _cell(classes), "description": _cell(classes)}),
        "normalization": _struct(normalization),
    }
    with replacing(path, MatConvNetError) as place, place.open("wb") as file:
        # an open file, for to a path scipy would add `.mat`; its stubs know paths only
        scipy.io.savemat(file, contents, do_compression=compressed, oned_as="row", long_field_names=True)  # type: ignore[arg-type]


def _fields(layer: Layer) -> dict[str, Any]:
    lost = {
        key for key, value in layer.options.items() if key not in KEPT.get(layer.type, {}) and value not in (0, (1, 1))
    }
    if layer.type not in KEPT or lost or (layer.type == "conv" and layer.params.keys() != {"weight", "bias"}):
        raise MatConvNetError(
            f"layer {layer.name!r} (type {layer.type!r}, options {layer.options}) cannot be written; only "
            "conv with a bias and without dilation, relu without leak, pool and softmax can"
        )
    named = {"name": layer.name, "type": layer.type}
    sizes = {key: value for key, value in layer.options.items() if key != "method"}
    options = {key: np.array([value], dtype=np.min_scalar_type(max(np.ravel(value)))) for key, value in sizes.items()}
    if layer.type == "conv":
        kernel = layer.params["weight"].permute(2, 3, 1, 0)
        return named | {
            "weights": _cell([_single(kernel), _single(layer.params["bias"][:, None])]),
            "size": np.array([kernel.shape], dtype=np.min_scalar_type(max(kernel.shape))),
            "pad": options["pad"],
            "stride": options["stride"],
            "precious": np.uint8(0),
            "dilate": np.uint8(1),
            "opts": _cell([]),
        }
    if layer.type == "pool":
        sizes = {key: options[key] for key in ("pool", "stride", "pad")}
        return named | {"method": layer.options["method"]} | sizes | {"precious": np.uint8(0), "opts": _cell([])}
    if layer.type == "relu":
        return named | {"leak": np.uint8(0), "weights": _cell([]), "precious": np.uint8(0)}
    return named | {"precious": np.uint8(0)}


def _single(tensor: Tensor) -> NDArray[np.float32]:
    return np.asfortranarray(tensor.detach().cpu().numpy(), dtype=np.float32)


def _struct(fields: dict[str, Any]) -> NDArray:
    """A 1x1 struct, its fields in the order given."""
    struct = np.empty((1, 1), dtype=[(name, object) for name in fields])
    struct[0, 0] = tuple(fields.values())
    return struct


def _cell(values: list[Any]) -> NDArray:
    """A 1xN cell (0x0 if empty)."""
    cell = np.empty((1, len(values)) if values else (0, 0), dtype=object)
    for i, value in enumerate(values):
        cell[0, i] = value
    return cell
