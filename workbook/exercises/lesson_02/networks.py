"""Small networks for the exercises of lesson 02."""

from __future__ import annotations

import torch
from torch import nn


def small(seed: int) -> nn.Sequential:
    """Every dimension another, with buffers that have moved."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7))
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(1, 2)
    return model


def tied(seed: int) -> nn.Sequential:
    """`small`, and one more layer that shares the weight of the last one."""
    model = small(seed).append(nn.Linear(6, 7))
    model[3].weight = model[2].weight
    return model
