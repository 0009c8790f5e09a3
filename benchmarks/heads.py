"""Another head, and a cut at `layer2`, of a ResNet-18: by hand, with torchvision's extractor, and ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision
from measuring import Case, Way, Work
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from helpers.heads import replace_head, truncate

CALLS = 5


def the_recipe(model: nn.Module) -> object:
    """As the posts do it: into a second network, by those keys that are there."""
    new = torchvision.models.resnet18(num_classes=7)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("fc.")}
    new.load_state_dict(new.state_dict() | kept)
    return new


def new_linear(model: nn.Module) -> object:
    model.fc = nn.Linear(model.fc.in_features, 7)
    return model


def prepared(way: Callable[[nn.Module], object]) -> Work:
    models = [torchvision.models.resnet18().eval() for _ in range(CALLS + 1)]  # none is deleted while time is taken
    given = iter(models)
    return lambda: (way(next(given)), models)


def children(model: nn.Module) -> nn.Module:
    return nn.Sequential(*list(model.children())[:6])


def extractor(model: nn.Module) -> nn.Module:
    return create_feature_extractor(model, ["layer2"])


def run(cut: Callable[[nn.Module], nn.Module], images: int) -> Work:
    part, x = cut(torchvision.models.resnet18().eval()), torch.randn(images, 3, 224, 224)
    return torch.no_grad()(lambda: part(x))


def hooked(images: int) -> Work:
    """All of the network runs, and a hook takes the features."""
    model, x = torchvision.models.resnet18().eval(), torch.randn(images, 3, 224, 224)
    found = []
    model.layer2.register_forward_hook(lambda module, inputs, output: found.append(output))

    @torch.no_grad()
    def work() -> object:
        model(x)
        return found.pop()

    return work


def cases(folder: Path, quick: bool) -> list[Case]:
    del folder
    images = 2 if quick else 16
    heads = {
        "the posts' recipe": the_recipe,
        "fc = nn.Linear(...)": new_linear,
        "replace_head": lambda model: replace_head(model, 7),
        "limit: make the Linear": lambda model: nn.Linear(512, 7),
    }
    cuts = {
        "children()[:6]": children,
        "create_feature_extractor": extractor,
        "truncate": lambda model: truncate(model, "layer2"),
    }
    runs = [Way("all of it, with a hook", partial(hooked, images))]
    runs += [Way(name, partial(run, cut, images)) for name, cut in cuts.items() if name != "children()[:6]"]
    runs.append(Way("limit: children()[:6]", partial(run, children, images)))
    return [
        Case("a head of 7 classes", [Way(n, partial(prepared, w)) for n, w in heads.items()], calls=CALLS, warm=True),
        Case("cut behind layer2", [Way(n, partial(prepared, w)) for n, w in cuts.items()], calls=CALLS, warm=True),
        Case(f"features of layer2, {images} images of 224x224", runs, calls=3, warm=True),
    ]
