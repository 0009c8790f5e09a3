"""Upsampling scores, and running an FCN-32s: the published recipe against what costs less, side by side.

usage: python benchmarks/fcn.py

Upsampling: 21 classes, 16x16 scores, 32 times. The naive recipe is the published one, a dense transposed conv; what
cannot be saved is writing the output once. Forward pass: a full-size FCN-32s on 375x500 pixels. The naive recipe is a
padding of 100; what cannot be saved is running VGG16's convs on the image as it is. In each round every way has its
turn, and the median of the rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
import torchvision
from torch import nn

from helpers.fcn import FCN32s, copy_vgg16_, init_bilinear_, upsample_bilinear


def seconds(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each way; the first round only warms up."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, work in ways.items():
            start = time.perf_counter()
            work()
            taken[way].append(time.perf_counter() - start)
    return {way: median(times[1:]) for way, times in taken.items()}


def show(title: str, taken: dict[str, float]) -> None:
    print(title)
    naive = next(iter(taken.values()))
    for way, time_taken in taken.items():
        print(f"  {way:32} {1000 * time_taken:9.1f} ms   {time_taken / naive:.3f}")


def transposed(groups: int) -> nn.ConvTranspose2d:
    conv = nn.ConvTranspose2d(21, 21, 64, stride=32, groups=groups, bias=False)
    init_bilinear_(conv)
    return conv


@torch.no_grad()
def upsampling() -> None:
    scores, dense, grouped = torch.randn(1, 21, 16, 16), transposed(1), transposed(21)
    expected = dense(scores)
    difference = (upsample_bilinear(scores, 32) - expected).abs().max().item()
    ways = {
        "dense transposed conv": lambda: dense(scores),
        "grouped transposed conv": lambda: grouped(scores),
        "upsample_bilinear": lambda: upsample_bilinear(scores, 32),
        "limit: write the output": lambda: torch.full(expected.shape, 1.0),
    }
    show(f"upsampling 21 classes, 16x16, 32 times; largest difference {difference:.1e}", seconds(ways, 50))


@torch.no_grad()
def forward_pass() -> None:
    vgg, image = torchvision.models.vgg16(), torch.randn(1, 3, 375, 500)
    networks = {padding: FCN32s(first_padding=padding).eval() for padding in (100, 1)}
    for network in networks.values():
        copy_vgg16_(network, vgg)
    exact = FCN32s(first_padding=1, upsampling="exact").eval()
    copy_vgg16_(exact, vgg)
    ways = {
        "first_padding=100": lambda: networks[100](image),
        "first_padding=1": lambda: networks[1](image),
        '  and upsampling="exact"': lambda: exact(image),
        "limit: VGG16's convs alone": lambda: vgg.features(image),
    }
    show("\nforward pass of FCN-32s, 375x500 pixels", seconds(ways, 5))


if __name__ == "__main__":
    upsampling()
    forward_pass()
