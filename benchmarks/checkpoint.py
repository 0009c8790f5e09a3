"""Saving a torchvision VGG16 (553 MB): save_checkpoint against plain torch.save of the same content, side by side.

usage: python benchmarks/checkpoint.py

The naive recipe writes onto the checkpoint itself, and does not wait for the disk. What cannot be saved, if nothing
shall be lost, is writing the bytes and waiting for the disk: that is the limit, and how much of plain torch.save it is
depends on the disk alone. So each way is stated against both. In each round every way has its turn, and the median of
the rounds counts.

The steps below are what the difference to the limit is made of: serialising with checksums where the limit copies
zeros, and deleting the old file, which is a second one here. The most expensive step does not stand there: memory,
in which the system keeps what is written. A save that replaces a file needs it twice, and fresh memory was slow on the
virtual machine of these figures, probably because its host gives it page by page. So the old file's is given back
right before the new one is written: 436 ms in one run, 1.06 of plain torch.save and 1.31 of the limit. When the new
file's was given back after the save instead, it took 544 ms (1.34 and 1.62), and without either 1,406 ms.
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
from torch.serialization import get_crc32_options, set_crc32_options

from helpers.atomic_files import flush_to_disk, publish
from helpers.checkpoint import save_checkpoint
from helpers.random_states import random_state


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


def parts(content: object, folder: Path, rounds: int) -> dict[str, float]:
    """Median times of the steps of a save, one after the other, onto a file that is there."""
    place, path = folder / "new.tmp", folder / "old.pt"
    taken: dict[str, list[float]] = {}
    was = get_crc32_options()

    def timed(step: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        taken.setdefault(step, []).append(time.perf_counter() - start)

    def serialise() -> None:
        with place.open("wb") as file:
            torch.save(content, file)

    for _ in range(rounds + 1):
        os.sync()
        set_crc32_options(False)
        timed("serialise without checksums", serialise)
        set_crc32_options(was)
        place.unlink()
        os.sync()
        timed("serialise with checksums", serialise)
        timed("wait for the disk", lambda: flush_to_disk(place))
        timed("take the name, delete the old one", lambda: publish(place, path))
        timed("random states", random_state)
    return {step: median(times[1:]) for step, times in taken.items()}


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
        steps = parts(content, Path(folder), 5)
    naive, *_, limit = taken.values()
    print("saving a VGG16                                     of torch.save   of the limit")
    for way, time_taken in taken.items():
        print(f"  {way:34} {1000 * time_taken:9.1f} ms {time_taken / naive:10.3f} {time_taken / limit:14.3f}")
    print("its steps, one after the other")
    for step, time_taken in steps.items():
        print(f"  {step:34} {1000 * time_taken:9.1f} ms {time_taken / naive:10.3f} {time_taken / limit:14.3f}")


if __name__ == "__main__":
    main()
