"""Convs for three channels and for one, in the exercises of lesson 04."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Mistake, NotYet, because, wrong_values

OPTIONS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")

STALE = "only the weight was replaced; the conv still thinks that it takes three channels."
SWAPPED = "the two numbers are exchanged: nn.Conv2d(in_channels, out_channels, kernel_size)."
DEFAULTS = "a new Conv2d begins with its defaults; hand this over."
FLOAT32 = "a new Conv2d is float32; hand over the dtype."
UNTRAINED = "it is no parameter, or takes no gradient."
LATE = "hand stride, padding, dilation and padding_mode to nn.Conv2d; some are not looked at again later."


def rgb_conv(seed: int, **options: Any) -> nn.Conv2d:
    """A conv for three channels; every dimension another."""
    torch.manual_seed(seed)
    return nn.Conv2d(3, 4, (2, 5), **options)


def like(conv: Any, bias: bool, **other: Any) -> Any:
    """A conv for one channel with random numbers; its options are those of `conv`, but for `other`."""
    options = {name: getattr(conv, name) for name in ("stride", "padding", "dilation", "padding_mode")}
    options |= {"dtype": conv.weight.dtype} | other
    return nn.Conv2d(1, conv.out_channels, conv.kernel_size, bias=bias, **options)


def expect_conv(made: Any, conv: nn.Conv2d) -> None:
    """It is a conv for one channel, and its options are those of the conv that it is made from."""
    if not isinstance(made, nn.Conv2d):
        raise NotYet(f"return an nn.Conv2d, not a {type(made).__name__}.")
    for option in OPTIONS:
        wanted, found = 1 if option == "in_channels" else getattr(conv, option), getattr(made, option)
        if found != wanted:
            swapped = (made.in_channels, made.out_channels) == (conv.out_channels, 1)
            why = because(SWAPPED if swapped else STALE if option == "in_channels" else DEFAULTS)
            raise NotYet(f"{option} should be {wanted}, but is {found}.{why}")
    for what in ("weight", "bias"):
        tensor = getattr(made, what)
        if tensor is None:
            continue
        if tensor.dtype != conv.weight.dtype:
            raise NotYet(f"the {what} should be {conv.weight.dtype}, but is {tensor.dtype}.{because(FLOAT32)}")
        if not (isinstance(tensor, nn.Parameter) and tensor.requires_grad):
            raise NotYet(f"the {what} will not be trained: {UNTRAINED}")


@torch.no_grad()
def expect_output(made: nn.Conv2d, conv: nn.Conv2d, grey: Tensor, rgb: Tensor, atol: float = 1e-4) -> None:
    """Run it, too: what was assigned to a conv afterwards need not be in use."""
    expected = conv(rgb)
    try:
        found = made(grey)
    except RuntimeError as error:
        raise NotYet(f"the conv does not run: {error}") from None
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=atol):
        raise NotYet(f"weight and bias are right, but what the conv puts out is not.{because(LATE)}")


def wrong_parts(mistakes: Sequence[Mistake], what: str, *inputs: Any) -> list[tuple[str, Tensor]]:
    """The "weight" or "bias" of the convs that known mistakes make of these inputs, as `compare` takes them."""
    found = [(cause, getattr(made, what, None)) for cause, made in wrong_values(mistakes, *inputs)]
    return [(cause, tensor.detach()) for cause, tensor in found if tensor is not None]
