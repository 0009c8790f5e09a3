"""Wren, the network of the capstone: nobody has met it, and its files do not agree with its names.

A plain chain, so that a MatConvNet SimpleNN can hold it: each of its six convs is followed by BatchNorm and ReLU,
three of them are in groups, a max pooling halves the maps after the first and after the third, and a 1x1 conv makes a
map of scores for each class, whose mean is the answer.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("T-shirt", "trouser", "coat", "sandal", "bag", "ankle boot")
"""What the capstone's new classes are, names of `data.FASHION_MNIST_CLASSES`."""

BLOCKS = ("stem", "widen", "cross", "merge", "refine", "settle")
"""Names of the blocks of conv, BatchNorm and ReLU, in the order in which they run."""

STRIDE = 8
"""Pixels of the image, in each direction, for one unit of the features."""


def block(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Conv without bias, BatchNorm and ReLU, called `conv`, `norm` and `relu`."""
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=False
    )
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels), relu=nn.ReLU()))


def prepare(images: Tensor, size: int | None = None) -> Tensor:
    """Images as Wren was trained on them: (x / 255 - 0.5) / 0.25 for each channel, so that grey 127.5 is zero.

    Args:
        images: (N, C, H, W) uint8, RGB first.
        size: height and width in pixels to resize to, bilinearly; by default they stay what they are.

    Returns:
        (N, C, H, W) float32.
    """
    scaled = images.float() / 255
    if size:
        scaled = F.interpolate(scaled, size=(size, size), mode="bilinear", align_corners=False)
    return (scaled - 0.5) / 0.25


class Wren(nn.Module):
    """The network: 400,000 weights, and one unit of its features for every 8x8 pixels.

    Args:
        num_classes: channels of the score maps.
        in_channels: channels of the images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = block(in_channels, 32, kernel_size=5, stride=2)
        self.widen = block(32, 64)
        self.cross = block(64, 96, groups=4)
        self.merge = block(96, 160)
        self.refine = block(160, 160, groups=2)
        self.settle = block(160, 160, groups=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.score = nn.Conv2d(160, num_classes, kernel_size=1)

    def features(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 160, H / 8, W / 8), for sides that are multiples of 8."""
        x = self.cross(self.widen(self.pool(self.stem(x))))
        return self.settle(self.refine(self.merge(self.pool(x))))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, num_classes) logits."""
        return self.score(self.features(x)).mean((2, 3))


class MaskWren(Wren):
    """Wren for masks: its score maps, made as large as the image, instead of their mean. Names and weights are Wren's.

    Class 0 is the background.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, num_classes, H, W) logits of each pixel, for sides that are multiples of 8."""
        return F.interpolate(self.score(self.features(x)), scale_factor=STRIDE, mode="bilinear", align_corners=False)
