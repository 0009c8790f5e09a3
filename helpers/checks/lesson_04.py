"""Lesson 04: the exercises on first convs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .feedback import Exercise, NotYet, because, call, compare

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
    if got.weight.dtype != asked.weight.dtype:
        why = because("a new Conv2d is float32; hand over the dtype.")
        raise NotYet(f"{case}, the weight should be {asked.weight.dtype}, but is {got.weight.dtype}.{why}")
    if not isinstance(got.weight, nn.Parameter):
        raise NotYet(f"{case}, the weight is no parameter, so it will not be trained.")
    return got


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
                ("a new Conv2d begins with random numbers; copy the old ones.", got.bias.detach()),
            ]
            compare(got.bias.detach(), asked.bias.detach(), f"{case}, the bias", causes)
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
    ("must match the existing size", "sum(1) loses the axis; keepdim=True keeps it."),
]


def verify_place(answer: Any) -> None:
    """4.2 `place(weight, in_channels, places) -> weight`."""
    weight = torch.arange(1.0, 121.0).reshape(5, 3, 2, 4)
    cases = {
        "for blue, green, red": (3, (2, 1, 0)),
        "for blue, red, green": (3, (1, 2, 0)),
        "for seven channels with red in 4, green in 2, blue in 1": (7, (4, 2, 1)),
    }
    for case, (channels, places) in cases.items():
        got = call(answer, weight, channels, places, case=case, crashes=PLACE_CRASHES)
        expected = torch.zeros(5, channels, 2, 4)
        for colour, place in enumerate(places):
            expected[:, place] = weight[:, colour]
        first, padded = torch.zeros_like(expected), weight[:, [i % 3 for i in range(channels)]]
        first[:, :3] = weight
        causes = [
            ("the colours stay in their old places; `places` was not used.", first),
            ("the other channels should be silent: zeros.", padded),
            ("`places[c]` says where colour c goes, not where channel c comes from.", _taken(weight, channels, places)),
        ]
        compare(got, expected, f"{case}, the weight", causes)
    exact = torch.full((1, 3, 1, 1), 0.1, dtype=torch.float64)
    got = call(answer, exact, 4, (3, 0, 1))
    if got.dtype != torch.float64:
        raise NotYet(f"a float64 weight comes back as {got.dtype}.{because('weight.new_zeros keeps the type.')}")


def _taken(weight: torch.Tensor, channels: int, places: tuple[int, ...]) -> torch.Tensor:
    """The inverse arrangement."""
    if max(places) > 2:
        return torch.empty(0)
    return weight[:, list(places)] if channels == 3 else torch.empty(0)


PLACE_CRASHES = [
    ("IndexError: index 3", "`places` are places in the new weight, which has more channels than the old one."),
    ("IndexError: index 4", "`places` are places in the new weight, which has more channels than the old one."),
    ("out of bounds", "`places` are places in the new weight, which has more channels than the old one."),
]


def verify_for_raw_grey(answer: Any) -> None:
    """4.3 `for_raw_grey(conv, mean, std) -> conv for one channel of raw pixels`."""
    mean, std = (0.5, 0.25, 0.4), (0.25, 0.2, 0.5)
    for case, asked in {"for a conv with bias": conv(5, stride=(3, 2)), "without a bias": conv(6, bias=False)}.items():
        got = expect_conv(call(answer, asked, mean, std, case=case, crashes=RAW_CRASHES), asked, case)
        weight, m, s = asked.weight.detach(), *(torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        old = torch.zeros(4) if asked.bias is None else asked.bias.detach()
        folded = (weight / s).sum(1, keepdim=True)
        causes = [
            ("pixels go to 255 here; the old conv takes them from 0 to 1.", folded),
            ("the division by 255 was turned round.", folded * 255),
            ("the colours were averaged; for grey they add up.", folded / 3 / 255),
            ("each colour has its own std: divide before the colours are added.", weight.sum(1, keepdim=True) / 255),
            ("x / std needs weight / std, not weight * std.", (weight * s).sum(1, keepdim=True) / 255),
            (
                "the colours were added first and then divided by one std for all; each has its own.",
                weight.sum(1, keepdim=True) / s.mean() / 255,
            ),
        ]
        compare(got.weight.detach(), folded / 255, f"{case}, the weight", causes)
        if got.bias is None:
            raise NotYet(f"{case}, there is none now.{because('the means have to go somewhere: give it bias=True.')}")
        moved = (weight * m / s).sum((1, 2, 3))
        causes = [
            ("the bias is still the old one; the means move into it.", old),
            ("the means are taken away, so they lower the bias: minus, not plus.", old + moved),
            ("the means are between 0 and 1 already, as the old conv takes pixels.", old - moved / 255),
            ("the old bias is lost.", -moved),
            ("each mean is divided by its std.", old - (weight * m).sum((1, 2, 3))),
        ]
        compare(got.bias.detach(), old - moved, f"{case}, the bias", causes)


RAW_CRASHES = [
    ("'NoneType'", "this conv has no bias; think of it as zeros."),
    ("unsupported operand", "mean and std are tuples; make tensors of them, with shape (1, 3, 1, 1)."),
    ("must match the size of tensor", "mean and std belong to axis 1 of the weight: give them shape (1, 3, 1, 1)."),
    ("leaf Variable", "PyTorch guards what is trained; write inside `with torch.no_grad():`."),
]


class Unordered(nn.Module):
    """The order in which its convs are defined is not that in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(6, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.stem = nn.ModuleDict({"pool": nn.AvgPool2d(2), "inner": nn.Sequential(nn.ReLU(), nn.Conv2d(4, 6, 1))})
        self.aside = nn.Conv2d(4, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem["inner"](self.stem["pool"](x)))
        return self.last(self.second(x).relu())


def verify_first_to_run(answer: Any) -> None:
    """4.4 `first_to_run(model, x) -> name`."""
    cases = {
        "for convs that run in another order than they are defined": (Unordered(), "stem.inner.1"),
        "for a Sequential": (nn.Sequential(nn.Identity(), nn.Conv2d(4, 3, 1), nn.Conv2d(3, 2, 1)), "1"),
    }
    x = torch.rand(2, 4, 6, 8)
    for case, (model, expected) in cases.items():
        got = call(answer, model, x, case=case, may_change=[0], crashes=FIND_CRASHES)
        if got != expected:
            convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
            causes = {
                convs[0]: "this is the first that is defined, not the first that runs.",
                convs[-1]: "this is the last that is defined.",
                "last": "this is the last one that runs; keep the first.",
                "2": "this is the last one that runs; keep the first.",
            }
            why = because(causes.get(got) if isinstance(got, str) else "a name is wanted, as a string.")
            raise NotYet(f"{case}, the answer should be {expected!r}, but is {got!r}.{why}")
    model = Unordered()
    before = copy.deepcopy(model.state_dict())
    answer(model, x)
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        why = because("register_forward_hook returns a handle; call its remove() when you are done.")
        raise NotYet(f"your hooks are still on the model.{why}")
    if any(not torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items()):
        why = because("in train mode BatchNorm takes notice of every batch; run it in eval mode.")
        raise NotYet(f"the model's buffers have moved.{why}")
    if not model.training:
        raise NotYet(f"the model came in train mode and is in eval mode now.{because('set back what you found.')}")


FIND_CRASHES = [
    ("AttributeError: 'Unordered' object has no attribute 'conv1'", "the name differs from network to network."),
    ("StopIteration", "nothing was noted down: hang the hooks in before you run the model."),
    ("IndexError: list index", "nothing was noted down: hang the hooks in before you run the model."),
]


EXERCISES = {
    "4.1": Exercise(
        verify_for_grey,
        (
            "Make an nn.Conv2d(1, ...) with the options of the old one, then copy into its weight and bias.",
            "conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode, "
            "conv.bias is not None, conv.weight.dtype: all of them are arguments of nn.Conv2d, too.",
            "with torch.no_grad(): new.weight.copy_(conv.weight.sum(1, keepdim=True)); the bias likewise, if any.",
        ),
        "grey images give what they gave as RGB, whatever the conv looks like.",
    ),
    "4.2": Exercise(
        verify_place,
        (
            "Begin with zeros of the new shape, of the same type as the weight: weight.new_zeros(...).",
            "A list can stand where an index stands: new[:, [4, 2, 1]] are three channels of it.",
            "new[:, list(places)] = weight",
        ),
        "the network sees the colours it knows, wherever they lie, and nothing else yet.",
    ),
    "4.3": Exercise(
        verify_for_raw_grey,
        (
            "Write down what the old conv gets: (p / 255 - mean_c) / std_c, for each colour c and one pixel p.",
            "What multiplies p is the weight / std_c / 255, added over c. What does not is -mean_c / std_c times the "
            "weight, added over c and the kernel: that goes into the bias.",
            "weight = conv.weight / std.view(1, 3, 1, 1); then weight.sum(1, keepdim=True) / 255 and "
            "bias - (weight * mean.view(1, 3, 1, 1)).sum((1, 2, 3)), in a conv with bias=True.",
        ),
        "a network for normalised RGB that takes the bytes of a grey camera.",
    ),
    "4.4": Exercise(
        verify_first_to_run,
        (
            "A hook on each conv can note the name of its conv in a list when it runs: module.register_forward_hook.",
            "A function made in a loop sees the loop's last name; bind it: lambda *_, name=name: seen.append(name).",
            "was = model.training; model.eval(); run model(x) under torch.no_grad(); remove the handles; "
            "model.train(was); return seen[0].",
        ),
        "the order of definition is an order of habit; what runs first is a fact.",
    ),
}
