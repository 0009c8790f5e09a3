"""Exercise 1.2: files of both generations, as `scipy.io.loadmat` returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .feedback import NotYet, because, call, compare, pair


def verify_read_weights(answer: Any) -> None:
    """1.2 `read_weights(raw) -> {name: (kernel, bias)}`, `raw` as `scipy.io.loadmat` returns it."""
    rng = np.random.default_rng(12)
    shapes = {"c1": (2, 3, 4, 5), "c2": (1, 2, 5, 6), "c3": (3, 1, 6, 4), "c4": (2, 5, 4, 3)}
    kernels = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    biases = {name: rng.normal(size=(1, shape[3])) for name, shape in shapes.items()}
    both = {name: np.empty((1, 2), dtype=object) for name in shapes}
    for name, cell in both.items():
        cell[0, 0], cell[0, 1] = kernels[name], biases[name]
    structs = [  # each form in two orders of its fields
        _struct(name="c1", type="conv", weights=both["c1"], stride=np.ones((1, 1))),
        _struct(name="r1", type="relu", leak=np.zeros((1, 1)), weights=np.empty((0, 0), dtype=object)),
        _struct(name="p1", type="pool", pool=np.full((1, 2), 2)),
        _struct(type="conv", name="c2", biases=biases["c2"], filters=kernels["c2"]),
        _struct(weights=both["c3"], pad=np.zeros((1, 4)), type="conv", name="c3"),
        _struct(filters=kernels["c4"], biases=biases["c4"], name="c4", type="conv"),
    ]
    layers = np.empty((1, len(structs)), dtype=object)
    for i, struct in enumerate(structs):
        layers[0, i] = struct
    _verify_file(answer, {"layers": layers}, kernels, biases, "for a file with `layers` at the top", READING_CRASHES)
    # the same layers were read at the top, so whatever goes wrong now is how they are reached
    inside = {"net": _struct(layers=layers)}
    _verify_file(answer, inside, kernels, biases, "for a file with `net`", [("", IN_A_STRUCT)], IN_A_STRUCT)


def _verify_file(
    answer: Any,
    raw: dict[str, NDArray],
    kernels: dict[str, NDArray],
    biases: dict[str, NDArray],
    case: str,
    crashes: Sequence[tuple[str, str]],
    cause: str = "",
) -> None:
    """`NotYet` names the file, `case`, and `cause` if there is one, whatever differs."""
    got = call(answer, raw, case=case, crashes=crashes)
    try:
        _verify_pairs(got, kernels, biases)
    except NotYet as difference:
        found, _, likely = str(difference).partition("\nLikely cause: ")
        raise NotYet(f"{case}, {found}{because(cause or likely)}") from None


def _verify_pairs(got: Any, kernels: dict[str, NDArray], biases: dict[str, NDArray]) -> None:
    _verify_names(got)
    for name in kernels:
        kernel, bias = pair(got[name], "the kernel and the bias")
        if isinstance(kernel, Tensor) or isinstance(bias, Tensor):
            raise NotYet(f"the arrays of {name} came back as tensors.{because(CONVERTED)}")
        kernel, bias = _tensor(kernel), _tensor(bias)
        right, vector = torch.tensor(kernels[name]), torch.tensor(biases[name])
        by_position = "the fields were taken by position; their order differs from file to file."
        reversed_pair = "the pair is the wrong way round; the kernel comes first."
        moved = (CONVERTED, right.permute(3, 2, 0, 1))
        exchanged = (reversed_pair if name == "c1" else by_position, vector)
        compare(kernel, right, f"the kernel of {name}", [moved, exchanged, (NO_CELL, right[0])])
        compare(
            bias, vector, f"the bias of {name}", [("the bias was reshaped; leave it as it is.", vector.reshape(-1))]
        )


IN_A_STRUCT = "this file keeps its layers in a struct, and a struct is a (1, 1) array: raw['net'][0, 0]['layers']."
CONVERTED = "return the arrays as they are; converting them is exercise 1.1."
EMPTY = "a relu has a `weights` field, but it is empty; leave such layers out."
OLD_FORM = "a conv of an early file has no `weights`, but `filters` and `biases`."
NO_CELL = (
    "`filters` and `biases` are the arrays themselves; only `weights` is a cell, from which one takes [0] and [1]."
)
READING_CRASHES = [
    ("'net'", "not every file has a `net`; here the layers are raw['layers']."),
    ("unhashable", "each element is a (1, 1) struct; take layer = element[0, 0], and .item() of its name."),
    ("out of bounds", EMPTY),
    ("not enough values to unpack", EMPTY),
    ("no field of name weights", f"a pool has no such field at all; and {OLD_FORM}"),
]


def _verify_names(got: Any) -> None:
    if not isinstance(got, dict):
        raise NotYet(f"return a dict from layer names to (kernel, bias), not a {type(got).__name__}.")
    if not all(isinstance(name, str) and name.isalnum() for name in got):
        raise NotYet(
            "the names should be plain strings.\nLikely cause: a name is an array of one string; take .item()."
        )
    found = f"expected the layers c1, c2, c3 and c4, got {', '.join(got) or 'none'}."
    if "p1" in got:
        raise NotYet(found + "\nLikely cause: a pool has no weights at all; ask for fields by name, not by position.")
    if "r1" in got:
        raise NotYet(f"{found}\nLikely cause: {EMPTY}")
    if set(got) == {"c1", "c3"}:
        raise NotYet(f"{found}\nLikely cause: {OLD_FORM}")
    if set(got) != {"c1", "c2", "c3", "c4"}:
        raise NotYet(found)


def _tensor(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _struct(**fields: Any) -> NDArray:
    """A 1x1 struct as scipy reads it; text becomes an array of one string."""
    struct = np.empty((1, 1), dtype=[(name, object) for name in fields])
    struct[0, 0] = tuple(np.array([value]) if isinstance(value, str) else value for value in fields.values())
    return struct
