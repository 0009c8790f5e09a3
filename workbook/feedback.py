"""The learner's feedback: `check("1.2", answer)` and `hint("1.2")`.

A check has three outcomes: passed, not yet (what was expected, what came, and the likely cause), not attempted.
It never raises because of the learner's answer, so a fresh lesson runs from its first cell to its last.
The exercises stand in `workbook/exercises/`. What is passed is remembered, see `workbook/progress.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython import get_ipython
from IPython.display import display

from helpers.random_states import random_states_kept

from . import progress
from .exercises import find
from .exercises.checking import Exercise, NotAttempted, NotYet, describe, shorten
from .places import NOTEBOOKS

COLOURS = {
    "passed": "var(--jp-success-color1, #388e3c)",
    "not yet": "var(--jp-warn-color1, #f57c00)",
    "not attempted": "var(--jp-border-color1, #9e9e9e)",
    "hint": "var(--jp-info-color1, #0097a7)",
}
_hints_given: Counter[str] = Counter()


@dataclass
class Feedback:
    """What a learner sees: a heading of one of the kinds in `COLOURS` and a text."""

    exercise: str
    kind: str
    text: str
    _shown_by: int = field(default=0, init=False, compare=False)  # the cell that has shown it

    def __repr__(self) -> str:
        return f"{self.exercise} {self.kind}: {self.text}"

    def _repr_html_(self) -> str:
        text = escape(self.text).replace("\n", "<br>")
        return (
            f'<div role="status" style="border-left: 4px solid {COLOURS[self.kind]}; padding: 0.2em 0.8em">'
            f"<b>{self.exercise} {self.kind}</b><br>{text}</div>"
        )

    def _ipython_display_(self) -> None:
        """Show it, once in a cell: where `check` stands, and not again if that is the last line."""
        shell = get_ipython()
        if shell and shell.execution_count != self._shown_by:
            self._shown_by = shell.execution_count
            display({"text/plain": repr(self), "text/html": self._repr_html_()}, raw=True)


def _show(feedback: Feedback) -> Feedback:
    feedback._ipython_display_()
    return feedback


def check(exercise: str, answer: Any) -> Feedback:
    """Compare the learner's answer with what the exercise asks for, and show what is to be said of it.

    What is global stays what it is: the random states, torch's default device and dtype, whether gradients, autocast,
    anomaly detection and deterministic algorithms are on, numpy's treatment of errors, and the working folder.

    Args:
        exercise: its number as the lesson gives it, for instance `"1.2"`.
        answer: what the lesson asks to hand in, most often a function.

    Raises:
        KeyError: there is no such exercise, or the two are exchanged.
    """
    return _show(judge(exercise, answer))


def hint(exercise: str) -> Feedback:
    """The next hint of an exercise at each call; after the last one, where its solution stands.

    Raises:
        KeyError: there is no such exercise.
    """
    hints = find(_quoted(exercise)).hints
    number = _hints_given[exercise]
    _hints_given[exercise] += 1
    if number < len(hints):
        return _show(Feedback(exercise, "hint", f"({number + 1} of {len(hints)}) {hints[number]}"))
    lesson = exercise.split(".")[0].zfill(2)
    there = sorted((NOTEBOOKS / "solutions").glob(f"{lesson}_*.ipynb"))  # none in a handout
    solution = (
        f"the solution stands in notebooks/solutions/{there[0].name}." if there else "your teacher has the solution."
    )
    return _show(Feedback(exercise, "hint", f"that was the last one; {solution}"))


def judge(number: str, answer: Any) -> Feedback:
    """What `check` says, without showing it."""
    return verdict(number, find(_quoted(number, answer)), answer)


def verdict(number: str, exercise: Exercise, answer: Any) -> Feedback:
    """What is to be said of an answer to this exercise."""
    try:
        with _surroundings_kept():
            exercise.verify(answer)
    except NotAttempted:
        return Feedback(number, "not attempted", f"replace the dots and run the cell again; hint({number!r}) helps.")
    except NotYet as difference:
        return Feedback(number, "not yet", shorten(str(difference)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an answer so unusual that comparing it fails is still the learner's to mend
        return Feedback(number, "not yet", f"your answer could not be compared: {describe(error)}")
    progress.record(number)
    return Feedback(number, "passed", exercise.praise)


def _quoted(exercise: object, answer: object = None) -> str:
    if isinstance(exercise, str):
        return exercise
    if isinstance(answer, str):
        raise KeyError(f"the number comes first, then the answer: check({answer!r}, ...)")
    if isinstance(exercise, (int, float)):
        raise KeyError(f"write the number of the exercise in quotes: {str(exercise)!r}")
    raise KeyError(f"an exercise is named by its number in quotes, such as '1.2', not by a {type(exercise).__name__}")


@contextmanager
def _surroundings_kept() -> Iterator[None]:
    """Whatever the answer does to what is global: the rest of the notebook does not notice."""
    device, dtype, gradients = torch.get_default_device(), torch.get_default_dtype(), torch.is_grad_enabled()
    autocast, anomalies = torch.is_autocast_enabled("cpu"), torch.is_anomaly_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    folder = Path.cwd()
    with random_states_kept(), np.errstate():
        try:
            yield
        finally:
            torch.set_default_device(device if device.type != "cpu" else None)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            torch.set_autocast_enabled("cpu", autocast)
            torch.autograd.set_detect_anomaly(anomalies)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            os.chdir(folder)
