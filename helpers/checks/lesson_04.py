"""Lesson 04: the exercises on first convs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .feedback import Exercise, NotYet, because, call, compare
from .lesson_04_convs import verify_for_grey, verify_for_raw_grey


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
        expected = _placed(weight, channels, places)
        scaled = "the kernels keep their size: the other channels add nothing."
        causes = [
            ("the colours stay in their old places; `places` was not used.", _placed(weight, channels, (0, 1, 2))),
            ("the other channels should be silent: zeros.", weight[:, [i % 3 for i in range(channels)]]),
            ("places are counted from 0.", _placed(weight, channels, [place - 1 for place in places])),
            ("nothing was copied into the zeros.", torch.zeros_like(expected)),
            (scaled, expected * channels / 3),
            (scaled, expected * 3 / channels),
        ]
        if channels == 3:
            inverse = "`places[c]` says where colour c goes, not where channel c comes from."
            causes.append((inverse, weight[:, list(places)]))
        if isinstance(got, torch.Tensor) and got.shape == expected.shape and torch.equal(got[:, list(places)], weight):
            # the colours are right, so what differs is elsewhere
            causes.append(("the other channels should be silent: zeros.", got))
        compare(got, expected, f"{case}, the weight", causes)
    exact = torch.full((1, 3, 1, 1), 0.1, dtype=torch.float64)
    got = call(answer, exact, 4, (3, 0, 1), case="for a weight in double precision", crashes=PLACE_CRASHES)
    if got.dtype != torch.float64:
        raise NotYet(f"a float64 weight comes back as {got.dtype}.{because('weight.new_zeros keeps the type.')}")


def _placed(weight: torch.Tensor, channels: int, places: Sequence[int]) -> torch.Tensor:
    """One colour at a time."""
    placed = torch.zeros(len(weight), channels, *weight.shape[2:])
    for colour, place in enumerate(places):
        placed[:, place] = weight[:, colour]
    return placed


PLACE_CRASHES = [
    ("dtypes match", "weight.new_zeros keeps the type; torch.zeros is float32."),
    ("The size of tensor", "kernels need not be square: take weight.shape[2:]."),
    ("shape mismatch", "kernels need not be square, and channels are axis 1."),
    ("IndexError: index 3", "`places` are places in the new weight, which has more channels than the old one."),
    ("IndexError: index 4", "`places` are places in the new weight, which has more channels than the old one."),
    ("out of bounds", "`places` are places in the new weight, which has more channels than the old one."),
]


class Unordered(nn.Module):
    """The order in which its convs are defined is not that in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv2d(4, 6, 1)  # takes the input's channels, and never runs
        self.second = nn.Conv2d(6, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.stem = nn.ModuleDict({"pool": nn.AvgPool2d(2), "inner": nn.Sequential(nn.ReLU(), nn.Conv2d(4, 6, 1))})

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
            causes = {
                "aside": "this is the first that is defined, and it never runs.",
                "last": "this is the last one; keep the first that runs.",
                "second": "this is the second that runs.",
                "2": "keep the first that runs; a hook made in a loop needs its own name: lambda *_, name=name: ...",
                "": "this is the model itself; hang hooks into convs alone.",
                "stem": "this is no conv; hang hooks into convs alone.",
                "stem.pool": "this is no conv; look at the type of a module.",
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
    for mode, part in ((True, False), (False, True)):
        model.train(mode)
        model.norm.train(part)
        answer(model, x)
        if (model.training, model.norm.training) != (mode, part):
            came = f"in {'train' if mode else 'eval'} mode with a BatchNorm in {'train' if part else 'eval'} mode"
            why = because(
                "model.train(...) sets the mode of every module inside, too; run a copy, and nothing changes."
            )
            raise NotYet(f"a model that came {came} has other modes now.{why}")


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
        "a network for normalised RGB that takes the raw pixels of a grey camera.",
    ),
    "4.4": Exercise(
        verify_first_to_run,
        (
            "A hook on each conv can note the name of its conv in a list when it runs: module.register_forward_hook.",
            "A function made in a loop sees the loop's last name; bind it: lambda *_, name=name: seen.append(name).",
            "Run a copy, and nothing has to be tidied up: twin = copy.deepcopy(model).eval() has the same names.",
        ),
        "the order of definition is an order of habit; what runs first is a fact.",
    ),
}
