"""What a partial load did, and what is known of names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from ..text import html_table, text_table

Shape = tuple[int, ...]
COLOURS = {"loaded": "success", "mismatched": "error", "missing": "warn", "unexpected": "info"}  # of JupyterLab


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor of a checkpoint and of a model.

    Attributes:
        loaded: keys of the model that now hold what the checkpoint has.
        missing: keys of the model that the checkpoint does not have; they are as they were.
        unexpected: keys of the checkpoint that the model does not have.
        mismatched: keys that both have -> shape in the checkpoint, shape in the model; they are as they were.
        renamed: keys of the checkpoint -> the names they were loaded, or would have been loaded, under.
        half_loaded: modules that got some of their tensors but not others, which mostly means a wrong match.
        coverage: share of the numbers in the parameters and floating-point buffers that were loaded, from 0 to 1.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    half_loaded: tuple[str, ...] = ()
    coverage: float = 0.0

    def rows(self) -> list[tuple[str, str, str]]:
        """(what became of it, key, remark), loaded ones last."""
        came_from = {new: f"was {old}" for old, new in self.renamed.items()}
        shapes = {
            key: f"{in_checkpoint} in the checkpoint, {in_model} in the model"
            for key, (in_checkpoint, in_model) in self.mismatched.items()
        }
        rows = [("mismatched", key, shapes[key]) for key in self.mismatched]
        rows += [("missing", key, "") for key in self.missing]
        rows += [("unexpected", key, "") for key in self.unexpected]
        return rows + [("loaded", key, came_from.get(key, "")) for key in self.loaded]

    def summary(self) -> str:
        """One line, and one more for what looks wrong."""
        counts = (
            f"{len(self.loaded)} loaded ({percent(self.coverage)} of the numbers), "
            f"{len(self.mismatched)} mismatched, {len(self.missing)} missing, {len(self.unexpected)} unexpected"
        )
        halves = f"\nonly half loaded, look at them: {', '.join(self.half_loaded)}" if self.half_loaded else ""
        return counts + halves

    def __repr__(self) -> str:
        return "\n".join([*text_table(self.rows()), self.summary()])

    def _repr_html_(self) -> str:
        colours = [f"var(--jp-{COLOURS[kind]}-color1)" for kind, *_ in self.rows()]
        summary = escape(self.summary()).replace("\n", "<br>")
        return f"{html_table(self.rows(), colours=colours)}<p>{summary}</p>"


def percent(share: float) -> str:
    """Rounded down, so that 100 % is all."""
    return f"{math.floor(share * 1000 + 1e-9) / 10:.1f}%"


@dataclass(frozen=True)
class RenameSuggestion:
    """What is known of a checkpoint's names.

    Attributes:
        mapping: names of the checkpoint -> names of the model; for `load_matching(..., rename=...)`. A name that
            would stand in the way of another, or is ambiguous and would be loaded all the same because the model has
            it too, becomes `unmatched.<name>`.
        why: the same names of the checkpoint -> the evidence, one of six; `NUMBERED` and `ORDER` are likely, not
            certain.
        ambiguous: groups of modules of the checkpoint and of the model with the same shapes, between which nothing
            decides.
        unmatched: modules of the checkpoint for whose shapes the model has nothing left.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    ambiguous: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    unmatched: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"{count} tensors: {reason}" for reason, count in Counter(self.why.values()).items()]
        for of_checkpoint, of_model in self.ambiguous:
            lines.append(f"ambiguous: {' '.join(of_checkpoint)} could be {' '.join(of_model)}")
        if self.unmatched:
            lines.append(f"nothing fits: {' '.join(self.unmatched)}")
        return "\n".join(lines) or "nothing matches"
