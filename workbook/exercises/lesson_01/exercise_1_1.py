"""Exercise 1.1: convert kernels and biases of any shape that MATLAB writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare, pair, wrong_values


def right(kernel: NDArray, bias: NDArray) -> tuple[Tensor, Tensor]:
    return weight_of(kernel), vector_of(bias)


def weight_of(kernel: NDArray) -> Tensor:
    return torch.tensor(full(kernel)).permute(3, 2, 0, 1).contiguous()


def vector_of(bias: NDArray) -> Tensor:
    return torch.tensor(bias).reshape(-1)


def full(kernel: NDArray) -> NDArray:
    """With the dimensions that MATLAB dropped."""
    return kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))


def put_back_at(axis: int) -> Callable:
    """An answer that puts a dropped dimension back at this axis."""

    def convert(kernel: NDArray, bias: NDArray) -> tuple[Tensor, Tensor]:
        if kernel.ndim == 3:
            kernel = np.expand_dims(kernel, axis)
        return right(kernel, bias)

    return convert


def squeezes(kernel: NDArray, bias: NDArray) -> tuple[Tensor, Tensor]:
    weight, vector = right(kernel, bias)
    if kernel.ndim == 4:
        weight = weight.squeeze()
    return weight, vector


def in_one_memory(kernel: NDArray, bias: NDArray) -> tuple[Tensor, Tensor]:
    weight, vector = right(kernel, bias)
    both = torch.cat([weight.flatten(), vector])
    return both[: weight.numel()].view(weight.shape), both[weight.numel() :]


def without_return(kernel: NDArray, bias: NDArray) -> None:
    right(kernel, bias)


MISPLACED = "the dropped dimension was put back in the wrong place; it was the last."
RESHAPED = "the kernel was reshaped, which leaves its numbers in their old order: move the axes."
DROPPED = "a dimension that MATLAB dropped was not put back; it is always the last that is missing."
OF_A_ROW = "indexing such as bias.transpose(1, 0)[0] picks one number out of a bias that lies as a row."
OF_A_COLUMN = "indexing such as bias[0] picks one number out of a bias that lies as a column."
TWO_DIMENSIONS = "the bias still has two dimensions."
SHARED = "torch.Tensor(array) and torch.from_numpy(array) share memory; make a copy."
ONE_MEMORY = "both are parts of one tensor; each is to own its memory: clone()."
NOT_CONTIGUOUS = "moving axes leaves the memory as it was; call .contiguous() on the tensor."
BIAS_FIRST = "the bias came first; return the weight, then the bias."

WRONG_WEIGHTS = (  # what goes wrong with few kernels comes first: with these, others may come to the same
    Mistake(MISPLACED, put_back_at(0)),
    Mistake(MISPLACED, put_back_at(2)),
    Mistake("squeeze() also takes away a dimension that belongs there.", squeezes),
    Mistake(
        "height and width are exchanged: the axes of the kernel are H, W, in, out.",
        lambda kernel, bias: (weight_of(kernel).transpose(2, 3), vector_of(bias)),
    ),
    Mistake(
        "input and output channels are exchanged.",
        lambda kernel, bias: (weight_of(kernel).transpose(0, 1), vector_of(bias)),
    ),
    Mistake(
        RESHAPED,
        lambda kernel, bias: (torch.tensor(kernel).reshape(weight_of(kernel).shape), vector_of(bias)),
    ),
    Mistake(
        RESHAPED,
        lambda kernel, bias: (torch.tensor(kernel).reshape(full(kernel).shape[::-1]), vector_of(bias)),
    ),
    Mistake(DROPPED, lambda kernel, bias: (weight_of(kernel).squeeze(), vector_of(bias))),
)
WRONG_BIASES = (
    Mistake(
        "squeeze() leaves no dimension here; reshape(-1) does.",
        lambda kernel, bias: (weight_of(kernel), torch.tensor(bias).squeeze()),
    ),
    Mistake(OF_A_ROW, lambda kernel, bias: (weight_of(kernel), torch.tensor(bias.transpose(1, 0)[0]))),
    Mistake(OF_A_COLUMN, lambda kernel, bias: (weight_of(kernel), torch.tensor(bias[0]))),
    Mistake(TWO_DIMENSIONS, lambda kernel, bias: (weight_of(kernel), torch.tensor(bias))),
    Mistake(TWO_DIMENSIONS, lambda kernel, bias: (weight_of(kernel), torch.tensor(bias).T)),
)
MISTAKES = (
    *WRONG_WEIGHTS,
    *WRONG_BIASES,
    Mistake(DROPPED, lambda kernel, bias: (torch.tensor(kernel.transpose(3, 2, 0, 1)), vector_of(bias))),
    Mistake(SHARED, lambda kernel, bias: (torch.from_numpy(full(kernel)).permute(3, 2, 0, 1), vector_of(bias))),
    Mistake(NOT_CONTIGUOUS, lambda kernel, bias: (torch.tensor(full(kernel)).permute(3, 2, 0, 1), vector_of(bias))),
    Mistake(ONE_MEMORY, in_one_memory),
    Mistake(BIAS_FIRST, lambda kernel, bias: (vector_of(bias), weight_of(kernel))),
    Mistake("should be a torch.Tensor", lambda kernel, bias: (weight_of(kernel).numpy(), vector_of(bias))),
    Mistake("expected two values", lambda kernel, bias: weight_of(kernel)),
    Mistake("the `return` is missing", without_return),
)

SHAPES = (
    ((2, 3, 4, 5), (5, 1)),
    ((2, 3, 4, 5), (1, 5)),
    ((2, 3, 4), (1, 1)),
    ((4, 3), (1, 1)),
    ((1, 1, 4, 5), (5, 1)),
    ((3, 2, 1, 4), (4, 1)),
)
CRASHES = [("axes don't match", DROPPED), ("dims", DROPPED)]


def verify(answer: Any) -> None:
    """`convert(kernel, bias) -> (weight, bias)`."""
    rng = np.random.default_rng(11)
    for kernel_shape, bias_shape in SHAPES:
        kernel, bias = (rng.normal(size=shape).astype(np.float32) for shape in (kernel_shape, bias_shape))
        with case(f"for a kernel {kernel_shape} and a bias {bias_shape}"):
            verify_values(answer, kernel, bias)
    for kernel_shape, bias_shape in SHAPES:
        verify_memory(answer, np.ones(kernel_shape, np.float32, order="F"), np.ones(bias_shape, np.float32))


def verify_values(answer: Any, kernel: NDArray, bias: NDArray) -> None:
    weight, vector = pair(call(answer, kernel, bias, crashes=CRASHES), "the weight and the bias")
    if getattr(weight, "ndim", 0) == 1 and getattr(vector, "ndim", 0) == 4:
        raise NotYet(BIAS_FIRST)
    compare(weight, weight_of(kernel), "the weight", wrong_values(WRONG_WEIGHTS, kernel, bias, part=0))
    compare(vector, vector_of(bias), "the bias", wrong_values(WRONG_BIASES, kernel, bias, part=1))


def verify_memory(answer: Any, kernel: NDArray, bias: NDArray) -> None:
    """With arrays in column order, as scipy reads them; here a copy would hide what is tested."""
    weight, vector = answer(kernel, bias)
    if weight.untyped_storage().data_ptr() == vector.untyped_storage().data_ptr():
        raise NotYet(f"the weight and the bias lie in one memory.{because(ONE_MEMORY)}")
    kernel[:], bias[:] = 0, 0
    if not weight.all() or not vector.all():
        raise NotYet(f"overwriting the MATLAB array afterwards changed your tensor.{because(SHARED)}")
    if not weight.is_contiguous():
        raise NotYet(
            f"the weight is not contiguous (its strides are {weight.stride()}), so .view() will fail on it later."
            f"{because(NOT_CONTIGUOUS)}"
        )


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Three things happen to the kernel: dropped dimensions come back, axes move, memory becomes its own.",
        "kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim)) puts the dropped dimensions back.",
        "torch.tensor(array) copies, torch.from_numpy(array) shares; .permute(3, 2, 0, 1).contiguous() moves. "
        "A bias in any orientation becomes a vector with reshape(-1).",
    ),
    praise="kernels and biases of any shape that MATLAB writes arrive right, in memory of their own.",
)
