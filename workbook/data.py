"""The data the workbook ships, as tensors, and the real networks it can fetch."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_fill_holes
from torch import Generator, Tensor

from helpers.atomic_files import replacing
from helpers.layers import whole_number

from .download import fetch

DATA = Path(__file__).resolve().parents[1] / "data"

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION_MNIST_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
GARMENTS = ("trouser", "pullover", "dress", "sneaker", "bag")
"""What scenes for segmentation are made of, by default."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def cifar10_sample() -> tuple[Tensor, Tensor]:
    """500 CIFAR-10 test images, 50 of each class: (500, 3, 32, 32) uint8 RGB and (500,) int64 labels."""
    return _load("cifar10_sample.npz", "images", "labels")


def fashion_mnist(train: bool) -> tuple[Tensor, Tensor]:
    """6,000 training or 1,000 test images of Fashion-MNIST: (N, 1, 28, 28) uint8 grey and (N,) int64 labels."""
    split = "train" if train else "test"
    return _load("fashion_mnist.npz", f"{split}_images", f"{split}_labels")


def garment_scenes(
    count: int,
    size: tuple[int, int] = (96, 128),
    *,
    train: bool,
    seed: int,
    garments: Sequence[str] = GARMENTS,
    most: int = 3,
    depth: bool = False,
) -> tuple[Tensor, Tensor]:
    """One to three garments in each scene, coloured, one over the other, in squares of half its shorter side or more.

    A pixel belongs to the garment that was painted there last: the mask is what the scene was made from, not a guess.
    The same arguments give the same scenes, a smaller count the first of them; torch's global random state is left
    alone.

    Args:
        count: how many scenes.
        size: height and width in pixels.
        train: made of Fashion-MNIST's training images or of its test images.
        seed: of all that is drawn.
        garments: names from `FASHION_MNIST_CLASSES`.
        most: garments in a scene.
        depth: add a fourth channel, as of a camera that measures how near things are: each garment is nearer than
            what it lies on, on a ground that slants, with noise. Nearer is brighter.

    Returns:
        (count, 3, height, width) uint8 RGB, 4 channels with `depth`, and (count, height, width) int64: 0 is background,
        1 is `garments[0]`, ...

    Raises:
        ValueError: a name that is not in `FASHION_MNIST_CLASSES`.
    """
    unknown = [name for name in garments if name not in FASHION_MNIST_CLASSES]
    if unknown:
        known = ", ".join(FASHION_MNIST_CLASSES)
        raise ValueError(f"there is no {unknown[0]!r} in Fashion-MNIST; take some of {known}")
    random = torch.Generator().manual_seed(seed)
    pictures, labels = fashion_mnist(train)
    of_kind = [pictures[labels == FASHION_MNIST_CLASSES.index(name)] for name in garments]
    of_depth = torch.Generator().manual_seed(seed)  # its own, so that colours are the same with and without
    scenes, masks = [], torch.zeros(count, *size, dtype=torch.int64)
    for mask in masks:
        scene, layers = _background(size, random), torch.zeros(size)
        for _ in range(_integer(1, most, random)):
            kind = _integer(0, len(garments) - 1, random)
            picture = of_kind[kind][_integer(0, len(of_kind[kind]) - 1, random)]
            rows, columns = _paint_(scene, picture, random)
            mask[rows, columns] = kind + 1
            layers[rows, columns] += 1
        scenes.append(torch.cat([scene, _depth(layers, of_depth)]) if depth else scene)
    return (255 * torch.stack(scenes)).round().byte(), masks


