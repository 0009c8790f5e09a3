"""Lesson 01: a layer of a MatConvNet network, its kernels in three arrangements, and what each does."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets
import torch
from torch import Tensor
from torch.func import functional_call

from .. import plots
from ..matconvnet import Layer, Network
from .interactive import Interactive, beside, picture, table

WANTED = "as PyTorch wants them"
STORED = "as MatConvNet stores them"
EXCHANGED = "height and width exchanged"
ARRANGEMENTS = (WANTED, STORED, EXCHANGED)

MEANING = {
    WANTED: "in PyTorch's order",
    STORED: "in the file's order, forced into PyTorch's shape by reshape",
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
            images: (N, C, H, W) to choose from, as `net.preprocess` takes them.
            truth: what each image shows.

        Raises:
            MatConvNetError: the network cannot be built, or does not say how it prepares images.
        """
        self.net, self.images, self.truth = net, images, list(truth)
        self.module = net.to_module()
        self.pixels = net.preprocess(images)
        layers = [(f"{layer.name} ({layer.type})", layer.name) for layer in net.layers]
        pictures = [(f"{i}: {name}", i) for i, name in enumerate(truth)]
        super().__init__(
            layer=ipywidgets.Dropdown(description="Layer", options=layers),
            image=ipywidgets.Dropdown(description="Image", options=pictures),
            kernels=ipywidgets.RadioButtons(description="Kernels", options=ARRANGEMENTS),
            everywhere=ipywidgets.Checkbox(description="in all layers at once", indent=False),
        )

    def draw(self, layer: str, image: int, kernels: str, everywhere: bool) -> str:
        """The layer, its kernels as `kernels` says, and what the network makes of the image with them."""
        names = [each.name for each in self.net.layers] if everywhere else [layer]
        return layer_html(self.net[layer], kernels) + self._predictions(image, kernels, names)

    def probabilities(self, image: int, kernels: str, names: Sequence[str]) -> Tensor | None:
        """What the network makes of an image if the kernels of some layers are rearranged.

        Args:
            image: its number.
            kernels: one of `ARRANGEMENTS`.
            names: which layers; those without kernels stay as they are.

        Returns:
            (classes,), or None if a rearranged kernel has another shape, so that its layer cannot use it.
        """
        right = {name: self.net[name].params["weight"] for name in names if has_kernels(self.net[name])}
        changed = {name: rearranged(weight, kernels) for name, weight in right.items()}
        if any(changed[name].shape != weight.shape for name, weight in right.items()):
            return None
        parameters = {f"{name}.weight": weight for name, weight in changed.items()}
        with torch.no_grad():
            logits = functional_call(self.module, parameters, (self.pixels[image, None],)).flatten()
        return logits if self.net.layers[-1].type == "softmax" else logits.softmax(0)

    def change(self, image: int, kernels: str, names: Sequence[str]) -> float:
        """By how much the probability of a class changes at most if kernels are rearranged; nan if they do not fit."""
        return _largest_change(self.probabilities(image, kernels, names), self.probabilities(image, WANTED, names))

    def _predictions(self, image: int, kernels: str, names: Sequence[str]) -> str:
        found = {arrangement: self.probabilities(image, arrangement, names) for arrangement in ARRANGEMENTS}
        rows = []
        for arrangement, probabilities in found.items():
            guess = "nothing: these kernels have another shape" if probabilities is None else self._guess(probabilities)
            cells = (arrangement, guess, f"{_largest_change(probabilities, found[WANTED]):.3f}")
            rows.append(tuple(f"<b>{cell}</b>" for cell in cells) if arrangement == kernels else cells)
        pixels = self.images[image].expand(3, -1, -1).permute(1, 2, 0).numpy()
        shown = picture(pixels, f"image {image}: {self.truth[image]}", zoom=max(1, 96 // len(pixels)))
        head = ("kernels", "the network says", "largest change of a probability")
        return beside(f"{shown}<br>{escape(self.truth[image])}", table(head, rows))

    def _guess(self, probabilities: Tensor) -> str:
        probability, i = probabilities.max(0)
        return f"{escape(self.net.classes[i]) if self.net.classes else f'class {i}'} {probability:.2f}"


def _largest_change(probabilities: Tensor | None, right: Tensor) -> float:
    return torch.nan if probabilities is None else (probabilities - right).abs().max().item()


def rearranged(weight: Tensor, arrangement: str) -> Tensor:
    """A kernel as somebody might have loaded it.

    Args:
        weight: (out, in, H, W), right.
        arrangement: one of `ARRANGEMENTS`. Numbers as MatConvNet stores them, (H, W, in, out), are not moved, only
            given the shape that PyTorch asks for, as `reshape` does.

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
    rows = [("options", options or "none")]
    rows += [(escape(key), str(tuple(t.shape))) for key, t in layer.params.items() if t.ndim != 4]
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
    out, channels, height, width = right.shape
    limit = right[:16, :8].abs().quantile(0.98).item() or 1.0
    shown = picture(plots.kernel_grid(rearranged(right, arrangement), limit), f"kernels of {layer.name}, {arrangement}")
    down = "red, green, blue: the 3 inputs" if channels == 3 else f"down: inputs 1 to {min(channels, 8)} of {channels}"
    return (
        f"<p>Kernels of {height}x{width}, {MEANING[arrangement]}.<br>"
        f"Across: outputs 1 to {min(out, 16)} of {out}; {down}. "
        f"Black is {-limit:.2g} or less, mid-grey 0, white {limit:.2g} or more.<br>{shown}</p>"
    )


def _option(key: str, value: object) -> str:
    if not isinstance(value, tuple):
        return f"{escape(key)} {escape(str(value))}"
    order = f" ({ORDER[key]})" if key in ORDER else ""
    return f"{escape(key)} {', '.join(f'{v:g}' for v in value)}{order}"


def _is_short(value: object) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(value) <= 4)
