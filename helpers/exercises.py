"""The learner's feedback: `check("1.2", answer)` and `hint("1.2")`.

A check has three outcomes: passed, not yet (what was expected, what came, and the likely cause), not attempted.
It never raises because of the learner's answer, so a fresh lesson runs from its first cell to its last.
The checks of each lesson stand in `helpers/checks/`. What is passed is remembered, see `helpers/progress.py`.
"""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import Any

from . import progress
from .checks.feedback import Exercise, NotAttempted, NotYet
from .lessons import LESSONS

COLOURS = {
    "passed": "var(--jp-success-color1, #388e3c)",
    "not yet": "var(--jp-warn-color1, #f57c00)",
    "not attempted": "var(--jp-border-color1, #9e9e9e)",
    "hint": "var(--jp-info-color1, #0097a7)",
}
_hints_given: Counter[str] = Counter()


@dataclass(frozen=True)
class Feedback:
    """What a learner sees: a heading of one of the kinds in `COLOURS` and a text."""

    exercise: str
    kind: str
    text: str

    def __repr__(self) -> str:
        return f"{self.exercise} {self.kind}: {self.text}"

    def _repr_html_(self) -> str:
        text = escape(self.text).replace("\n", "<br>")
        return (
            f'<div role="status" style="border-left: 4px solid {COLOURS[self.kind]}; padding: 0.2em 0.8em">'
            f"<b>{self.exercise} {self.kind}</b><br>{text}</div>"
        )


def check(exercise: str, answer: Any) -> Feedback:
    """Compare the learner's answer with what the exercise asks for.

    Args:
        exercise: its number as the lesson gives it, for instance `"1.2"`.
        answer: what the lesson asks to hand in, most often a function.

    Raises:
        KeyError: there is no such exercise.
    """
    found = _find(exercise)
    try:
        found.verify(answer)
    except NotAttempted:
        return Feedback(
            exercise, "not attempted", f"replace the dots and run the cell again; hint({exercise!r}) helps."
        )
    except NotYet as difference:
        return Feedback(exercise, "not yet", str(difference))
    except Exception as error:  # an answer so unusual that comparing it fails is still the learner's to mend
        return Feedback(exercise, "not yet", f"your answer could not be compared: {type(error).__name__}: {error}")
    progress.record(exercise)
    return Feedback(exercise, "passed", found.praise)


def hint(exercise: str) -> Feedback:
    """The next hint of an exercise at each call; after the last one, where its solution stands.

    Raises:
        KeyError: there is no such exercise.
    """
    found = _find(exercise)
    number = _hints_given[exercise]
    _hints_given[exercise] += 1
    if number < len(found.hints):
        return Feedback(exercise, "hint", f"({number + 1} of {len(found.hints)}) {found.hints[number]}")
    number = f"{int(exercise.split('.')[0]):02d}"
    where = next(lesson.notebook for lesson in LESSONS if lesson.number == number)
    return Feedback(exercise, "hint", f"that was the last one; the solution stands in notebooks/solutions/{where}.")


def _find(exercise: str) -> Exercise:
    if not isinstance(exercise, str):
        raise KeyError(f"write the number of the exercise in quotes: {str(exercise)!r}")
    lesson = exercise.split(".")[0]
    try:
        module = importlib.import_module(f"{__package__}.checks.lesson_{int(lesson):02d}")
        return module.EXERCISES[exercise]
    except (ValueError, ModuleNotFoundError, KeyError):
        raise KeyError(f"there is no exercise {exercise!r}; they are numbered like '1.2'") from None
