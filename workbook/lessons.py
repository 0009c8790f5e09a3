"""The lessons of the workbook: what each says of itself in its first cell, for the map, the README and the tests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .exercises import numbers
from .places import NOTEBOOKS


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        number: two digits, as in the name of its notebook.
        notebook: file name in `notebooks/`, made of number and title.
        title: as its first heading says it.
        question: what it answers, in the words of somebody who has not read it; Markdown.
        minutes: to read it and solve its exercises.
        needs: numbers of the lessons it builds on directly.
    """

    number: str
    notebook: str
    title: str
    question: str
    minutes: int
    needs: tuple[str, ...] = ()

    @property
    def exercises(self) -> tuple[str, ...]:
        """Numbers of its exercises, such as "1.2"."""
        return numbers(self.number)


def name_of(number: str, title: str) -> str:
    """The file name of a lesson; a copy that a learner has made is called otherwise, and is no lesson of its own."""
    words = re.findall(r"\w+", title.lower())
    return f"{number}_{'_'.join(words)}.ipynb"


def read_lesson(path: Path) -> Lesson | None:
    """What the first cell of a notebook says, or None if it does not begin as a lesson does.

    It has the heading `# 04 · Title`, the question in italics as the next paragraph, and a paragraph `**You need**`
    with links to other lessons and "about 85 minutes".
    """
    try:
        source = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    except (ValueError, LookupError, TypeError):  # somebody may have broken it
        return None
    heading = re.match(r"# (\d\d) · (.+)\n\n\*(.+)\*\n\n", source)
    needs = re.search(r"^\*\*You need\*\*.*", source, flags=re.M)
    minutes = re.search(r"about (\d+) minutes", needs[0]) if needs else None
    if not heading or not needs or not minutes:
        return None
    number, title, question = heading.groups()
    links = re.findall(r"\]\((\d\d)_\w+\.ipynb\)", needs[0])
    return Lesson(number, path.name, title, question, int(minutes[1]), tuple(links))


def _lessons() -> tuple[Lesson, ...]:
    found = [read_lesson(path) for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]
    return tuple(lesson for lesson in found if lesson and lesson.notebook == name_of(lesson.number, lesson.title))


WORDS_A_MINUTE = 100  # of prose that is followed with a finger on the code
A_CELL, A_PREDICTION = 0.75, 1.5  # minutes


def reading_minutes(words: int, cells: int, predictions: int, seconds: float) -> float:
    """How long a lesson takes without its exercises.

    Args:
        words: of its text.
        cells: of code that are read and run: not the stubs, the recipe and the folded proofs.
        predictions: that are asked for.
        seconds: that all its cells run on two cores.
    """
    return words / WORDS_A_MINUTE + A_CELL * cells + A_PREDICTION * predictions + seconds / 60


LESSONS = _lessons()
"""Those that are here, in order: a handout may have only some of them."""


def on_the_way(number: str) -> tuple[Lesson, ...]:
    """The lesson and all lessons that it builds on, as far as they are here, first one first; KeyError if it is not."""
    here = {lesson.number: lesson for lesson in LESSONS}
    wanted, found = [here[number]], set()
    while wanted:
        lesson = wanted.pop()
        found.add(lesson)
        wanted += [here[need] for need in lesson.needs if need in here]
    return tuple(lesson for lesson in LESSONS if lesson in found)


def depth(lesson: Lesson) -> int:
    """How many lessons stand between it and one that needs no other, by the longest way, itself counted."""
    here = {other.number: other for other in LESSONS}
    return max((1 + depth(here[need]) for need in lesson.needs if need in here), default=0)


TABLE_HEAD = "| lesson | the question it answers |\n|---|---|"


def markdown_table(chosen: Sequence[Lesson]) -> str:
    """The lessons with their questions, as README shows them."""
    rows = [
        f"| [{lesson.number} {lesson.title}](notebooks/{lesson.notebook}) | {lesson.question} |" for lesson in chosen
    ]
    return "\n".join([TABLE_HEAD, *rows])
