"""Lesson 01: from MATLAB's arrays to PyTorch's tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .feedback import Exercise, NotYet, call, compare, pair
from .lesson_01_files import verify_read_weights


def verify_convert(answer: Any) -> None:
    """1.1 `convert(kernel, bias) -> (weight, bias)`."""
    rng = np.random.default_rng(11)
    kernels = [(2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4), (4, 3), (1, 1, 4, 5), (3, 2, 1, 4)]
    biases = [(5, 1), (1, 5), (1, 1), (1, 1), (5, 1), (4, 1)]
    for kernel_shape, bias_shape in zip(kernels, biases, strict=True):
        kernel, bias = (rng.normal(size=shape).astype(np.float32) for shape in (kernel_shape, bias_shape))
        case = f"for a kernel {kernel_shape} and a bias {bias_shape}"
        dropped = "a dimension that MATLAB dropped was not put back; it is always the last that is missing."
        got = call(answer, kernel, bias, case=case, crashes=[("axes don't match", dropped), ("dims", dropped)])
        weight, vector = pair(got, "the weight and the bias")
        if getattr(weight, "ndim", 0) == 1 and getattr(vector, "ndim", 0) == 4:
            raise NotYet("the bias came first; return the weight, then the bias.")
        full = torch.tensor(kernel.reshape(kernel_shape + (1,) * (4 - kernel.ndim)))
        right = full.permute(3, 2, 0, 1)
        misplaced = [torch.tensor(kernel).unsqueeze(i).permute(3, 2, 0, 1) for i in (0, 2) if kernel.ndim == 3]
        reshaped = "the kernel was reshaped, which leaves its numbers in their old order: move the axes."
        lost = dropped if kernel.ndim < 4 else "squeeze() also takes away a dimension that belongs there."
        causes = [
            *(
                ("the dropped dimension was put back in the wrong place; it was the last.", wrong)
                for wrong in misplaced
            ),
            ("height and width are exchanged: the axes of the kernel are H, W, in, out.", right.transpose(2, 3)),
            ("input and output channels are exchanged.", right.transpose(0, 1)),
            (reshaped, full.view_as(right)),
            (reshaped, full.reshape(full.shape[::-1])),
            (lost, right.squeeze()),
        ]
        compare(weight, right, f"{case}, the weight", causes)
        flat = torch.tensor(bias.reshape(-1))
        one_number = "indexing such as bias.transpose(1, 0)[0] picks one number out of a bias that lies as a row."
        causes = [
            (one_number if bias_shape == (1, 5) else "squeeze() leaves no dimension here; reshape(-1) does.", flat[0]),
            (one_number, flat[:1]),
            ("the bias still has two dimensions.", torch.tensor(bias)),
            ("the bias still has two dimensions.", torch.tensor(bias).T),
        ]
        compare(vector, flat, f"{case}, the bias", causes)
    for kernel_shape, bias_shape in zip(kernels, biases, strict=True):
        _verify_memory(answer, np.ones(kernel_shape, np.float32, order="F"), np.ones(bias_shape, np.float32))


def _verify_memory(answer: Callable, kernel: NDArray, bias: NDArray) -> None:
    """With arrays in column order, as scipy reads them; here a copy would hide what is tested."""
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


def verify_fc_to_linear(answer: Any) -> None:
    """1.3 `fc_to_linear(kernel) -> weight`, the kernel in MatConvNet's layout."""
    _verify_fc(answer, np.random.default_rng(13).normal(size=(2, 3, 4, 5)).astype(np.float32))
    _verify_fc(answer, np.random.default_rng(13).normal(size=(1, 4, 3, 2)).astype(np.float32))


def _verify_fc(answer: Any, kernel: NDArray) -> None:
    outputs = kernel.shape[3]
    stored = torch.tensor(kernel)
    moved = stored.permute(3, 2, 0, 1)
    unmoved = "the kernel was reshaped without moving its axes first; out must come first."
    causes = [
        ("it was flattened in MATLAB's order (H, W, C); torch.flatten runs (C, H, W).", stored.reshape(-1, outputs).T),
        ("height and width are exchanged.", moved.transpose(2, 3).reshape(outputs, -1)),
        ("outputs and inputs are exchanged: a Linear weight is (out, in).", moved.reshape(outputs, -1).T),
        *((unmoved, wrong) for wrong in (stored.reshape(outputs, -1), stored.flatten(1), stored.flatten(0, 2))),
        ("this is still a conv weight; the weight of a Linear has two dimensions.", moved),
    ]
    view = ("view size is not compatible", "moved axes are not contiguous; reshape and flatten copy where they must.")
    compare(call(answer, kernel, crashes=[view]), moved.reshape(outputs, -1), "the weight", causes)


