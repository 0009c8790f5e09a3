"""What a MatConvNet file holds once it has been read: layers, class names, preprocessing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..errors import MatConvNetError
from ..text import html_table, text_table
from .building import build_module
from .layer import Layer
from .matching import match_parameters


@dataclass(frozen=True)
class Network:
    """A MatConvNet SimpleNN network.

    Attributes:
        layers: in the order in which they run.
        classes: class names, first output first; empty if the file has none.
        normalization: the file's preprocessing, for instance `averageImage` (array) and `imageSize` (tuple);
            empty if the file has none.
    """

    layers: list[Layer]
    classes: list[str] = field(default_factory=list)
    normalization: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Layer:
        """The layer called `name`; KeyError with the names there are if it is missing."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; the layers are {', '.join(layer.name for layer in self.layers)}")

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Every tensor under `<layer>.<parameter>`: the keys of `to_module()`, but for `num_batches_tracked`."""
        return OrderedDict((f"{layer.name}.{key}", t) for layer in self.layers for key, t in layer.params.items())

    def state_dict_for(self, model: nn.Module, leave_out: Collection[str] = ()) -> OrderedDict[str, Tensor]:
        """The same weights under the names of `model`, ready for `model.load_state_dict(...)`.

        Layers with weights are paired, in the order of the file, with the model's Conv, Linear and BatchNorm
        modules, in the order in which they are defined: right for chains like VGG. fc layers, which MatConvNet
        keeps as convs, are reshaped for a Linear. Shapes are compared, but two neighbours of one shape could still
        be exchanged, so compare the outputs of the two networks afterwards.

        Args:
            model: what to fill.
            leave_out: names of layers to skip with their partner, for instance a head with other classes; load
                the result with `strict=False` then.

        Raises:
            MatConvNetError: the numbers of layers differ, or a pair does not fit; names both and their shapes.
        """
        return match_parameters(self.layers, model, leave_out)

    def to_module(self) -> fx.GraphModule:
        """A PyTorch module that computes what the network computes at test time; its `.code` can be read.

        It takes (N, C, H, W) images from `preprocess` and returns (N, classes, h, w), 1x1 for an image of the
        size the network was made for: `.flatten(1)` gives logits, or probabilities if the network ends in a
        softmax. It is in eval mode and owns its weights. Loss layers are left out.

        Raises:
            MatConvNetError: a layer is of a type that cannot be built, or its shapes do not follow on.
        """
        return build_module(self.layers)

    def preprocess(self, images: Tensor) -> Tensor:
        """Images as people have them -> what the network takes: resized to `imageSize`, minus `averageImage`.

        Images are resized as MATLAB's `imresize` does it, but for a rim one kernel wide, where MATLAB mirrors the
        image. The fields `border`, `cropSize` and `keepAspect`, which some training scripts use, are not applied.

        Args:
            images: (N, C, H, W) or (C, H, W), RGB, **0-255**, uint8 or float.

        Returns:
            (N, C, h, w) float32, on the scale 0-255 with the average taken away.

        Raises:
            MatConvNetError: not such images: values between 0 and 1, negative, above 255 or NaN, or channels last; or
                the file does not say how to preprocess.
        """
        if "averageImage" not in self.normalization:
            raise MatConvNetError(
                "this file has no normalization.averageImage: ask its author how images were prepared "
                "(MatConvNet's own nets take RGB, 0-255, minus the training images' mean)"
            )
        average = _average_image(self.normalization["averageImage"])
        size = self.normalization.get("imageSize")
        if size is not None and not isinstance(size, tuple):
            raise MatConvNetError(f"normalization.imageSize is {size!r:.60}, not height and width")
        if not isinstance(images, Tensor) or images.is_complex() or images.is_meta or images.dtype == torch.bool:
            found = f"{images.dtype} on {images.device}" if isinstance(images, Tensor) else type(images).__name__
            raise MatConvNetError(f"expected images as a tensor of numbers from 0 to 255, got {found}")
        if images.ndim == 3:
            images = images[None]
        if images.ndim != 4 or len(average) not in (1, images.shape[1]) or 0 in images.shape[2:]:
            raise MatConvNetError(
                f"expected images (N, {len(average)}, H, W) or ({len(average)}, H, W), got {tuple(images.shape)}"
            )
        if images.numel() and images.min() < 0:
            raise MatConvNetError(
                "these images have negative values, MatConvNet networks take 0 to 255: undo the normalising"
            )
        if images.numel() and not images.max() <= 255:  # NaN is not, either
            raise MatConvNetError(f"these images go up to {float(images.max()):.3g}, MatConvNet networks take 0 to 255")
        if images.is_floating_point() and images.numel() and 0 < images.max() <= 1:
            raise MatConvNetError(
                "these images lie between 0 and 1, MatConvNet networks take 0 to 255: multiply by 255"
            )
        height_width = tuple(images.shape[2:] if size is None else size[:2])
        resized = _resize(images.float(), height_width, str(self.normalization.get("interpolation", "bicubic")))
        if average.shape[1:] not in ((1, 1), resized.shape[2:]):
            raise MatConvNetError(
                f"averageImage is {tuple(average.shape)} but the resized images are {tuple(resized.shape[1:])}"
            )
        return resized - average.to(resized.device)

    def __repr__(self) -> str:
        return "\n".join([*text_table(self._table()), self._summary()])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        return f"{html_table(rows, head)}<p>{escape(self._summary())}</p>"

    def _table(self) -> list[tuple[str, str, str, str]]:
        rows = [("name", "type", "parameters", "options")]
        for layer in self.layers:
            params = ", ".join(f"{key} {'x'.join(map(str, t.shape))}" for key, t in layer.params.items())
            options = ", ".join(f"{key} {_short(value)}" for key, value in layer.options.items() if _is_short(value))
            rows.append((layer.name, layer.type, params, options))
        return rows

    def _summary(self) -> str:
        count = sum(t.numel() for t in self.state_dict().values())
        classes = f"{len(self.classes)} classes" if self.classes else "no class names"
        known = "known" if self.normalization else "not in the file"
        return f"{len(self.layers)} layers, {count:,} parameters, {classes}, preprocessing {known}"


def _average_image(value: Any) -> Tensor:
    """One value per channel in any orientation -> (C, 1, 1); a full (H, W, C) or grey (H, W) image -> (C, H, W)."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise MatConvNetError(f"normalization.averageImage is {value!r:.60}, not finite numbers")
    average = torch.as_tensor(np.array(array, dtype=np.float32))
    if not average.any():  # importers write zeros of any shape where nothing is to be taken away
        return torch.zeros(1, 1, 1)
    if average.ndim == 2 and 1 not in average.shape:
        return average[None]
    if average.ndim == 3 and average.shape[:2] != (1, 1):
        return average.permute(2, 0, 1)
    return average.reshape(-1, 1, 1)


def _resize(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """As MATLAB's `imresize`, whose default is bicubic and which smooths when it makes an image smaller."""
    if tuple(images.shape[2:]) == size:
        return images
    if interpolation == "nearest":
        return F.interpolate(images, size=size, mode="nearest-exact")
    if interpolation not in ("bilinear", "bicubic"):
        raise MatConvNetError(f"cannot resize by {interpolation!r}; resize to {size} yourself before preprocess")
    return F.interpolate(images, size=size, mode=interpolation, align_corners=False, antialias=True)


def _is_short(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(value) <= 4)


def _short(value: Any) -> str:
    """(1, 1, 1, 1) -> 1, (0, 1, 0, 1) -> 0 1 0 1."""
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    values = value[:1] if len(set(value)) == 1 else value
    return " ".join(f"{v:g}" for v in values)
