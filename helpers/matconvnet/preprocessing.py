"""Images as people have them -> what a network takes, by what its file says under `normalization`.

Sources: MatConvNet's `getImageBatch` and `vl_imreadjpeg` for `cropSize`, `vl_simplenn_tidy` for what `border` is as a
`cropSize`, `cnn_imagenet_minimal` for files that have neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MatConvNetError
from .unread import briefly, is_shape_only

APPLIED = {"averageImage", "imageStd", "imageSize", "interpolation", "cropSize", "border", "keepAspect"}
TRAINING = {"rgbVariance", "rgbCovariance", "rgbSqrtCovariance"} | {  # what changes images at random, or how they come
    "transformation",
    "numAugments",
    "numThreads",
    "prefetch",
}


def not_applied(normalization: dict[str, Any]) -> list[str]:
    """The fields that may matter to an image and that `prepare` knows nothing of."""
    return [name for name in normalization if name not in APPLIED | TRAINING]


def prepare(images: Tensor, normalization: dict[str, Any]) -> Tensor:
    """See `Network.preprocess`."""
    if "averageImage" not in normalization:
        raise MatConvNetError(
            "this file has no normalization.averageImage: ask its author how images were prepared "
            "(MatConvNet's own nets take RGB, 0-255, minus the training images' mean)"
        )
    average = _average_image(normalization["averageImage"])
    images = _checked(images, len(average) if len(average) > 1 else _channels(normalization))
    resized = _resized(images.float(), normalization)
    if average.shape[1:] not in ((1, 1), resized.shape[2:]):
        raise MatConvNetError(
            f"averageImage is {tuple(average.shape)} but the resized images are {tuple(resized.shape[1:])}"
        )
    deviation = normalization.get("imageStd")
    unit = float(average.abs().max()) <= 1 and bool(average.any())
    if deviation is None and unit:
        raise MatConvNetError(
            f"averageImage goes up to {float(average.abs().max()):.3g}, so this network does not take 0 to 255, "
            "and the file does not say what it takes: ask its author, and prepare the images yourself"
        )
    resized = resized / 255 if unit else resized
    resized = resized - average.to(resized.device)
    return resized if deviation is None else resized / _deviation(deviation, images.shape[1]).to(resized.device)


def _channels(normalization: dict[str, Any]) -> int | None:
    """Of images, by the third number of the file's `imageSize`; None if it says nothing."""
    size = normalization.get("imageSize")
    return size[2] if isinstance(size, tuple) and len(size) == 3 else None


def _checked(images: object, channels: int | None) -> Tensor:
    """(N, C, H, W) images from 0 to 255, with that many channels or any number of them."""
    if not isinstance(images, Tensor) or images.is_complex() or images.is_meta or images.dtype == torch.bool:
        found = f"{images.dtype} on {images.device}" if isinstance(images, Tensor) else type(images).__name__
        raise MatConvNetError(f"expected images as a tensor of numbers from 0 to 255, got {found}")
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or channels not in (None, images.shape[1]) or 0 in images.shape[2:]:
        c = channels or "C"
        raise MatConvNetError(f"expected images (N, {c}, H, W) or ({c}, H, W), got {tuple(images.shape)}")
    if not images.numel():
        return images
    if images.min() < 0:
        raise MatConvNetError(
            "these images have negative values, MatConvNet networks take 0 to 255: undo the normalising"
        )
    if not images.max() <= 255:  # NaN is not, either
        raise MatConvNetError(f"these images go up to {float(images.max()):.3g}, MatConvNet networks take 0 to 255")
    if images.is_floating_point() and 0 < images.max() <= 1:
        raise MatConvNetError("these images lie between 0 and 1, MatConvNet networks take 0 to 255: multiply by 255")
    return images


def _as_array(value: Any) -> np.ndarray:
    """A cell, whose values may have any shapes, as one object, which is no number."""
    return np.array(None, dtype=object) if isinstance(value, (list, dict)) else np.asarray(value)


