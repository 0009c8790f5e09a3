"""Lesson 08: interrupt a training, restore only what is ticked, and compare with the one that was not interrupted."""

from __future__ import annotations

import random
import warnings

import ipywidgets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..example_training import EPOCHS, PARTS, STEPS, new_training, resumed, steps
from .interactive import Interactive, picture

__all__ = ["ResumeBench"]

STEP, HEIGHT = 30, 140  # pixels of the chart
GREY, LIGHT, BLUE, RED = (150, 150, 150), (215, 215, 215), (30, 110, 200), (220, 60, 60)


class ResumeBench(Interactive):
    """Choose where a training is interrupted and what is restored; see losses, and how far the weights are apart."""

    name = "resume bench"

    def __init__(self) -> None:
        training = new_training()
        self.losses, self.weights = list(steps(training)), training.numbers()
        stop = ipywidgets.IntSlider(7, 1, STEPS - 1, description="After step", continuous_update=False)
        ticks = {name: ipywidgets.Checkbox(True, description=name, indent=False) for name in PARTS}
        for tick in ticks.values():
            tick.layout.width = "auto"
        super().__init__(stop=stop, **ticks)

    def draw(self, stop: int, **ticked: bool) -> str:
        """A chart of both trainings, and a sentence on how they differ."""
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            with warnings.catch_warnings():  # without its optimizer, the scheduler believes that it steps first
                warnings.simplefilter("ignore", UserWarning)
                losses, weights = resumed(stop, {name for name in PARTS if ticked[name]})
        finally:
            torch.set_rng_state(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            random.setstate(before[2])
        forgotten = ", ".join(name for name in PARTS if not ticked[name]) or "nothing"
        epoch = (stop - 1) * EPOCHS // STEPS + 1
        said = f"Interrupted after step {stop}, in epoch {epoch} of {EPOCHS}. Forgotten: {forgotten}. "
        other = self._first_other(stop, losses)
        apart = f"apart from step {other} on" if other else "equal"
        alt = f"losses of {STEPS} steps in grey, and those after step {stop} in blue, resumed: {apart}"
        chart = picture(_chart(self.losses, stop, losses), alt)
        legend = (
            f"<p>From left to right {STEPS} steps, with a thin line where an epoch ends; upwards the loss, from 0 to "
            f"{_top(self.losses):.1f}. Grey is the training in peace, blue the resumed one, red the interrupt.</p>"
        )
        return f"{chart}{legend}<p>{said}{self._difference(stop, losses, weights)}</p>"

    def _difference(self, stop: int, losses: list[float], weights: Tensor) -> str:
        wanted = self.losses[stop:]
        if losses == wanted and torch.equal(weights, self.weights):
            return "All losses are equal, and in the end all weights are, bit by bit."
        other = self._first_other(stop, losses)
        said = f"The first other loss is that of step {other}." if other else "The losses are equal."
        if len(losses) != len(wanted):
            said += f" {len(losses)} steps were taken where {len(wanted)} were left."
        return f"{said} In the end the weights are up to {(weights - self.weights).abs().max():.1g} apart."

    def _first_other(self, stop: int, losses: list[float]) -> int | None:
        """The step whose loss is the first that differs from the uninterrupted one."""
        pairs = enumerate(zip(losses, self.losses[stop:], strict=False), stop + 1)
        return next((step for step, (now, then) in pairs if now != then), None)


def _top(whole: list[float]) -> float:
    """The loss at the upper edge."""
    return max(*whole, 3.0)


def _chart(whole: list[float], stop: int, resumed: list[float]) -> NDArray[np.uint8]:
    """Losses as lines over the steps, thin lines between epochs, a red one at the interrupt: (HEIGHT, ..., 3)."""
    top = _top(whole)
    longest = max(len(whole), stop + len(resumed))
    image = np.full((HEIGHT, STEP * (longest + 1), 3), 255, np.uint8)
    image[-1] = GREY
    for end in range(STEPS // EPOCHS, STEPS, STEPS // EPOCHS):
        image[:, end * STEP + STEP // 2] = LIGHT
    image[:, stop * STEP + STEP // 2] = RED
    for first, losses, colour, thick in ((1, whole, GREY, 3), (stop + 1, resumed, BLUE, 1)):
        places = [(first + i) * STEP for i in range(len(losses))]
        heights = [(HEIGHT - 5) * (1 - min(loss / top, 1)) for loss in losses]
        columns = range(places[0], places[-1] + 1) if losses else ()
        for column in columns:
            row = round(np.interp(column, places, heights))
            image[max(0, row - thick) : row + thick + 1, column] = colour
    return image
