"""How good masks are: pixel accuracy and mean intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..modes import modes_kept


@torch.no_grad()
def confusion_matrix(model: nn.Module, inputs: Tensor, masks: Tensor) -> Tensor:
    """How many pixels of each class are called what, in eval mode; afterwards the modes are what they were.

    Args:
        model: maps inputs to (N, classes, H, W).
        inputs: (N, ...).
        masks: (N, H, W) the right class of each pixel, int64; pixels below 0 are left out.

    Returns:
        (classes, classes) int64: right class down, called class across.
    """
    with modes_kept(model):
        model.eval()
        counts = [_count(model(batch), truth) for batch, truth in zip(inputs.split(20), masks.split(20), strict=True)]
    return torch.stack(counts).sum(0)


def _count(scores: Tensor, masks: Tensor) -> Tensor:
    classes, counted = scores.shape[1], masks >= 0
    pairs = masks[counted] * classes + scores.argmax(1)[counted]
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of the pixels of a `confusion_matrix` that are called what they are."""
    return (confusion.diagonal().sum() / confusion.sum()).item()


def mean_iou(confusion: Tensor) -> float:
    """Mean over classes of intersection over union: pixels both called it and it, by those that are either.

    Classes that are neither in the masks nor in the answers of a `confusion_matrix` are left out.
    """
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    return (both[either > 0] / either[either > 0]).mean().item()
