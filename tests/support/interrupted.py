"""A small training that draws random numbers everywhere, and a program that kills its children.

usage: python tests/support/interrupted.py saves|naive|training|workers FOLDER

It imports torch once and forks, so that a child costs milliseconds; it prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from helpers.checkpoint import ResumableBatches, load_checkpoint, save_checkpoint
from workbook.places import WORKBOOK

EPOCHS, BATCHES = 3, 7
SAVES = EPOCHS * (BATCHES + 1)  # after each batch and after each epoch


class Interrupted(Exception):  # noqa: N818  it is no error
    pass


class Augmented(Dataset):
    """26 images (2, 5, 4) of 3 classes, each changed by torch's, numpy's and Python's random numbers."""

    def __len__(self) -> int:
        return 26

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.sin(torch.arange(40.0).reshape(2, 5, 4) * (index + 1))
        image = image + 0.3 * torch.randn(2, 5, 4) + 0.3 * float(np.random.rand())  # noqa: NPY002
        return (image.flip(2) if random.random() < 0.5 else image), index % 3


class NumpyShuffled(Sampler):
    """Draws each index when it is asked for, from the same stream as the augmentation."""

    def __len__(self) -> int:
        return 26

    def __iter__(self) -> Iterator[int]:
        return (int(np.random.randint(26)) for _ in range(26))  # noqa: NPY002


@dataclass
class Training:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    loader: DataLoader


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002
    random.seed(number)


def fresh(optimizer: str = "SGD", shuffling: str = "generator", number: int = 0, workers: int = 0) -> Training:
    """All objects anew; `number` seeds everything."""
    seed(number)
    model = nn.Sequential(
        nn.Conv2d(2, 6, (3, 2)), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(54, 3)
    )
    made = {
        "SGD": lambda: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01),
        "AdamW": lambda: torch.optim.AdamW(model.parameters(), lr=0.01),
    }[optimizer]()
    options = {
        "generator": lambda: {"shuffle": True, "generator": torch.Generator().manual_seed(number + 1)},
        "global": lambda: {"shuffle": True},
        "numpy": lambda: {"sampler": NumpyShuffled()},
        "own": lambda: {
            "sampler": torch.utils.data.RandomSampler(Augmented(), generator=torch.Generator().manual_seed(number + 2))
        },
    }[shuffling]()
    loader = DataLoader(Augmented(), batch_size=4, num_workers=workers, **options)
    return Training(model, made, torch.optim.lr_scheduler.StepLR(made, 2, 0.1), loader)


def step(training: Training, images: Tensor, labels: Tensor) -> None:
    training.optimizer.zero_grad()
    nn.functional.cross_entropy(training.model(images), labels).backward()
    training.optimizer.step()


def uninterrupted(training: Training) -> dict[str, Tensor]:
    """Train without any helper."""
    for _ in range(EPOCHS):
        for images, labels in training.loader:
            step(training, images, labels)
        training.scheduler.step()
    return training.model.state_dict()


def resumable(training: Training, path: Path, stop_at: int | None = None, **left_out: None) -> dict[str, Tensor]:
    """Train as the lesson does, from the checkpoint if there is one.

    Args:
        training: all of it.
        path: the checkpoint.
        stop_at: raise `Interrupted` after this save of the whole training, counted from 0, which is the only one then.
        left_out: what not to load, as `optimizer=None`.
    """
    batches = ResumableBatches(training.loader)
    parts = {
        "model": training.model,
        "optimizer": training.optimizer,
        "scheduler": training.scheduler,
        "batches": batches,
    }

    def save(epoch: int, number: int) -> None:
        if stop_at in (None, number):
            save_checkpoint(path, epoch=epoch, **parts)
        if stop_at == number:
            raise Interrupted

    start = load_checkpoint(path, **{**parts, **left_out}).epoch if path.exists() else 0
    for epoch in range(start, EPOCHS):
        for images, labels in batches:
            step(training, images, labels)
            save(epoch, epoch * (BATCHES + 1) + batches.position - 1)
        training.scheduler.step()
        save(epoch + 1, epoch * (BATCHES + 1) + BATCHES)
    return training.model.state_dict()


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def killed(work: Callable[[], object], seconds: float) -> bool:
    """Run some work in a child, and kill it after a while; whether it was still at it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


def intact(path: Path) -> bool:
    """Judged without any helper: checksums, and all tensors of the same save."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                return False
        weight = torch.load(path)["model"]["weight"]
        return bool((weight == weight[0, 0]).all())
    except Exception:
        return False


def kill_saves(folder: Path, kills: int, naive: bool) -> dict[str, int]:
    """Kill a child that does nothing but save."""
    path, choose, model = folder / "run.pt", random.Random(0), nn.Linear(700, 900)
    found = {"kills": 0, "lost": 0, "temporaries": 0, "stale": 0}

    def save(number: int) -> None:
        with torch.no_grad():
            model.weight.fill_(number)
        if naive:
            torch.save({"model": model.state_dict()}, path)
        else:
            save_checkpoint(path, model=model, epoch=number)

    def saves() -> None:
        for number in range(10**9):
            save(number)

    for _ in range(kills):
        save(0)
        found["stale"] += len(list(folder.iterdir())) - 1
        found["kills"] += killed(saves, choose.uniform(0.01, 0.1))
        found["lost"] += not intact(path)
        found["temporaries"] += len(list(folder.iterdir())) - 1
    save(0)
    found["stale"] += len(list(folder.iterdir())) - 1
    return found


def kill_training(folder: Path) -> dict[str, int | bool]:
    """Kill a training again and again, until it has come to its end."""
    path, choose, kills = folder / "run.pt", random.Random(1), 0
    fresh()  # the first optimizer imports much, which the children need not do again
    while killed(
        lambda number=kills: resumable(fresh(number=100 + number if path.exists() else 0), path),
        choose.uniform(0.06, 0.2) * (1 + kills / 5),  # so that a busy machine gets on, too
    ):
        kills += 1
        assert kills < 50, "no child gets on"
    return {"kills": kills, "same": same(torch.load(path)["model"], uninterrupted(fresh()))}


def workers(folder: Path) -> dict[str, bool]:
    """Interrupt a training with two workers in the middle of an epoch, at its last batch and at its end."""
    expected, found = uninterrupted(fresh(workers=2)), {}
    for stop_at in (BATCHES + 3, BATCHES - 1, BATCHES):
        path = folder / f"{stop_at}.pt"
        try:
            resumable(fresh(workers=2), path, stop_at)
        except Interrupted:
            found[str(stop_at)] = same(resumable(fresh(number=9, workers=2), path), expected)
    return found


def run(what: str, folder: Path) -> dict[str, Any]:
    """This program in a process of its own: what it printed."""
    command = [sys.executable, __file__, what, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKBOOK)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, where = sys.argv[1], Path(sys.argv[2])
    said = {
        "saves": lambda: kill_saves(where, 50, naive=False),
        "naive": lambda: kill_saves(where, 20, naive=True),
        "training": lambda: kill_training(where),
        "workers": lambda: workers(where),
    }[what]()
    print(json.dumps(said))
