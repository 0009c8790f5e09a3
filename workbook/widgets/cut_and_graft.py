"""Lesson 05: cut a network behind one of its layers, put a new head there, and see what stays of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets
import torch
from torch import Tensor, nn

from helpers.heads import find_head, truncate

from .. import plots
from ..data import normalize
from .interactive import Interactive, bar, beside, picture, table

__all__ = ["CutAndGraft"]

LINEAR = "a new Linear"
REST = "the rest, with a new head"
TWO = "the rest, with a new head, for each of two tasks"


class CutAndGraft(Interactive):
    """Pick a place to cut and what to put there; see shapes, parameters, and what stays pretrained."""

    name = "cut and graft"

    def __init__(
        self,
        model: nn.Module,
        cuts: Sequence[str],
        images: Tensor,
        truth: Sequence[str],
        *,
        size: int = 64,
        grid: int = 4,
    ) -> None:
        """
        Args:
            model: takes (N, 3, size, size) normalised as `data.normalize` does; it stays as it is.
            cuts: names of layers behind which it may be cut; each puts out (N, channels, height, width).
            images: (N, 3, H, W) uint8 RGB to choose from.
            truth: what each image shows.
            size: height and width in pixels of what the model takes.
            grid: a new Linear behind an earlier layer reads its maps pooled to at most so many rows and columns.

        Raises:
            HeadError: the model has no head, or cannot be cut behind one of the layers.
            ValueError: not as many names as images.
        """
        if len(images) != len(truth):
            raise ValueError(f"there are {len(images)} images and {len(truth)} names")
        self.images, self.truth, self.grid = images, list(truth), grid
        inputs = normalize(images, size)
        self.head_name, head = find_head(model, inputs)
        self.features, self.head_size = head.weight[0].numel(), _size(head)
        self.per_class = self.features if head.bias is None else self.features + 1
        self.total = _size(model)
        self.trunks: dict[str, int] = {}  # their parameters
        self.maps: dict[str, Tensor] = {}  # what they put out
        for cut in cuts:
            trunk = truncate(model, cut).eval()
            with torch.no_grad():
                self.trunks[cut], self.maps[cut] = _size(trunk), trunk(inputs)
        pictures = [(f"{i}: {name}", i) for i, name in enumerate(truth)]
        super().__init__(
            cut=ipywidgets.Dropdown(description="Cut behind", options=list(cuts), value=cuts[-1]),
            graft=ipywidgets.Dropdown(description="Put there", options=[LINEAR, REST, TWO]),
            classes=ipywidgets.IntSlider(10, 2, 20, description="Classes", continuous_update=False),
            image=ipywidgets.Dropdown(description="Image", options=pictures),
        )

    def draw(self, cut: str, graft: str, classes: int, image: int) -> str:
        """A table of the parts of the new network, the share that stays pretrained, and the maps at the cut."""
        channels, height, width = self.maps[cut].shape[1:]
        trunk, rest = self.trunks[cut], self.total - self.trunks[cut] - self.head_size
        head = f"a new head for {classes} classes"
        rows = [(f"up to {escape(cut)}", f"{channels} x {height} x {width}", trunk, "pretrained")]
        if graft == LINEAR:
            pooled = channels * min(self.grid, height) * min(self.grid, width)
            rows.append((f"{head}, of {pooled} numbers", f"{classes}", (pooled + 1) * classes, "random"))
            gone, tasks, kept = rest + self.head_size, 0, trunk
        else:
            tasks = 2 if graft == TWO else 1
            new = self.per_class * classes
            for task in range(1, tasks + 1):
                whose = f" of task {task}" if tasks == 2 else ""
                if rest:
                    rows.append((f"the rest{whose}", f"{self.features}", rest, "pretrained, a copy of its own"))
                rows.append((f"{head}{whose}", f"{classes}", new, "random"))
            gone, kept = self.head_size, trunk + tasks * rest
        total = sum(count for _, _, count, _ in rows)
        written = [(part, out, f"{count:,}", origin) for part, out, count, origin in rows]
        shown = self.images[image].permute(1, 2, 0).numpy()
        seen = picture(shown, f"image {image}: {self.truth[image]}", zoom=max(1, 96 // len(shown)))
        said = (
            f"<p>{kept / total:.1%} of the new network's {total:,} parameters are pretrained. "
            f"{gone:,} of the old network's {self.total:,} are gone.</p>{bar(kept / total)}"
        )
        parts = table(("part", "puts out", "parameters", "they are"), written) + said
        return beside(f"{seen}<br>{escape(self.truth[image])}", parts) + self._maps(cut, image)

    def _maps(self, cut: str, image: int) -> str:
        maps = self.maps[cut][image]
        channels, height, width = maps.shape
        limit = maps.abs().quantile(0.98).item() or 1.0
        zeros = (maps == 0).float().mean()
        alt = f"maps behind {cut}: {zeros:.0%} of their numbers are 0, the largest is {maps.max():.2g}"
        drawn = picture(plots.kernel_grid(maps[:, None], limit, side=48), alt)
        return (
            f"<p>What {escape(cut)} puts out for this image: {min(channels, 16)} of its {channels} maps of "
            f"{height} x {width}. Mid-grey is 0, white {limit:.2g} or more.<br>{drawn}</p>"
        )


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
