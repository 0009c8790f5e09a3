"""Exercise 4.1: a conv for grey images, made from one for RGB."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare
from .convs import FLOAT32, LATE, STALE, UNTRAINED, expect_conv, expect_output, like, rgb_conv, wrong_parts


@torch.no_grad()
def right(conv: nn.Conv2d) -> Any:
    new = like(conv, bias=conv.bias is not None)
    new.weight.copy_(conv.weight.sum(1, keepdim=True))
    if conv.bias is not None:
        new.bias.copy_(conv.bias)
    return new


def with_weight(of: Any) -> Any:
    """The right answer, but for its weight: a function of the old one."""

    @torch.no_grad()
    def answer(conv: nn.Conv2d) -> nn.Conv2d:
        new = right(conv)
        new.weight.copy_(of(conv.weight))
        return new

    return answer


def with_option(**other: Any) -> Any:
    """The right answer, but for an option, which has nn.Conv2d's default."""

    def answer(conv: nn.Conv2d) -> nn.Conv2d:
        new = like(conv, bias=conv.bias is not None, **other)
        new.load_state_dict(right(conv).state_dict())
        return new

    return answer


@torch.no_grad()
def only_the_weight(conv: nn.Conv2d) -> Any:
    new = like(conv, bias=conv.bias is not None)
    new.weight.copy_(conv.weight.sum(1, keepdim=True))
    return new


@torch.no_grad()
def zero_bias(conv: nn.Conv2d) -> nn.Conv2d:
    new = only_the_weight(conv)
    if conv.bias is not None:
        new.bias.zero_()
    return new


@torch.no_grad()
def three_biases(conv: nn.Conv2d) -> nn.Conv2d:
    new = right(conv)
    if conv.bias is not None:
        new.bias.copy_(3 * conv.bias)
    return new


@torch.no_grad()
def expects_a_bias(conv: nn.Conv2d) -> nn.Conv2d:
    new = only_the_weight(conv)
    new.bias.copy_(conv.bias)
    return new


def shares_the_bias(conv: nn.Conv2d) -> nn.Conv2d:
    new = only_the_weight(conv)
    new.bias = conv.bias
    return new


def float_bias(conv: nn.Conv2d) -> nn.Conv2d:
    new = only_the_weight(conv)
    if conv.bias is not None:
        new.bias = nn.Parameter(conv.bias.detach().float())
    return new


def replaces_the_weight(conv: nn.Conv2d) -> nn.Conv2d:
    new = copy.deepcopy(conv)
    new.weight = nn.Parameter(conv.weight.detach().sum(1, keepdim=True))
    return new


def in_place(conv: nn.Conv2d) -> nn.Conv2d:
    conv.weight = nn.Parameter(conv.weight.detach().sum(1, keepdim=True))
    conv.in_channels = 1
    return conv


def no_parameter(conv: nn.Conv2d) -> nn.Conv2d:
    new = right(conv)
    weight = new.weight.detach()
    del new.weight
    new.weight = weight
    return new


@torch.no_grad()
def without_keepdim(conv: nn.Conv2d) -> nn.Conv2d:
    new = like(conv, bias=conv.bias is not None)
    new.weight.copy_(conv.weight.sum(1))
    return new


@torch.no_grad()
def not_added(conv: nn.Conv2d) -> nn.Conv2d:
    new = like(conv, bias=conv.bias is not None)
    new.weight.copy_(conv.weight)
    return new


@torch.no_grad()
def set_later(conv: Any) -> nn.Conv2d:
    new = nn.Conv2d(1, conv.out_channels, conv.kernel_size, bias=conv.bias is not None, dtype=conv.weight.dtype)
    for option in ("stride", "padding", "dilation", "padding_mode"):
        setattr(new, option, getattr(conv, option))
    new.load_state_dict(right(conv).state_dict())
    return new


def only_red(weight: Tensor) -> Tensor:
    return weight[:, :1]


@torch.no_grad()
def third_of_the_bias(conv: nn.Conv2d) -> nn.Conv2d:
    new = right(conv)
    if conv.bias is not None:
        new.bias.copy_(conv.bias / 3)
    return new


NO_FLAG = "nn.Conv2d wants to know whether there is a bias: bias=conv.bias is not None."
RANDOM = "a new Conv2d begins with random numbers; copy the old ones."
SHARED = "`new.bias = conv.bias` shares the parameter; copy its numbers."
NO_BIAS = "not every conv has a bias."
KEEPDIM = "sum(1) loses the axis; keepdim=True keeps it."
NOT_ADDED = "the old weight has a kernel for each of three channels; add them up."

