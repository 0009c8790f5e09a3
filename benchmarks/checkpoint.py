"""Saving and loading a checkpoint, against plain `torch.save` and `torch.load` of the same content.

The recipe writes onto the checkpoint itself, and does not wait for the disk. What cannot be saved, if nothing shall be
lost, is writing the bytes and waiting for the disk: that is the limit, and how much of plain `torch.save` it is depends
on the disk alone. So each way is stated against both. The ways between recipe and `save_checkpoint` are steps of it.

The most expensive step does not stand there: memory, in which the system keeps what is written. A save that replaces a
file needs it twice, and fresh memory was slow on the virtual machine of these figures, probably because its host gives
it page by page. So the old file's is given back right before the new one is written: 436 ms in one run, 1.06 of plain
`torch.save` and 1.31 of the limit. When the new file's was given back after the save instead, it took 544 ms (1.34 and
1.62), and without either 1,406 ms.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from files import read, vgg16, write
from measuring import Case, Goal, Way, Work, at_once
from state_dict import chain
from torch import nn
from torch.serialization import set_crc32_options

from helpers.checkpoint import load_checkpoint, save_checkpoint

OURS = "save_checkpoint"


def plain(make: Callable[[], nn.Module], path: Path, *, checksums: bool = True, wait: bool = False) -> Work:
    content = {**torch.load(path), "model": make().state_dict()}
    set_crc32_options(checksums)
    target = path.with_suffix(".plain")

    def work() -> None:
        with target.open("wb") as file:
            torch.save(content, file)
            if wait:
                file.flush()
                os.fsync(file.fileno())

    return work


def safely(make: Callable[[], nn.Module], path: Path) -> Work:
    model = make()
    return lambda: save_checkpoint(path.with_suffix(".safe"), model=model)


def the_bytes(path: Path) -> Work:
    zeros = memoryview(bytearray(path.stat().st_size))
    return lambda: write(path.with_suffix(".bytes"), zeros)


def loaded_by_hand(make: Callable[[], nn.Module], path: Path) -> Work:
    model = make()
    return lambda: model.load_state_dict(torch.load(path)["model"])


def loaded(make: Callable[[], nn.Module], path: Path, *, verify: bool) -> Work:
    model = make()
    return lambda: load_checkpoint(path, model=model, verify=verify)


def saving(make: Callable[[], nn.Module], path: Path) -> list[Way]:
    return [
        Way("torch.save onto the file", partial(plain, make, path)),
        Way("  without checksums", partial(plain, make, path, checksums=False)),
        Way("  and wait for the disk", partial(plain, make, path, wait=True)),
        Way(OURS, partial(safely, make, path)),
        Way("limit: write the bytes, fsync", partial(the_bytes, path)),
    ]


def cases(folder: Path, quick: bool) -> list[Case]:
    make, path = vgg16(quick), folder / "checkpoint.pt"
    if not path.exists():
        save_checkpoint(path, model=make())
    loading = [
        Way("torch.load, load_state_dict", partial(loaded_by_hand, make, path)),
        Way("load_checkpoint", partial(loaded, make, path, verify=True)),
        Way("  with verify=False", partial(loaded, make, path, verify=False)),
        *at_once({"limit: read the bytes": partial(read, path)}),
    ]
    goals = [] if quick else [Goal(OURS, "of the recipe", 1.4)]
    found = [Case("save a VGG16", saving(make, path), goals, warm=True), Case("resume a VGG16", loading)]
    for megabytes in (4, 16) if quick else (64, 256, 1024):
        of_this_size = partial(chain, 16, round((megabytes * 1e6 / 4 / 16) ** 0.5))
        path = folder / f"checkpoint_{megabytes}.pt"
        if not path.exists():
            save_checkpoint(path, model=of_this_size())
        ways = saving(of_this_size, path)
        title = f"save {megabytes} MB"
        found.append(Case(title, [ways[0], *ways[-2:]], warm=True, series="MB of a checkpoint", size=megabytes))
    return found
