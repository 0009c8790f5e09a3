"""Lesson 01: a layer of a MatConvNet network, its kernels in three arrangements, and what each does."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets
import torch
from torch import Tensor
from torch.func import functional_call

from helpers.matconvnet import Layer, Network
from helpers.matconvnet.graph import LOSS_TYPES

from .. import plots
from .interactive import Interactive, beside, picture, table

__all__ = ["EXCHANGED", "STORED", "WANTED", "NetworkExplorer"]

WANTED = "as PyTorch wants them"
STORED = "as MatConvNet stores them, only reshaped"
EXCHANGED = "height and width exchanged"
ARRANGEMENTS = (WANTED, STORED, EXCHANGED)

MEANING = {
    WANTED: "in PyTorch's order",
    STORED: "the array (height, width, in, out) given PyTorch's shape by reshape, not permuted",
    EXCHANGED: "each mirrored at its diagonal",
}

ORDER = {
    "pad": "top, bottom, left, right",
    "crop": "top, bottom, left, right",
    "stride": "down, across",
    "dilate": "down, across",
    "pool": "height, width",
}


class NetworkExplorer(Interactive):
    """Pick a layer; see its options, shapes and kernels, and what other arrangements of them do to an image."""

    name = "network explorer"

    def __init__(self, net: Network, images: Tensor, truth: Sequence[str]) -> None:
        """
        Args:
            net: what to explore; it must be one that `to_module` can build and that knows its preprocessing.
            images: (N, 1 or 3, H, W) uint8 to choose from, at least one.
            truth: what each image shows.

        Raises:
            MatConvNetError: the network cannot be built, or does not say how it prepares images.
            ValueError: these are no such images, or the network makes of one more than one prediction.
        """
        if (
            images.dtype != torch.uint8
            or images.ndim != 4
            or images.shape[1] not in (1, 3)
            or len(images) != len(truth)
        ):
            raise ValueError(
                f"expected uint8 images (N, 1 or 3, H, W) and N names, got {images.dtype} {tuple(images.shape)} "
                f"and {len(truth)} names"
            )
        self.net, self.images, self.truth = net, images, list(truth)
        self.module = net.to_module()
        self.pixels = net.preprocess(images)
        with torch.no_grad():
            made = self.module(self.pixels[:1])
        if made.shape[2:].numel() != 1:
            raise ValueError(f"the network makes {made.shape[2]}x{made.shape[3]} predictions of such an image, not one")
        layers = [(f"{layer.name} ({layer.type})", layer.name) for layer in net.layers]
        pictures = [(f"{i}: {name}", i) for i, name in enumerate(truth)]
        super().__init__(
            layer=ipywidgets.Dropdown(description="Layer", options=layers),
            image=ipywidgets.Dropdown(description="Image", options=pictures),
            everywhere=ipywidgets.Checkbox(description="in all layers at once", indent=False, layout={"width": "auto"}),
            kernels=ipywidgets.RadioButtons(description="Kernels", options=ARRANGEMENTS, layout={"width": "100%"}),
        )

    def draw(self, layer: str, image: int, kernels: str, everywhere: bool) -> str:
        """What the network makes of the image with kernels as `kernels` says, then the layer and its kernels."""
        names = [each.name for each in self.net.layers] if everywhere else [layer]
        head = "kernels of all layers" if everywhere else f"kernels of {escape(layer)}"
        rows = self._predictions(image, kernels, names)
        pixels = self.images[image].expand(3, -1, -1).permute(1, 2, 0).numpy()
        shown = picture(pixels, f"image {image}: {self.truth[image]}", zoom=max(1, 96 // len(pixels)))
        predictions = table((f"{head} (chosen: bold)", "the network says", "largest change of any probability"), rows)
        return beside(f"{shown}<br>{escape(self.truth[image])}", predictions) + layer_html(self.net[layer], kernels)

    def probabilities(self, image: int, kernels: str, names: Sequence[str]) -> Tensor | None:
        """What the network makes of an image if the kernels of some layers are rearranged.

        Args:
            image: its number.
            kernels: one of `ARRANGEMENTS`.
            names: which layers; those without kernels stay as they are.

        Returns:
            (classes,), or None if a rearranged kernel has another shape than the right one; it is not run then.
        """
        right = {name: self.net[name].params["weight"] for name in names if has_kernels(self.net[name])}
        changed = {name: rearranged(weight, kernels) for name, weight in right.items()}
        if any(changed[name].shape != weight.shape for name, weight in right.items()):
            return None
        parameters = {f"{name}.weight": weight for name, weight in changed.items()}
        with torch.no_grad():
            logits = functional_call(self.module, parameters, (self.pixels[image, None],)).flatten()
        last = [layer.type for layer in self.net.layers if layer.type not in ("dropout", *LOSS_TYPES)][-1]
        return logits if last in ("softmax", "sigmoid") else logits.softmax(0)

    def change(self, image: int, kernels: str, names: Sequence[str]) -> float:
        """By how much the probability of a class changes at most if kernels are rearranged; nan if they do not fit."""
        return _largest_change(self.probabilities(image, kernels, names), self.probabilities(image, WANTED, names))

    def _predictions(self, image: int, kernels: str, names: Sequence[str]) -> list[tuple[str, ...]]:
        right = self.probabilities(image, WANTED, names)
        rows: list[tuple[str, ...]] = [(WANTED, self._guess(right), "")]
        if any(has_kernels(self.net[name]) for name in names):
            for arrangement in (STORED, EXCHANGED):
                found = self.probabilities(image, arrangement, names)
                rows.append((arrangement, self._guess(found), f"{_largest_change(found, right):.3f}"))
        for place, row in enumerate(rows):
            if row[0] == kernels:
                rows[place] = tuple(f"<b>{cell}</b>" for cell in row)
        return rows

    def _guess(self, probabilities: Tensor | None) -> str:
        if probabilities is None:
            return "not run: another shape"
        probability, i = probabilities.max(0)
        name = self.net.classes[i] if i < len(self.net.classes) else f"class {i}"
        return f"{escape(name)} {probability:.2f}"


def _largest_change(probabilities: Tensor | None, right: Tensor | None) -> float:
    if probabilities is None or right is None:
        return torch.nan
    return (probabilities - right).abs().max().item()


def rearranged(weight: Tensor, arrangement: str) -> Tensor:
    """A kernel as somebody might have loaded it.

    Args:
        weight: (out, in, H, W), right.
        arrangement: one of `ARRANGEMENTS`. As MatConvNet stores them they form an array (H, W, in, out), which
            `reshape` gives the shape that PyTorch asks for; this is not the order of the bytes in the file, which
            is columns first.

    Returns:
        of the same shape, except that exchanged kernels are (out, in, W, H).
    """
    if arrangement == STORED:
        return weight.permute(2, 3, 1, 0).reshape(weight.shape)
    return weight.transpose(2, 3) if arrangement == EXCHANGED else weight


def has_kernels(layer: Layer) -> bool:
    """Whether it has a weight of four axes."""
    return "weight" in layer.params and layer.params["weight"].ndim == 4


def layer_html(layer: Layer, arrangement: str) -> str:
    """A layer's options, the shapes of its weight in both layouts, and its kernels as a picture."""
    options = "; ".join(_option(key, value) for key, value in layer.options.items() if _is_short(value))
    rows = [("options", options or "none to show")]
    rows += [(f"{escape(key)} in PyTorch", str(tuple(t.shape))) for key, t in layer.params.items() if t.ndim != 4]
    if not has_kernels(layer):
        return table((escape(layer.name), f"{escape(layer.type)}, without kernels"), rows)
    out, channels, height, width = layer.params["weight"].shape
    rows += [
        ("weight in the file", f"{(height, width, channels, out)} height, width, in, out"),
        ("weight in PyTorch", f"{(out, channels, height, width)} out, in, height, width"),
    ]
    return table((escape(layer.name), escape(layer.type)), rows) + kernels_html(layer, arrangement)


