"""Exercise 1.2: read files of both generations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare, pair
from .exercise_1_1 import right as converted
from .files import SHAPES, arrays, layers, struct


def right(raw: dict[str, NDArray]) -> dict[str, tuple[NDArray, NDArray]]:
    found = {}
    for element in layers_of(raw).ravel():
        layer = element[0, 0]
        fields = layer.dtype.names
        if "filters" in fields and layer["filters"].size:
            found[layer["name"].item()] = layer["filters"], layer["biases"]
        elif "weights" in fields and layer["weights"].size:
            found[layer["name"].item()] = tuple(layer["weights"].ravel())
    return found


def layers_of(raw: dict[str, NDArray]) -> NDArray:
    return raw["net"][0, 0]["layers"] if "net" in raw else raw["layers"]


def only_weights(raw: dict[str, NDArray]) -> dict[str, Any]:
    found = {}
    for element in layers_of(raw).ravel():
        layer = element[0, 0]
        if "weights" in layer.dtype.names and layer["weights"].size:
            found[layer["name"].item()] = tuple(layer["weights"].ravel())
    return found


def reading_early(arrays_of: Callable) -> Callable:
    """An answer that takes the arrays out of a conv of an early file in its own way."""

    def read_weights(raw: dict[str, NDArray]) -> dict[str, Any]:
        found = only_weights(raw)
        for element in layers_of(raw).ravel():
            layer = element[0, 0]
            if "filters" in layer.dtype.names and layer["filters"].size:
                found[layer["name"].item()] = arrays_of(layer)
        return found

    return read_weights


def keeps_the_relu(raw: dict[str, NDArray]) -> dict[str, Any]:
    found: dict[str, Any] = right(raw)
    for element in layers_of(raw).ravel():
        layer = element[0, 0]
        if "weights" in layer.dtype.names and not layer["weights"].size:
            found[layer["name"].item()] = None, None
    return found


def unpacks_empty_weights(raw: dict[str, NDArray]) -> dict[str, Any]:
    found = {}
    for element in raw["layers"][0]:
        layer = element[0, 0]
        if "weights" in layer.dtype.names:
            kernel, bias = layer["weights"][0]
            found[layer["name"].item()] = kernel, bias
    return found


def with_empty_filters(raw: dict[str, NDArray]) -> dict[str, Any]:
    found = only_weights(raw)
    for element in layers_of(raw).ravel():
        layer = element[0, 0]
        if "filters" in layer.dtype.names:
            found[layer["name"].item()] = layer["filters"], layer["biases"]
    return found


def convs_alone(raw: dict[str, NDArray]) -> dict[str, Any]:
    types = {element[0, 0]["name"].item(): element[0, 0]["type"].item() for element in layers_of(raw).ravel()}
    return {name: arrays for name, arrays in right(raw).items() if types[name] == "conv"}


def moves_layers_up(raw: dict[str, NDArray]) -> dict[str, Any]:
    if "net" in raw:
        raw["layers"] = layers_of(raw)
    return right(raw)


def only_one_of_both(raw: dict[str, NDArray]) -> dict[str, Any]:
    """Looks for `weights` only where there are no `filters`."""
    found = {}
    for element in layers_of(raw).ravel():
        layer = element[0, 0]
        if "filters" in layer.dtype.names:
            if layer["filters"].size:
                found[layer["name"].item()] = layer["filters"], layer["biases"]
        elif "weights" in layer.dtype.names and layer["weights"].size:
            found[layer["name"].item()] = tuple(layer["weights"].ravel())
    return found


def of_four_axes(raw: dict[str, NDArray]) -> dict[str, Any]:
    return {name: arrays for name, arrays in right(raw).items() if arrays[0].ndim == 4}


def changed(change: Callable[[NDArray], NDArray]) -> Callable:
    """An answer that does something to the kernels."""
    return lambda raw: {name: (change(kernel), bias) for name, (kernel, bias) in right(raw).items()}


IN_A_STRUCT = "this file keeps its layers in a struct, and a struct is a (1, 1) array: raw['net'][0, 0]['layers']."
NO_NET = "not every file has a `net`; here the layers are raw['layers']."
ELEMENT = "each element is a (1, 1) struct; take layer = element[0, 0], and .item() of its name."
NAME = "a name is an array of one string; take .item()."
EMPTY = "a relu has a `weights` field, but it is empty; leave such layers out."
EMPTY_FILTERS = "a layer of an early file may have empty `filters`, as a relu of a later one has empty `weights`."
BOTH_OR_THREE = (
    "c5 has empty `filters` and full `weights`: take what is not empty. And its kernel has three axes: MATLAB drops a "
    "last dimension of size 1."
)
ANOTHER_TYPE = "the arrays come back in another type; leave them as they are."
BY_TYPE = "other types have weights, too, such as a convt; ask for the fields, not for the type."
POOL = "a pool has no weights at all; ask for fields by name, not by position."
OLD_FORM = "a conv of an early file has no `weights`, but `filters` and `biases`."
NO_FIELD = f"a pool has no such field at all; and {OLD_FORM}"
CONVERTED = "return the arrays as they are; converting them is exercise 1.1."
BY_POSITION = "the fields were taken by position; their order differs from file to file."
REVERSED = "the pair is the wrong way round; the kernel comes first."
NO_CELL = (
    "`filters` and `biases` are the arrays themselves; only `weights` is a cell, from which one takes [0] and [1]."
)
RESHAPED = "the bias was reshaped; leave it as it is."

MISTAKES = (
    Mistake(IN_A_STRUCT, lambda raw: right({"layers": raw["layers"]})),
    Mistake(IN_A_STRUCT, lambda raw: right(raw) if "layers" in raw else {}),
    Mistake(NO_NET, lambda raw: right({"net": raw["net"]})),
    Mistake("'layers' is new in the dictionary", moves_layers_up),
    Mistake(ELEMENT, lambda raw: {element["name"]: None for element in layers_of(raw)[0]}),
    Mistake(NAME, lambda raw: {f"['{name}']": arrays for name, arrays in right(raw).items()}),
    Mistake(EMPTY, keeps_the_relu),
    Mistake(EMPTY, unpacks_empty_weights),
    Mistake(EMPTY_FILTERS, with_empty_filters),
    Mistake(BY_TYPE, convs_alone),
    Mistake(BOTH_OR_THREE, only_one_of_both),
    Mistake(BOTH_OR_THREE, of_four_axes),
    Mistake("plain strings, as they are", lambda raw: {name.lower(): arrays for name, arrays in right(raw).items()}),
    Mistake(ANOTHER_TYPE, changed(lambda kernel: kernel.astype(np.float32))),
    Mistake(CONVERTED, changed(lambda kernel: kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim)))),
    Mistake(POOL, lambda raw: right(raw) | {"p1": (None, None)}),
    Mistake(OLD_FORM, only_weights),
    Mistake(NO_FIELD, lambda raw: {e[0, 0]["name"].item(): e[0, 0]["weights"] for e in layers_of(raw)[0]}),
    Mistake(CONVERTED, lambda raw: {name: converted(*arrays) for name, arrays in right(raw).items()}),
    Mistake(CONVERTED, lambda raw: {name: (a.transpose(3, 2, 0, 1), b) for name, (a, b) in right(raw).items()}),
    Mistake(BY_POSITION, reading_early(lambda layer: (layer[2], layer[3]))),
    Mistake(REVERSED, lambda raw: {name: (bias, kernel) for name, (kernel, bias) in right(raw).items()}),
    Mistake(NO_CELL, reading_early(lambda layer: (layer["filters"][0], layer["biases"][0]))),
    Mistake(RESHAPED, lambda raw: {name: (kernel, bias.reshape(-1)) for name, (kernel, bias) in right(raw).items()}),
    Mistake("not a list", lambda raw: list(right(raw))),
    Mistake("expected two values, the kernel and the bias", lambda raw: dict.fromkeys(right(raw), 1)),
    Mistake("expected the layers c1, c2, C3, c4, c5 and up, got none", lambda raw: {}),
)

CRASHES = [
    ("'net'", NO_NET),
    ("axes don't match", CONVERTED),
    ("unhashable", ELEMENT),
    ("out of bounds", EMPTY),
    ("not enough values to unpack", EMPTY),
    ("no field of name weights", NO_FIELD),
]


def verify(answer: Any) -> None:
    """`read_weights(raw) -> {name: (kernel, bias)}`, `raw` as `scipy.io.loadmat` returns it."""
    kernels, biases = arrays()
    cell = layers(kernels, biases)
    with case("for a file with `layers` at the top"):
        verify_layers(call(answer, {"layers": cell}, crashes=CRASHES), kernels, biases)
    with case("for a file with `net`"):
        got = call(answer, {"net": struct(layers=cell)}, crashes=[("", IN_A_STRUCT)])
        try:
            verify_layers(got, kernels, biases)
        except NotYet as difference:  # these layers were read at the top, so it is how they are reached
            found = str(difference).partition("\nLikely cause: ")[0]
            raise NotYet(f"{found}{because(IN_A_STRUCT)}") from None


def verify_layers(got: Any, kernels: dict[str, NDArray], biases: dict[str, NDArray]) -> None:
    verify_names(got)
    for name in kernels:
        kernel, bias = pair(got[name], "the kernel and the bias")
        if isinstance(kernel, Tensor) or isinstance(bias, Tensor):
            raise NotYet(f"the arrays of {name} came back as tensors.{because(CONVERTED)}")
        if kernel.dtype != kernels[name].dtype or bias.dtype != biases[name].dtype:
            raise NotYet(f"{name} has {kernel.dtype} and {bias.dtype} now.{because(ANOTHER_TYPE)}")
        stored, row = torch.tensor(kernels[name]), torch.tensor(biases[name])
        exchanged = REVERSED if name == "c1" else BY_POSITION  # c1 is right if taken by position
        full = stored.reshape(*stored.shape, *[1] * (4 - stored.ndim))
        causes = [(CONVERTED, full), (CONVERTED, full.permute(3, 2, 0, 1)), (exchanged, row), (NO_CELL, stored[0])]
        compare(as_tensor(kernel), stored, f"the kernel of {name}", causes)
        compare(as_tensor(bias), row, f"the bias of {name}", [(RESHAPED, row.reshape(-1))])


def verify_names(got: Any) -> None:
    if not isinstance(got, dict):
        raise NotYet(f"return a dict from layer names to (kernel, bias), not a {type(got).__name__}.")
    if not all(isinstance(name, str) and name.isalnum() for name in got) or "c3" in got:
        raise NotYet(f"the names should be plain strings, as they are.{because(NAME)}")
    if set(got) != set(SHAPES):
        found = ", ".join(got) or "none"
        raise NotYet(f"expected the layers c1, c2, C3, c4, c5 and up, got {found}.{because(cause_of_names(set(got)))}")


def cause_of_names(names: set[str]) -> str | None:
    if "p1" in names:
        return POOL
    if "r2" in names:
        return EMPTY_FILTERS
    if names == set(SHAPES) - {"up"}:
        return BY_TYPE
    if names == set(SHAPES) - {"c5"}:
        return BOTH_OR_THREE
    if "r1" in names:
        return EMPTY
    return OLD_FORM if names == {"c1", "C3", "c5", "up"} else None


def as_tensor(value: Any) -> Any:
    """For `compare`, which says of anything else what it is."""
    return torch.tensor(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Each element of the cell is a 1x1 struct: layer = element[0, 0]; layer.dtype.names lists its fields. "
        "The `weights` of a relu are empty.",
        "Ask for names, never for positions: if 'filters' in layer.dtype.names ... Empty weights have size 0.",
        "The layers stand in raw or in raw['net'][0, 0]. "
        "for element in layers.ravel(): layer = element[0, 0]; names = layer.dtype.names; then three cases: "
        "'filters' in names and layer['filters'].size; 'weights' in names and layer['weights'].size; neither. "
        "layer['name'].item() is the name, layer['weights'].ravel() the two arrays.",
    ),
    praise="both generations of files give the same dictionary, whatever the order of their fields.",
)
