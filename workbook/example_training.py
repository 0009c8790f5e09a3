"""The small training that lesson 08 interrupts: it has everything that can be lost.

usage: python -m workbook.example_training CHECKPOINT LOSSES

Trains and saves after every step; goes on from CHECKPOINT if it is there; adds the loss of each step to LOSSES.
"""

from __future__ import annotations

import copy
import itertools
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from helpers.checkpoint import ResumableBatches, load_checkpoint, save_checkpoint
from helpers.random_states import random_state

from .data import fashion_mnist

EPOCHS, PICTURES, BATCH = 3, 100, 20
STEPS = EPOCHS * PICTURES // BATCH
PARTS = ("weights", "optimizer", "scheduler", "batches", "torch", "numpy", "python")
SEEDS: dict[str, Callable[[int], object]] = {"torch": torch.manual_seed, "numpy": np.random.seed, "python": random.seed}
STRANGE = 99  # seed of what is not restored


class Clothes(Dataset):
    """100 pictures of clothes, each time a little different: flipped by torch, shifted by numpy, dimmed by Python."""

    def __init__(self) -> None:
        pictures, self.kinds = (tensor[:PICTURES] for tensor in fashion_mnist(train=True))
        self.pictures = pictures.float() / 255

    def __len__(self) -> int:
        return PICTURES

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """A (1, 28, 28) picture from 0 to 1, and its class."""
        picture = self.pictures[place]
        if torch.rand(()) < 0.5:
            picture = picture.flip(-1)
        picture = picture.roll(np.random.randint(-2, 3), -1)  # noqa: NPY002  as most augmentations do
        return picture * random.uniform(0.5, 1), int(self.kinds[place])


@dataclass
class Training:
    """What a training works with."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    batches: ResumableBatches

    def parts(self) -> dict[str, Any]:
        """As `save_checkpoint` and `load_checkpoint` take them."""
        return dict(vars(self))

    def numbers(self) -> Tensor:
        """All weights and statistics of the model in a row."""
        return torch.cat([t.detach().flatten() for t in self.model.state_dict().values() if t.is_floating_point()])


def new_training(seed: int = 0) -> Training:
    """A training at its beginning; whatever draws random numbers is seeded."""
    for each in SEEDS.values():
        each(seed)
    conv, norm, fc = nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.Linear(1152, 10)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Dropout(), fc)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(Clothes(), BATCH, shuffle=True, generator=order)
    return Training(model, optimizer, scheduler, ResumableBatches(loader))


def steps(training: Training, epoch: int = 0, path: Path | None = None) -> Iterator[float]:
    """Train from an epoch on, in place; gives the loss of each step after the step, and after it is saved.

    Args:
        training: at its beginning, or as `load_checkpoint` left it.
        epoch: the one to begin, or to go on with.
        path: save after each step and each epoch there; None: nowhere.
    """
    for running in range(epoch, EPOCHS):
        training.model.train()
        for x, y in training.batches:
            loss = F.cross_entropy(training.model(x), y)
            training.optimizer.zero_grad()
            loss.backward()
            training.optimizer.step()
            if path:
                save_checkpoint(path, epoch=running, **training.parts())
            yield loss.item()
        training.scheduler.step()
        if path:
            save_checkpoint(path, epoch=running + 1, **training.parts())


def resumed(stop: int, restored: set[str]) -> tuple[list[float], Tensor]:
    """Interrupt a training, go on in another one, with all random numbers others, that gets some states of the first.

    Args:
        stop: after how many steps.
        restored: names from `PARTS`.

    Returns:
        The losses after the interrupt, and all weights and buffers at the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, first = Path(folder) / "run.pt", new_training()
        running = steps(first)
        list(itertools.islice(running, stop))
        epoch = (stop - 1) * EPOCHS // STEPS
        save_checkpoint(path, epoch=epoch, **first.parts())
        later = new_training(STRANGE)
        fresh = copy.deepcopy(later.model.state_dict())
        load_checkpoint(path, **{key: part for key, part in later.parts().items() if key == "model" or key in restored})
    if "weights" not in restored:
        later.model.load_state_dict(fresh)
    now = random_state()
    for name, seed in SEEDS.items():
        if name not in restored:
            seed(STRANGE)
            now[name] = random_state()[name]
    if "batches" in restored:  # it knows the random states, too, and sets them when it goes on
        state = later.batches.state_dict()
        later.batches.load_state_dict({**state, "now": {**state["now"], **{name: now[name] for name in SEEDS}}})
    return list(steps(later, epoch)), later.numbers()


def main(checkpoint: Path, losses: Path) -> None:
    training, epoch = new_training(), 0
    if checkpoint.exists():
        epoch = load_checkpoint(checkpoint, **training.parts()).epoch
    with losses.open("a", encoding="utf-8") as file:
        for loss in steps(training, epoch, checkpoint):
            print(loss, file=file, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
