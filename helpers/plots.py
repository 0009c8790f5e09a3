"""Every picture a lesson draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

RIGHT, WRONG = "#1b7837", "#b2182b"  # not everybody tells these apart, so a tick or a cross says it too


def show_predictions(images: Tensor, truth: Sequence[str], classes: Sequence[str], rows: Mapping[str, Tensor]) -> None:
    """Images side by side; below each the likeliest class and its probability, ticked and green if right.

    Args:
        images: (N, 3, H, W) uint8 RGB.
        truth: the right class of each image.
        classes: the name of each output.
        rows: what to call a way of predicting -> its probabilities, (N, classes).
    """
    figure, axes = plt.subplots(1, len(images), figsize=(1.5 * len(images) + 1.5, 1.6 + 0.3 * len(rows)))
    figure.subplots_adjust(left=0.16, right=0.99, bottom=0.28, top=0.88, wspace=0.15)
    for axis, image, title in zip(axes, images, truth, strict=True):
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    for line, (way, probabilities) in enumerate(rows.items(), start=1):
        _write_below(axes[0], line, way, "black", x=-0.12, ha="right")
        for axis, title, (probability, i) in zip(axes, truth, zip(*probabilities.max(1), strict=True), strict=True):
            right = classes[i] == title
            mark = "\u2713" if right else "\u2717"
            text = f"{mark} {classes[i]} {probability:.2f}"
            _write_below(axis, line, text, RIGHT if right else WRONG)
    plt.show()


def _write_below(axis: plt.Axes, line: int, text: str, color: str, x: float = 0.5, ha: str = "center") -> None:
    axis.text(x, -0.18 * line, text, color=color, transform=axis.transAxes, ha=ha, va="center", fontsize=9)


def show_kernels(rows: Mapping[str, Tensor], count: int = 8) -> None:
    """The first `count` kernels of a first conv as small colour pictures, one row for each version of them.

    Args:
        rows: what to call a version -> its weight, (out, 3, kernel height, kernel width). Grey is zero; each
            kernel is scaled by its own largest absolute value.
        count: how many kernels to draw.
    """
    figure, axes = plt.subplots(len(rows), count, figsize=(count + 1.5, 1.1 * len(rows)), squeeze=False)
    figure.subplots_adjust(left=1.6 / (count + 1.5), right=0.99, bottom=0.04, top=0.96)
    for axis_row, (version, weight) in zip(axes, rows.items(), strict=True):
        for axis, kernel in zip(axis_row, weight[:count], strict=False):
            picture = kernel.detach().permute(1, 2, 0).numpy()
            axis.imshow(np.clip(0.5 + picture / (2 * np.abs(picture).max()), 0, 1), interpolation="nearest")
            axis.set_axis_off()
        axis_row[0].text(-0.15, 0.5, version, transform=axis_row[0].transAxes, ha="right", va="center", fontsize=10)
    plt.show()
