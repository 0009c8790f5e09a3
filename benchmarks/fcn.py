"""Upsampling scores, and running an FCN-32s.

Upsampling: 21 classes, 16x16 scores, 32 times. The recipe is the published one, a dense transposed conv; what cannot be
saved is writing the output once. Forward pass: an FCN-32s on 375x500 pixels. The recipe is a padding of 100; what
cannot be saved is running VGG16's convs on the image as it is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torchvision
from measuring import Case, Goal, Way, Work
from torch import nn

from helpers.fcn import FCN32s, init_bilinear_, upsample_bilinear


def transposed(groups: int) -> Work:
    conv = nn.ConvTranspose2d(21, 21, 64, stride=32, groups=groups, bias=False)
    init_bilinear_(conv)
    scores = torch.randn(1, 21, 16, 16)
    return torch.no_grad()(lambda: conv(scores))


def exact() -> Work:
    scores = torch.randn(1, 21, 16, 16)
    return lambda: upsample_bilinear(scores, 32)


def filled() -> Work:
    return lambda: torch.full((1, 21, 544, 544), 1.0)


def network(size: tuple[int, int], **options: object) -> Work:
    net, image = FCN32s(**options).eval(), torch.randn(1, 3, *size)  # type: ignore[arg-type]
    return torch.no_grad()(lambda: net(image))


def convs(size: tuple[int, int]) -> Work:
    features, image = torchvision.models.vgg16().features, torch.randn(1, 3, *size)
    return torch.no_grad()(lambda: features(image))


def cases(folder: Path, quick: bool) -> list[Case]:
    del folder
    height, width = size = (64, 96) if quick else (375, 500)
    upsampling = [
        Way("dense transposed conv", partial(transposed, 1)),
        Way("grouped transposed conv", partial(transposed, 21)),
        Way("upsample_bilinear", exact),
        Way("limit: write the output", filled),
    ]
    passes = [
        Way("first_padding=100", partial(network, size, first_padding=100)),
        Way("first_padding=1", partial(network, size, first_padding=1)),
        Way('  and upsampling="exact"', partial(network, size, first_padding=1, upsampling="exact")),
        Way("limit: VGG16's convs alone", partial(convs, size)),
    ]
    faster = [] if quick else [Goal("upsample_bilinear", "of the recipe", 0.2)]
    smaller = [] if quick else [Goal("first_padding=1", "of the recipe", 0.6)]
    return [
        Case("upsampling 21 classes, 16x16, 32 times", upsampling, faster, calls=5 if quick else 30, warm=True),
        Case(f"forward pass of FCN-32s, {height}x{width} pixels", passes, smaller, calls=1 if quick else 3, warm=True),
    ]
