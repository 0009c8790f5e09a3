"""What freezing saves in time: training steps of a VGG16 that is frozen in several ways, and epochs on cached features.

usage: python benchmarks/freezing.py

Steps: the shipped thin VGG16 on 20 images of 64x64. Training all of it is the naive recipe; what cannot be saved is its
forward pass. `rnn3 in front` is seed 001's network: a trainable layer before a trunk that is frozen.

Epochs: 200 images of 64x64, batches of 20, one trainable Linear behind all other layers of the thin and of the
full-size VGG16. The naive recipe runs the frozen trunk in each epoch; what cannot be saved is reading the features
once. In each round every way has its turn, and the median of the rounds counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from fcn import seconds, show
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.freezing import cache_features, freeze, trainable_parameters
from helpers.heads import truncate
from workbook import networks

IMAGES, BATCH = 200, 20


def step(model: nn.Module, x: Tensor, y: Tensor) -> None:
    model.train()
    for parameter in model.parameters():
        parameter.grad = None
    F.cross_entropy(model(x), y).backward()


def with_rnn3() -> nn.Module:
    trunk = networks.vgg16()
    freeze(trunk)
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(), trunk)


def steps() -> None:
    x, y = torch.randn(BATCH, 3, 64, 64), torch.randint(0, 10, (BATCH,))
    whole, head, upper = networks.vgg16(), networks.vgg16(), networks.vgg16()
    freeze(head, "features", "classifier.[0-5]")
    freeze(upper, "features.[0-9]", "features.1?")
    in_front = with_rnn3()
    ways = {
        "all is trained": lambda: step(whole, x, y),
        "rnn3 in front, the rest frozen": lambda: step(in_front, x, y),
        "the first three blocks frozen": lambda: step(upper, x, y),
        "all but the last Linear frozen": lambda: step(head, x, y),
        "limit: forward pass": lambda: forward(whole, x),
    }
    show("a training step of the thin VGG16, 20 images of 64x64", seconds(ways, 15))


@torch.no_grad()
def forward(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def epoch(model: nn.Module, inputs: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for batch in torch.randperm(len(inputs)).split(BATCH):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()


def epochs(title: str, net: nn.Module, width: int) -> None:
    data = TensorDataset(torch.randn(IMAGES, 3, 64, 64), torch.randint(0, 10, (IMAGES,)))
    trunk = truncate(net, "classifier.5")
    freeze(trunk)
    head, other = nn.Linear(width, 10), nn.Linear(width, 10)
    whole = nn.Sequential(trunk, head)
    features, labels = cache_features(trunk, DataLoader(data, BATCH), show=False).tensors
    optimizers = [torch.optim.SGD(trainable_parameters(module), lr=0.01) for module in (whole, other)]
    ways = {
        "frozen trunk in each epoch": lambda: epoch(whole, *data.tensors, optimizers[0]),
        "cached features": lambda: epoch(other, features, labels, optimizers[1]),
        "limit: read the features": lambda: features.clone(),
    }
    show(title, seconds(ways, 5))


if __name__ == "__main__":
    steps()
    epochs("an epoch, thin VGG16, 200 images of 64x64", networks.vgg16(), 256)
    epochs("an epoch, full-size VGG16, 200 images of 64x64", torchvision.models.vgg16(), 4096)
