"""From a MatConvNet file to a ready torchvision VGG16, and reading against the number of layers.

The recipe reads the file with scipy, exchanges axes, and loads the arrays into a model on the CPU. What cannot be
saved, if all weights are to be in memory of one's own, is reading the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.io
import torch
from files import read, vgg16
from measuring import Case, Goal, Work, at_once
from torch import nn

from helpers.matconvnet import Layer, linear_to_conv, load_matconvnet, save_matconvnet

OURS, LISTED = "load_matconvnet, model on meta", "its shapes alone"
GOALS = {
    "uncompressed": [
        Goal(OURS, "of the recipe", 1.0),
        Goal(OURS, "of the limit", 1.3),
        Goal(OURS, "MB", 1.05 * 553.4),
        Goal(LISTED, "seconds", 0.02),
    ],
    "compressed": [Goal(OURS, "of the recipe", 0.8)],
}


def the_recipe(make: Callable[[], nn.Module], path: Path) -> object:
    model = make()
    layers = scipy.io.loadmat(path)["layers"][0]
    weights = [
        layer[0, 0]["weights"][0] for layer in layers if "weights" in layer.dtype.names and layer[0, 0]["weights"].size
    ]
    modules = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for (kernel, bias), module in zip(weights, modules, strict=True):
        module.weight.data = torch.Tensor(kernel.transpose(3, 2, 0, 1)).reshape(module.weight.shape)
        module.bias.data = torch.Tensor(bias.reshape(-1))
    return model


def ours(make: Callable[[], nn.Module], path: Path) -> object:
    with torch.device("meta"):
        model = make()
    model.load_state_dict(load_matconvnet(path).state_dict_for(model), assign=True)
    return model


def write_vgg16(model: nn.Module, path: Path, *, compressed: bool) -> None:
    layers = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        weight, pad = module.weight.detach(), (1, 1, 1, 1)
        if isinstance(module, nn.Linear):
            sides = model.avgpool.output_size if name == "classifier.0" else (1, 1)
            weight, pad = linear_to_conv(weight, sides), (0, 0, 0, 0)
        params = {"weight": weight, "bias": module.bias.detach()}
        layers.append(Layer(name.replace(".", "_"), "conv", params, {"stride": (1, 1), "pad": pad}))
    normalization = {"averageImage": np.ones(3)}
    save_matconvnet(path, layers, classes=["c"], normalization=normalization, compressed=compressed)


def write_chain(path: Path, count: int) -> None:
    kernel, bias, options = torch.randn(16, 16, 3, 3), torch.randn(16), {"stride": (1, 1), "pad": (1, 1, 1, 1)}
    layers = [Layer(f"c{i}", "conv", {"weight": kernel, "bias": bias}, options) for i in range(count)]
    save_matconvnet(path, layers, classes=["c"], normalization={}, compressed=False)


def reading(make: Callable[[], nn.Module], path: Path, kind: str, goals: list[Goal]) -> Case:
    ways: dict[str, Work] = {
        "the posts' recipe": partial(the_recipe, make, path),
        OURS: partial(ours, make, path),
        LISTED: lambda: repr(load_matconvnet(path, only_shapes=True)),
        "limit: read the bytes": partial(read, path),
    }
    return Case(f"a VGG16 from a MatConvNet file, {kind}", at_once(ways), goals)


def cases(folder: Path, quick: bool) -> list[Case]:
    make = vgg16(quick)
    files = {kind: folder / f"vgg16_{kind}.mat" for kind in GOALS}
    for kind, path in files.items():
        if not path.exists():
            write_vgg16(make(), path, compressed=kind == "compressed")
    found = [reading(make, path, kind, [] if quick else GOALS[kind]) for kind, path in files.items()]
    for layers in (50, 100) if quick else (500, 1000, 2000, 4000):
        path = folder / f"{layers}.mat"
        if not path.exists():
            write_chain(path, layers)
        ways: dict[str, Work] = {
            "scipy.io.loadmat": partial(scipy.io.loadmat, path),
            "load_matconvnet": partial(load_matconvnet, path),
            "limit: read the bytes": partial(read, path),
        }
        title = f"{layers:,} layers of a MatConvNet file"
        found.append(Case(title, at_once(ways), series="layers of a MatConvNet file", size=layers))
    return found
