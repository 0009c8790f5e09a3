"""Every picture a lesson draws, each with a text that says what is to be seen in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

RIGHT, WRONG = "#1b7837", "#b2182b"  # not everybody tells these apart, so a tick or a cross says it too
# Okabe and Ito's, which colour-blind readers tell apart, and two greys; letters tell them apart, too
MASKS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000", "#999999", "#DDDDDD"]
LETTERS = "ABCDEFGHIJ"


class Picture:
    """A figure as an `<img>` with an alternative text; nothing else of it is stored."""

    def __init__(self, figure: Figure, alt: str) -> None:
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=96, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        self.png, self.alt = png.getvalue(), alt

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        return f'<img class="plot" alt="{escape(self.alt)}" style="max-width: 100%" src="data:image/png;base64,{data}">'

    def __repr__(self) -> str:
        return "<picture>"


def _show(figure: Figure, alt: str) -> None:
    display(Picture(figure, alt))


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
    guesses = {way: [classes[i] for i in probabilities.argmax(1)] for way, probabilities in rows.items()}
    said = [f"{way} says {', '.join(names)}" for way, names in guesses.items()]
    _show(figure, f"{len(images)} images: {', '.join(truth)}. {'. '.join(said)}.")


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
    _show(figure, f"The first {count} kernels as small colour pictures, one row for each: {', '.join(rows)}.")


def show_pairs(
    in_checkpoint: Sequence[str], in_model: Sequence[str], pairs: Mapping[str, str], right: Mapping[str, str]
) -> None:
    """Which layer of a checkpoint fills which layer of a model: lines between two columns of names.

    Args:
        in_checkpoint: names in the checkpoint, from top to bottom.
        in_model: names in the model.
        pairs: name in the checkpoint -> name in the model that it fills.
        right: name in the checkpoint -> name that it should fill. Right pairs are green, wrong ones red and dashed.
    """
    rows = max(len(in_checkpoint), len(in_model))
    figure, axis = plt.subplots(figsize=(6.5, 0.3 * rows + 0.9))
    styles: dict[bool, tuple[str, Literal["-", "--"], str]] = {
        True: (RIGHT, "-", "right"),
        False: (WRONG, "--", "wrong"),
    }
    for name in in_checkpoint:
        color, style, _ = styles[pairs[name] == right[name]]
        ends = [-in_checkpoint.index(name), -in_model.index(pairs[name])]
        axis.plot([0, 1], ends, color=color, linestyle=style)
    key = []
    for is_right in sorted({pairs[name] == right[name] for name in in_checkpoint}, reverse=True):
        color, style, label = styles[is_right]
        key.append(plt.Line2D([], [], color=color, linestyle=style, label=label))
    axis.legend(handles=key, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False, fontsize=9)
    for x, side, title, names in ((-0.04, "right", "checkpoint", in_checkpoint), (1.04, "left", "model", in_model)):
        axis.text(x, 1, title, ha=side, va="center", fontsize=9, style="italic")
        for row, name in enumerate(names):
            axis.text(x, -row, name, ha=side, va="center", fontsize=9)
    axis.set(xlim=(-1.2, 2.2), ylim=(0.5 - rows, 1.5))
    axis.set_axis_off()
    wrong = [f"{name} to {pairs[name]}" for name in in_checkpoint if pairs[name] != right[name]]
    lines = f"Lines from {len(in_checkpoint)} names of a checkpoint to those of a model"
    _show(figure, f"{lines}: {f'{len(wrong)} wrong, ' + ', '.join(wrong) if wrong else 'all right'}.")


def show_histograms(reference: Tensor, rows: Mapping[str, Tensor], limit: float) -> None:
    """How numbers are spread, one panel for each set of them, with the reference behind each.

    Args:
        reference: any shape; drawn as a grey area.
        rows: what to call a set -> its numbers; drawn as a line.
        limit: from `-limit` to `limit` they are shown.
    """
    figure, axes = plt.subplots(1, len(rows), figsize=(2.6 * len(rows), 2.5), sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.25, top=0.88, wspace=0.08)
    bins = np.linspace(-limit, limit, 60)
    for axis, (title, values) in zip(axes[0], rows.items(), strict=True):
        axis.hist(reference.flatten().numpy(), bins, density=True, color="0.8", label="before")
        axis.hist(values.flatten().numpy(), bins, density=True, histtype="step", color=WRONG, label="after")
        axis.set_title(title, fontsize=10)
        axis.set(yticks=[], xlim=(-limit, limit), xlabel="response")
    axes[0, 0].set_ylabel("how many", fontsize=9)
    axes[0, 0].legend(fontsize=8, frameon=False)
    spreads = [f"{title} {(values.std() / reference.std()).item():.2g} times" for title, values in rows.items()]
    _show(figure, f"How responses are spread. Their deviation against the one before: {', '.join(spreads)}.")


def show_curves(curves: Mapping[str, Sequence[float]], x: str, y: str) -> None:
    """Lines over 1, 2, 3, ..., with a legend of their names.

    Args:
        curves: name -> its values.
        x: what the numbers 1, 2, 3, ... are.
        y: what the values are.
    """
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for style, (name, values) in zip(("o-", "s--", "^:", "d-."), curves.items(), strict=False):
        axis.plot(range(1, len(values) + 1), values, style, label=name, markersize=4)
    axis.set(xlabel=x, ylabel=y)
    axis.legend(frameon=False, fontsize=9)
    ends = [f"{name} from {values[0]:.2g} to {values[-1]:.2g}" for name, values in curves.items()]
    _show(figure, f"Curves of {y} over {x}: {', '.join(ends)}.")


def mirrored_histograms(
    above: Tensor, below: Tensor, limit: float, bins: int = 101, side: int = 4, height: int = 60
) -> NDArray[np.uint8]:
    """Two histograms on one axis, the first upwards in grey, the second downwards in blue.

    Args:
        above: any shape.
        below: the same.
        limit: bins of equal width go from `-limit` to `limit`; what lies outside is left out.
        bins: how many.
        side: width of a bin in pixels.
        height: of the highest bin of both, in pixels.

    Returns:
        (2 height + 2, bins side, 4) uint8 RGBA; the background is transparent, the axis two pixels high.
    """
    shares = [np.histogram(v.numpy(), bins, (-limit, limit))[0] / v.numel() for v in (above, below)]
    tallest = max(share.max() for share in shares) or 1.0
    up, down = (np.round(height * share / tallest).astype(int).repeat(side) for share in shares)
    drawn = np.zeros((2 * height + 2, bins * side, 4), np.uint8)
    rows = np.arange(height)[:, None]
    drawn[:height][rows >= height - up] = (128, 128, 128, 255)
    drawn[height : height + 2] = (128, 128, 128, 255)
    drawn[height + 2 :][rows < down] = (30, 136, 229, 255)
    return drawn


def kernel_grid(weight: Tensor, limit: float, rows: int = 8, columns: int = 16, side: int = 24) -> NDArray[np.uint8]:
    """Kernels as small pictures in a grid: outputs run to the right, inputs down.

    The kernels of a weight with three inputs are colour pictures, in a single row.

    Args:
        weight: (out, in, kernel height, kernel width).
        limit: numbers from `-limit` (black) over 0 (mid-grey) to `limit` (white) are told apart.
        rows: at most so many inputs.
        columns: at most so many outputs.
        side: pixels of the longer side of a kernel, rounded down to a multiple of its size; larger ones are not
            enlarged.

    Returns:
        (H, W, 4) uint8 RGBA; the gaps of 4 pixels between the kernels are transparent.
    """
    colour = weight.shape[1] == 3
    shown = weight.detach()[:columns, : 3 if colour else rows].numpy()
    shown = np.round(255 * np.clip(0.5 + shown / (2 * limit), 0, 1)).astype(np.uint8)
    # (down, across, height, width, RGB)
    tiles = shown.transpose(0, 2, 3, 1)[None] if colour else shown.swapaxes(0, 1)[..., None].repeat(3, axis=-1)
    enlarge = max(1, side // max(weight.shape[2:]))
    tiles = tiles.repeat(enlarge, axis=2).repeat(enlarge, axis=3)
    height, width = tiles.shape[2] + 4, tiles.shape[3] + 4
    grid = np.zeros((tiles.shape[0] * height - 4, tiles.shape[1] * width - 4, 4), np.uint8)
    for down, across in np.ndindex(tiles.shape[:2]):
        place = grid[down * height :, across * width :][: height - 4, : width - 4]
        place[..., :3], place[..., 3] = tiles[down, across], 255
    return grid


def show_maps(maps: Mapping[str, Tensor]) -> None:
    """Maps of numbers side by side, black for zero and white for the largest; small maps have the numbers in them.

    Args:
        maps: title -> (H, W), none of its numbers below 0.
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(3.1 * len(maps), 3.1), squeeze=False)
    for axis, (title, values) in zip(axes[0], maps.items(), strict=True):
        numbers = values.detach().numpy()
        axis.imshow(numbers, cmap="gray", vmin=0)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
        for row, column in np.ndindex(numbers.shape) if numbers.size < 100 else ():
            number = numbers[row, column]
            color = "black" if number > numbers.max() / 2 else "white"
            axis.text(column, row, f"{number:.2f}".lstrip("0"), color=color, ha="center", va="center", size=7)
    said = [f"{title} from {values.min().item():.2g} to {values.max().item():.2g}" for title, values in maps.items()]
    _show(figure, f"Maps, bright where their numbers are high: {', '.join(said)}.")


