"""Exercise 1.3: from a fully connected conv to a Linear."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checking import Exercise, Mistake, call, compare, wrong_values


def right(kernel: NDArray) -> Tensor:
    return moved(kernel).flatten(1)


def moved(kernel: NDArray) -> Tensor:
    """With the axes in PyTorch's order."""
    return torch.tensor(kernel).permute(3, 2, 0, 1)


UNMOVED = "the kernel was reshaped without moving its axes first; out must come first."
VIEW = "moved axes are not contiguous; reshape and flatten copy where they must."

MISTAKES = (
    Mistake(
        "it was flattened in MATLAB's order (H, W, C); torch.flatten runs (C, H, W).",
        lambda kernel: torch.tensor(kernel).reshape(-1, kernel.shape[3]).T,
    ),
    Mistake("height and width are exchanged.", lambda kernel: moved(kernel).transpose(2, 3).flatten(1)),
    Mistake("outputs and inputs are exchanged: a Linear weight is (out, in).", lambda kernel: right(kernel).T),
    Mistake(UNMOVED, lambda kernel: torch.tensor(kernel).reshape(kernel.shape[3], -1)),
    Mistake(UNMOVED, lambda kernel: torch.tensor(kernel).flatten(1)),
    Mistake(UNMOVED, lambda kernel: torch.tensor(kernel).flatten(0, 2)),
    Mistake("this is still a conv weight; the weight of a Linear has two dimensions.", moved),
    Mistake("squeeze() also takes away an output that is the only one.", lambda kernel: right(kernel).squeeze()),
    Mistake(VIEW, lambda kernel: moved(kernel).view(kernel.shape[3], -1)),
)

CRASHES = [("view size is not compatible", VIEW)]


def verify(answer: Any) -> None:
    """`fc_to_linear(kernel) -> weight`, the kernel in MatConvNet's layout."""
    for shape in ((2, 3, 4, 5), (1, 4, 3, 2), (3, 2, 4, 1)):
        kernel = np.random.default_rng(13).normal(size=shape).astype(np.float32)
        compare(call(answer, kernel, crashes=CRASHES), right(kernel), "the weight", wrong_values(MISTAKES, kernel))


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "In torch.flatten(features, 1) the width changes fastest and the channel slowest.",
        "Move the axes to (out, in, H, W) first; then the last three are already in the order of the flattening.",
        "torch.tensor(kernel).permute(3, 2, 0, 1).reshape(kernel.shape[3], -1)",
    ),
    praise="a fully connected layer that MatConvNet kept as a conv works as a Linear.",
)
