"""Which lessons there are, and a lesson as nobody has run it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from nbformat import NotebookNode

from ..my_lessons import without_outputs
from ..places import NOTEBOOKS
from .answers import asked_in
from .errors import ExportError

LINK = re.compile(r"\[([^\]]+)\]\(([\w/]+\.ipynb)\)")


def chosen_lessons(numbers: Sequence[str]) -> list[str]:
    """The names of the notebooks of these lessons, of all if there are no numbers; ExportError if one is not known."""
    known = {path.name[:2]: path.name for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    for number in numbers:
        if number not in known:
            raise ExportError(f"there is no lesson {number!r}; there are {', '.join(known)}")
    return [name for number, name in known.items() if number in (numbers or known)]


@cache
def exercises_of_lessons() -> dict[str, dict[str, str]]:
    """The lessons that are here: name of a notebook -> number of an exercise -> the function that it asks for."""
    found = {name: asked_in(without_outputs(NOTEBOOKS / name)) for name in chosen_lessons(())}
    return {name: asked for name, asked in found.items() if asked}


@cache
def points(lesson: str) -> dict[str, int]:
    """What the exercises of a lesson are worth: the minutes that it gives them, so that everybody knows.

    Args:
        lesson: the name of its notebook.

    Raises:
        ExportError: the heading of an exercise does not end in its minutes.
    """
    cells = without_outputs(NOTEBOOKS / lesson).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = dict(re.findall(r"^### Exercise ([\d.]+) .*\((\d+) minutes\)$", prose, flags=re.M))
    for exercise in exercises_of_lessons()[lesson]:
        if exercise not in found:
            raise ExportError(f"the heading of exercise {exercise} should end in its minutes")
    return {exercise: int(found[exercise]) for exercise in exercises_of_lessons()[lesson]}


def with_links(lesson: str, places: Mapping[str, str]) -> NotebookNode:
    """A lesson that nobody has run, in another place.

    Args:
        lesson: the name of its notebook.
        places: where the other notebooks lie, seen from there; of a link to any other notebook, its words remain.
    """
    notebook = without_outputs(NOTEBOOKS / lesson)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda m: f"[{m[1]}]({places[m[2]]})" if m[2] in places else m[1], cell.source)
    return notebook
