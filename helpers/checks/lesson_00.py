"""Lesson 00: the exercise that shows how exercises work."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .feedback import Exercise, NotYet, call


def verify_count(answer: Any) -> None:
    """0.1 `count_parameters(model) -> int`."""
    frozen = nn.Linear(6, 7).requires_grad_(False)
    _verify_model(answer, nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4)), frozen))
    _verify_model(answer, nn.Conv2d(5, 4, (3, 2)))


def _verify_model(answer: Any, model: nn.Module) -> None:
    tensors = list(model.parameters())
    right = sum(tensor.numel() for tensor in tensors)
    causes = {
        len(model.state_dict()): (
            "this counts the entries of state_dict(): each holds many numbers (tensor.numel()), and some are buffers, "
            "which are no parameters."
        ),
        len(tensors): "this counts the tensors; each holds many numbers (tensor.numel()).",
        sum(len(tensor) for tensor in tensors): "len(tensor) is only its first dimension; tensor.numel() is all of it.",
        sum(tensor.numel() for tensor in model.state_dict().values()): (
            "state_dict() also holds buffers, such as BatchNorm's running mean; model.parameters() does not."
        ),
        sum(tensor.numel() for tensor in tensors if tensor.ndim > 1): "the biases are missing.",
        sum(tensor.numel() for tensor in tensors if tensor.requires_grad): (
            "a frozen layer has parameters, too; requires_grad only says whether they are trained."
        ),
    }
    got = call(answer, model)
    if isinstance(got, np.generic) or (isinstance(got, torch.Tensor) and got.numel() == 1):
        got = got.item()
    if not isinstance(got, (int, float)):
        raise NotYet(f"expected a whole number, got a {type(got).__name__}.")
    if got != right:
        cause = causes.get(got)
        raise NotYet(
            f"expected {right} for a small {type(model).__name__}, got {got}."
            + (f"\nLikely cause: {cause}" if cause else "")
        )


EXERCISES = {
    "0.1": Exercise(
        verify_count,
        (
            "model.parameters() runs through all weight and bias tensors of a model.",
            "tensor.numel() is the number of elements of a tensor.",
            "sum(parameter.numel() for parameter in model.parameters())",
        ),
        "you know how exercises work here, and how to count a network's parameters.",
    ),
}