def show_units(layers: Mapping[str, tuple[int, int, int]], pixels: int) -> None:
    """Where the units of some layers lie along one axis of an image, a dot each, and what the first of each row sees.

    Args:
        layers: one behind the other, name -> (kernel size, stride, padding).
        pixels: of the image along this axis, 0, 1, ...
    """
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(layers) + 1.4))
    axis.axvspan(-0.5, pixels - 0.5, color="0.92")
    apart, first, sees, count, said = 1, 0.0, 1, pixels, []
    for row, (name, (kernel, stride, padding)) in enumerate({"pixels": (1, 1, 0), **layers}.items()):
        first += apart * ((kernel - 1) / 2 - padding)
        sees += apart * (kernel - 1)
        apart *= stride
        count = (count + 2 * padding - kernel) // stride + 1
        bar = [(first - sees / 2, sees)]
        axis.broken_barh(bar, (row - 0.3, 0.6), facecolors="#56B4E9", edgecolors="#0072B2", alpha=0.5)
        axis.plot([first + apart * i for i in range(count)], [row] * count, "o", color="black", markersize=4)
        said.append(f"{name}: {count} units, {apart} apart, the first at {first:g}, which sees {sees}")
    axis.set_yticks(range(len(said)), ["pixels", *layers])
    axis.set_xticks(range(pixels))
    axis.set(ylim=(len(said) - 0.4, -0.6), xlabel="place in the image (grey)")
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    _show(figure, f"Units over an image of {pixels} pixels. {'. '.join(said)}.")


