"""Lesson 06: a transposed conv with any kernel size, stride, padding and start, beside bilinear interpolation."""

from __future__ import annotations

from typing import Any

import ipywidgets
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.fcn import bilinear_kernel

from .. import plots
from .interactive import Interactive, beside, picture

__all__ = ["UpsamplingBench"]

BILINEAR, OWN, EQUAL, ZEROS = "bilinear", "PyTorch's own", "equal numbers", "zeros"
MOST = 6  # of stride and padding
SHOWN = 160  # about so many pixels of the screen for each picture


class UpsamplingBench(Interactive):
    """Choose kernel size, stride, padding and start; see the kernel, a point and an image upsampled, the difference."""

    name = "upsampling bench"

    def __init__(self, image: Tensor) -> None:
        """
        Args:
            image: (3, H, W) uint8 RGB; each colour is upsampled by itself.

        Raises:
            ValueError: a side has fewer pixels than the largest padding takes off.
        """
        if min(image.shape[1:]) <= 2 * MOST:
            raise ValueError(f"the image must be larger than {2 * MOST}x{2 * MOST}, not {tuple(image.shape[1:])}")
        self.pixels = image[None].float() / 255

        def slider(description: str, least: int, most: int, first: int) -> ipywidgets.IntSlider:
            return ipywidgets.IntSlider(first, least, most, description=description, continuous_update=False)

        super().__init__(
            size=slider("Kernel size", 1, 2 * MOST, 8),
            stride=slider("Stride", 1, MOST, 4),
            padding=slider("Padding", 0, MOST, 2),
            start=ipywidgets.Dropdown(description="Start", options=[BILINEAR, OWN, EQUAL, ZEROS]),
        )

    def draw(self, size: int, stride: int, padding: int, start: str) -> str:
        """Pictures of kernel, point, image and difference, and a sentence with their sizes and numbers."""
        kernel = make_kernel(size, stride, start)
        larger, wanted = self.upsampled(kernel, stride, padding), self.interpolated(stride)
        point = F.pad(torch.ones(1, 1, 1, 1), (2, 2, 2, 2))
        spread = F.conv_transpose2d(point, kernel[None, None], stride=stride)
        limit = 1.2 * kernel.abs().max().item() or 1.0  # so that no kernel is white on a white page
        parts = [
            f"the kernel<br>{_grey(kernel, limit, _range('the kernel', kernel))}",
            f"one point of 5 x 5<br>{_grey(spread[0, 0], limit, _range('one point, upsampled', spread))}",
            f"the image<br>{_colours(larger, _range('the image, upsampled', larger))}",
        ]
        if larger.shape == wanted.shape:
            difference = (larger - wanted).abs()
            alt = _range("difference to bilinear interpolation", difference)
            parts.append(f"difference<br>{_colours(difference, alt)}")
        return beside(*parts) + self._said(larger, wanted, stride, padding)

    def upsampled(self, kernel: Tensor, stride: int, padding: int) -> Tensor:
        """The image behind a transposed conv with this kernel for each colour: (1, 3, height, width), 0 to 1."""
        weight = kernel.expand(3, 1, *kernel.shape)
        return F.conv_transpose2d(self.pixels, weight, stride=stride, padding=padding, groups=3)

    def interpolated(self, stride: int) -> Tensor:
        """(1, 3, stride height, stride width)."""
        return F.interpolate(self.pixels, scale_factor=stride, mode="bilinear", align_corners=False)

    def _said(self, larger: Tensor, wanted: Tensor, stride: int, padding: int) -> str:
        before, after, right = (" x ".join(map(str, t.shape[-2:])) for t in (self.pixels, larger, wanted))
        grey = "In the kernel and the point, mid-grey is 0."
        if larger.shape != wanted.shape:
            more = larger.shape[-1] - wanted.shape[-1]
            better = padding + more // 2
            fits = more % 2 == 0 and better >= 0
            way = f"A padding of {better} gives that size." if fits else "With this kernel size no padding gives that."
            return f"<p>{before} pixels become {after}; interpolation gives {right}. {way}<br>{grey}</p>"
        border, inside = (larger - wanted).abs(), (..., slice(stride, -stride), slice(stride, -stride))
        middle = border[inside].max().item()
        border[inside] = 0
        equal = "is interpolation" if middle < 1e-6 else f"differs from interpolation by up to {middle:.3f}"
        return (
            f"<p>{before} pixels become {after}. Away from the border it {equal}; at the border it differs by up to "
            f"{border.max().item():.3f} (colours go from 0 to 1).<br>{grey} The difference is black where it is 0."
            "</p>"
        )


def make_kernel(size: int, stride: int, start: str) -> Tensor:
    """(size, size) numbers that a transposed conv may begin with."""
    if start == BILINEAR:
        return bilinear_kernel(size)
    if start == EQUAL:
        return torch.full((size, size), stride**2 / size**2)
    if start == ZEROS:
        return torch.zeros(size, size)
    with torch.random.fork_rng():  # the same each time, and nobody else's random numbers change
        torch.manual_seed(0)
        return nn.ConvTranspose2d(1, 1, size).weight.detach()[0, 0]


def _range(what: str, values: Tensor) -> str:
    """What a picture shows, its size and its numbers: the alternative text."""
    height, width = values.shape[-2:]
    return f"{what}: {height} x {width} numbers from {values.min():.3f} to {values.max():.3f}"


def _grey(values: Tensor, limit: float, alt: str) -> str:
    return picture(plots.kernel_grid(values[None, None], limit, side=SHOWN), alt)


def _colours(image: Tensor, alt: str) -> str:
    pixels: Any = (255 * image[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    return picture(pixels, alt, zoom=max(1, SHOWN // len(pixels)))
