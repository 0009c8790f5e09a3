"""Files of both generations of MatConvNet, as `scipy.io.loadmat` returns them, for exercise 1.2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPES = {
    "c1": (2, 3, 4, 5),
    "c2": (1, 2, 5, 6),
    "C3": (3, 1, 6, 4),
    "c4": (2, 5, 4, 3),
    "c5": (4, 2, 3),  # without its last dimension, of size 1
    "up": (2, 3, 5, 4),
}


EMPTY = np.zeros((0, 0))


def arrays() -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Kernels and biases, by the names of their layers."""
    rng = np.random.default_rng(12)
    kernels = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    outputs = {"c1": 5, "c2": 6, "C3": 4, "c4": 3, "c5": 1, "up": 5}
    biases = {name: rng.normal(size=(1, count)) for name, count in outputs.items()}
    kernels["c4"], biases["c4"] = kernels["c4"].astype(np.float32), biases["c4"].astype(np.float32)
    return kernels, biases


def layers(kernels: dict[str, NDArray], biases: dict[str, NDArray]) -> NDArray:
    """A cell of layers; each form of a conv is there in two orders of its fields."""
    structs = [
        struct(name="c1", type="conv", weights=cell(kernels["c1"], biases["c1"]), stride=np.ones((1, 1))),
        struct(name="r1", type="relu", leak=np.zeros((1, 1)), weights=np.empty((0, 0), dtype=object)),
        struct(name="p1", type="pool", pool=np.full((1, 2), 2)),
        struct(type="conv", name="c2", biases=biases["c2"], filters=kernels["c2"]),
        struct(weights=cell(kernels["C3"], biases["C3"]), pad=np.zeros((1, 4)), type="conv", name="C3"),
        struct(name="c5", filters=EMPTY, biases=EMPTY, type="conv", weights=cell(kernels["c5"], biases["c5"])),
        struct(name="up", type="convt", weights=cell(kernels["up"], biases["up"])),
        struct(type="relu", name="r2", filters=EMPTY, biases=EMPTY),
        struct(filters=kernels["c4"], biases=biases["c4"], name="c4", type="conv"),
    ]
    return cell(*structs)


def cell(*elements: NDArray) -> NDArray:
    """A row of arrays."""
    row = np.empty((1, len(elements)), dtype=object)
    for i, element in enumerate(elements):
        row[0, i] = element
    return row


def struct(**fields: Any) -> NDArray:
    """A 1x1 struct as scipy reads it; text becomes an array of one string."""
    made = np.empty((1, 1), dtype=[(name, object) for name in fields])
    made[0, 0] = tuple(np.array([value]) if isinstance(value, str) else value for value in fields.values())
    return made