def show_heat(image: Tensor, maps: Mapping[str, Tensor], stride: float, start: float) -> None:
    """An image, and the same once for each map, visible where the map is high.

    Args:
        image: (3, H, W) uint8 RGB.
        maps: title -> probabilities (h, w).
        stride: distance of the numbers of a map, in pixels of the image.
        start: pixel on which the first of them is centred; the outermost ones also count for what lies outside.
    """
    figure, axes = plt.subplots(1, len(maps) + 1, figsize=(3.4 * (len(maps) + 1), 2.6))
    picture, (height, width) = image.permute(1, 2, 0).numpy(), image.shape[1:]
    for axis, title in zip(axes, ["the image", *maps], strict=True):
        axis.imshow(picture)
        axis.set_title(title)
    for axis, values in zip(axes[1:], maps.values(), strict=True):
        heat = np.pad(values.detach().numpy(), 1, mode="edge")
        cover = np.zeros((*heat.shape, 4))
        cover[..., 3] = 0.9 * (1 - heat)
        first = start - 1.5 * stride
        bottom, right = (first + side * stride for side in heat.shape)
        axis.imshow(cover, extent=(first, right, bottom, first))
    for axis in axes:
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axis.set_axis_off()
    said = []
    for title, values in maps.items():
        row, column = divmod(int(values.argmax()), values.shape[1])
        said.append(f"{title} at row {start + stride * row:g}, column {start + stride * column:g}")
    _show(figure, f"An image of {height} x {width} pixels, and where a map is highest: {'; '.join(said)}.")


