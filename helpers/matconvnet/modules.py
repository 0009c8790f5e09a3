"""Modules for what PyTorch has no layer for; those that join variables take several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MatConvNetError


class AvgPool2d(nn.Module):
    """Average pooling whose unequal padding, (left, right, top, bottom), is left out of every average."""

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, ...]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        inside = F.pad(torch.ones_like(x[:1, :1]), self.padding)
        total = F.avg_pool2d(F.pad(x, self.padding), self.kernel_size, self.stride)
        return total / F.avg_pool2d(inside, self.kernel_size, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Conv2d(nn.Conv2d):
    """A conv at the input: in how many groups it is, only the channels that arrive can tell."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, h, w), for C any multiple of the channels that the kernel reads."""
        groups = max(1, x.shape[-3] // self.weight.shape[1])
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, groups)


class MirroredLocalResponseNorm(nn.LocalResponseNorm):
    """For even sizes: MatConvNet looks one channel further up, PyTorch one channel further down."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return super().forward(x.flip(1)).flip(1)


class Sum(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        """Any number of one shape -> that shape."""
        total = inputs[0]
        for other in inputs[1:]:
            total = total + other
        return total


class Concat(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """Several -> one after the other along `dim`."""
        return torch.cat(inputs, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class ConcatMap(nn.Module):
    """`concat` of FFDNet and its like: beside the channels stand numbers for the whole image, or maps of its size."""

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """(N, C, H, W) and (N, c), (N, c, 1, 1) or (N, c, H, W) -> (N, C + c, H, W)."""
        if beside.ndim == 2:
            beside = beside[:, :, None, None]
        return torch.cat([x, beside.expand(len(x), -1, *x.shape[2:])], 1)


class Scale(nn.Module):
    """x · weight + bias; what the file has no parameter for comes as a further input."""

    def __init__(self, weight: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = None if weight is None else nn.Parameter(weight.clone())
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """(N, C, H, W), and factors and summands that spread to it -> the same shape."""
        given = [*others, *(own for own in (self.weight, self.bias) if own is not None)]
        for factor in given:
            try:
                torch.broadcast_shapes(x.shape, factor.shape)
            except RuntimeError as error:
                raise MatConvNetError(
                    f"factors or summands {tuple(factor.shape)} do not spread to {tuple(x.shape)}"
                ) from error
        x = x * given[0]
        return x + given[1] if len(given) > 1 else x


class Crop(nn.Module):
    """As `dagnn.Crop`: to the size of another, from an offset (top, left) on, or from further up if it is too small."""

    def __init__(self, offset: tuple[int, int]) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """(N, C, H, W) and (n, c, h, w) -> (N, C, h, w)."""
        height, width = like.shape[2:]
        if height > x.shape[2] or width > x.shape[3]:
            raise MatConvNetError(f"maps of {tuple(x.shape[2:])} cannot be cropped to {(height, width)}")
        top = min(self.offset[0], x.shape[2] - height)
        left = min(self.offset[1], x.shape[3] - width)
        return x[:, :, top : top + height, left : left + width]

    def extra_repr(self) -> str:
        return f"offset={self.offset}"


class Trim(nn.Module):
    """Takes rows and columns away at the edges."""

    def __init__(self, top: int, bottom: int, left: int, right: int) -> None:
        super().__init__()
        self.edges = top, bottom, left, right

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H - top - bottom, W - left - right)."""
        top, bottom, left, right = self.edges
        if top + bottom >= x.shape[2] or left + right >= x.shape[3]:
            raise MatConvNetError(f"of maps of {tuple(x.shape[2:])} nothing is left after the crop {self.edges}")
        return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]

    def extra_repr(self) -> str:
        return f"top, bottom, left, right={self.edges}"


class SubPixels(nn.Module):
    """Channels become pixels, column by column: MATLAB's order, where PyTorch's `pixel_shuffle` goes row by row."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, C · scale², H, W) -> (N, C, H · scale, W · scale)."""
        return F.pixel_shuffle(x.transpose(2, 3), self.scale).transpose(2, 3)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class FromPixels(SubPixels):
    """The opposite: pixels become channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H · scale, W · scale) -> (N, C · scale², H, W)."""
        return F.pixel_unshuffle(x.transpose(2, 3), self.scale).transpose(2, 3)


class Called(nn.Module):
    """A function that somebody gave for a layer nobody knows."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)
