"""Where in the input a unit of a network looks, by arithmetic over its layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from ..errors import FCNError
from .bilinear import BilinearUpsampling

UPSAMPLING = (nn.ConvTranspose2d, BilinearUpsampling)
PASSED = (nn.ReLU, nn.Dropout, nn.Dropout2d, nn.Identity, nn.BatchNorm2d)


@dataclass(frozen=True)
class Grid:
    """The units of a layer as places in the input, along one axis.

    Attributes:
        stride: distance of neighbours in input pixels.
        start: place of the first unit's centre; 0 is the centre of the first pixel.
        size: pixels that a unit depends on, its receptive field; behind a transposed conv it is an upper bound.
    """

    stride: Fraction = Fraction(1)
    start: Fraction = Fraction(0)
    size: Fraction = Fraction(1)

    def __str__(self) -> str:
        return f"a unit every {float(self.stride):g} pixels, the first at {float(self.start):g}, sees {self.size}"

    def behind(self, layer: nn.Module) -> Grid:
        """The grid of what a layer puts out that reads this one.

        Raises:
            FCNError: the layer is none of conv, pool, transposed conv, and those that work on single places; or it has
                different numbers for height and width.
        """
        if isinstance(layer, PASSED):
            return self
        if not isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, *UPSAMPLING)):
            raise FCNError(f"what a {type(layer).__name__} does to places is not known")
        kernel, stride, padding, dilation = (
            _one(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")
        )
        reach = dilation * (kernel - 1)  # from the first pixel of the kernel to the last
        if isinstance(layer, UPSAMPLING):
            # unit u reads about (u + padding - reach / 2) / stride
            size = self.size + self.stride * Fraction(reach, stride)
            return Grid(self.stride / stride, self.start + self.stride / stride * (padding - Fraction(reach, 2)), size)
        start = self.start + self.stride * (Fraction(reach, 2) - padding)
        return Grid(self.stride * stride, start, self.size + self.stride * reach)


def _one(layer: nn.Module, name: str) -> int:
    value = getattr(layer, name, 1)
    values = set(value) if isinstance(value, tuple) else {value}
    if len(values) != 1 or not isinstance(value := values.pop(), int):
        raise FCNError(f"{name} is {getattr(layer, name)}; this needs one number for height and width")
    return value


def receptive_field(layers: Iterable[nn.Module]) -> Grid:
    """Stride, start and size of the units behind layers that are run one after the other.

    Raises:
        FCNError: it is no sequence of layers, or what `Grid.behind` raises.

    Source: A. Araujo and others, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    """
    if not isinstance(layers, Iterable):
        raise FCNError(f"this needs layers one after the other, not a {type(layers).__name__}; put it into a list")
    grid = Grid()
    for layer in layers:
        grid = grid.behind(layer)
    return grid


def units_between(grid: Grid, onto: Grid) -> int:
    """How many units of `grid` lie in front of the first one of `onto`; below 0 if that one comes first.

    Raises:
        FCNError: one is no Grid, their strides differ, or no whole number of units fits.
    """
    if not isinstance(grid, Grid) or not isinstance(onto, Grid):
        wrong = onto if isinstance(grid, Grid) else grid
        raise FCNError(f"this needs a Grid, as receptive_field gives it, not a {type(wrong).__name__}")
    if grid.stride != onto.stride:
        raise FCNError(f"units {grid.stride} pixels apart cannot be laid upon units {onto.stride} apart")
    units = (onto.start - grid.start) / grid.stride
    if units.denominator != 1:
        raise FCNError(f"the first units lie {units} units apart, which is no whole number")
    return int(units)


def crop_offset(grid: Grid, onto: Grid | None = None) -> int:
    """How many units to cut off in front of `grid`, so that its first one lies on the first one of `onto`.

    Args:
        grid: of what is cropped, such as the output of a transposed conv.
        onto: of what it is laid upon; the input, if there is none.

    Raises:
        FCNError: their strides differ, no whole number of units fits, or it begins too late to be cropped.
    """
    units = units_between(grid, Grid() if onto is None else onto)
    if units < 0:
        raise FCNError(f"it begins {-units} units too late, and a crop cannot add any; pad the layers more")
    return units