def show_masks(images: Tensor, rows: Mapping[str, Tensor], classes: Sequence[str]) -> None:
    """Images in a row; below them rows of masks, and what the colours mean.

    Args:
        images: (N, 3, H, W) uint8 RGB.
        rows: what to call a row -> its masks, (N, H, W) integers.
        classes: the name of each integer; the first is drawn in white.
    """
    figure, axes = plt.subplots(len(rows) + 1, len(images), figsize=(1.7 * len(images) + 1.5, 1.25 * len(rows) + 1.8))
    figure.subplots_adjust(left=0.16, right=0.99, bottom=0.35 / (len(rows) + 1), top=0.99, wspace=0.05, hspace=0.05)
    colors = ["white", *MASKS][: len(classes)]
    letters = ["", *LETTERS][: len(classes)]
    palette = {"cmap": ListedColormap(colors), "vmin": -0.5, "vmax": len(classes) - 0.5, "interpolation": "nearest"}
    for axis, image in zip(axes[0], images, strict=True):
        axis.imshow(image.permute(1, 2, 0).numpy())
    for line, (row, masks) in zip(axes[1:], rows.items(), strict=True):
        line[0].text(-0.08, 0.5, row, transform=line[0].transAxes, ha="right", va="center", fontsize=10)
        for axis, mask in zip(line, masks, strict=True):
            axis.imshow(mask.numpy(), **palette)
            _write_letters(axis, mask, letters)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    names = [f"{letter} {name}".strip() for letter, name in zip(letters, classes, strict=True)]
    key = [Patch(facecolor=c, edgecolor="0.5", label=name) for c, name in zip(colors, names, strict=True)]
    figure.legend(handles=key, loc="lower center", ncols=len(classes), frameon=False, fontsize=9)
    said = [f"{row} {', '.join(_classes_of(masks, classes)) or 'nothing'}" for row, masks in rows.items()]
    _show(figure, f"{len(images)} images, and masks of what is found in them: {'; '.join(said)}.")


def _write_letters(axis: plt.Axes, mask: Tensor, letters: Sequence[str]) -> None:
    """Each class's letter where most of it is; not where there is little of it."""
    for number, letter in enumerate(letters):
        rows, columns = (mask == number).nonzero(as_tuple=True)
        if letter and len(rows) > mask.numel() // 100:
            middle = (columns.float().median() - columns).abs() + (rows.float().median() - rows).abs()
            place = int(middle.argmin())
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
            axis.text(int(columns[place]), int(rows[place]), letter, ha="center", va="center", fontsize=7, bbox=box)


def _classes_of(masks: Tensor, classes: Sequence[str]) -> list[str]:
    """The classes that cover a hundredth of the masks or more, without the background."""
    return [name for i, name in enumerate(classes) if i and (masks == i).float().mean() > 0.01]
