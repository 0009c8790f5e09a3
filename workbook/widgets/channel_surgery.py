"""Lesson 04: another number of input channels, by each rule, and what becomes of kernels, responses and prediction."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from html import escape

import ipywidgets
import torch
from torch import Tensor, nn
from torch.func import functional_call

from helpers.first_conv import RULES, FirstConvError, find_first_conv

from .. import plots
from ..data import normalize
from .interactive import Interactive, beside, picture, table

__all__ = ["ChannelSurgery"]

GREY = "grey in each"
EXTRA_GREY = "red, green, blue, then grey"
EXTRA_NOISE = "red, green, blue, then noise"
# the means of ImageNet's three, for channels that show grey
GREY_MEAN, GREY_STD = 0.449, 0.226


class ChannelSurgery(Interactive):
    """Pick a rule, the number of channels and what they show; see what it does to a network made for RGB."""

    name = "channel surgery"

    def __init__(
        self, model: nn.Module, images: Tensor, truth: Sequence[str], classes: Sequence[str], size: int = 64
    ) -> None:
        """
        Args:
            model: takes (N, 3, size, size) normalised as `data.normalize` does; it stays as it is.
            images: (N, 3, H, W) uint8 RGB to choose from.
            truth: what each image shows.
            classes: the name of each output.
            size: height and width in pixels of what the model takes.

        Raises:
            FirstConvError: no conv, or more than one, meets the input, or it does not take three channels.
            ValueError: not as many names as images.
        """
        if len(images) != len(truth):
            raise ValueError(f"there are {len(images)} images and {len(truth)} names")
        self.model, self.images, self.truth, self.classes = copy.deepcopy(model), images, list(truth), list(classes)
        self.conv_name, self.conv = find_first_conv(self.model.eval(), normalize(images[:1], size))
        if self.conv.in_channels != 3:
            raise FirstConvError(f"{self.conv_name!r} takes {self.conv.in_channels} channels, not three")
        self.colours = normalize(images, size)
        self.grey = _grey(images, size)
        self.before = {show: self._made(self.inputs(3, show), self.conv.weight) for show in (GREY, EXTRA_GREY)}
        pictures = [(f"{i}: {name}", i) for i, name in enumerate(truth)]
        super().__init__(
            rule=ipywidgets.Dropdown(description="Rule", options=[rule for rule in RULES if rule != "default"]),
            channels=ipywidgets.IntSlider(1, 1, 12, description="Channels", continuous_update=False),
            show=ipywidgets.Dropdown(description="They show", options=[GREY, EXTRA_GREY, EXTRA_NOISE]),
            image=ipywidgets.Dropdown(description="Image", options=pictures),
        )

    def draw(self, rule: str, channels: int, show: str, image: int) -> str:
        """The predictions of the RGB network and of the new one, then the responses of both first convs, then kernels.

        Raises:
            FirstConvError: the rule cannot make so few channels.
        """
        new = RULES[rule](self.conv.weight.detach(), channels)
        before = self.before[GREY if show == GREY else EXTRA_GREY]
        after = self._made(self.inputs(channels, show), new)
        shown = self.images[image].permute(1, 2, 0).numpy()
        seen = picture(shown, f"image {image}: {self.truth[image]}", zoom=max(1, 96 // len(shown)))
        what = f"{rule}, {channels} {'channel' if channels == 1 else 'channels'}"
        predictions = self._predictions(before[0], after[0], what, image)
        responses = self._responses(before[1], after[1])
        return beside(f"{seen}<br>{escape(self.truth[image])}", predictions) + responses + self._kernels(new)

    def inputs(self, channels: int, show: str) -> Tensor:
        """What the images look like to a network with so many channels: (N, channels, size, size)."""
        if show == GREY:
            return self.grey.expand(-1, channels, -1, -1)
        more = max(channels - 3, 0)
        extra = self.grey.expand(-1, more, -1, -1)
        if show == EXTRA_NOISE:
            extra = torch.randn(extra.shape, generator=torch.Generator().manual_seed(0))
        return torch.cat([self.colours, extra], 1)[:, :channels]

    @torch.no_grad()
    def probabilities(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """What the network makes of images, (N, classes), if its first conv has this weight."""
        return functional_call(self.model, {f"{self.conv_name}.weight": weight}, (inputs,)).softmax(1)

    @torch.no_grad()
    def responses(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """What the first conv puts out if it has this weight, without its bias."""
        bias = {} if self.conv.bias is None else {"bias": torch.zeros_like(self.conv.bias)}
        return functional_call(self.conv, {"weight": weight} | bias, (inputs,))

    def _made(self, inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self.probabilities(inputs, weight), self.responses(inputs, weight)

    def _predictions(self, old: Tensor, found: Tensor, what: str, image: int) -> str:
        change = (found - old)[image].abs().max().item()
        rows = [
            ("RGB", self._guess(old[image]), self._right(old), ""),
            (what, self._guess(found[image]), self._right(found), f"{change:.3f}"),
        ]
        return table(
            (
                "network",
                "it says",
                f"right of {len(self.images)} images",
                "largest change of a probability of this image",
            ),
            rows,
        )

    def _responses(self, old: Tensor, found: Tensor) -> str:
        limit = 4 * old.std().item() or 1.0  # the same for all rules, so that widths can be compared
        drawn = picture(plots.mirrored_histograms(old, found, limit), _spread(old, found))
        return (
            f"<p>What {escape(self.conv_name)} puts out for all images, without its bias, from {-limit:.2g} to "
            f"{limit:.2g}, 0 in the middle. Above, grey: the RGB network. Below, blue: the new one.<br>"
            f"Standard deviation: {old.std():.3f} and {found.std():.3f}, that is {found.std() / old.std():.2f} times."
            f"<br>{drawn}</p>"
        )

    def _kernels(self, new: Tensor) -> str:
        old, (out, channels) = self.conv.weight.detach(), new.shape[:2]
        limit = old.abs().quantile(0.98).item() or 1.0
        down = {1: "one channel", 3: "three channels as colours"}.get(channels, f"down: {channels} channels")
        rgb = picture(plots.kernel_grid(old, limit), "kernels for red, green and blue")
        sizes = ", ".join(f"{size:.2g}" for size in new.abs().mean(dim=(0, 2, 3)).tolist())
        kernels = "kernels for 1 channel" if channels == 1 else f"kernels for {channels} channels"
        grid = picture(plots.kernel_grid(new, limit, rows=12), f"{kernels}: mean size of a number by channel {sizes}")
        return (
            f"<p>Old kernels, for outputs 1 to {min(out, 16)} of {out}; as colours, mid-grey is 0.<br>{rgb}<br>"
            f"New kernels below them: {down}.<br>{grid}</p>"
        )

    def _guess(self, probabilities: Tensor) -> str:
        probability, i = probabilities.max(0)
        return f"{escape(self.classes[i])} {probability:.2f}"

    def _right(self, probabilities: Tensor) -> str:
        guesses = [self.classes[i] for i in probabilities.argmax(1)]
        return str(sum(guess == truth for guess, truth in zip(guesses, self.truth, strict=True)))


def _spread(old: Tensor, found: Tensor) -> str:
    return f"responses before, standard deviation {old.std():.3f}, and after, {found.std():.3f}"


def _grey(images: Tensor, size: int) -> Tensor:
    """(N, 1, size, size): luminance as television and Pillow have it, normalised with one mean and one std."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images.float() * weights).sum(1, keepdim=True) / 255
    resized = torch.nn.functional.interpolate(grey, size=(size, size), mode="bilinear", align_corners=False)
    return (resized - GREY_MEAN) / GREY_STD
