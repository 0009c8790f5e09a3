"""Lesson 02: what is in a checkpoint, why it does not load, and the lines that load it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import ipywidgets
from torch import Tensor, nn

from ..state_dict import explain
from .interactive import Interactive, table

SHOWN = 4


class CheckpointClinic(Interactive):
    """Choose a checkpoint; see its first keys and, once you have an idea yourself, why it does not load."""

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

    def draw(self, checkpoint: str, diagnosis: bool) -> str:
        """The first keys beside those of the model, and what `explain` says if `diagnosis`."""
        found = self.checkpoints[checkpoint]
        columns = first(contents(found)), first(contents(self.model.state_dict()))
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


def first(lines: list[str]) -> str:
    """The first lines as HTML, and how many more there are."""
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "<br>".join(map(escape, [*lines[:SHOWN], *more]))
