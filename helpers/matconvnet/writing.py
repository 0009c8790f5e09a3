"""Write a SimpleNN network the way MATLAB writes MatConvNet's own `imagenet-vgg-verydeep-16.mat`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atomic_files import replacing
from ..errors import MatConvNetError
from .fields import checked_options
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
        normalization: `averageImage` (3 values), `imageSize` and the like; without any, that is left out.
        compressed: zlib-compress each variable, as MATLAB does by default.

    Raises:
        MatConvNetError: a layer, a class or a normalization that cannot be written without loss, or none of them;
            nothing is written then.
    """
    _check(layers, classes, normalization)
    cell = np.empty((1, len(layers)), dtype=object)
    for i, layer in enumerate(layers):
        cell[0, i] = _struct(_fields(layer))
    contents = {
        "layers": cell,
        "classes": _struct({"name": _cell(classes), "description": _cell(classes)}),
        **({"normalization": _struct(normalization)} if normalization else {}),
    }
    with replacing(path, MatConvNetError) as place, place.open("wb") as file:
        # an open file, for to a path scipy would add `.mat`; its stubs know paths only
        scipy.io.savemat(file, contents, do_compression=compressed, oned_as="row", long_field_names=True)  # type: ignore[arg-type]


def _check(layers: object, classes: object, normalization: object) -> None:
    """See to it that what is written can be read, and is all that was given."""
    if not isinstance(layers, (list, tuple)) or not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise MatConvNetError(f"layers are a list of Layer, one at least, not {layers!r:.60}")
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise MatConvNetError(f"classes are a list of texts, not {classes!r:.60}")
    if not isinstance(normalization, dict):
        raise MatConvNetError(f"normalization is a dictionary, not {normalization!r:.60}")
    for name, value in normalization.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w{0,62}", name, flags=re.ASCII):
            raise MatConvNetError(f"normalization has {name!r:.80}, which MATLAB does not take for the name of a field")
        if not isinstance(value, str) and np.asarray(value).dtype.kind not in "fiub":
            raise MatConvNetError(f"normalization[{name!r}] is {value!r:.60}, neither numbers nor text")
    for layer in layers:
        _check_params(layer)
    _check_chain(layers)


def _check_chain(layers: Sequence[Layer]) -> None:
    """See to it that layers of a DagNN follow one another."""
    for before, layer in itertools.pairwise(layers):
        if layer.inputs != before.outputs or len(before.inputs) > 1:
            raise MatConvNetError(
                f"layer {layer.name!r} takes {', '.join(layer.inputs) or 'nothing'}, and {before.name!r} before it "
                f"gives {', '.join(before.outputs) or 'nothing'}: a graph cannot be written as a chain"
            )


def _check_params(layer: Layer) -> None:
    label = f"layer {layer.name!r} (type {layer.type!r})"
    if not isinstance(layer.name, str) or not layer.name:
        raise MatConvNetError(f"{label} cannot be written: its name is {layer.name!r}, expected a text")
    if layer.type != "conv" and layer.params:
        raise MatConvNetError(f"{label} cannot be written: it has weights, and a layer of this type keeps none")
    for key, tensor in layer.params.items():
        if not isinstance(tensor, Tensor) or tensor.is_complex() or tensor.is_meta or tensor.layout != torch.strided:
            raise MatConvNetError(f"{label} cannot be written: its {key} is no tensor of real numbers, or has none")
        if (tensor.isfinite() & ~tensor.detach().float().isfinite()).any():
            raise MatConvNetError(f"{label} cannot be written: its {key} goes beyond float32")
    weight, bias = (layer.params.get(key, torch.zeros(())) for key in ("weight", "bias"))
    if layer.params.keys() == {"weight", "bias"} and (weight.ndim != 4 or bias.shape != weight.shape[:1]):
        shapes = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
        raise MatConvNetError(
            f"{label} cannot be written: its weight and bias are {shapes}, not (out, in, H, W), (out,)"
        )


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
    checked = checked_options(layer)
    sizes = {key: value for key, value in checked.items() if key != "method"}
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
        return named | {"method": checked.get("method", "max")} | sizes | {"precious": np.uint8(0), "opts": _cell([])}
    if layer.type == "relu":
        return named | {"leak": np.uint8(0), "weights": _cell([]), "precious": np.uint8(0)}
    return named | {"precious": np.uint8(0)}


def _single(tensor: Tensor) -> NDArray[np.float32]:
    return np.asfortranarray(tensor.detach().cpu().float().numpy())


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
