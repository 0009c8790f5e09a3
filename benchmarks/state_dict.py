"""From a file of VGG16's size (553 MB) to a ready torchvision VGG16: time and private memory of each way.

Then `load_matching` and `explain` against the number of modules, beside PyTorch's own `load_state_dict`.

usage: python benchmarks/state_dict.py

The naive recipe builds the model, loads the checkpoint into memory, filters its keys and copies. What cannot be
saved, if all weights are to be in memory of one's own, is reading the bytes. Each way runs five times in an
interpreter of its own, with the file in the cache of the operating system; the median counts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torchvision
from torch import nn

from helpers.state_dict import explain, load_matching, load_without_copying


def naive(path: str) -> object:
    model = torchvision.models.vgg16()
    pretrained = torch.load(path, map_location="cpu")
    model_dict = model.state_dict()
    model_dict.update({key: value for key, value in pretrained.items() if key in model_dict})
    model.load_state_dict(model_dict)
    return model


def read(path: str) -> object:
    buffer = bytearray(Path(path).stat().st_size)
    with Path(path).open("rb", buffering=0) as file:
        file.readinto(buffer)
    return buffer


def touch_all(path: str) -> object:
    model = load_without_copying(torchvision.models.vgg16, path)
    for parameter in model.parameters():
        parameter.detach().flatten()[::1024].sum()  # one number of each page
    return model


WAYS: dict[str, Callable[[str], object]] = {
    "naive recipe": naive,
    "load_without_copying": lambda path: load_without_copying(torchvision.models.vgg16, path),
    "  and all pages read": touch_all,
    "  with verify=True": lambda path: load_without_copying(torchvision.models.vgg16, path, verify=True),
    "limit: read the bytes": read,
}


def private_megabytes() -> float:
    """Memory that only this process has and that no file backs (Linux)."""
    try:
        said = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return float("nan")
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Private_Dirty: +(\d+)", said, flags=re.M)) / 1000


def measure(way: str, path: str) -> None:
    before, start = private_megabytes(), time.perf_counter()
    kept = WAYS[way](path)
    taken = time.perf_counter() - start
    print(taken, private_megabytes() - before)
    del kept


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "vgg16.pth")
        torch.save(torchvision.models.vgg16().state_dict(), path)
        reference = None
        for way in WAYS:
            runs = []
            for _ in range(5):
                command = [sys.executable, __file__, way, path]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
                runs.append([float(number) for number in done.stdout.split()])
            taken, memory = (median(column) for column in zip(*runs, strict=True))
            reference = reference or taken
            print(
                f"{way:24} {taken:7.3f} s   {taken / reference:6.4f} of the recipe   {memory:7.1f} MB of private memory"
            )
    for modules in MODULES:
        seconds = {way: median(by_modules(way, modules) for _ in range(3)) for way in BY_MODULES}
        shown = "   ".join(f"{way} {taken:6.2f} s" for way, taken in seconds.items())
        print(f"{modules:5} modules   {shown}")


MODULES = (1250, 2500, 5000)
BY_MODULES: dict[str, Callable[[nn.Module, dict], object]] = {
    "load_matching": load_matching,
    "explain": explain,
    "limit: load_state_dict": lambda model, state_dict: model.load_state_dict(state_dict),
}


def by_modules(way: str, modules: int) -> float:
    """Seconds for so many Linears in a row."""
    model, source = (nn.Sequential(*(nn.Linear(2, 3) for _ in range(modules))) for _ in range(2))
    state_dict = source.state_dict()
    start = time.perf_counter()
    BY_MODULES[way](model, state_dict)
    return time.perf_counter() - start


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
    else:
        main()
