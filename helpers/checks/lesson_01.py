"""Lesson 01: from MATLAB's arrays to PyTorch's tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .feedback import Exercise, NotYet, call, compare

SOLUTION = "notebooks/solutions/01_load_matconvnet.ipynb"


def verify_convert(answer: Any) -> None:
    """1.1 `convert(kernel, bias) -> (weight, bias)`."""
    rng = np.random.default_rng(11)
    for kernel_shape, bias_shape in [((2, 3, 4, 5), (5, 1)), ((2, 3, 4, 5), (1, 5)), ((2, 3, 4), (1, 1))]:
        kernel = rng.normal(size=kernel_shape).astype(np.float32)
        bias = rng.normal(size=bias_shape).astype(np.float32)
        case = f"for a kernel {kernel_shape} and a bias {bias_shape}, "
        weight, vector = _pair(call(answer, kernel, bias), "the weight and the bias")
        full = torch.tensor(kernel.reshape(kernel_shape + (1,) * (4 - kernel.ndim)))
        right = full.permute(3, 2, 0, 1)
        causes = [
            ("height and width are exchanged: the axes of the kernel are H, W, in, out.", right.transpose(2, 3)),
            ("input and output channels are exchanged.", right.transpose(0, 1)),
            (
                "the kernel was reshaped, which leaves its numbers in their old order: move the axes.",
                full.view_as(right),
            ),
            ("the dimension that MATLAB dropped, the single output channel, was not put back.", right[0]),
        ]
        compare(weight, right, case + "the weight", causes)
        flat = torch.tensor(bias.reshape(-1))
        one_number = "bias.transpose(1, 0)[0] picks one number out of a bias that lies as a row."
        two_dimensions = "the bias still has two dimensions."
        causes = [
            (one_number, flat[0]),
            (one_number, flat[:1]),
            (two_dimensions, torch.tensor(bias)),
            (two_dimensions, torch.tensor(bias).T),
        ]
        compare(vector, flat, case + "the bias", causes)
    _verify_memory(answer)


def _verify_memory(answer: Callable) -> None:
    kernel, bias = np.ones((2, 3, 4, 5), np.float32), np.ones((5, 1), np.float32)
    weight, vector = answer(kernel, bias)
    kernel[:], bias[:] = 0, 0
    if not weight.all() or not vector.all():
        raise NotYet(
            "overwriting the MATLAB array afterwards changed your tensor.\n"
            "Likely cause: torch.Tensor(array) and torch.from_numpy(array) share memory; make a copy."
        )
    if not weight.is_contiguous():
        raise NotYet(
            f"the weight is not contiguous (its strides are {weight.stride()}), so .view() will fail on it later.\n"
            "Likely cause: moving axes leaves the memory as it was; call .contiguous() on the tensor."
        )


def verify_read_weights(answer: Any) -> None:
    """1.2 `read_weights(layers) -> {name: (kernel, bias)}`."""
    rng = np.random.default_rng(12)
    kernels = {"c1": rng.normal(size=(2, 3, 4, 5)), "c2": rng.normal(size=(1, 2, 5, 6))}
    biases = {"c1": rng.normal(size=(1, 5)), "c2": rng.normal(size=(6, 1))}
    both = np.empty((1, 2), dtype=object)
    both[0, 0], both[0, 1] = kernels["c1"], biases["c1"]
    nothing = np.empty((0, 0), dtype=object)
    structs = [
        _struct(name="c1", type="conv", weights=both, stride=np.ones((1, 1))),
        _struct(name="r1", type="relu", leak=np.zeros((1, 1)), weights=nothing),
        _struct(name="p1", type="pool", pool=np.full((1, 2), 2)),
        _struct(type="conv", name="c2", biases=biases["c2"], filters=kernels["c2"]),
    ]
    layers = np.empty((1, len(structs)), dtype=object)
    for i, struct in enumerate(structs):
        layers[0, i] = struct
    got = call(answer, layers)
    _verify_names(got)
    for name in kernels:
        kernel, bias = (_tensor(value) for value in _pair(got[name], "the kernel and the bias"))
        right, vector = torch.tensor(kernels[name]), torch.tensor(biases[name])
        by_position = "the fields were taken by position: in the old form `biases` may stand before `filters`."
        compare(kernel, right, f"the kernel of {name}", [(by_position, vector)])
        compare(bias, vector, f"the bias of {name}", [])


def _verify_names(got: Any) -> None:
    if not isinstance(got, dict):
        raise NotYet(f"return a dict from layer names to (kernel, bias), not a {type(got).__name__}.")
    if not all(isinstance(name, str) for name in got):
        raise NotYet(
            "the names should be plain strings.\nLikely cause: a name is an array of one string; take .item()."
        )
    found = f"expected the layers c1 and c2, got {', '.join(got) or 'none'}."
    if {"r1", "p1"} & set(got):
        raise NotYet(found + "\nLikely cause: a relu may have a `weights` field that is empty; leave such layers out.")
    if list(got) == ["c1"]:
        raise NotYet(found + "\nLikely cause: the old form, with `filters` and `biases`, is not read.")
    if list(got) != ["c1", "c2"]:
        raise NotYet(found)


def verify_fc_to_linear(answer: Any) -> None:
    """1.3 `fc_to_linear(kernel) -> weight`, the kernel in MatConvNet's layout."""
    kernel = np.random.default_rng(13).normal(size=(2, 3, 4, 5)).astype(np.float32)
    stored = torch.tensor(kernel)
    moved = stored.permute(3, 2, 0, 1)
    causes = [
        ("it was flattened in MATLAB's order (H, W, C); torch.flatten runs (C, H, W).", stored.reshape(-1, 5).T),
        ("height and width are exchanged.", moved.transpose(2, 3).reshape(5, -1)),
        ("outputs and inputs are exchanged: a Linear weight is (out, in).", moved.reshape(5, -1).T),
        ("the kernel was reshaped without moving its axes first.", stored.reshape(5, -1)),
        ("this is still a conv weight; the weight of a Linear has two dimensions.", moved),
    ]
    compare(call(answer, kernel), moved.reshape(5, -1), "the weight", causes)


