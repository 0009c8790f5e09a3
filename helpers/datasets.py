"""The data the workbook ships, as tensors, and the real networks it can fetch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .download import fetch

DATA = Path(__file__).resolve().parents[1] / "data"

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION_MNIST_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def cifar10_sample() -> tuple[Tensor, Tensor]:
    """500 CIFAR-10 test images, 50 of each class: (500, 3, 32, 32) uint8 RGB and (500,) int64 labels."""
    return _load("cifar10_sample.npz", "images", "labels")


def fashion_mnist(train: bool) -> tuple[Tensor, Tensor]:
    """6,000 training or 1,000 test images of Fashion-MNIST: (N, 1, 28, 28) uint8 grey and (N,) int64 labels."""
    split = "train" if train else "test"
    return _load("fashion_mnist.npz", f"{split}_images", f"{split}_labels")


def normalize(images: Tensor, size: int = 64) -> Tensor:
    """Images as torchvision's networks take them, and the thin `.pth` networks with them.

    Args:
        images: (N, 3, H, W) uint8 RGB, or (N, 1, H, W) grey, which then counts for all three colours.
        size: height and width in pixels to resize to, bilinearly.

    Returns:
        (N, 3, size, size) float32: scaled to 0-1, then ImageNet's mean taken away and divided by its std.
    """
    resized = F.interpolate(images.float() / 255, size=(size, size), mode="bilinear", align_corners=False)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (resized - mean) / std


def vgg16_mat(real: bool = False) -> Path:
    """A VGG16 as a MatConvNet file: the shipped `vgg16_thin.mat`, or the published ImageNet network (553 MB).

    The real one is fetched at the first call and kept. Its checksum is the one in MatConvNet's list of
    pretrained models.
    """
    if not real:
        return DATA / "vgg16_thin.mat"
    return fetch(
        "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-16.mat", md5="f72d927587ca4c97fbd165ec9cb9997f"
    )


def vgg16_pth(real: bool = False) -> Path:
    """A VGG16 as a PyTorch checkpoint: the shipped `vgg16_thin.pth`, or torchvision's ImageNet weights (553 MB).

    The real ones are fetched at the first call, compared with the checksum in the name of the file, and kept. If they
    come in the format that PyTorch wrote before version 1.6, which cannot be mapped into memory and has no checksums
    inside, they are saved once more beside it.
    """
    if not real:
        return DATA / "vgg16_thin.pth"
    fetched = fetch("https://download.pytorch.org/models/vgg16-397923af.pth", sha256="397923af")
    if zipfile.is_zipfile(fetched):
        return fetched
    path = fetched.with_name("vgg16-397923af-zip.pth")
    if not path.exists():
        part = path.with_suffix(".part")
        torch.save(torch.load(fetched, map_location="cpu", weights_only=True), part)
        part.replace(path)
    return path


def _load(name: str, *keys: str) -> tuple[Tensor, ...]:
    with np.load(DATA / name) as arrays:
        return tuple(torch.from_numpy(arrays[key]) for key in keys)
