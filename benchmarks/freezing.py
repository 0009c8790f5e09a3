"""What freezing saves in time: steps of a VGG16 that is frozen in several ways, and epochs on cached features.

Steps: the thin VGG16 on 20 images of 64x64. Training all of it is the recipe; what cannot be saved is its forward pass.
`a layer in front` is a network of the posts: a trainable layer before a trunk that is frozen.

Epochs: batches of 20 images of 64x64, one trainable Linear behind all other layers. The recipe runs the frozen trunk in
each epoch; what cannot be saved is reading the features once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from files import vgg16
from measuring import Case, Goal, Way, Work
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.freezing import cache_features, freeze, trainable_parameters
from helpers.heads import truncate
from workbook import networks

BATCH = 20


def step(*frozen: str, in_front: bool = False) -> Work:
    model: nn.Module = networks.vgg16()
    if frozen:
        freeze(model, *frozen)
    if in_front:
        model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(), model)
    x, y = torch.randn(BATCH, 3, 64, 64), torch.randint(0, 10, (BATCH,))

    def work() -> None:
        model.train()
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()

    return work


def forward() -> Work:
    model, x = networks.vgg16(), torch.randn(BATCH, 3, 64, 64)
    return torch.no_grad()(lambda: model(x))


class Epochs:
    """A frozen trunk, a head, and what both are trained on."""

    def __init__(self, make: Callable[[], nn.Module], images: int) -> None:
        self.x, self.y = torch.randn(images, 3, 64, 64), torch.randint(0, 10, (images,))
        net = make()
        self.trunk = truncate(net, "classifier.5")
        freeze(self.trunk)
        self.head = nn.Linear(net.classifier[6].in_features, 10)

    def features(self) -> Tensor:
        return cache_features(self.trunk, DataLoader(TensorDataset(self.x, self.y), BATCH), show=False).tensors[0]

    def epoch(self, model: nn.Module, inputs: Tensor) -> Work:
        optimizer = torch.optim.SGD(trainable_parameters(model), lr=0.01)

        def work() -> None:
            model.train()
            for batch in torch.randperm(len(inputs)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[batch]), self.y[batch]).backward()
                optimizer.step()

        return work


def with_trunk(make: Callable[[], nn.Module], images: int) -> Work:
    it = Epochs(make, images)
    return it.epoch(nn.Sequential(it.trunk, it.head), it.x)


def on_features(make: Callable[[], nn.Module], images: int) -> Work:
    it = Epochs(make, images)
    return it.epoch(it.head, it.features())


def reading(make: Callable[[], nn.Module], images: int) -> Work:
    features = Epochs(make, images).features()
    return lambda: features.clone()


def epochs(title: str, make: Callable[[], nn.Module], images: int, goals: list[Goal]) -> Case:
    ways = {
        "frozen trunk in each epoch": with_trunk,
        "cached features": on_features,
        "limit: read the features": reading,
    }
    title = f"an epoch of {images} images, {title}"
    return Case(title, [Way(name, partial(way, make, images)) for name, way in ways.items()], goals, warm=True)


def cases(folder: Path, quick: bool) -> list[Case]:
    del folder
    images = 40 if quick else 200
    ways = [
        Way("all is trained", step),
        Way("a layer in front, the rest frozen", partial(step, "features", "classifier", in_front=True)),
        Way("the first three blocks frozen", partial(step, "features.[0-9]", "features.1?")),
        Way("all but the last Linear frozen", partial(step, "features", "classifier.[0-5]")),
        Way("limit: forward pass", forward),
    ]
    goals = [] if quick else [Goal("cached features", "of the recipe", 0.01)]
    found = [
        Case("a training step of the thin VGG16", ways, calls=3 if quick else 15, warm=True),
        epochs("thin VGG16", networks.vgg16, images, goals),
    ]
    return found if quick else [*found, epochs("full VGG16", vgg16(quick), images, goals)]
