"""Lesson 06: the exercises that make an upsampling layer and copy weights."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .feedback import NotYet, because, call, compare, must_refuse


def verify_upsampling(answer: Any) -> None:
    """6.2 `upsampling(channels, scale) -> nn.ConvTranspose2d`."""
    for channels, scale in ((3, 4), (5, 2), (2, 6)):
        case = f"for {channels} channels and scale {scale}"
        conv = call(answer, channels, scale, case=case, crashes=UPSAMPLING_CRASHES)
        if not isinstance(conv, nn.ConvTranspose2d):
            raise NotYet(f"{case}, an nn.ConvTranspose2d is wanted, not a {type(conv).__name__}.")
        expect_options(conv, channels, case)
        x = torch.randn(2, channels, 5, 7, generator=torch.Generator().manual_seed(0))
        try:
            got = conv(x).detach()
        except RuntimeError as error:
            raise NotYet(f"{case}, the layer stops with RuntimeError: {error}") from None
        expect_size(got, conv, x, scale, case)
        border = (..., slice(scale, -scale), slice(scale, -scale))
        expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        causes = [(text, wrong[border]) for text, wrong in wrong_outputs(x, expected, scale)]
        causes += [(text, got[border]) for text in wrong_kernel(conv, scale)]  # if nothing else explains it
        compare(got[border], expected[border], f"{case}, the output away from the border", causes)


def wrong_kernel(conv: nn.ConvTranspose2d, scale: int) -> list[str]:
    """What is to be said of the kernel if the output is wrong."""
    kernel = conv.weight.detach()
    said = []
    if conv.kernel_size != (2 * scale, 2 * scale):
        said.append("a kernel that interpolates reaches over 2 * scale pixels.")
    if not torch.allclose(kernel, kernel.flip(2, 3)):
        said.append("the kernel is not the same on both sides of its centre; was all of it filled?")
    if kernel.std() < 1e-6:
        said.append("the kernel is the same everywhere; it has to fall off.")
    return said


def expect_options(conv: nn.ConvTranspose2d, channels: int, case: str) -> None:
    if (conv.in_channels, conv.out_channels) != (channels, channels):
        raise NotYet(f"{case}, the layer has {conv.in_channels} inputs and {conv.out_channels} outputs.")
    if conv.groups != channels:
        why = because("groups=channels; otherwise there are weights from each channel to all others.")
        raise NotYet(f"{case}, the layer has groups={conv.groups}.{why}")
    if conv.bias is not None:
        raise NotYet(f"{case}, the layer has a bias.{because('bias=False; interpolation adds nothing.')}")
    if not conv.weight.requires_grad:
        raise NotYet(f"{case}, the weight is frozen; that was not asked for.")


def expect_size(got: Tensor, conv: nn.ConvTranspose2d, x: Tensor, scale: int, case: str) -> None:
    wanted = (*x.shape[:2], scale * x.shape[2], scale * x.shape[3])
    if got.shape == wanted:
        return
    cause = None
    if conv.stride != (scale, scale):
        cause = "the stride is the scale."
    elif conv.kernel_size == (2 * scale, 2 * scale):
        cause = "the kernel sticks out at each side; the padding of a transposed conv takes that off: scale // 2."
    raise NotYet(f"{case}, an input {tuple(x.shape)} gives {tuple(got.shape)}, not {wanted}.{because(cause)}")


def wrong_outputs(x: Tensor, expected: Tensor, scale: int) -> list[tuple[str, Tensor]]:
    """What known mistakes put out."""
    line = 1 - (torch.arange(2 * scale) - (scale - 0.5)).abs() / scale
    ones = torch.ones(2 * scale)

    def through(kernel: Tensor) -> Tensor:
        weight = kernel.expand(x.shape[1], 1, *kernel.shape)
        return F.conv_transpose2d(x, weight, stride=scale, padding=scale // 2, groups=x.shape[1])

    first = torch.zeros_like(expected)
    first[:, 0] = expected[:, 0]
    off = 1 - (torch.arange(2 * scale) - (scale - 1)).abs() / scale
    last = 1 - (torch.arange(2 * scale) - scale).abs() / scale
    nearest = F.interpolate(x, scale_factor=scale, mode="nearest")
    one_axis = "the kernel falls along one axis only; take the outer product of the line with itself."
    centre = "an even kernel has its centre between two pixels: scale - 0.5."
    each = "the kernel is scaled to a sum of 1; its sum is scale * scale, as each pixel fills so many."
    return [
        (each, expected / scale**2),
        (one_axis, through(torch.outer(line, ones))),
        (one_axis, through(torch.outer(ones, line))),
        ("the weight is zero.", torch.zeros_like(expected)),
        ("each pixel is only repeated; the kernel has to fall off.", nearest),
        ("the kernel is one everywhere.", through(torch.outer(ones, ones))),
        ("only the first channel is filled.", first),
        (centre, through(torch.outer(off, off))),
        (centre, through(torch.outer(last, last))),
        ("the kernel is the mean of two lines, not their product.", through((line[:, None] + line) / 2)),
    ]


UPSAMPLING_CRASHES = [
    ("IndexError", "with groups the weight has the shape (channels, 1, k, k): the second place is always 0."),
    ("a leaf Variable that requires grad", "a parameter is changed in place under torch.no_grad()."),
    ("must match the existing size", "conv.weight is (channels, 1, k, k); conv.weight[:, 0] takes a kernel (k, k)."),
    ("cannot assign", "weight must stay an nn.Parameter: under torch.no_grad(), fill conv.weight[:, 0] or copy_."),
    ("divisible by groups", "all three are `channels`: in_channels, out_channels and groups."),
]


def lists_of_layers() -> tuple[list[nn.Module], list[nn.Module]]:
    """Three convs, and a conv and two Linears that fill them."""
    torch.manual_seed(0)
    targets = [nn.Conv2d(3, 4, (3, 2)), nn.Conv2d(4, 5, (2, 3)), nn.Conv2d(5, 6, 1)]
    return targets, [nn.Conv2d(3, 4, (3, 2)), nn.Linear(24, 5), nn.Linear(5, 6)]


def verify_fill(answer: Any) -> None:
    """6.3 `fill(targets, sources) -> the targets`."""
    targets, sources = lists_of_layers()
    call(answer, targets, sources, crashes=FILL_CRASHES, may_change=[0])
    answer(targets, sources)
    for i, (target, source) in enumerate(zip(targets, sources, strict=True)):
        weight = source.weight.detach().reshape(target.weight.shape)
        causes = [("height and width are exchanged.", _swapped(weight))]
        if i:
            causes.append(("the Linear was skipped.", lists_of_layers()[0][i].weight.detach()))
        what = f"the weight of layer {i} (counted from 0)"
        compare(target.weight.detach(), weight, what, causes)
        old = lists_of_layers()[0][i].bias.detach()
        forgotten = [("the bias was forgotten.", old), ("the biases are to be copied, too.", torch.zeros_like(old))]
        compare(target.bias.detach(), source.bias.detach(), what.replace("weight", "bias"), forgotten)
        expect_own_memory(target, source, i)
    refuse_what_does_not_fit(answer)


def _swapped(weight: Tensor) -> Tensor:
    return weight.flatten(2).reshape(*weight.shape[:2], weight.shape[3], weight.shape[2]).transpose(2, 3)


def expect_own_memory(target: nn.Module, source: nn.Module, place: int) -> None:
    for name, parameter in target.named_parameters():
        if parameter.untyped_storage().data_ptr() == source.get_parameter(name).untyped_storage().data_ptr():
            why = because("`.data = ...data` and nn.Parameter(...data) hand on memory; copy_ copies numbers.")
            raise NotYet(f"layer {place} shares its {name} with its source: training one trains the other.{why}")
        if not parameter.requires_grad:
            raise NotYet(f"the {name} of layer {place} is frozen now; leave requires_grad as it is.")


def refuse_what_does_not_fit(answer: Any) -> None:
    """A ValueError for each, and no layer filled before it."""
    ends = "zip ends with the shorter list and says nothing; zip(..., strict=True) says it, but only at the end."
    shapes = "compare the shapes of a pair; copy_ and load_state_dict raise no ValueError, and copy_ even broadcasts."
    outputs = "a Linear must have the conv's number of outputs, too; its rows are one each."
    targets, sources = lists_of_layers()
    same_numbers = [nn.Conv2d(3, 4, (2, 3)), *sources[1:]]
    wide = [sources[0], sources[1], nn.Linear(7, 6)]
    turned = [*sources[:2], nn.Linear(6, 5)]  # its weight (5, 6) for one of (6, 5, 1, 1)
    single = [sources[0], sources[1], nn.Conv2d(1, 1, 1)]
    for case, given, cause in (
        ("if there are fewer sources", (targets, sources[:2]), ends),
        ("if there are fewer targets", (targets[:2], sources), ends),
        ("if the last Linear is larger", (targets, wide), shapes),
        ("if the last conv is smaller", (targets, single), shapes),
        ("if a conv has as many numbers in another shape", (targets, same_numbers), shapes),
        ("if a Linear has as many numbers and other outputs", (targets, turned), outputs),
    ):
        must_refuse(answer, *given, case=case, cause=cause)
        mine = copy.deepcopy(given[0])
        with contextlib.suppress(ValueError):
            answer(mine, copy.deepcopy(given[1]))
        for i, (layer, before) in enumerate(zip(mine, given[0], strict=True)):
            if not (torch.equal(layer.weight, before.weight) and torch.equal(layer.bias, before.bias)):
                why = because("look at all pairs first, and copy in a second loop.")
                raise NotYet(f"{case}, layer {i} was filled before the ValueError came.{why}")


FILL_CRASHES = [
    ("a leaf Variable that requires grad", "parameters are changed in place under torch.no_grad()."),
    ("must match the size", "a Linear's weight needs the conv's shape: reshape(target.weight.shape)."),
    ("Error(s) in loading state_dict", "load_state_dict does not reshape: reshape the Linear's weight first."),
    ("argument 1 is shorter", "the two lists are equally long here; what did you zip?"),
    ("ValueError", "these lists do fit: a Linear fits a conv with as many numbers, whatever their shapes."),
]
