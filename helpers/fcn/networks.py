"""The fully convolutional networks FCN-32s, FCN-16s and FCN-8s, under the names of the published ones.

Source: E. Shelhamer, J. Long, T. Darrell, Fully Convolutional Networks for Semantic Segmentation,
https://arxiv.org/abs/1605.06211, and the networks at https://github.com/shelhamer/fcn.berkeleyvision.org.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from torch import Tensor, nn

from ..errors import FCNError
from ..layers import whole_number
from .bilinear import BilinearUpsampling, init_bilinear_
from .geometry import Grid, receptive_field, units_between

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convs in each block of VGG16."""

Upsampling = Literal["dense", "grouped", "frozen", "exact"]


class _FCN(nn.Module):
    """VGG16 up to fc7, all of it convs, and the scores of its last layer."""

    def __init__(
        self,
        num_classes: int = 21,
        *,
        width: float = 1.0,
        fc_width: int = 4096,
        image_size: int = 224,
        first_padding: int = 100,
        upsampling: Upsampling = "dense",
        dropout: float = 0.5,
    ) -> None:
        """
        The convs begin at random (Kaiming), the scores as zero, as published, and the upsampling as bilinear.

        Args:
            num_classes: the background among them.
            width: factor on the widths of VGG16's convs.
            fc_width: channels of fc6 and fc7.
            image_size: of the images that the classifier was made for; its 32nd part is the kernel size of fc6.
            first_padding: of conv1_1. 100 as published, so that fc6 fits onto any image, and what is too much is
                cropped off. With 1, fc6 and the upsampling are padded so that all offsets are 0; that is
                another function near the borders, and much less work.
            upsampling: transposed convs from all classes to all ("dense"), within each class ("grouped"), dense ones
                that are not trained ("frozen", as published), or the same without any parameters ("exact").
            dropout: share of the numbers behind fc6 and fc7 that training leaves out.

        Raises:
            FCNError: an upsampling of another name, a number that is none or too small, or padding too small for the
                crop.
        """
        super().__init__()
        for name, value, least in (
            ("num_classes", num_classes, 1),
            ("fc_width", fc_width, 1),
            ("image_size", image_size, 32),
            ("first_padding", first_padding, 0),
        ):
            number = whole_number(value)
            if number is None or number < least:
                raise FCNError(f"{name} is a whole number, {least} or more, not {value!r}")
        if not _is_number(width) or round(BLOCKS[0][0] * width) < 1:
            raise FCNError(f"width is a factor that leaves a channel at least, not {width!r}")
        if not _is_number(dropout) or not 0 <= dropout <= 1:
            raise FCNError(f"dropout is a share from 0 to 1, not {dropout!r}")
        if upsampling not in get_args(Upsampling):
            raise FCNError(f"upsampling is one of {', '.join(get_args(Upsampling))}, not {upsampling!r}")
        self.num_classes, self.first_padding, self.upsampling = num_classes, first_padding, upsampling
        self.offsets: dict[str, int] = {}  # layer -> what is cut off in front of its output
        channels = 3
        for block, (planned, convs) in enumerate(BLOCKS, start=1):
            for place in range(1, convs + 1):
                padding = first_padding if (block, place) == (1, 1) else 1
                self.add_module(f"conv{block}_{place}", nn.Conv2d(channels, round(planned * width), 3, padding=padding))
                self.add_module(f"relu{block}_{place}", nn.ReLU(inplace=True))
                channels = round(planned * width)
            self.add_module(f"pool{block}", nn.MaxPool2d(2, stride=2, ceil_mode=True))
        size = image_size // 32
        self.fc6 = nn.Conv2d(channels, fc_width, size, padding=size // 2 if first_padding == 1 else 0)
        self.relu6 = nn.ReLU(inplace=True)
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Conv2d(fc_width, fc_width, 1)
        self.relu7 = nn.ReLU(inplace=True)
        self.drop7 = nn.Dropout(dropout)
        self.trunk = tuple(name for name, _ in self.named_children())
        for name in self.trunk:
            conv = self.get_submodule(name)
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)
        self.score_fr = self._score(fc_width)

    def grid(self, last: str) -> Grid:
        """Where the units of a layer of VGG16, such as "pool4", lie in the input.

        Raises:
            FCNError: there is no such layer.
        """
        if last not in self.trunk:
            raise FCNError(f"VGG16 has no layer {last!r}; it has {', '.join(self.trunk)}")
        names = self.trunk[: self.trunk.index(last) + 1]
        return receptive_field(self.get_submodule(name) for name in names)

    def _score(self, channels: int) -> nn.Conv2d:
        score = nn.Conv2d(channels, self.num_classes, 1)
        for parameter in score.parameters():
            nn.init.zeros_(parameter)
        return score

    def _upsample(self, scale: int, padding: int = 0) -> nn.Module:
        if self.upsampling == "exact":
            return BilinearUpsampling(scale, padding)
        groups = self.num_classes if self.upsampling == "grouped" else 1
        channels = self.num_classes
        conv = nn.ConvTranspose2d(channels, channels, 2 * scale, scale, padding, groups=groups, bias=False)
        if not conv.weight.is_meta:  # built without numbers, to be loaded later
            init_bilinear_(conv)
        return conv.requires_grad_(self.upsampling != "frozen")

    def _add_skip(self, pool: str, scored: str, upscored: str, grid: Grid) -> Grid:
        """Add the scores of a pool, and the upsampling of the coarser ones onto them; return where their sum lies.

        Whichever of the two begins earlier loses what sticks out: the pool by a crop, the other by its padding.
        """
        finer = self.grid(pool)
        self.add_module(upscored, self._upsample(2))
        gap = units_between(finer, grid.behind(self.get_submodule(upscored)))
        if gap < 0:
            self.add_module(upscored, self._upsample(2, -gap))
        last = self.get_submodule(f"conv{pool[-1]}_3")
        assert isinstance(last, nn.Conv2d)
        self.add_module(scored, self._score(last.out_channels))
        self.offsets[scored] = max(gap, 0)
        return grid.behind(self.get_submodule(upscored))

    def _add_last(self, name: str, scale: int, grid: Grid) -> None:
        layer = self._upsample(scale)
        offset = units_between(grid.behind(layer), Grid())
        if offset < 0:
            least = self.first_padding - offset
            raise FCNError(f"first_padding {self.first_padding} leaves the borders bare; take {least} or more, or 1")
        if self.first_padding == 1:
            layer, offset = self._upsample(scale, offset), 0
        self.add_module(name, layer)
        self.offsets[name] = offset

    def _pools_and_fc7(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = {}
        for name in self.trunk:
            x = found[name] = self.get_submodule(name)(x)
        return found["pool3"], found["pool4"], x

    def _fuse(self, coarse: Tensor, scored: str, pool: Tensor) -> Tensor:
        """The sum of coarse scores and those of a pool, where both are."""
        fine, offset = self.get_submodule(scored)(pool), self.offsets[scored]
        height, width = (
            min(have, there - offset) for have, there in zip(coarse.shape[-2:], fine.shape[-2:], strict=True)
        )
        return coarse[..., :height, :width] + fine[..., offset : offset + height, offset : offset + width]

    def _enlarge(self, scores: Tensor, name: str, x: Tensor) -> Tensor:
        """The last upsampling, cut to the size of the image."""
        larger, offset = self.get_submodule(name)(scores), self.offsets[name]
        height, width = x.shape[-2:]
        return larger[..., offset : offset + height, offset : offset + width].contiguous()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class FCN32s(_FCN):
    """One vector of scores for each 32 x 32 pixels, upsampled 32 times."""

    def __init__(self, num_classes: int = 21, **options: Any) -> None:
        super().__init__(num_classes, **options)
        self._add_last("upscore", 32, self.grid("fc7"))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, num_classes, H, W) logits."""
        *_, fc7 = self._pools_and_fc7(x)
        return self._enlarge(self.score_fr(fc7), "upscore", x)


class FCN16s(_FCN):
    """FCN32s, to whose scores those of pool4 are added, on a grid twice as fine."""

    upscore2: nn.Module

    def __init__(self, num_classes: int = 21, **options: Any) -> None:
        super().__init__(num_classes, **options)
        grid = self._add_skip("pool4", "score_pool4", "upscore2", self.grid("fc7"))
        self._add_last("upscore16", 16, grid)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, num_classes, H, W) logits."""
        _, pool4, fc7 = self._pools_and_fc7(x)
        scores = self._fuse(self.upscore2(self.score_fr(fc7)), "score_pool4", pool4)
        return self._enlarge(scores, "upscore16", x)