def verify_fold(answer: Any) -> None:
    """1.4 `fold(weight, bias, average, mean, std) -> (weight, bias)`."""
    generator = torch.Generator().manual_seed(14)
    weight, bias = torch.randn(5, 3, 2, 4, generator=generator), torch.randn(5, generator=generator)
    average, mean, std = torch.tensor([120.0, 110, 90]), torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    got_weight, got_bias = _pair(call(answer, weight, bias, average, mean, std), "the new weight and the new bias")
    scale, shift = 255 * std.view(1, 3, 1, 1), (255 * mean - average).view(1, 3, 1, 1)
    causes = [
        ("the factor 255 is missing: torchvision's pixels lie between 0 and 1.", weight * scale / 255),
        ("divided by std; the conv has to undo that division, so multiply.", weight * 255 * 255 / scale),
        ("std was not applied.", weight * 255),
        ("the weight was not changed.", weight),
    ]
    compare(got_weight, weight * scale, "the weight", causes)
    constant = (weight * shift).sum((1, 2, 3))
    without_255 = bias + (weight * (mean - average).view(1, 3, 1, 1)).sum((1, 2, 3))
    causes = [
        ("the bias was not changed.", bias),
        ("the shift has the wrong sign; it is 255 * mean - average.", bias - constant),
        (
            "the shift was multiplied with the new weight; it takes the old one.",
            bias + (weight * scale * shift).sum((1, 2, 3)),
        ),
        ("mean was not brought to the scale 0-255.", without_255),
    ]
    compare(got_bias, bias + constant, "the bias", causes)


def _pair(got: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(got, tuple) or len(got) != 2:
        raise NotYet(f"expected two values, {what}, but got a {type(got).__name__}.")
    return got


def _tensor(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _struct(**fields: Any) -> NDArray:
    """A 1x1 struct as scipy reads it; text becomes an array of one string."""
    struct = np.empty((1, 1), dtype=[(name, object) for name in fields])
    struct[0, 0] = tuple(np.array([value]) if isinstance(value, str) else value for value in fields.values())
    return struct


EXERCISES = {
    "1.1": Exercise(
        verify_convert,
        (
            "Three things happen to the kernel: dropped dimensions come back, axes move, memory becomes its own.",
            "kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim)) puts the dropped dimensions back.",
            "torch.tensor(array) copies, torch.from_numpy(array) shares; .permute(3, 2, 0, 1).contiguous() moves. "
            "A bias in any orientation becomes a vector with reshape(-1).",
        ),
        "kernels and biases of any shape that MATLAB writes arrive right, in memory of their own.",
        SOLUTION,
    ),
    "1.2": Exercise(
        verify_read_weights,
        (
            "Each element of the cell is a 1x1 struct: layer = element[0, 0]; layer.dtype.names lists its fields.",
            "Ask for names, never for positions: if 'filters' in layer.dtype.names ... A relu may have `weights` "
            "that are empty: layer['weights'].size is 0.",
            "for element in layers.ravel(): layer = element[0, 0]; names = layer.dtype.names; then three cases: "
            "'filters' in names; 'weights' in names and layer['weights'].size; neither. "
            "layer['name'].item() is the name, layer['weights'].ravel() the two arrays.",
        ),
        "both generations of files give the same dictionary, whatever the order of their fields.",
        SOLUTION,
    ),
    "1.3": Exercise(
        verify_fc_to_linear,
        (
            "The Linear reads torch.flatten(features, 1), which runs through C first, then H, then W.",
            "Move the axes to (out, in, H, W) first; then the last three are already in the order of the flattening.",
            "torch.tensor(kernel).permute(3, 2, 0, 1).reshape(kernel.shape[3], -1)",
        ),
        "a fully connected layer that MatConvNet kept as a conv works as a Linear.",
        SOLUTION,
    ),
    "1.4": Exercise(
        verify_fold,
        (
            "Write the pixel x twice: the old network saw x - average, the new one sees z = (x / 255 - mean) / std. "
            "Solve the second for x and put it into the first.",
            "x - average = 255 * std * z + (255 * mean - average). The factor goes into the weight of each input "
            "channel; the constant goes, through the weight, into the bias.",
            "new_weight = weight * (255 * std).view(1, -1, 1, 1); "
            "new_bias = bias + (weight * (255 * mean - average).view(1, -1, 1, 1)).sum((1, 2, 3))",
        ),
        "the network now takes torchvision's normalised images and computes what it computed.",
        SOLUTION,
    ),
}
