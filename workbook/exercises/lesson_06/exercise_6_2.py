"""Exercise 6.2: a transposed conv that interpolates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare, wrong_values


def right(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = nn.ConvTranspose2d(channels, channels, 2 * scale, scale, scale // 2, groups=channels, bias=False)
    line = 1 - (torch.arange(2 * scale) - (scale - 0.5)).abs() / scale
    with torch.no_grad():
        conv.weight[:, 0] = torch.outer(line, line)
    return conv


def falling(scale: int, to_the_right: float = 0.0) -> Tensor:
    """The line that the right kernel is made of, or one whose centre is shifted."""
    return 1 - (torch.arange(2 * scale) - (scale - 0.5 + to_the_right)).abs() / scale


def tent(scale: int, to_the_right: float = 0.0) -> Tensor:
    """The right kernel, or one whose centre is shifted."""
    return torch.outer(falling(scale, to_the_right), falling(scale, to_the_right))


def made(kernel: Callable[[int], Any] = tent, **changed: Any) -> Callable[[int, int], nn.ConvTranspose2d]:
    """An answer with another kernel, which is broadcast, or with other options."""

    def answer(channels: int, scale: int) -> nn.ConvTranspose2d:
        options: dict[str, Any] = {
            "kernel_size": 2 * scale,
            "stride": scale,
            "padding": scale // 2,
            "groups": channels,
            "bias": False,
        }
        conv = nn.ConvTranspose2d(channels, channels, **(options | changed))
        with torch.no_grad():
            conv.weight[:] = kernel(scale)
        return conv

    return answer


def repeats_each_pixel(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = nn.ConvTranspose2d(channels, channels, scale, scale, groups=channels, bias=False)
    nn.init.ones_(conv.weight)
    return conv


def small_kernel(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = nn.ConvTranspose2d(channels, channels, scale, scale, groups=channels, bias=False)
    side = 1 - (torch.arange(scale) - (scale - 1) / 2).abs() / scale
    with torch.no_grad():
        conv.weight[:, 0] = torch.outer(side, side)
    return conv


def only_the_first_channel(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = made(lambda scale: 0.0)(channels, scale)
    with torch.no_grad():
        conv.weight[0, 0] = tent(scale)
    return conv


def not_filled(channels: int, scale: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2 * scale, scale, scale // 2, groups=channels, bias=False)


def fills_the_diagonal(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = not_filled(channels, scale)
    with torch.no_grad():
        for channel in range(channels):
            conv.weight[channel, channel] = tent(scale)
    return conv


def without_no_grad(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = not_filled(channels, scale)
    conv.weight[:, 0] = tent(scale)
    return conv


def assigns_a_tensor(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv: Any = not_filled(channels, scale)
    conv.weight = tent(scale).expand(channels, 1, -1, -1)
    return conv


def expands(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = not_filled(channels, scale)
    conv.weight = nn.Parameter(tent(scale).expand(channels, 1, -1, -1))
    return conv


def with_a_matrix(channels: int, scale: int) -> nn.ConvTranspose2d:
    conv = not_filled(channels, scale)
    conv.weight = nn.Parameter(tent(scale))
    return conv


def one_output(channels: int, scale: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, 1, 2 * scale, scale, scale // 2, groups=channels, bias=False)


ONE_AXIS = "the kernel falls along one axis only; take the outer product of the line with itself."
CENTRE = "an even kernel has its centre between two pixels: scale - 0.5."
REACH = "a kernel that interpolates reaches over 2 * scale pixels."
ONE_SIDED = "the kernel is not the same on both sides of its centre; was all of it filled?"
FLAT = "the kernel is the same everywhere; it has to fall off."
GROUPS = "groups=channels; otherwise there are weights from each channel to all others."
BIAS = "bias=False; interpolation adds nothing."
STRIDE = "the stride is the scale."
PADDING = "the kernel sticks out at each side; the padding of a transposed conv takes that off: scale // 2."
SECOND_PLACE = "with groups the weight has the shape (channels, 1, k, k): the second place is always 0."
KERNEL_SHAPE = "conv.weight is (channels, 1, k, k); conv.weight[:, 0] takes a kernel (k, k)."
EXPANDED = "expand shows one kernel several times and has it once; copy_ it into the weight, or clone() it first."
PARAMETER = "weight must stay an nn.Parameter: under torch.no_grad(), fill conv.weight[:, 0] or copy_."
ALL_THREE = "all three are `channels`: in_channels, out_channels and groups."

KERNELS = (  # known by what the layer puts out
    Mistake(
        "the kernel is scaled to a sum of 1; its sum is scale * scale, as each pixel fills so many.",
        made(lambda scale: tent(scale) / tent(scale).sum()),
    ),
    Mistake(ONE_AXIS, made(falling)),
    Mistake(ONE_AXIS, made(lambda scale: falling(scale)[:, None])),
    Mistake("the weight is zero.", made(lambda scale: 0.0)),
    Mistake("each pixel is only repeated; the kernel has to fall off.", repeats_each_pixel),
    Mistake("the kernel is one everywhere.", made(lambda scale: 1.0)),
    Mistake("only the first channel is filled.", only_the_first_channel),
    Mistake(CENTRE, made(lambda scale: tent(scale, to_the_right=-0.5))),
    Mistake(CENTRE, made(lambda scale: tent(scale, to_the_right=0.5))),
    Mistake(
        "the kernel is the mean of two lines, not their product.",
        made(lambda scale: (falling(scale)[:, None] + falling(scale)) / 2),
    ),
)
MISTAKES = (
    *KERNELS,
    Mistake(REACH, small_kernel),
    Mistake(ONE_SIDED, not_filled),
    Mistake(FLAT, made(lambda scale: 0.25)),
    Mistake(PADDING, made(padding=0)),
    Mistake(STRIDE, made(stride=1)),
    Mistake(GROUPS, made(groups=1)),
    Mistake(BIAS, made(bias=True)),
    Mistake("the weight is frozen; that was not asked for.", lambda c, s: right(c, s).requires_grad_(False)),
    Mistake("3 inputs and 6 outputs", lambda c, s: nn.ConvTranspose2d(c, 2 * c, 2 * s, s, s // 2, groups=c)),
    Mistake("an nn.ConvTranspose2d is wanted", lambda c, s: nn.Upsample(scale_factor=s, mode="bilinear")),
    Mistake("the layer stops with RuntimeError", lambda c, s: right(c, s).double()),
    Mistake(SECOND_PLACE, fills_the_diagonal),
    Mistake(KERNEL_SHAPE, made(lambda scale: tent(scale)[1:, 1:])),
    Mistake(PARAMETER, assigns_a_tensor),
    Mistake(EXPANDED, expands),
    Mistake(KERNEL_SHAPE, with_a_matrix),
    Mistake(ALL_THREE, one_output),
    Mistake("torch.no_grad()", without_no_grad),
)
CRASHES = (
    ("IndexError", SECOND_PLACE),
    ("must match the existing size", KERNEL_SHAPE),
    ("cannot assign", PARAMETER),
    ("divisible by groups", ALL_THREE),
)


OWN_LAYER = "what is kept from call to call is shared; make a new layer each time."


def verify(answer: Any) -> None:
    """`upsampling(channels, scale) -> nn.ConvTranspose2d`."""
    for channels, scale in ((3, 4), (5, 2), (2, 6)):
        with case(f"for {channels} channels and scale {scale}"):
            conv = call(answer, channels, scale, crashes=CRASHES)
            expect_options(conv, channels)
            expect_interpolation(conv, channels, scale)
            expect_training(conv, channels)
            if call(answer, channels, scale).weight.data_ptr() == conv.weight.data_ptr():
                raise NotYet(f"two layers of one size have one weight.{because(OWN_LAYER)}")


def expect_options(conv: Any, channels: int) -> None:
    if not isinstance(conv, nn.ConvTranspose2d):
        raise NotYet(f"an nn.ConvTranspose2d is wanted, not a {type(conv).__name__}.")
    if (conv.in_channels, conv.out_channels) != (channels, channels):
        raise NotYet(f"the layer has {conv.in_channels} inputs and {conv.out_channels} outputs.")
    if conv.groups != channels:
        raise NotYet(f"the layer has groups={conv.groups}.{because(GROUPS)}")
    if conv.bias is not None:
        raise NotYet(f"the layer has a bias.{because(BIAS)}")
    if not conv.weight.requires_grad:
        raise NotYet("the weight is frozen; that was not asked for.")


def expect_interpolation(conv: nn.ConvTranspose2d, channels: int, scale: int) -> None:
    x = torch.randn(2, channels, 5, 7, generator=torch.Generator().manual_seed(0))
    try:
        got = conv(x).detach()
    except RuntimeError as error:
        why = because(KERNEL_SHAPE if conv.weight.ndim != 4 else None)
        raise NotYet(f"the layer stops with RuntimeError: {error}{why}") from None
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    if got.shape != expected.shape:
        why = because(cause_of_size(conv, scale))
        raise NotYet(f"an input {tuple(x.shape)} gives {tuple(got.shape)}, not {tuple(expected.shape)}.{why}")
    inside = (..., slice(scale, -scale), slice(scale, -scale))
    known = wrong_values(KERNELS, channels, scale)
    causes = [(cause, wrong(x).detach()[inside]) for cause, wrong in known]
    if seen := seen_in_the_kernel(conv, scale):
        causes.append((seen, got[inside]))  # if nothing else explains it
    compare(got[inside], expected[inside], "the output away from the border", causes)


def expect_training(conv: nn.ConvTranspose2d, channels: int) -> None:
    """An optimizer can take a step, in which every channel gets numbers of its own."""
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    conv(torch.randn(2, channels, 5, 7, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    try:
        optimizer.step()
    except RuntimeError as error:
        raise NotYet(f"the layer cannot be trained: {error}{because(EXPANDED)}") from None
    if channels > 1 and torch.equal(conv.weight[0], conv.weight[1]):
        raise NotYet(f"when the layer is trained, all channels keep the same kernel.{because(EXPANDED)}")


def cause_of_size(conv: nn.ConvTranspose2d, scale: int) -> str | None:
    if conv.stride != (scale, scale):
        return STRIDE
    return PADDING if conv.kernel_size == (2 * scale, 2 * scale) else None


def seen_in_the_kernel(conv: nn.ConvTranspose2d, scale: int) -> str | None:
    """What is to be said of the kernel if the output is wrong."""
    kernel = conv.weight.detach()
    if conv.kernel_size != (2 * scale, 2 * scale):
        return REACH
    if not torch.allclose(kernel, kernel.flip(2, 3)):
        return ONE_SIDED
    return FLAT if kernel.std() < 1e-6 else None


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Kernel size 2 * scale, stride scale, groups=channels, bias=False; the padding takes off what is too much.",
        "The output has (H - 1) * scale + 2 * scale - 2 * padding rows, which is to be scale * H.",
        "conv.weight has the shape (channels, 1, 2 * scale, 2 * scale): under torch.no_grad(), "
        "conv.weight[:, 0] = the outer product of 1 - |i - centre| / scale with itself.",
    ),
    praise="it interpolates, until it is trained.",
)