class FCN8s(_FCN):
    """FCN16s, to whose scores those of pool3 are added, on a grid twice as fine again."""

    upscore2: nn.Module
    upscore_pool4: nn.Module

    def __init__(self, num_classes: int = 21, *, at_once: bool = False, **options: Any) -> None:
        """
        Args:
            at_once: scale pool4 by 0.01 and pool3 by 0.0001 in front of their scores, as the published network does
                that is trained in one go instead of from 32s over 16s to 8s.
            num_classes, options: as in `FCN32s`.
        """
        super().__init__(num_classes, **options)
        self.pool4_scale, self.pool3_scale = (0.01, 0.0001) if at_once else (1.0, 1.0)
        grid = self._add_skip("pool4", "score_pool4", "upscore2", self.grid("fc7"))
        grid = self._add_skip("pool3", "score_pool3", "upscore_pool4", grid)
        self._add_last("upscore8", 8, grid)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, num_classes, H, W) logits."""
        pool3, pool4, fc7 = self._pools_and_fc7(x)
        scores = self._fuse(self.upscore2(self.score_fr(fc7)), "score_pool4", pool4 * self.pool4_scale)
        scores = self._fuse(self.upscore_pool4(scores), "score_pool3", pool3 * self.pool3_scale)
        return self._enlarge(scores, "upscore8", x)
