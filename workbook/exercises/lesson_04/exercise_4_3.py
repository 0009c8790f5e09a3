"""Exercise 4.3: a conv that takes the raw pixels of a grey camera, made from one for normalised RGB."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare
from .convs import expect_conv, expect_output, like, rgb_conv, wrong_parts

Colours = tuple[float, float, float]


@torch.no_grad()
def right(conv: nn.Conv2d, mean: Any, std: Any) -> Any:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    weight = conv.weight / std
    new = like(conv, bias=True)
    new.weight.copy_(weight.sum(1, keepdim=True) / 255)
    new.bias.copy_((0 if conv.bias is None else conv.bias) - (weight * mean).sum((1, 2, 3)))
    return new


def with_weight(of: Any) -> Any:
    """The right answer, but for its weight: a function of the old one and of std."""

    @torch.no_grad()
    def answer(conv: nn.Conv2d, mean: Colours, std: Colours) -> nn.Conv2d:
        new = right(conv, mean, std)
        new.weight.copy_(of(conv.weight, torch.tensor(std).view(1, 3, 1, 1)))
        return new

    return answer


def with_bias(of: Any) -> Any:
    """The right answer, but for its bias: a function of the old weight and bias, mean and std."""

    @torch.no_grad()
    def answer(conv: nn.Conv2d, mean: Any, std: Any) -> nn.Conv2d:
        new = right(conv, mean, std)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        old = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        new.bias.copy_(of(conv.weight, old, mean, std))
        return new

    return answer


def without_bias(conv: nn.Conv2d, mean: Colours, std: Colours) -> nn.Conv2d:
    new = right(conv, mean, std)
    if conv.bias is None:
        new.bias = None
    return new


def with_tuples(conv: nn.Conv2d, mean: Any, std: Any) -> Any:
    return conv.weight / std


@torch.no_grad()
def with_flat_std(conv: nn.Conv2d, mean: Colours, std: Colours) -> nn.Conv2d:
    new = like(conv, bias=True)
    new.weight.copy_((conv.weight / torch.tensor(std)).sum(1, keepdim=True) / 255)
    return new


@torch.no_grad()
def expects_a_bias(conv: Any, mean: Colours, std: Colours) -> nn.Conv2d:
    new = right(conv, mean, std)
    weight = conv.weight / torch.tensor(std).view(1, 3, 1, 1)
    new.bias.copy_(conv.bias - (weight * torch.tensor(mean).view(1, 3, 1, 1)).sum((1, 2, 3)))
    return new


def without_options(conv: Any, mean: Colours, std: Colours) -> nn.Conv2d:
    new = nn.Conv2d(1, conv.out_channels, conv.kernel_size, conv.stride)
    new.load_state_dict(right(conv, mean, std).state_dict())
    return new


LUMINANCE = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)

BETWEEN_0_AND_1 = "the means are between 0 and 1 already, as the old conv takes pixels."
NOWHERE = "the means have to go somewhere: give it bias=True."
TUPLES = "mean and std are tuples; make tensors of them, with shape (1, 3, 1, 1)."
FLAT = "mean and std belong to axis 1 of the weight: give them shape (1, 3, 1, 1)."
NO_BIAS = "this conv has no bias; think of it as zeros."

MISTAKES = (
    Mistake(
        "pixels go to 255 here; the old conv takes them from 0 to 1.",
        with_weight(lambda weight, std: (weight / std).sum(1, keepdim=True)),
    ),
    Mistake(
        "the division by 255 was turned round.",
        with_weight(lambda weight, std: (weight / std).sum(1, keepdim=True) * 255),
    ),
    Mistake(
        "the colours were averaged; for grey they add up.",
        with_weight(lambda weight, std: (weight / std).mean(1, keepdim=True) / 255),
    ),
    Mistake(
        "each colour has its own std: divide before the colours are added.",
        with_weight(lambda weight, std: weight.sum(1, keepdim=True) / 255),
    ),
    Mistake(
        "x / std needs weight / std, not weight * std.",
        with_weight(lambda weight, std: (weight * std).sum(1, keepdim=True) / 255),
    ),
    Mistake(
        "the colours were added first and divided by one std; each has its own.",
        with_weight(lambda weight, std: weight.sum(1, keepdim=True) / std.mean() / 255),
    ),
    Mistake(
        "the grey is given for all three colours; it is not mixed again.",
        with_weight(lambda weight, std: (weight / std * LUMINANCE).sum(1, keepdim=True) / 255),
    ),
    Mistake(
        "the bias is still the old one; the means move into it.",
        with_bias(lambda weight, old, mean, std: old),
    ),
    Mistake(
        "the means are taken away, so they lower the bias: minus, not plus.",
        with_bias(lambda weight, old, mean, std: old + (weight / std * mean).sum((1, 2, 3))),
    ),
    Mistake(
        BETWEEN_0_AND_1,
        with_bias(lambda weight, old, mean, std: old - (weight / std * mean / 255).sum((1, 2, 3))),
    ),
    Mistake(
        BETWEEN_0_AND_1,
        with_bias(lambda weight, old, mean, std: old - (weight / std * mean * 255).sum((1, 2, 3))),
    ),
    Mistake(
        "the old bias is lost.",
        with_bias(lambda weight, old, mean, std: -(weight / std * mean).sum((1, 2, 3))),
    ),
    Mistake(
        "each mean is divided by its std.",
        with_bias(lambda weight, old, mean, std: old - (weight * mean).sum((1, 2, 3))),
    ),
    Mistake(
        "the kernel adds up its pixels, so the mean counts once for each: sum over the kernel.",
        with_bias(lambda weight, old, mean, std: old - (weight / std * mean).mean((2, 3)).sum(1)),
    ),
    Mistake(NOWHERE, without_bias),
    Mistake(TUPLES, with_tuples),
    Mistake(FLAT, with_flat_std),
    Mistake(NO_BIAS, expects_a_bias),
    Mistake("dilation should be (2, 1)", without_options),
)

CRASHES = [
    ("'NoneType'", NO_BIAS),
    ("unsupported operand", TUPLES),
    ("Input type", "in double precision all of it must be: mean and std, too."),
    ("must match the size of tensor", FLAT),
]


def verify(answer: Any) -> None:
    """`for_raw_grey(conv, mean, std) -> conv for one channel of raw pixels`."""
    mean, std = (0.5, 0.25, 0.4), (0.25, 0.2, 0.5)
    cases = {
        "for a conv with stride and dilation": rgb_conv(5, stride=(3, 2), dilation=(2, 1), padding_mode="reflect"),
        "for a conv without bias, in double precision": rgb_conv(6, bias=False).double(),
    }
    for name, conv in cases.items():
        with case(name):
            made = call(answer, conv, mean, std, crashes=CRASHES)
            expect_conv(made, conv)
            expect_numbers(made, conv, mean, std)
            grey = 255 * torch.rand(2, 1, 13, 17, dtype=conv.weight.dtype)
            m, s = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
            expect_output(made, conv, grey, (grey.expand(-1, 3, -1, -1) / 255 - m) / s, atol=1e-2)


def expect_numbers(made: nn.Conv2d, conv: nn.Conv2d, mean: Colours, std: Colours) -> None:
    """Weight and bias are right."""
    expected = right(conv, mean, std)
    causes = [(cause, 255 * weight) for cause, weight in wrong_parts(MISTAKES, "weight", conv, mean, std)]
    # 255 times the rounding of an answer that takes one output from another
    compare(255 * made.weight.detach(), 255 * expected.weight.detach(), "255 times the weight", causes, atol=1e-3)
    if made.bias is None:
        raise NotYet(f"there is none now.{because(NOWHERE)}")
    causes = wrong_parts(MISTAKES, "bias", conv, mean, std)
    compare(made.bias.detach(), expected.bias.detach(), "the bias", causes)


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Write down what the old conv gets: (p / 255 - mean_c) / std_c, for each colour c and one pixel p.",
        "What multiplies p is the weight / std_c / 255, added over c. What does not is -mean_c / std_c times the "
        "weight, added over c and the kernel: that goes into the bias.",
        "weight = conv.weight / std.view(1, 3, 1, 1); then weight.sum(1, keepdim=True) / 255 and "
        "bias - (weight * mean.view(1, 3, 1, 1)).sum((1, 2, 3)), in a conv with bias=True.",
    ),
    praise="a network for normalised RGB that takes the raw pixels of a grey camera.",
)
