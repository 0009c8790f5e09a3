"""What tests of exercises ask of a check: which answers pass, and what wrong ones are told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from workbook import check


def outcome(exercise: str, answer: Any) -> tuple[str, str]:
    """What `check` says of an answer: its kind, and the text."""
    feedback = check(exercise, answer)
    return feedback.kind, feedback.text


def expect_passed(exercise: str, answer: Any) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "passed", text


def expect_not_yet(exercise: str, answer: Any, cause: str) -> None:
    """It is refused, and told this cause; the learner's own line, which is quoted, may hold the same words."""
    kind, text = outcome(exercise, answer)
    assert kind == "not yet", text
    said = re.sub("^It happened in: .*", "", text, flags=re.M)
    assert said.count(cause) == 1, text


def expect_not_attempted(exercise: str, answer: Any) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not attempted", text


def mistakes(named: dict[str, dict[str, tuple[Any, str]]]) -> list[Any]:
    """For parametrize: exercise, wrong answer, cause that its check must name; from exercise -> name -> the two."""
    return [
        pytest.param(exercise, answer, cause, id=f"{exercise} {name}")
        for exercise, wrong in named.items()
        for name, (answer, cause) in wrong.items()
    ]


def named(answers: Iterable[tuple[Any, ...]]) -> list[Any]:
    """For parametrize: rows of exercise, answer and the rest, called by exercise, place and the answer's name."""
    return [
        pytest.param(*row, id=f"{row[0]}-{place}-{getattr(row[1], '__name__', type(row[1]).__name__)}")
        for place, row in enumerate(answers)
    ]