def _average_image(value: Any) -> Tensor:
    """One value per channel in any orientation -> (C, 1, 1); a full (H, W, C) or grey (H, W) image -> (C, H, W)."""
    array = _as_array(value)
    if is_shape_only(array):
        raise MatConvNetError("normalization.averageImage was not read: load the network without only_shapes=True")
    if array.dtype.kind not in "fiub" or not (np.abs(array) < 1e30).all():
        raise MatConvNetError(f"normalization.averageImage is {briefly(value)}, not finite numbers")
    average = torch.as_tensor(np.array(array, dtype=np.float32))
    if not average.any():  # importers write zeros of any shape where nothing is to be taken away
        return torch.zeros(1, 1, 1)
    if average.ndim == 2 and 1 not in average.shape:
        return average[None]
    if average.ndim == 3 and average.shape[:2] != (1, 1):
        return average.permute(2, 0, 1)
    return average.reshape(-1, 1, 1)


def _deviation(value: Any, channels: int) -> Tensor:
    """One number, or one for each channel -> (C, 1, 1)."""
    array = _as_array(value)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all() or array.size not in (1, channels):
        raise MatConvNetError(
            f"normalization.imageStd is {briefly(value)}, not a number for each of {channels} channels"
        )
    if (array <= 0).any():
        raise MatConvNetError(f"normalization.imageStd is {briefly(value)}, and cannot be divided by")
    return torch.as_tensor(np.array(array, dtype=np.float32)).reshape(-1, 1, 1)


def _resized(images: Tensor, normalization: dict[str, Any]) -> Tensor:
    """The images, or what the file says to take of their middle, at the size of the file."""
    size = normalization.get("imageSize")
    crops = [name for name in ("cropSize", "border") if name in normalization]
    if size is None and crops:
        raise MatConvNetError(f"normalization.{crops[0]} needs an imageSize, which the file has not: resize yourself")
    if size is None:
        return images
    if not isinstance(size, tuple):
        raise MatConvNetError(f"normalization.imageSize is {briefly(size)}, not height and width")
    rows, columns = size[:2]
    keeps_aspect = _as_array(normalization.get("keepAspect", bool(crops))).ravel().tolist() in ([1], [True])
    images = _middle(images, (rows, columns), _shares(normalization, (rows, columns)), keeps_aspect)
    return _resize(images, (rows, columns), str(normalization.get("interpolation", "bicubic")))


def _shares(normalization: dict[str, Any], size: tuple[int, int]) -> tuple[float, float]:
    """Which part of an image's height and width is used."""
    if "cropSize" in normalization:
        shares = _two_numbers(normalization["cropSize"], "cropSize")
    elif "border" in normalization:
        border = _two_numbers(normalization["border"], "border")
        shares = [one / (one + more) if more >= 0 else 0 for one, more in zip(size, border, strict=True)]
    else:
        return 1, 1
    if not all(0 < share <= 1 for share in shares):
        raise MatConvNetError(f"normalization crops images to {shares} of their height and width, expected 0 to 1")
    return shares[0], shares[1]


def _two_numbers(value: Any, name: str) -> list[float]:
    array = _as_array(value)
    if array.dtype.kind not in "fiu" or array.size not in (1, 2) or not np.isfinite(array).all():
        raise MatConvNetError(f"normalization.{name} is {briefly(value)}, not one or two numbers")
    numbers = [float(number) for number in array.ravel()]
    return numbers * (2 // len(numbers))


def _middle(images: Tensor, size: tuple[int, int], shares: tuple[float, float], keeps_aspect: bool) -> Tensor:
    """The middle of the images that is to be resized: all of it, or the largest part with the sides of `size`."""
    height, width = images.shape[2:]
    box: tuple[float, float] = (height, width)
    if keeps_aspect:
        scale = min(height / size[0], width / size[1])
        box = (size[0] * scale, size[1] * scale)
    rows, columns = (max(1, round(side * share)) for side, share in zip(box, shares, strict=True))
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, :, top : top + rows, left : left + columns]


def _resize(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """As MATLAB's `imresize`, whose default is bicubic and which smooths when it makes an image smaller."""
    if tuple(images.shape[2:]) == size:
        return images
    if interpolation == "nearest":
        return F.interpolate(images, size=size, mode="nearest-exact")
    if interpolation not in ("bilinear", "bicubic"):
        raise MatConvNetError(f"cannot resize by {interpolation!r}; resize to {size} yourself before preprocess")
    return F.interpolate(images, size=size, mode=interpolation, align_corners=False, antialias=True)
