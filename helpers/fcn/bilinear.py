"""Bilinear interpolation as the kernel of a transposed conv, and the same without any kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import FCNError


def bilinear_kernel(size: int) -> Tensor:
    """The kernel with which a transposed conv interpolates: (size, size), the product of two lines
    that fall on both sides of the centre, to zero one step beyond the kernel.

    For an upsampling by s take size = 2s - s % 2 and stride s, as Caffe's `bilinear` filler does.

    Args:
        size: height and width in pixels.

    Raises:
        FCNError: below 1.
    """
    return _exact_kernel(size).float()


def _exact_kernel(size: int) -> Tensor:
    if size < 1:
        raise FCNError(f"a kernel has at least one pixel, not {size}")
    reach = (size + 1) // 2
    centre = reach - 1 if size % 2 else reach - 0.5
    line = 1 - (torch.arange(size, dtype=torch.float64) - centre).abs() / reach
    return torch.outer(line, line)


@torch.no_grad()
def init_bilinear_(conv: nn.ConvTranspose2d) -> None:
    """Let a transposed conv begin as bilinear interpolation of each channel by itself; its bias, if any, as zero.

    Args:
        conv: weight (C, C / groups, size, size) with as many outputs as inputs, in one group or in C.

    Raises:
        FCNError: other shapes. The conv is then as it was.
    """
    channels, height, width = conv.in_channels, *conv.kernel_size
    if conv.out_channels != channels:
        raise FCNError(f"{channels} channels cannot be interpolated to {conv.out_channels}; make both the same")
    if height != width:
        raise FCNError(f"the kernel is {height}x{width}; make it square")
    if conv.groups not in (1, channels):
        raise FCNError(f"{conv.groups} groups of {channels} channels; take 1 or {channels}")
    conv.weight.zero_()
    own = torch.arange(channels)
    conv.weight[own, own if conv.groups == 1 else torch.zeros_like(own)] = _exact_kernel(height).to(conv.weight)
    if conv.bias is not None:
        conv.bias.zero_()


def upsample_bilinear(x: Tensor, scale: int) -> Tensor:
    """What a transposed conv with stride `scale` and `bilinear_kernel(2 scale - scale % 2)` puts out, with no kernel.

    All of it, as with padding 0: at the borders it fades towards zero, because a transposed conv sees zeros there.

    Args:
        x: (N, C, H, W).
        scale: above 1.

    Returns:
        (N, C, (H + 1) scale - scale % 2, (W + 1) scale - scale % 2).

    Raises:
        FCNError: the scale is not a whole number above 1.
    """
    if scale < 2 or int(scale) != scale:
        raise FCNError(f"the scale must be a whole number above 1, not {scale}")
    larger = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=scale, mode="bilinear", align_corners=False)
    crop = (scale + 1) // 2
    return larger[..., crop:-crop, crop:-crop]


class BilinearUpsampling(nn.Module):
    """`upsample_bilinear` as a layer without parameters, in the place of the transposed conv that it equals.

    Attributes:
        kernel_size: of that transposed conv.
        stride: its scale.
        padding: pixels cut off at each side, as the padding of a transposed conv does.
    """

    def __init__(self, scale: int, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = 2 * scale - scale % 2, scale, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, (H - 1) stride + kernel_size - 2 padding, ...)."""
        larger = upsample_bilinear(x, self.stride)
        height, width = (side - self.padding for side in larger.shape[-2:])
        return larger[..., self.padding : height, self.padding : width]

    def extra_repr(self) -> str:
        return f"scale={self.stride}, padding={self.padding}"
