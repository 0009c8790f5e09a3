"""Lesson 09: one network in two files. Read the checkpoint in one way or another, and see where the two part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets
import torch
from torch import Tensor

from helpers.matconvnet import Network
from helpers.parity import outputs_of, relative_difference

from ..data import CIFAR10_CLASSES, normalize
from ..wren import BLOCKS, Wren, prepare
from .interactive import Interactive, bar, table

__all__ = ["TwoFiles"]

NUMBERED, EXCHANGED = "as numbered", "the last two exchanged"
BYTES, UNIT, IMAGENET, OWN = "0 to 255", "0 to 1", "ImageNet's mean and std", "the checkpoint's mean and std"
CIFAR10, FILE = "CIFAR-10's order", "the file's order"

SCALES = {
    BYTES: lambda images: prepare(images, 64) * (0.25 * 255) + 0.5 * 255,
    UNIT: lambda images: prepare(images, 64) * 0.25 + 0.5,
    IMAGENET: normalize,
    OWN: lambda images: prepare(images, 64),
}


class TwoFiles(Interactive):
    """The checkpoint's tensors, put into a `Wren` as chosen, beside the network of the `.mat`, block by block."""

    name = "file comparison"

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, Tensor],
        classes: Sequence[str],
        images: Tensor,
        labels: Tensor,
    ) -> None:
        """
        Args:
            network: what `wren.mat` holds.
            weights: the tensors of `wren.ckpt` by their names there.
            classes: the class names in `wren.ckpt`.
            images: (N, 3, H, W) uint8 RGB, of CIFAR-10.
            labels: (N,) their classes.
        """
        self.weights, self.classes, self.images, self.labels = dict(weights), list(classes), images, labels
        relus = [f"r{number}" for number in range(1, len(BLOCKS) + 1)]
        found = outputs_of(network.to_module(), relus, network.preprocess(images))
        self.expected = {block: found[relu] for block, relu in zip(BLOCKS, relus, strict=True)}
        orders = [NUMBERED, EXCHANGED]
        super().__init__(
            convs=ipywidgets.Dropdown(description="Convs", options=orders),
            norms=ipywidgets.Dropdown(description="Norms", options=orders),
            scale=ipywidgets.Dropdown(description="Input", options=list(SCALES), value=UNIT),
            names=ipywidgets.Dropdown(description="Names", options=[CIFAR10, FILE]),
        )

    def draw(self, convs: str, norms: str, scale: str, names: str) -> str:
        """A table of how far each block's output is from that of the `.mat`, and the share of images named rightly."""
        model = Wren().eval()
        model.load_state_dict(self._renamed(convs == EXCHANGED, norms == EXCHANGED))
        found = outputs_of(model, [*BLOCKS, ""], SCALES[scale](self.images))
        apart = {block: relative_difference(found[block], expected) for block, expected in self.expected.items()}
        rows = [(escape(block), _said(far), bar(min(far, 1))) for block, far in apart.items()]
        order = self.classes if names == FILE else CIFAR10_CLASSES
        called = torch.tensor([CIFAR10_CLASSES.index(order[i]) for i in found[""].argmax(1)])
        right = (called == self.labels).float().mean().item()
        parted = next((block for block, far in apart.items() if _said(far) != "equal"), None)
        where = f"The two networks part at {parted}." if parted else "The two networks agree in all blocks."
        return (
            table(("block", "its output, against the .mat's", "as a bar"), rows)
            + f"<p>{where} Of {len(self.labels)} images, {right:.0%} get their right name.</p>"
        )

    def _renamed(self, exchange_convs: bool, exchange_norms: bool) -> dict[str, Tensor]:
        """The checkpoint's tensors under the names of `Wren`."""
        exchanged = (*BLOCKS[:4], *BLOCKS[:3:-1])
        order = {
            "convs": exchanged if exchange_convs else BLOCKS,
            "norms": exchanged if exchange_norms else BLOCKS,
        }
        renamed = {}
        for key, tensor in self.weights.items():
            _, layers, *rest = key.split(".")  # module.convs.3.weight, module.classify.bias
            place = f"{order[layers][int(rest[0])]}.{layers[:-1]}" if layers in order else "score"
            renamed[f"{place}.{rest[-1]}"] = tensor
        return renamed


def _said(far: float) -> str:
    """A relative difference in words that rounding hardly ever changes from machine to machine."""
    return "equal" if far < 1e-4 else f"{far:.0%} apart" if far < 10 else "more than 1,000% apart"
