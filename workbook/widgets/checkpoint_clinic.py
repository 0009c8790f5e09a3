"""Lesson 02: what is in a checkpoint, why it does not load, and the lines that load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets
from torch import Tensor, nn

from helpers.state_dict import explain

from .interactive import BOX, Interactive, plain_table

__all__ = ["CheckpointClinic", "make_patients"]

MARK = "\u2717"
KEYS = "keys of the checkpoint and of the model"
FRAME = f"{BOX}; border: 1px solid var(--jp-border-color2, #bdbdbd); padding: 0 1em"
# What Python cannot set: the heads of the lists stay where they are while the lists scroll, and the first line with a
# mark is in sight.
FOR_BROWSERS = f"""<style onload="
    const box = this.closest('[role=region]'), first = box.querySelector('b') ?? box
    box.scrollTop = first.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 2
">
    [aria-label="{KEYS}"] thead {{ position: sticky; top: 0; background: var(--jp-layout-color0, white) }}
</style>"""


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

    def update(self, change: object = None) -> None:
        """Draw anew; the next patient is looked at first, so its diagnosis is hidden."""
        is_next = isinstance(change, Mapping) and change["owner"] is self.controls["checkpoint"]
        if is_next and self.controls["diagnosis"].value:
            self.controls["diagnosis"].value = False  # which draws
            return
        super().update(change)

    def draw(self, checkpoint: str, diagnosis: bool) -> str:
        """Its keys beside those of the model, and what `explain` says if `diagnosis`."""
        in_checkpoint, in_model = contents(self.checkpoints[checkpoint]), contents(self.model.state_dict())
        if not diagnosis:
            return scrolling([escape(line) for line in in_checkpoint], [escape(line) for line in in_model])
        explanation = explain(self.model, self.checkpoints[checkpoint])
        causes = "".join(f"<li>{escape(cause)}</li>" for cause in explanation.causes)
        said = f"<p>Lines with {MARK} have no partner of the same name and shape.</p><ul>{causes}</ul>"
        lists = scrolling(marked(in_checkpoint, in_model), marked(in_model, in_checkpoint))
        return f"{lists}{said}<pre>{escape(explanation.fix)}</pre>"


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


def marked(lines: Sequence[str], others: Sequence[str]) -> list[str]:
    """HTML of lines; those that are not among `others` are bold and have a mark."""
    return [escape(line) if line in others else f"<b>{MARK} {escape(line)}</b>" for line in lines]


def scrolling(in_checkpoint: Sequence[str], in_model: Sequence[str]) -> str:
    """Lines of the checkpoint and of the model, HTML already, in one box that scrolls, by keyboard, too."""
    lists = plain_table(("the checkpoint has", "the model has"), [("<br>".join(in_checkpoint), "<br>".join(in_model))])
    return f'<div tabindex="0" role="region" aria-label="{KEYS}" style="{FRAME}">{FOR_BROWSERS}{lists}</div>'


def make_patients(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, object]]:
    """Six checkpoints of one VGG, each with another complaint; they share the tensors of `state_dict`."""
    head = {
        key: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for key, tensor in state_dict.items() if "classifier.6" in key
    }
    features = {key: tensor for key, tensor in state_dict.items() if key.startswith("features.")}
    complaints: list[dict[str, object]] = [
        {f"module.{key}": tensor for key, tensor in state_dict.items()},
        {"epoch": 90, "state_dict": dict(state_dict)},
        {"model": {f"_orig_mod.{key}": tensor for key, tensor in state_dict.items()}},
        {**state_dict, **head},
        {key: tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor for key, tensor in state_dict.items()},
        {key.removeprefix("features."): tensor for key, tensor in features.items()},
    ]
    return {f"patient {number}": complaint for number, complaint in enumerate(complaints, start=1)}
