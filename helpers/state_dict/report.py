"""What a partial load did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

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
            key: f"{mine} in the checkpoint, {yours} in the model" for key, (mine, yours) in self.mismatched.items()
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
        rows = self.rows()
        widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self.summary()])

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        body = "".join(
            f'<tr><td style="text-align: left; border-left: 4px solid var(--jp-{COLOURS[kind]}-color1)">{kind}</td>'
            f"<td {left}>{escape(key)}</td><td {left}>{escape(remark)}</td></tr>"
            for kind, key, remark in self.rows()
        )
        summary = escape(self.summary()).replace("\n", "<br>")
        return f"<table><tbody>{body}</tbody></table><p>{summary}</p>"
