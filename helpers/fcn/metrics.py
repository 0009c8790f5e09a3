"""How good masks are: pixel accuracy and mean intersection over union."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import FCNError
from ..layers import whole_number
from ..modes import modes_kept


@torch.no_grad()
def confusion_matrix(model: nn.Module, inputs: Tensor, masks: Tensor, *, ignore_index: int | None = None) -> Tensor:
    """How many pixels of each class are called what, in eval mode; afterwards the modes are what they were.

    Args:
        model: maps inputs to (N, classes, H, W), or to a dictionary with that under "out", as torchvision's do.
        inputs: (N, ...).
        masks: (N, H, W) the right class of each pixel, of any whole type; pixels below 0 are left out.
        ignore_index: a label that is left out, too; 255 in the masks of Pascal VOC.

    Returns:
        (classes, classes) int64: right class down, called class across.

    Raises:
        FCNError: other shapes or types, a label beyond the classes, or scores that are NaN.
    """
    if not isinstance(model, nn.Module) or not isinstance(inputs, Tensor):
        raise FCNError(f"this needs an nn.Module and a tensor, not {type(model).__name__} and {type(inputs).__name__}")
    if ignore_index is not None and whole_number(ignore_index) is None:
        raise FCNError(f"ignore_index is a whole number, a label in the masks, not {ignore_index!r}")
    if not isinstance(masks, Tensor) or masks.is_floating_point() or masks.is_complex() or masks.ndim != 3:
        found = f"{tuple(masks.shape)} {masks.dtype}" if isinstance(masks, Tensor) else type(masks).__name__
        raise FCNError(f"masks are (N, H, W) whole numbers, not {found}")
    if len(inputs) != len(masks) or not len(masks):
        raise FCNError(f"{len(inputs)} inputs have {len(masks)} masks: there must be as many, and one at least")
    masks = masks.long()  # bytes would overflow when pairs of classes are counted
    if ignore_index is not None:
        masks = masks.masked_fill(masks == ignore_index, -1)
    with modes_kept(model):
        model.eval()
        counts = [_count(model(batch), truth) for batch, truth in zip(inputs.split(20), masks.split(20), strict=True)]
    return torch.stack(counts).sum(0)


def _count(scores: object, masks: Tensor) -> Tensor:
    if isinstance(scores, Mapping):
        scores = scores.get("out")
    if not isinstance(scores, Tensor) or scores.ndim != 4:
        found = tuple(scores.shape) if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise FCNError(f"the model puts out {found}, not (N, classes, H, W)")
    if scores[:, 0].shape != masks.shape:
        raise FCNError(
            f"scores are {tuple(scores.shape)}, masks {tuple(masks.shape)}: heights and widths must be alike"
        )
    if scores.isnan().any():
        raise FCNError("the model's scores are NaN, which would count as class 0")
    classes, counted = scores.shape[1], masks >= 0
    largest = int(masks.max())
    if largest >= classes:
        raise FCNError(
            f"a mask has the label {largest}, the model tells {classes} classes apart: give ignore_index={largest} if "
            "it is none"
        )
    pairs = masks[counted] * classes + scores.argmax(1)[counted]
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of the pixels of a `confusion_matrix` that are called what they are.

    Raises:
        FCNError: it is none, or counts nothing.
    """
    _check(confusion)
    return (confusion.diagonal().sum() / confusion.sum()).item()


def mean_iou(confusion: Tensor) -> float:
    """Mean over classes of intersection over union: pixels both called it and it, by those that are either.

    Classes that are neither in the masks nor in the answers of a `confusion_matrix` are left out.

    Raises:
        FCNError: it is none, or counts nothing.
    """
    _check(confusion)
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    return (both[either > 0] / either[either > 0]).mean().item()


def _check(confusion: Tensor) -> None:
    if not isinstance(confusion, Tensor) or confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        found = tuple(confusion.shape) if isinstance(confusion, Tensor) else f"a {type(confusion).__name__}"
        raise FCNError(f"a confusion matrix is (classes, classes), not {found}")
    if not confusion.sum() > 0:
        raise FCNError("no pixel was counted: all of the masks were left out")
