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