def verify_fold(answer: Any) -> None:
    """1.4 `fold(weight, bias, average, mean, std) -> (weight, bias)`."""
    generator = torch.Generator().manual_seed(14)
    weight, bias = torch.randn(5, 3, 2, 4, generator=generator), torch.randn(5, generator=generator)
    average, mean, std = torch.tensor([120.0, 110, 90]), torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    sizes = "mean, std and average belong to dimension 1, view them as (1, 3, 1, 1); and sum over dimensions 1, 2, 3."
    got = call(answer, weight, bias, average, mean, std, crashes=[("must match the size", sizes)])
    got_weight, got_bias = pair(got, "the new weight and the new bias")
    scale, shift = 255 * std.view(1, 3, 1, 1), (255 * mean - average).view(1, 3, 1, 1)
    divided = "divided where it has to be multiplied: the conv undoes the division by std."
    causes = [
        ("the factor 255 is missing: torchvision's pixels lie between 0 and 1.", weight * scale / 255),
        (divided, weight * 255 * 255 / scale),
        (divided, weight / scale),
        ("std was not applied.", weight * 255),
        ("the weight was not changed.", weight),
    ]
    compare(got_weight, weight * scale, "the weight", causes)
    terms = weight * shift
    average_only = -(weight * average.view(1, 3, 1, 1)).sum((1, 2, 3))
    causes = [
        ("the bias was not changed; 255 * mean and average differ here.", bias),
        ("the shift has the wrong sign; it is 255 * mean - average.", bias - terms.sum((1, 2, 3))),
        ("the shift was multiplied with the new weight; it takes the old one.", bias + (terms * scale).sum((1, 2, 3))),
        (
            "mean was not brought to the scale 0-255.",
            bias + (weight * (mean - average).view(1, 3, 1, 1)).sum((1, 2, 3)),
        ),
        ("255 * mean is missing from the shift.", bias + average_only),
        ("average is missing from the shift; it is 255 * mean - average.", bias + terms.sum((1, 2, 3)) - average_only),
        (
            "the shift is 255 times too small: the old network's pixels lie between 0 and 255.",
            bias + terms.sum((1, 2, 3)) / 255,
        ),
        ("a conv adds its terms up, so take their sum, not their mean.", bias + terms.mean((1, 2, 3))),
        ("the sum runs over the outputs too; each output has a bias of its own.", bias + terms.sum()),
        ("the shift did not go through the weight; a conv multiplies first, then adds.", bias + shift.sum()),
        (
            "std belongs to the weight alone; the shift is 255 * mean - average.",
            bias + (weight * (255 * mean / std - average).view(1, 3, 1, 1)).sum((1, 2, 3)),
        ),
        ("the old bias is missing.", terms.sum((1, 2, 3))),
    ]
    compare(got_bias, bias + terms.sum((1, 2, 3)), "the bias", causes)


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
    ),
    "1.2": Exercise(
        verify_read_weights,
        (
            "Each element of the cell is a 1x1 struct: layer = element[0, 0]; layer.dtype.names lists its fields. "
            "The `weights` of a relu are empty.",
            "Ask for names, never for positions: if 'filters' in layer.dtype.names ... Empty weights have size 0.",
            "The layers stand in raw or in raw['net'][0, 0]. "
            "for element in layers.ravel(): layer = element[0, 0]; names = layer.dtype.names; then three cases: "
            "'filters' in names; 'weights' in names and layer['weights'].size; neither. "
            "layer['name'].item() is the name, layer['weights'].ravel() the two arrays.",
        ),
        "both generations of files give the same dictionary, whatever the order of their fields.",
    ),
    "1.3": Exercise(
        verify_fc_to_linear,
        (
            "In torch.flatten(features, 1) the width changes fastest and the channel slowest.",
            "Move the axes to (out, in, H, W) first; then the last three are already in the order of the flattening.",
            "torch.tensor(kernel).permute(3, 2, 0, 1).reshape(kernel.shape[3], -1)",
        ),
        "a fully connected layer that MatConvNet kept as a conv works as a Linear.",
    ),
    "1.4": Exercise(
        verify_fold,
        (
            "Write the pixel x twice: the old network saw x - average, the new one sees z = (x / 255 - mean) / std. "
            "Solve the second for x and put it into the first.",
            "x - average = 255 * std * z + (255 * mean - average). The factor goes into the weight of each input "
            "channel; the constant goes, through the weight, into the bias.",
            "One factor for each input channel: view(1, -1, 1, 1). The constant meets every number of the weight, and "
            "each output adds up over input, height and width: sum((1, 2, 3)).",
            "new_weight = weight * (255 * std).view(1, -1, 1, 1); "
            "new_bias = bias + (weight * (255 * mean - average).view(1, -1, 1, 1)).sum((1, 2, 3))",
        ),
        "the network now takes torchvision's normalised images and computes what it computed.",
    ),
}