MISTAKES = (
    Mistake(
        "this is the mean over the colours: a third of what is asked.",
        with_weight(lambda weight: weight.mean(1, keepdim=True)),
    ),
    Mistake(
        "this is the mixture of colours that makes a picture grey (0.299, 0.587, 0.114); here the colours are already "
        "the same number three times, so the kernels add up.",
        with_weight(lambda weight: (weight * weight.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)),
    ),
    Mistake("the bias is divided by three; it is added once, whatever the channels.", third_of_the_bias),
    Mistake(NO_FLAG, lambda conv: nn.Conv2d(1, conv.out_channels, conv.kernel_size, bias=conv.bias)),
    Mistake(
        "nn.Conv2d(in_channels, out_channels, kernel_size)",
        lambda conv: nn.Conv2d(conv.out_channels, 1, conv.kernel_size),
    ),
    Mistake("this is the red channel alone.", with_weight(only_red)),
    Mistake("this is three times the red channel.", with_weight(lambda weight: 3 * only_red(weight))),
    Mistake("stride should be (3, 2)", with_option(stride=1)),
    Mistake("padding should be (1, 4)", with_option(padding=0)),
    Mistake("dilation should be (2, 1)", with_option(dilation=1)),
    Mistake("padding_mode should be reflect", with_option(padding_mode="zeros")),
    Mistake(FLOAT32, with_option(dtype=torch.float32)),
    Mistake(FLOAT32, float_bias),
    Mistake("the bias was set to zero; the old one belongs here.", zero_bias),
    Mistake("the bias is added once for all channels, not once for each.", three_biases),
    Mistake(RANDOM, only_the_weight),
    Mistake(NO_BIAS, expects_a_bias),
    Mistake(SHARED, shares_the_bias),
    Mistake(STALE, replaces_the_weight),
    Mistake("changes what it was given", in_place),
    Mistake(UNTRAINED, no_parameter),
    Mistake(UNTRAINED, lambda conv: right(conv).requires_grad_(False)),
    Mistake(KEEPDIM, without_keepdim),
    Mistake(NOT_ADDED, not_added),
    Mistake(LATE, set_later),
    Mistake("return an nn.Conv2d, not a Tensor", lambda conv: conv.weight.sum(1, keepdim=True)),
)

CRASHES = [
    ("Boolean value of Tensor", NO_FLAG),
    ("'NoneType'", NO_BIAS),
    ("cannot assign", "a parameter is replaced by nn.Parameter(...), or its numbers are copied."),
    ("[4, 3, 2, 5]", NOT_ADDED),  # the shape of all old weights below
    ("doesn't match the broadcast shape", KEEPDIM),
    ("size mismatch for weight", f"{KEEPDIM} And kernels need not be square."),
    ("The size of tensor", "kernels need not be square: hand over the whole kernel_size."),
]


def verify(answer: Any) -> None:
    """`for_grey(conv) -> conv for one channel`."""
    cases = {
        "for a conv with bias": rgb_conv(0),
        "for a conv with stride, padding and dilation": rgb_conv(1, stride=(3, 2), padding=(1, 4), dilation=(2, 1)),
        "for a conv without bias": rgb_conv(2, bias=False, padding=1, padding_mode="reflect"),
        "for a conv in double precision": rgb_conv(3).double(),
    }
    for name, conv in cases.items():
        with case(name):
            made = call(answer, conv, crashes=CRASHES)
            expect_conv(made, conv)
            expect_numbers(made, conv)
            grey = torch.rand(2, 1, 13, 17, dtype=conv.weight.dtype)
            expect_output(made, conv, grey, grey.expand(-1, 3, -1, -1))
    expect_independence(answer, rgb_conv(4))


def expect_numbers(made: nn.Conv2d, conv: nn.Conv2d) -> None:
    """Weight and bias are right."""
    expected = right(conv)
    causes = wrong_parts(MISTAKES, "weight", conv)
    compare(made.weight.detach(), expected.weight.detach(), "the weight", causes)
    if (conv.bias is None) != (made.bias is None):
        raise NotYet(f"there should be {'no' if conv.bias is None else 'a'} bias.")
    if made.bias is not None:
        causes = [*wrong_parts(MISTAKES, "bias", conv), (RANDOM, made.bias.detach())]
        compare(made.bias.detach(), expected.bias.detach(), "the bias", causes)


def expect_independence(answer: Any, conv: nn.Conv2d) -> None:
    """The old conv does not move when the new one is trained."""
    before = copy.deepcopy(conv.state_dict())
    with torch.no_grad():
        for parameter in answer(conv).parameters():
            parameter += 1
    if any(not torch.equal(tensor, before[key]) for key, tensor in conv.state_dict().items()):
        raise NotYet(f"when the new conv is trained, the old one moves along.{because(SHARED)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Make an nn.Conv2d(1, ...) with the options of the old one, then copy into its weight and bias.",
        "conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode, "
        "conv.bias is not None, conv.weight.dtype: all of them are arguments of nn.Conv2d, too.",
        "with torch.no_grad(): new.weight.copy_(conv.weight.sum(1, keepdim=True)); the bias likewise, if any.",
    ),
    praise="grey images give what they gave as RGB, whatever the conv looks like.",
)
