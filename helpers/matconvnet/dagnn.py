"""The layers of a DagNN network, MatConvNet's graphs, from the structs in which `saveobj` writes them.

Source: MatConvNet's `+dagnn` classes and the files of some fifteen public repositories, which agree on little: types
carry the prefix `dagnn.` or not, fields are missing where they have their default, a layer without fields has none at
all, and what a layer is called is often what its output is called, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..errors import MatConvNetError
from .fields import epsilon_beside, fits_float32, is_empty, is_numeric, layer_params, options_of
from .layer import Layer
from .unread import briefly, is_shape_only

TYPES = {  # of DagNN -> of SimpleNN, or a name like those
    "Conv": "conv",
    "ConvTranspose": "convt",
    "Pooling": "pool",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "LRN": "lrn",
    "BatchNorm": "bnorm",
    "Concat": "concat",
    "Sum": "sum",
    "Scale": "scale",
    "SoftMax": "softmax",
    "DropOut": "dropout",
    "Crop": "crop",
    "MulConst": "mulconst",
    "SubP": "SubP",
}
FIELDS = {"poolSize": "pool"}  # of blocks -> of SimpleNN's layers
NOT_OPTIONS = {"size", "hasBias", "numChannels", "useShortCircuit", "useShortcircuit"}  # the shapes say it


def read_dagnn(net: dict[str, Any]) -> list[Layer]:
    """All layers, as they stand in the file; parameters that several layers share are the same tensors in them.

    Raises:
        MatConvNetError: names the layer and what is wrong with it.
    """
    values: dict[str, Any] = {}
    for param in _structs(net.get("params")):
        name = param.get("name")
        if isinstance(name, str) and name:
            values[name] = _single(param.get("value", np.zeros(0)))
    shared: dict[tuple[str, ...], dict[str, Tensor]] = {}
    layers = _structs(net["layers"])
    return [_read_layer(fields, number, values, shared) for number, fields in enumerate(layers, start=1)]


def _single(value: Any) -> Any:
    """As float32, once for all layers that share it; but not moments, whose squares are taken in float64."""
    is_number = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype != np.float32
    if not is_number or is_shape_only(value) or (value.ndim == 2 and value.shape[1] == 2) or not fits_float32(value):
        return value
    return value.astype(np.float32)  # in the same order in memory


def _structs(value: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, dict)]


def _read_layer(
    fields: dict[str, Any], number: int, values: dict[str, Any], shared: dict[tuple[str, ...], dict[str, Tensor]]
) -> Layer:
    name = fields.get("name")
    name = name if isinstance(name, str) else ""
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise MatConvNetError(f"layer {number} ({name or 'without a name'}) has no type, but {briefly(kind)}")
    kind = kind.removeprefix("dagnn.")
    kind = TYPES.get(kind, kind)
    label = f"layer {number} ({name or 'without a name'}, {kind})"
    block = fields.get("block")
    options = options_of(kind, _options(kind, block if isinstance(block, dict) else {}), label)
    names = _texts(fields.get("params"), "params", label)
    unknown = [param for param in names if param not in values]
    if unknown:
        raise MatConvNetError(f"{label}: its parameter {unknown[0]!r} is not in the file")
    inputs = _texts(fields.get("inputs"), "inputs", label)
    if _has_no_bias(block) and kind in ("conv", "convt"):
        names = names[:1]  # MatConvNet does not look at a second one
    if _has_no_bias(block) and kind == "scale":  # what is multiplied by what, and nothing is added
        inputs = inputs[:2]
        names = names[: 2 - len(inputs)]
    arrays = [values[param] for param in names]
    while arrays and is_empty(arrays[-1]):
        arrays = arrays[:-1]
    options |= epsilon_beside(kind, arrays, options)
    place = (kind, *names, repr(options.get("epsilon")))
    if place not in shared:
        shared[place] = layer_params(kind, arrays, options, label)
    params = shared[place]
    return Layer(
        name,
        kind,
        params,
        options,
        inputs=inputs,
        outputs=_texts(fields.get("outputs"), "outputs", label),
        names=_names(params, tuple(param for param in names if is_numeric(values[param]) and values[param].size)),
    )


def _has_no_bias(block: Any) -> bool:
    has_bias = block.get("hasBias") if isinstance(block, dict) else None
    return isinstance(has_bias, np.ndarray) and has_bias.size == 1 and not has_bias.any()


def _options(kind: str, block: dict[str, Any]) -> dict[str, Any]:
    """The fields of a block under the names that SimpleNN has for them."""
    options: dict[str, Any] = {"pool": np.ones(1)} if kind == "pool" else {}
    for key, value in block.items():
        if key not in NOT_OPTIONS and not is_empty(value):
            options[FIELDS.get(key, key)] = value
    for key in ("pad", "crop"):
        value = options.get(key)
        if isinstance(value, np.ndarray) and value.size == 2 and kind != "crop":
            options[key] = value.ravel()[[0, 0, 1, 1]]  # (vertical, horizontal)
    if kind == "crop" and "crop" in options:
        options["offset"] = options.pop("crop")
    return options


def _texts(value: Any, field: str, label: str) -> tuple[str, ...]:
    """The names in a cell; MATLAB may have written one as text, and none as an empty array."""
    if isinstance(value, str):
        return (value,) if value else ()
    if value is None or is_empty(value):
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise MatConvNetError(f"{label}: its {field} are {briefly(value)}, expected names")
    return tuple(value)


def _names(params: dict[str, Tensor], names: tuple[str, ...]) -> dict[str, str]:
    """Keys of a layer -> the names in the file; the moments of a norm become two tensors."""
    keys = [key for key in params if not key.startswith("running_")]
    found = dict(zip(keys, names, strict=False))
    for key in params:
        if key.startswith("running_"):
            found[key] = f"{names[len(keys)]}.{key}"
    return found
