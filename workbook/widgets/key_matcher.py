"""Lesson 03: which keys of a checkpoint meet which keys of a model, as renaming rules are ticked."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import ipywidgets
import torch
from torch import Tensor, nn

from helpers.state_dict import LoadReport, match_keys

from .interactive import BOX, Interactive, bar

__all__ = ["KeyMatcher", "make_student_and_teacher"]

# what becomes of a key -> its sign, and its colour in JupyterLab
FATES = {
    "loaded": ("\u2713", "success"),
    "mismatched": ("\u2260", "error"),
    "missing": ("?", "warn"),
    "unexpected": ("\u2717", "info"),
}


class KeyMatcher(Interactive):
    """Tick rules that rename the keys of a checkpoint; see what `load_matching` would load with them."""

    name = "key matcher"

    def __init__(
        self, model: nn.Module, state_dict: Mapping[str, Tensor], rules: Mapping[str, tuple[str, str]]
    ) -> None:
        """
        Args:
            model: what is to be filled; it stays as it is.
            state_dict: the checkpoint.
            rules: what to call a rule -> a regular expression and its replacement. Ticked rules are applied one after
                the other, in this order.
        """
        self.model, self.state_dict, self.rules = model, dict(state_dict), list(rules.values())
        ticks = {f"rule_{i}": _tick(label) for i, label in enumerate(rules)}
        super().__init__(**ticks, hide_loaded=_tick("hide what is loaded"))

    def draw(self, hide_loaded: bool, **ticks: bool) -> str:
        """Counts, and a row for each key: in the checkpoint, in the model, and what becomes of it."""
        rename = [rule for rule, ticked in zip(self.rules, ticks.values(), strict=True) if ticked]
        report = match_keys(self.model, self.state_dict, rename=rename)
        return summary_html(report) + keys_html(report, hide_loaded)


def summary_html(report: LoadReport) -> str:
    """How many keys of each kind, the share of the numbers that is loaded, and what looks wrong."""
    counts = {kind: len(getattr(report, kind)) for kind in FATES}
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    halves = f"<br>Half loaded: {escape(', '.join(report.half_loaded))}." if report.half_loaded else ""
    return f"<p>{said}; {report.coverage:.1%} of the numbers.{halves}</p>{bar(report.coverage)}"


def keys_html(report: LoadReport, hide_loaded: bool) -> str:
    """Two columns of keys that belong together, in a box that scrolls."""
    olds = {new: old for old, new in report.renamed.items()}
    cells = 'style="text-align: left; padding: 0 1em 0 0.5em"'
    rows = []
    for kind, key, remark in report.rows():
        if kind == "loaded" and hide_loaded:
            continue
        in_checkpoint = "" if kind == "missing" else olds.get(key, key)
        in_model = "" if kind == "unexpected" else key
        if kind == "unexpected" and key in olds:
            remark = f"renamed to {key}"
        sign, colour = FATES[kind]
        fate = f"{sign} {kind}" + (f": {remark}" if remark and kind in ("mismatched", "unexpected") else "")
        edge = f'style="text-align: left; padding: 0 0.5em; border-left: 4px solid var(--jp-{colour}-color1)"'
        rows.append(
            f"<tr><td {edge}>{escape(in_checkpoint)}</td><td {cells}>{escape(in_model)}</td>"
            f"<td {cells}>{escape(fate)}</td></tr>"
        )
    head = "".join(f'<th scope="col" {cells}>{title}</th>' for title in ("in the checkpoint", "in the model", "result"))
    return (
        f'<div tabindex="0" role="region" aria-label="keys" style="{BOX}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _tick(label: str) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(description=label, indent=False, layout={"width": "auto", "margin": "0 1em 0 0"})


def make_student_and_teacher(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VGG twice, as programs for self-supervised training save it; the teacher shares the tensors of `state_dict`.

    The student stands for an earlier state: it has noise added, half as large as the tensor's own spread.
    """
    noise = torch.Generator().manual_seed(0)
    checkpoint = {}
    for key, tensor in state_dict.items():
        other = key.replace("features.", "backbone.").replace("classifier.", "head.")
        spread = tensor.std(correction=0)
        checkpoint[f"student.module.{other}"] = tensor + spread / 2 * torch.randn(tensor.shape, generator=noise)
        checkpoint[f"teacher.{other}"] = tensor
    return checkpoint
