"""Bilinear interpolation as the kernel of a transposed conv, and the same without any kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import FCNError
from ..layers import whole_number, why_not_plain


def bilinear_kernel(size: int) -> Tensor:
    """The kernel with which a transposed conv interpolates: (size, size), the product of two lines
    that fall on both sides of the centre, to zero one step beyond the kernel.

    For an upsampling by s take size = 2s - s % 2 and stride s, as Caffe's `bilinear` filler does.

    Args:
        size: height and width in pixels.

    Raises:
        FCNError: no whole number, or below 1.
    """
    return _exact_kernel(size).float()


def _exact_kernel(size: int) -> Tensor:
    if whole_number(size) is None or size < 1:
        raise FCNError(f"a kernel has a whole number of pixels, at least one, not {size!r}")
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
        FCNError: no transposed conv, other shapes, or a weight that cannot be filled: it is made from other tensors,
            has no numbers (meta), or several of its numbers share one place. The conv is then as it was.
    """
    if not isinstance(conv, nn.ConvTranspose2d):
        raise FCNError(f"bilinear upsampling is a ConvTranspose2d, not a {type(conv).__name__}")
    if why := why_not_writable(None, conv, "this conv"):
        raise FCNError(why)
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
        FCNError: the scale is not a whole number above 1, or x is no such tensor.
    """
    _check_scale(scale)
    if not isinstance(x, Tensor) or x.ndim != 4:
        found = tuple(x.shape) if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise FCNError(f"maps are (N, C, H, W), not {found}")
    if not x.is_floating_point() or not x.shape[2] * x.shape[3]:
        raise FCNError(f"maps are floating point numbers with a height and a width, not {tuple(x.shape)} {x.dtype}")
    larger = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=scale, mode="bilinear", align_corners=False)
    crop = (scale + 1) // 2
    return larger[..., crop:-crop, crop:-crop]


def why_not_readable(layer: nn.Module, name: str) -> str | None:
    """Why the weight and bias of a layer cannot be copied from; None if they can."""
    if why := why_not_plain(None, layer, name):
        return why
    for kind, tensor in layer._parameters.items():
        if tensor is not None and (tensor.is_meta or tensor.layout != torch.strided):
            what = "on the meta device, without numbers" if tensor.is_meta else f"stored as {tensor.layout}"
            return f"the {kind} of {name} is {what}: load it into a plain layer on the CPU first"
    return None


def why_not_writable(model: nn.Module | None, layer: nn.Module, name: str) -> str | None:
    """Why the weight and bias of a layer cannot be filled; None if they can. `model` as in `why_not_plain`."""
    if why := why_not_plain(model, layer, name) or why_not_readable(layer, name):
        return why
    for kind, tensor in layer._parameters.items():
        if tensor is not None and any(
            stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        ):
            return f"several numbers in the {kind} of {name} share one place (expand); give it a clone() of its own"
    return None


def _check_scale(scale: object) -> None:
    number = whole_number(scale)
    if number is None or number < 2:
        raise FCNError(f"the scale must be a whole number above 1, not {scale!r}")


class BilinearUpsampling(nn.Module):
    """`upsample_bilinear` as a layer without parameters, in the place of the transposed conv that it equals.

    Attributes:
        kernel_size: of that transposed conv.
        stride: its scale.
        padding: pixels cut off at each side, as the padding of a transposed conv does.
    """

    def __init__(self, scale: int, padding: int = 0) -> None:
        """
        Raises:
            FCNError: the scale is not a whole number above 1, the padding no whole number from 0 on.
        """
        super().__init__()
        _check_scale(scale)
        if whole_number(padding) is None or padding < 0:
            raise FCNError(f"the padding must be a whole number of pixels, 0 or more, not {padding!r}")
        self.kernel_size, self.stride, self.padding = 2 * scale - scale % 2, scale, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, (H - 1) stride + kernel_size - 2 padding, ...).

        Raises:
            FCNError: nothing would be left, or whatever `upsample_bilinear` raises.
        """
        larger = upsample_bilinear(x, self.stride)
        if 2 * self.padding >= min(larger.shape[-2:]):
            raise FCNError(f"padding {self.padding} leaves nothing of {tuple(larger.shape[-2:])}; take less")
        height, width = (side - self.padding for side in larger.shape[-2:])
        return larger[..., self.padding : height, self.padding : width]

    def extra_repr(self) -> str:
        return f"scale={self.stride}, padding={self.padding}"