def kernels_html(layer: Layer, arrangement: str) -> str:
    """Its first kernels as a picture, with what runs along each side and what the shades mean."""
    right = layer.params["weight"]
    shown = rearranged(right, arrangement)
    out, channels, height, width = shown.shape
    shades = right[:16, :8].abs()
    limit = shades.quantile(0.98).item() or shades.max().item() or 1.0
    if channels == 3:
        down, dark, half, bright = "red, green and blue: the 3", "no light", "half", "full light"
    else:
        down, dark, half, bright = (
            f"down: inputs 1 to {min(channels, 8)} of the {channels}",
            "black",
            "mid-grey",
            "white",
        )
    beside_each_other = shown.diff(dim=3).abs().mean() if width > 1 else torch.tensor(0.0)
    alt = (
        f"kernels of {layer.name}, {arrangement}: numbers from {shown.min():.2g} to {shown.max():.2g}, "
        f"those beside each other differ by {beside_each_other:.2g} on average"
    )
    grid = picture(plots.kernel_grid(shown, limit), alt)
    return (
        f"<p>Kernels of {height}x{width}, {MEANING[arrangement]}.<br>"
        f"Across: outputs 1 to {min(out, 16)} of {out}; {down} that each output reads.<br>"
        f"{dark.capitalize()} is {-limit:.2g} or less, {half} is 0, {bright} is {limit:.2g} or more.<br>{grid}</p>"
    )


def _option(key: str, value: object) -> str:
    if not isinstance(value, tuple):
        return f"{escape(key)} {escape(str(value))}"
    order = f" ({ORDER[key]})" if key in ORDER else ""
    return f"{escape(key)} {', '.join(f'{v:g}' for v in value)}{order}"


def _is_short(value: object) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(value) <= 4)
