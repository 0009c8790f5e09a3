"""From a MatConvNet file of VGG16's size (553 MB) to a ready torchvision VGG16: time and private memory of each way.

usage: python benchmarks/matconvnet.py

The naive recipe reads the file with scipy, exchanges axes, and loads the arrays into a model on the CPU. What cannot be
saved, if all weights are to be in memory of one's own, is reading the bytes. Each way runs five times in an
interpreter of its own, the ways in turns, with the file in the cache of the operating system; the median counts.
Then: listing the file, and whether the time grows with the number of layers.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import scipy.io
import torch
import torchvision
from state_dict import private_megabytes, read  # the benchmark beside this one
from torch import nn

from helpers.matconvnet import Layer, linear_to_conv, load_matconvnet, save_matconvnet

RUNS = 5


def naive(path: str) -> object:
    model = torchvision.models.vgg16()
    layers = scipy.io.loadmat(path)["layers"][0]
    weights = [
        layer[0, 0]["weights"][0] for layer in layers if "weights" in layer.dtype.names and layer[0, 0]["weights"].size
    ]
    modules = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for (kernel, bias), module in zip(weights, modules, strict=True):
        module.weight.data = torch.Tensor(kernel.transpose(3, 2, 0, 1)).reshape(module.weight.shape)
        module.bias.data = torch.Tensor(bias.reshape(-1))
    return model


def ours(path: str) -> object:
    with torch.device("meta"):
        model = torchvision.models.vgg16()
    model.load_state_dict(load_matconvnet(path).state_dict_for(model), assign=True)
    return model


def listed(path: str) -> object:
    return repr(load_matconvnet(path, only_shapes=True))


WAYS: dict[str, Callable[[str], object]] = {
    "naive recipe": naive,
    "load_matconvnet, model on meta": ours,
    "limit: read the bytes": read,
    "only its shapes": listed,
}


def measure(way: str, path: str) -> None:
    before, start = private_megabytes(), time.perf_counter()
    kept = WAYS[way](path)
    taken = time.perf_counter() - start
    print(taken, private_megabytes() - before)
    del kept


def write(folder: Path) -> dict[str, Path]:
    layers = []
    for name, module in torchvision.models.vgg16().named_modules():
        sides = {"classifier.0": (7, 7)}.get(name, (1, 1))
        if isinstance(module, nn.Conv2d | nn.Linear):
            is_conv = isinstance(module, nn.Conv2d)
            weight = module.weight.detach() if is_conv else linear_to_conv(module.weight.detach(), sides)
            options = {"stride": (1, 1), "pad": (1, 1, 1, 1) if is_conv else (0, 0, 0, 0)}
            layers.append(
                Layer(name.replace(".", "_"), "conv", {"weight": weight, "bias": module.bias.detach()}, options)
            )
    files = {"uncompressed": folder / "vgg16_5.mat", "compressed": folder / "vgg16_7.mat"}
    for kind, path in files.items():
        save_matconvnet(
            path, layers, classes=["c"], normalization={"averageImage": np.ones(3)}, compressed=kind == "compressed"
        )
    return files


def growth(folder: Path) -> None:
    """Networks of so many small layers, each read three times; the fastest counts."""
    for count in (500, 1000, 2000, 4000):
        kernel, bias = torch.randn(16, 16, 3, 3), torch.randn(16)
        options = {"stride": (1, 1), "pad": (1, 1, 1, 1)}
        layers = [Layer(f"c{i}", "conv", {"weight": kernel, "bias": bias}, options) for i in range(count)]
        path = folder / f"{count}.mat"
        save_matconvnet(path, layers, classes=["c"], normalization={}, compressed=False)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            load_matconvnet(path)
            times.append(time.perf_counter() - start)
        print(f"{count} layers, {path.stat().st_size / 1e6:.0f} MB: {min(times):.3f} s")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        growth(Path(folder))
        for kind, path in write(Path(folder)).items():
            print(f"{kind}: {path.stat().st_size / 1e6:.0f} MB")
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            memory: dict[str, float] = {}
            for _ in range(RUNS):
                for way in WAYS:
                    command = [sys.executable, __file__, way, str(path)]
                    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                    times[way].append(float(said[0]))
                    memory[way] = float(said[1])
            naive_time = median(times["naive recipe"])
            for way, taken in times.items():
                ratio = median(taken) / naive_time
                print(f"  {way:32} {median(taken):7.3f} s  {ratio:6.3f} of the recipe  {memory[way]:7.1f} MB private")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], sys.argv[2])
    else:
        main()
