"""Small networks for the exercises of lesson 02."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def small(seed: int) -> nn.Sequential:
    """Every dimension another, with buffers that have moved."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7))
    norm: Any = model[1]
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(1, 2)
        norm.num_batches_tracked += seed + 3
    return model


def tied(seed: int) -> nn.Sequential:
    """`small`, and one more layer that shares the weight of the last one."""
    model = small(seed).append(nn.Linear(6, 7))
    model[3].weight = model[2].weight
    return model


class Odd(nn.Module):
    """Doubles and halves, a parameter and a buffer of its own, a frozen weight, one number, and a buffer not stored."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.scale = nn.Parameter(torch.rand(3).double())
        self.norm, self.fc = nn.BatchNorm1d(3), nn.Linear(3, 1).half()
        self.fc.weight.requires_grad_(False)
        self.norm.running_mean, self.norm.running_var = torch.randn(3), torch.rand(3) + seed
        self.register_buffer("step", torch.tensor([seed + 5]))
        self.register_buffer("cache", torch.rand(2), persistent=False)
