"""What a partial load did."""

from __future__ import annotations

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
        coverage: share of the model's parameters, counted in numbers, that were loaded; between 0 and 1.
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
            f"{len(self.loaded)} loaded ({self.coverage:.1%} of the parameters), {len(self.mismatched)} mismatched, "
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected"
        )
        halves = f"\nonly half loaded, look at them: {', '.join(self.half_loaded)}" if self.half_loaded else ""
        return counts + halves

    def __repr__(self) -> str:
        return "\n".join([*text_table(self.rows()), self.summary()])

    def _repr_html_(self) -> str:
        colours = [f"var(--jp-{COLOURS[kind]}-color1)" for kind, *_ in self.rows()]
        summary = escape(self.summary()).replace("\n", "<br>")
        return f"{html_table(self.rows(), colours=colours)}<p>{summary}</p>"
