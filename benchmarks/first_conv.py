"""A ResNet-18 for grey images: the rule by hand, what other libraries offer, and `adapt_first_conv`.

The limit is the sum over red, green and blue. `adapt_first_conv` finds the conv by itself, by running the model on an
example until that conv; the others are told which it is, or take the first one that they meet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision
from measuring import Case, Way, Work
from torch import nn

from helpers.first_conv import adapt_conv, adapt_first_conv

CALLS = 5


def the_recipe(model: nn.Module) -> object:
    """As the posts do it: into a second network."""
    state = model.state_dict()
    state["conv1.weight"] = state["conv1.weight"].sum(1, keepdim=True)
    new = torchvision.models.resnet18()
    new.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    new.load_state_dict(state)
    return new


@torch.no_grad()
def in_place(model: nn.Module) -> object:
    old = model.conv1
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    model.conv1.weight.copy_(old.weight.sum(1, keepdim=True))
    return model


def of_timm(model: nn.Module) -> object:
    from timm.models import adapt_input_conv

    weight = adapt_input_conv(1, model.conv1.weight.detach())
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    model.conv1.weight = nn.Parameter(weight)
    return model


def of_segmentation_models(model: nn.Module) -> object:
    from segmentation_models_pytorch.encoders._utils import patch_first_conv

    patch_first_conv(model, new_in_channels=1, pretrained=True)
    return model


def on_fresh_models(way: Callable[[nn.Module], object]) -> Work:
    """A network for each call, and one for the first, which is not timed; none is deleted while time is taken."""
    models = [torchvision.models.resnet18().eval() for _ in range(CALLS + 1)]
    given = iter(models)
    return lambda: (way(next(given)), models)


def limit(model: nn.Module) -> object:
    return model.conv1.weight.detach().sum(1, keepdim=True)


def cases(folder: Path, quick: bool) -> list[Case]:
    del folder, quick
    ways = [
        ("the posts' recipe", the_recipe, ""),
        ("by hand, in place", in_place, ""),
        ("timm's adapt_input_conv", of_timm, "timm"),
        ("segmentation_models' patch_first_conv", of_segmentation_models, "segmentation_models_pytorch"),
        ("adapt_conv", lambda model: adapt_conv(model.conv1, 1), ""),
        ("adapt_first_conv", lambda model: adapt_first_conv(model, 1), ""),
        ("limit: the sum", limit, ""),
    ]
    found = [Way(name, partial(on_fresh_models, way), needs) for name, way, needs in ways]
    return [Case("a ResNet-18 for grey images", found, calls=CALLS, warm=True)]
