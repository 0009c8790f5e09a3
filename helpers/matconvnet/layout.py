"""Kernels and biases from MatConvNet's layout to PyTorch's, and fully connected layers both ways.

MatConvNet keeps a kernel as (H, W, in, out), "HWIO", and MATLAB drops trailing dimensions of size 1.
PyTorch wants (out, in, H, W), "OIHW".
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import MatConvNetError
from ..layers import whole_number


def hwio_to_oihw(kernel: NDArray) -> Tensor:
    """A MatConvNet kernel as PyTorch wants it.

    Args:
        kernel: (H, W, in, out), in any float or integer dtype, byte order and memory order. Dimensions
            that MATLAB dropped are put back: (3, 3, 64) is read as (3, 3, 64, 1), (4, 4) as (4, 4, 1, 1).

    Returns:
        (out, in, H, W) float32, contiguous, in memory of its own. For a `convt` layer, whose kernel
        MatConvNet keeps as (H, W, out, in), the same move gives (in, out, H, W), which is what
        `torch.nn.ConvTranspose2d` wants.

    Raises:
        MatConvNetError: fewer than 2 or more than 4 dimensions, or no real numbers.
    """
    kernel = np.asarray(kernel)
    if kernel.dtype.kind not in "fiub":
        raise MatConvNetError(f"a MatConvNet kernel holds real numbers, this one is {kernel.shape} {kernel.dtype}")
    if not 2 <= kernel.ndim <= 4:
        raise MatConvNetError(f"a MatConvNet kernel has 2 to 4 dimensions (H, W, in, out), this one is {kernel.shape}")
    kernel = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))
    return torch.from_numpy(np.array(kernel.transpose(3, 2, 0, 1), dtype=np.float32, order="C"))


def conv_to_linear(weight: Tensor) -> Tensor:
    """The `Linear` weight that does to flattened features what a conv over all of them does.

    Args:
        weight: (out, in, H, W), of a conv whose kernel is as large as its input.

    Returns:
        (out, in * H * W), for features flattened in (C, H, W) order, as `torch.flatten(x, 1)` does. A copy.

    Raises:
        MatConvNetError: no tensor of four dimensions.
    """
    if not isinstance(weight, Tensor) or weight.ndim != 4:
        raise MatConvNetError(f"conv_to_linear takes a conv weight (out, in, H, W), got {_shape(weight)}")
    return weight.flatten(1).clone()


def linear_to_conv(weight: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """The conv weight that slides a `Linear` over an image: the inverse of `conv_to_linear`.

    Args:
        weight: (out, in * H * W), of a `Linear` that reads `torch.flatten(features, 1)`.
        kernel_size: (H, W) of those features.

    Returns:
        (out, in, H, W). A copy.

    Raises:
        MatConvNetError: no tensor of two dimensions, the columns do not divide by H * W, or no such size.
    """
    sides = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else ()
    if len(sides) != 2 or any(whole_number(side) is None or side < 1 for side in sides):
        raise MatConvNetError(f"kernel_size is (H, W), two whole numbers from 1 on, not {kernel_size!r}")
    height, width = sides
    if not isinstance(weight, Tensor) or weight.ndim != 2 or weight.shape[1] % (height * width):
        raise MatConvNetError(
            f"a {height}x{width} conv needs a Linear weight (out, in * {height} * {width}), got {_shape(weight)}"
        )
    return weight.reshape(len(weight), weight.shape[1] // (height * width), height, width).clone()


def _shape(weight: object) -> str:
    return str(tuple(weight.shape)) if isinstance(weight, Tensor) else f"a {type(weight).__name__}"
