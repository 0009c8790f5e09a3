"""The network of exercises 7.1 and 7.2, whose names are tricky."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn


class Nested(nn.Module):
    """Names that begin alike or occur in others, layers that work otherwise in train mode, and a frozen stem."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 2, 1).requires_grad_(False)
        norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(5)]
        convs = [nn.Conv2d(2, 4, (2, 3)), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1), nn.Conv2d(6, 7, 1)]
        few = [convs[0], norms[0], nn.ReLU(), nn.Dropout2d(), convs[1], norms[1], nn.ReLU()]
        self.features = nn.Sequential(*few, nn.Dropout(), nn.Flatten(0, 0), nn.ReLU(), convs[2], nn.ReLU(), convs[3])
        self.layer1 = nn.Sequential(block(7, 8), block(8, 9))
        self.layer10 = nn.Sequential(block(9, 10))
        self.inner = nn.ModuleDict({"layer1": block(10, 11), "pool": nn.AdaptiveAvgPool2d(1)})
        self.fc = nn.Linear(11, 12)


def block(inputs: int, outputs: int) -> nn.Sequential:
    """A conv, a norm and a dropout, with a module in a module."""
    conv = nn.Conv2d(inputs, outputs, 1)
    inside = nn.Sequential(nn.BatchNorm2d(outputs), nn.Dropout(0.25))
    return nn.Sequential(OrderedDict(conv=conv, rest=inside))


NO_DOTS = "getattr knows no dots; model.get_submodule(name) does."
STRINGS = "names are strings; model.get_submodule(name) is the module."

NAME_CRASHES = (("has no attribute 'features.1'", NO_DOTS), ("'str' object has no attribute", STRINGS))
