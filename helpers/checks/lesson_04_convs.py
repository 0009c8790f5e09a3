"""Lesson 04: the exercises on convs for one channel."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .feedback import NotYet, because, call, compare

OPTIONS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")


def conv(seed: int, **options: Any) -> nn.Conv2d:
    """Every dimension another."""
    torch.manual_seed(seed)
    return nn.Conv2d(3, 4, (2, 5), **options)


def expect_conv(got: Any, asked: nn.Conv2d, case: str) -> nn.Conv2d:
    """It is a conv for one channel whose options are those of the conv that it is made from."""
    if not isinstance(got, nn.Conv2d):
        raise NotYet(f"{case}, return an nn.Conv2d, not a {type(got).__name__}.")
    for option in OPTIONS:
        wanted, found = 1 if option == "in_channels" else getattr(asked, option), getattr(got, option)
        if found != wanted:
            stale = "only the weight was replaced; the conv still thinks that it takes three channels."
            why = stale if option == "in_channels" else "a new Conv2d begins with its defaults; hand this over."
            raise NotYet(f"{case}, {option} should be {wanted}, but is {found}.{because(why)}")
    for what in ("weight", "bias"):
        tensor = getattr(got, what)
        if tensor is not None and tensor.dtype != asked.weight.dtype:
            why = because("a new Conv2d is float32; hand over the dtype.")
            raise NotYet(f"{case}, the {what} should be {asked.weight.dtype}, but is {tensor.dtype}.{why}")
        if tensor is not None and not (isinstance(tensor, nn.Parameter) and tensor.requires_grad):
            raise NotYet(f"{case}, the {what} will not be trained: it is no parameter, or takes no gradient.")
    return got


@torch.no_grad()
def expect_output(
    got: nn.Conv2d, asked: nn.Conv2d, grey: torch.Tensor, rgb: torch.Tensor, case: str, atol: float = 1e-4
) -> None:
    """Run it, too: what was assigned to a conv afterwards need not be in use."""
    expected = asked(rgb)
    try:
        found = got(grey)
    except RuntimeError as error:
        raise NotYet(f"{case}, the conv does not run: {error}") from None
    late = "hand stride, padding, dilation and padding_mode to nn.Conv2d; some are not looked at again later."
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=atol)
    if not same:
        raise NotYet(f"{case}, weight and bias are right, but what the conv puts out is not.{because(late)}")


def verify_for_grey(answer: Any) -> None:
    """4.1 `for_grey(conv) -> conv for one channel`."""
    cases = {
        "for a conv with bias": conv(0),
        "for a conv with stride, padding and dilation": conv(1, stride=(3, 2), padding=(1, 4), dilation=(2, 1)),
        "for a conv without bias": conv(2, bias=False, padding=1, padding_mode="reflect"),
        "for a conv in double precision": conv(3).double(),
    }
    for case, asked in cases.items():
        got = expect_conv(call(answer, asked, case=case, crashes=CONV_CRASHES), asked, case)
        weight = asked.weight.detach()
        causes = [
            ("this is the mean over the colours: a third of what is asked.", weight.mean(1, keepdim=True)),
            ("this is the red channel alone.", weight[:, :1]),
            ("this is three times the red channel.", 3 * weight[:, :1]),
        ]
        compare(got.weight.detach(), weight.sum(1, keepdim=True), f"{case}, the weight", causes)
        if (asked.bias is None) != (got.bias is None):
            raise NotYet(f"{case}, there should be {'no' if asked.bias is None else 'a'} bias.")
        if asked.bias is not None:
            causes = [
                ("the bias was set to zero; the old one belongs here.", torch.zeros(4)),
                ("the bias is added once for all channels, not once for each.", 3 * asked.bias.detach()),
                ("a new Conv2d begins with random numbers; copy the old ones.", got.bias.detach()),
            ]
            compare(got.bias.detach(), asked.bias.detach(), f"{case}, the bias", causes)
        grey = torch.rand(2, 1, 13, 17, dtype=weight.dtype)
        expect_output(got, asked, grey, grey.expand(-1, 3, -1, -1), case)
    asked = conv(4)
    before = copy.deepcopy(asked.state_dict())
    with torch.no_grad():
        for parameter in answer(asked).parameters():
            parameter += 1
    if any(not torch.equal(tensor, before[key]) for key, tensor in asked.state_dict().items()):
        why = because("`new.bias = conv.bias` shares the parameter; copy its numbers.")
        raise NotYet(f"when the new conv is trained, the old one moves along.{why}")


CONV_CRASHES = [
    ("'NoneType'", "not every conv has a bias."),
    ("leaf Variable", "PyTorch guards what is trained; write inside `with torch.no_grad():`."),
    ("cannot assign", "a parameter is replaced by nn.Parameter(...), or its numbers are copied."),
    ("doesn't match the broadcast shape", "sum(1) loses the axis; keepdim=True keeps it."),
    ("size mismatch for weight", "sum(1) loses the axis; keepdim=True keeps it. And kernels need not be square."),
    ("The size of tensor", "kernels need not be square: hand over the whole kernel_size."),
]


def verify_for_raw_grey(answer: Any) -> None:
    """4.3 `for_raw_grey(conv, mean, std) -> conv for one channel of raw pixels`."""
    mean, std = (0.5, 0.25, 0.4), (0.25, 0.2, 0.5)
    cases = {
        "for a conv with stride and dilation": conv(5, stride=(3, 2), dilation=(2, 1), padding_mode="reflect"),
        "for a conv without bias, in double precision": conv(6, bias=False).double(),
    }
    for case, asked in cases.items():
        got = expect_conv(call(answer, asked, mean, std, case=case, crashes=RAW_CRASHES), asked, case)
        weight, m, s = asked.weight.detach(), *(torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        old = torch.zeros(4) if asked.bias is None else asked.bias.detach()
        folded = (weight / s).sum(1, keepdim=True)
        luminance = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        causes = [
            ("pixels go to 255 here; the old conv takes them from 0 to 1.", folded * 255),
            ("the division by 255 was turned round.", folded * 255 * 255),
            ("the colours were averaged; for grey they add up.", folded / 3),
            ("each colour has its own std: divide before the colours are added.", weight.sum(1, keepdim=True)),
            ("x / std needs weight / std, not weight * std.", (weight * s).sum(1, keepdim=True)),
            ("the colours were added first and divided by one std; each has its own.", weight.sum(1, True) / s.mean()),
            ("the grey is given for all three colours; it is not mixed again.", (weight / s * luminance).sum(1, True)),
        ]
        # 255 times the rounding of an answer that takes one output from another
        compare(255 * got.weight.detach(), folded, f"{case}, 255 times the weight", causes, atol=1e-3)
        if got.bias is None:
            raise NotYet(f"{case}, there is none now.{because('the means have to go somewhere: give it bias=True.')}")
        moved = (weight * m / s).sum((1, 2, 3))
        causes = [
            ("the bias is still the old one; the means move into it.", old),
            ("the means are taken away, so they lower the bias: minus, not plus.", old + moved),
            ("the means are between 0 and 1 already, as the old conv takes pixels.", old - moved / 255),
            ("the means are between 0 and 1 already, as the old conv takes pixels.", old - moved * 255),
            ("the old bias is lost.", -moved),
            ("each mean is divided by its std.", old - (weight * m).sum((1, 2, 3))),
            ("the kernel adds up its pixels, so the mean counts once for each: sum over the kernel.", old - moved / 10),
        ]
        compare(got.bias.detach(), old - moved, f"{case}, the bias", causes)
        grey = 255 * torch.rand(2, 1, 13, 17, dtype=weight.dtype)
        expect_output(got, asked, grey, (grey.expand(-1, 3, -1, -1) / 255 - m) / s, case, atol=1e-2)


RAW_CRASHES = [
    ("'NoneType'", "this conv has no bias; think of it as zeros."),
    ("unsupported operand", "mean and std are tuples; make tensors of them, with shape (1, 3, 1, 1)."),
    ("Input type", "in double precision all of it must be: mean and std, too."),
    ("must match the size of tensor", "mean and std belong to axis 1 of the weight: give them shape (1, 3, 1, 1)."),
    ("leaf Variable", "PyTorch guards what is trained; write inside `with torch.no_grad():`."),
]
