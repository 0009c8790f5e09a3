"""The plainest training: minibatches, cross-entropy, an optimizer that the lesson shows; and its score."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.modes import modes_kept


def few_of_each(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Places of `per_class` examples of each class, drawn at random; the same ones for the same seed.

    Args:
        labels: (N,) integers.
        per_class: how many.
        seed: of the draw.

    Returns:
        (classes per_class,) int64, one class after the other.

    Raises:
        ValueError: a class has fewer.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    places = [order[labels[order] == label][:per_class] for label in labels.unique()]
    fewest = min(len(found) for found in places)
    if fewest < per_class:
        raise ValueError(f"a class has {fewest} examples, not {per_class}")
    return torch.cat(places)


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    epochs: int,
    *,
    batch_size: int = 20,
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train a classifier, of images or of pixels, in place, in train mode; afterwards its modes are what they were.

    The learning rates fall in a straight line, from what they are to nearly zero at the end, so that the last steps
    settle. The order of the examples, and dropout, come from torch's global random state.

    Args:
        model: maps inputs to (N, classes), or to (N, classes, H, W).
        optimizer: of its parameters.
        inputs: (N, ...).
        labels: (N,) the right class of each, or (N, H, W).
        epochs: how often to go through all of them.
        batch_size: examples per step; the last batch of an epoch may have fewer.
        after_epoch: called with the number of the epoch, from 1 on.
    """
    steps = epochs * math.ceil(len(inputs) / batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / steps, steps)
    with modes_kept(model):
        for epoch in range(1, epochs + 1):
            model.train()
            for batch in torch.randperm(len(inputs)).split(batch_size):
                loss = F.cross_entropy(model(inputs[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            if after_epoch:
                after_epoch(epoch)


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of inputs that a classifier names rightly, in eval mode; afterwards its modes are what they were.

    Args:
        model: maps inputs to (N, classes).
        inputs: (N, ...).
        labels: (N,) the right class of each.
    """
    with modes_kept(model):
        model.eval()
        # in batches, for the memory of a large one takes longer to get than the numbers
        guesses = torch.cat([model(batch).argmax(1) for batch in inputs.split(100)])
    return (guesses == labels).float().mean().item()
