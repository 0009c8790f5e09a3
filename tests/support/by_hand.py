"""What the network explorer should show, computed without the helpers: scipy, numpy and one torch op for each layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[2] / "data"
VGG16 = scipy.io.loadmat(DATA / "vgg16_thin.mat")
LAYERS = [element[0, 0] for element in VGG16["layers"].ravel()]
KERNELS = {layer["name"].item(): layer["weights"][0, 0] for layer in LAYERS if layer["type"].item() == "conv"}
CLASSES = [name.item() for name in VGG16["classes"][0, 0]["description"].ravel()]
IMAGES = np.load(DATA / "cifar10_sample.npz")["images"]


def rearranged(kernel: NDArray, arrangement: str) -> NDArray:
    """A kernel of the file, (H, W, in, out), as somebody loads it."""
    if "stores" in arrangement:
        return kernel.reshape(kernel.shape[3], kernel.shape[2], *kernel.shape[:2])
    return kernel.transpose(3, 2, 1, 0) if "exchanged" in arrangement else kernel.transpose(3, 2, 0, 1)


def probabilities(image: int, changed: dict[str, str]) -> torch.Tensor:
    """What the shipped network makes of an image; `changed` says how the kernels of some layers are loaded."""
    average = torch.tensor(VGG16["normalization"][0, 0]["averageImage"]).float().reshape(3, 1, 1)
    x = F.interpolate(torch.tensor(IMAGES[image])[None].float(), size=(64, 64), mode="bilinear") - average
    for layer in LAYERS:
        name, kind = layer["name"].item(), layer["type"].item()
        if kind == "conv":
            weight = torch.tensor(rearranged(KERNELS[name], changed.get(name, "")).copy())
            bias = torch.tensor(layer["weights"][0, 1]).ravel()
            x = F.conv2d(x, weight, bias, padding=int(layer["pad"].flat[0]))
        elif kind == "relu":
            x = x.relu()
        elif kind == "pool":
            x = F.max_pool2d(x, 2)
        else:
            assert kind == "softmax"
    return x.flatten().softmax(0)


def grey(value: float, limit: float) -> int:
    """The shade of a number: `-limit` is black, 0 mid-grey, `limit` white."""
    return round(255 * min(max(0.5 + value / (2 * limit), 0), 1))