def normalize(images: Tensor, size: int | tuple[int, int] = 64) -> Tensor:
    """Images as torchvision's networks take them, and the thin `.pth` networks with them.

    Args:
        images: (N, 3, H, W) RGB, or (N, 1, H, W) grey, which then counts for all three colours; uint8, or other numbers
            on the scale 0-255.
        size: height and width in pixels to resize to, bilinearly; one number for a square.

    Returns:
        (N, 3, height, width) float32: scaled to 0-1, then ImageNet's mean taken away and divided by its std.

    Raises:
        ValueError: no such images: other shapes, values below 0 or above 255, NaN, or scaled or normalised before; or
            no such size.
    """
    _check_images(images)
    shape = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(shape) != 2 or any(whole_number(side) is None or side < 1 for side in shape):
        raise ValueError(f"the size is a whole number of pixels, or height and width, not {size!r}")
    resized = F.interpolate(images.float() / 255, size=shape, mode="bilinear", align_corners=False)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    # the same numbers in the order in which a CPU runs convs a third faster
    return ((resized - mean) / std).contiguous(memory_format=torch.channels_last)


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.is_complex() or images.dtype == torch.bool:
        found = images.dtype if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise ValueError(f"images are a tensor of numbers from 0 to 255, not {found}")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(f"images are (N, 3, H, W) or (N, 1, H, W), not {tuple(images.shape)}")
    if images.dtype == torch.uint8 or not images.numel() or images.is_meta:
        return
    least, most = float(images.min()), float(images.max())
    if not (least >= 0 and most <= 255):  # NaN is neither
        raise ValueError(f"images go from 0 to 255; these go from {least:.3g} to {most:.3g}: normalised before?")
    if images.is_floating_point() and 0 < most <= 1:
        raise ValueError(f"images go from 0 to 255; these end at {most:.3g}: scaled before?")


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
        with replacing(path) as part:
            torch.save(torch.load(fetched, map_location="cpu", weights_only=True), part)
    return path


def _load(name: str, images: str, labels: str) -> tuple[Tensor, Tensor]:
    with np.load(DATA / name) as arrays:
        return torch.from_numpy(arrays[images]), torch.from_numpy(arrays[labels])


def _integer(least: int, most: int, random: Generator) -> int:
    return int(torch.randint(least, most + 1, (), generator=random))


def _background(size: tuple[int, int], random: Generator) -> Tensor:
    """Patches of two colours, hard or soft, from coarse to fine, with grain: (3, height, width) from 0 to 1."""
    patch = 2 ** _integer(2, 5, random)
    coarse = torch.rand(1, 1, *(side // patch + 2 for side in size), generator=random)
    mode = {"mode": "nearest"} if _integer(0, 1, random) else {"mode": "bilinear", "align_corners": False}
    share = F.interpolate(coarse, scale_factor=patch, **mode)[0, :, : size[0], : size[1]]
    one, other = torch.rand(2, 3, 1, 1, generator=random)
    grain = 0.05 * torch.randn(1, *size, generator=random)
    return (share * one + (1 - share) * other + grain).clamp(0, 1)


def _paint_(scene: Tensor, picture: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """Lay a garment (1, 28, 28) over a scene (3, height, width), at least half of its square inside: rows, columns."""
    shorter = min(scene.shape[1:])
    side = _integer(shorter // 2, shorter, random)
    grey = F.interpolate(picture[None] / 255, size=(side, side), mode="bilinear", align_corners=False)[0, 0]
    shape = torch.from_numpy(binary_fill_holes(np.asarray(grey > 0.1)))
    colour = 0.3 + 0.7 * torch.rand(3, 1, generator=random)
    top, left = (_integer(-(side // 4), length - 3 * side // 4, random) for length in scene.shape[1:])
    rows, columns = torch.nonzero(shape, as_tuple=True)
    height, width = scene.shape[1:]
    inside = (rows + top >= 0) & (rows + top < height) & (columns + left >= 0) & (columns + left < width)
    rows, columns = rows[inside], columns[inside]
    scene[:, rows + top, columns + left] = colour * (0.2 + 0.8 * grey[rows, columns])
    return rows + top, columns + left


def _depth(layers: Tensor, random: Generator) -> Tensor:
    """How near each pixel is, (1, height, width) from 0 to 1, from how many garments lie there.

    As of a cheap camera: its noise comes in patches of 4x4 pixels, with some more in each pixel.
    """
    height, width = layers.shape
    down, across = 0.5 * (torch.rand(2, generator=random) - 0.5)
    slant = down * torch.linspace(-1, 1, height)[:, None] + across * torch.linspace(-1, 1, width)
    patches = 0.05 * torch.randn(1, 1, -(-height // 4), -(-width // 4), generator=random)
    noise = F.interpolate(patches, scale_factor=4)[0, 0, :height, :width]
    noise = noise + 0.04 * torch.randn(height, width, generator=random)
    return (0.3 + slant + 0.15 * layers + noise).clamp(0, 1)[None]
