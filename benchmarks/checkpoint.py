"""Saving a torchvision VGG16 (553 MB): save_checkpoint against plain torch.save of the same content, side by side.

usage: python benchmarks/checkpoint.py

The naive recipe writes onto the checkpoint itself, and does not wait for the disk. What cannot be saved, if nothing
shall be lost, is writing the bytes and waiting for the disk. In each round every way has its turn, and the median of
the rounds counts.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torchvision

from helpers.checkpoint import save_checkpoint


def seconds(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each way; the first round only warms up."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, work in ways.items():
            os.sync()  # what the way before has left in memory is not for this one to write
            start = time.perf_counter()
            work()
            taken[way].append(time.perf_counter() - start)
    return {way: median(times[1:]) for way, times in taken.items()}


def write(path: Path, content: memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    model = torchvision.models.vgg16()
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder) / "safe.pt", model=model)
        content = torch.load(path)
        content["model"] = model.state_dict()
        zeros = memoryview(bytearray(path.stat().st_size))
        taken = seconds(
            {
                "plain torch.save": lambda: torch.save(content, Path(folder) / "plain.pt"),
                "save_checkpoint": lambda: save_checkpoint(path, model=model),
                "limit: write the bytes, fsync": lambda: write(Path(folder) / "limit.pt", zeros),
            },
            7,
        )
    naive = next(iter(taken.values()))
    print("saving a VGG16")
    for way, time_taken in taken.items():
        print(f"  {way:32} {1000 * time_taken:9.1f} ms   {time_taken / naive:.3f}")


if __name__ == "__main__":
    main()
