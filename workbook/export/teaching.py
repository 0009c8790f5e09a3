"""One page for teachers, made from the lessons and their exercises: TEACHING.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat

from ..exercises import find
from ..lessons import LESSONS, Lesson
from ..places import NOTEBOOKS
from .notebooks import points

MISTAKES = 4  # of each exercise that the page names
SIX_WEEKS = (("00", "02"), ("03",), ("04",), ("05",), ("07",), ("08",))
TWELVE_WEEKS = (
    *(("00",), ("02",), ("03",), ("04",), ("05",), ("06",)),
    *(("07",), ("08",), ("01",), ("09",), ("09",), ()),
)

TEMPLATE = Path(__file__).with_name("teaching_page.txt")


def teaching_page() -> str:
    """The page, in Markdown."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        lessons=_lessons(), six_weeks=_plan(SIX_WEEKS), twelve_weeks=_plan(TWELVE_WEEKS), mistakes=_mistakes()
    )


def _lessons() -> str:
    rows = ["| lesson | afterwards they can answer | needs | reading | exercises |", "|---|---|---|---|---|"]
    for lesson in LESSONS:
        own = points(lesson.notebook)
        needs = ", ".join(lesson.needs) or "nothing"
        link = f"[{lesson.number} {lesson.title}](notebooks/{lesson.notebook})"
        worth = sum(own.values())
        rows.append(f"| {link} | {lesson.question} | {needs} | {lesson.minutes - worth} | {worth} |")
    whole = sum(sum(points(lesson.notebook).values()) for lesson in LESSONS)
    return "\n".join([*rows, f"\nAll is in minutes; those of the exercises are their points, {whole} in all."])


def _plan(weeks: Sequence[Sequence[str]]) -> str:
    here = {lesson.number: lesson for lesson in LESSONS}
    rows = ["| week | lessons | minutes |", "|---|---|---|"]
    for week, numbers in enumerate(weeks, start=1):
        chosen = [here[number] for number in numbers]
        shared = [lesson.minutes // sum(lesson.number in other for other in weeks) for lesson in chosen]
        names = ", ".join(f"{lesson.number} {lesson.title}" for lesson in chosen) or "the reports on the capstone"
        rows.append(f"| {week} | {names} | {sum(shared) or 90} |")
    return "\n".join(rows)


def _mistakes() -> str:
    parts = []
    for lesson in LESSONS:
        titles = _titles(lesson)
        for exercise in points(lesson.notebook):
            parts.append(f"**{exercise} {titles[exercise]}**\n")
            parts += [f"- {cause}" for cause in _causes(exercise)]
            parts.append("")
    return "\n".join(parts).rstrip()


def _titles(lesson: Lesson) -> dict[str, str]:
    notebook = nbformat.read(NOTEBOOKS / lesson.notebook, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return dict(re.findall(r"^### Exercise ([\d.]+) · (.+) \(\d+ minutes\)$", prose, flags=re.M))


def _causes(exercise: str) -> list[str]:
    """The first of its mistakes whose cause is a sentence."""
    causes = dict.fromkeys(mistake.cause for mistake in find(exercise).mistakes)
    sentences = [cause for cause in causes if re.match(r"[a-z]+ ", cause) and cause.endswith(".")]
    return [cause[0].upper() + cause[1:] for cause in sentences[:MISTAKES]]
