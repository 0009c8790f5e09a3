"""Kernels and biases from MatConvNet's layout to PyTorch's, and fully connected layers both ways.

MatConvNet keeps a kernel as (H, W, in, out), "HWIO", and MATLAB drops trailing dimensions of size 1.
PyTorch wants (out, in, H, W), "OIHW".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import MatConvNetError
from ..layers import whole_number
from .unread import is_shape_only

FEW = 64  # bytes of an option, of which a file may have very many
PIECE = 1 << 20  # bytes at a time, enough for all threads


def read_planes(
    shape: tuple[int, ...], dtype: np.dtype, read_into: Callable[[memoryview], None], to: np.dtype | None = None
) -> NDArray:
    """MATLAB's numbers, whose first dimension runs fastest, so that kernels lie in memory as PyTorch has them.

    Of (H, W, in, out) the file has one plane (H, W) of an output channel after the other, each by columns: here they
    are written by rows, and no other copy is needed.

    Args:
        shape: two dimensions at least.
        dtype: of the file, its byte order included; the array has this machine's.
        read_into: fills memory with the next bytes.
        to: of the array, if it is to be another one.

    Returns:
        An array of that shape, a view of memory of its own.
    """
    rows, columns = shape[:2]
    count = math.prod(shape[2:])
    native = to or dtype.newbyteorder("=")
    if count * rows * columns * dtype.itemsize <= FEW:
        few = bytearray(count * rows * columns * dtype.itemsize)
        read_into(memoryview(few))
        return np.frombuffer(few, dtype).astype(native, copy=False).reshape(shape, order="F")
    # torch's memory, for numpy asks for huge pages, which are slow to get
    memory = torch.empty(math.prod(shape) * native.itemsize, dtype=torch.uint8)
    planes = memory.numpy().view(native).reshape(count, rows, columns)
    if dtype == native and min(rows, columns) == 1:  # nothing is to be exchanged
        read_into(memory.numpy().data)
    elif planes.size:
        most = max(1, PIECE // (rows * columns * dtype.itemsize))
        piece = np.empty((min(most, count), columns, rows), dtype)
        for start in range(0, count, most):
            part = piece[: min(most, count - start)]
            read_into(part.reshape(-1).view(np.uint8).data)
            numbers = torch.from_numpy(part.astype(dtype.newbyteorder("="), copy=False))
            target = torch.from_numpy(planes[start : start + len(part)])
            target.copy_(numbers.transpose(1, 2))  # torch exchanges axes on all threads
    return from_planes(planes.reshape(*shape[:1:-1], rows, columns))


def from_planes(planes: NDArray) -> NDArray:
    """(out, in, H, W) -> (H, W, in, out), the same memory; of any number of dimensions from 2 on."""
    last = planes.ndim - 1
    return planes.transpose(last - 1, last, *range(last - 2, -1, -1))


def tensor(array: NDArray) -> Tensor:
    """As a float32 tensor, contiguous; it shares memory with an array that is both already."""
    if is_shape_only(array):
        return torch.empty(array.shape, device="meta")
    return torch.from_numpy(np.ascontiguousarray(array, np.float32).reshape(array.shape))


def as_it_stands(array: NDArray) -> Tensor:
    """As a float32 tensor of the same shape and strides, in the array's memory if that is float32."""
    if is_shape_only(array):
        return torch.empty(array.shape, device="meta")
    return torch.from_numpy(array.astype(np.float32, copy=False))


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
    return kernel_tensor(np.array(np.asarray(kernel), order="K"))


def kernel_tensor(kernel: NDArray) -> Tensor:
    """As `hwio_to_oihw`, but in the memory of the kernel if it lies there as PyTorch wants it."""
    if kernel.dtype.kind not in "fiub":
        raise MatConvNetError(f"a MatConvNet kernel holds real numbers, this one is {kernel.shape} {kernel.dtype}")
    if not 2 <= kernel.ndim <= 4:
        raise MatConvNetError(f"a MatConvNet kernel has 2 to 4 dimensions (H, W, in, out), this one is {kernel.shape}")
    kernel = kernel[(...,) + (None,) * (4 - kernel.ndim)]
    return tensor(kernel.transpose(3, 2, 0, 1))


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
