"""Lesson 02: what is in a checkpoint, why it does not load, and the lines that load it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import ipywidgets
from torch import Tensor, nn

from ..state_dict import explain
from .interactive import Interactive, table


class CheckpointClinic(Interactive):
    """Choose a checkpoint; see its keys and, once you have an idea yourself, why it does not load."""

    name = "checkpoint clinic"

    def __init__(self, model: nn.Module, checkpoints: Mapping[str, Mapping[str, object]]) -> None:
        """
        Args:
            model: what is to be filled; it stays as it is.
            checkpoints: what to call a checkpoint -> what `torch.load` returned.
        """
        self.model, self.checkpoints = model, dict(checkpoints)
        wide = {"style": {"description_width": "initial"}}
        super().__init__(
            checkpoint=ipywidgets.Dropdown(description="Checkpoint", options=list(self.checkpoints), **wide),
            diagnosis=ipywidgets.Checkbox(description="show the diagnosis", indent=False, layout={"width": "auto"}),
        )

    def update(self, change: dict | None = None) -> None:
        """Draw anew; the next patient is looked at first, so its diagnosis is hidden."""
        if change and change["owner"] is self.controls["checkpoint"] and self.controls["diagnosis"].value:
            self.controls["diagnosis"].value = False  # which draws
            return
        super().update(change)

    def draw(self, checkpoint: str, diagnosis: bool) -> str:
        """Its keys beside those of the model, and what `explain` says if `diagnosis`."""
        found = self.checkpoints[checkpoint]
        columns = scrolling(contents(found)), scrolling(contents(self.model.state_dict()))
        drawn = table(("the checkpoint has", "the model has"), [columns])
        if not diagnosis:
            return drawn
        explanation = explain(self.model, found)
        causes = "".join(f"<li>{escape(cause)}</li>" for cause in explanation.causes)
        return f"{drawn}<ul>{causes}</ul><pre>{escape(explanation.fix)}</pre>"


def contents(mapping: Mapping[str, object]) -> list[str]:
    """One line for each key, with its shape or value; what lies under a key that holds a mapping is indented."""
    lines = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            lines += [f"{key}:", *(f"\u2003{line}" for line in contents(value))]
        elif isinstance(value, Tensor):
            lines.append(f"{key} {tuple(value.shape)}")
        else:
            lines.append(f"{key} = {value}")
    return lines


def scrolling(lines: list[str]) -> str:
    """Lines in a box that scrolls, by keyboard, too."""
    box = "max-height: 9em; overflow: auto; padding-right: 1em"
    return f'<div tabindex="0" role="region" aria-label="keys" style="{box}">{"<br>".join(map(escape, lines))}</div>'


def make_patients(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, object]]:
    """Six checkpoints of one VGG, each with another complaint; they share the tensors of `state_dict`."""
    head = {
        key: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for key, tensor in state_dict.items() if "classifier.6" in key
    }
    features = {key: tensor for key, tensor in state_dict.items() if key.startswith("features.")}
    complaints = [
        {f"module.{key}": tensor for key, tensor in state_dict.items()},
        {"epoch": 90, "state_dict": dict(state_dict)},
        {"model": {f"_orig_mod.{key}": tensor for key, tensor in state_dict.items()}},
        dict(state_dict) | head,
        {key: tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor for key, tensor in state_dict.items()},
        {key.removeprefix("features."): tensor for key, tensor in features.items()},
    ]
    return {f"patient {number}": complaint for number, complaint in enumerate(complaints, start=1)}
