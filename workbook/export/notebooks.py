"""Which lessons there are, and a lesson as nobody has run it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nbformat import NotebookNode

from ..my_lessons import without_outputs
from ..places import NOTEBOOKS
from .errors import ExportError

LINK = re.compile(r"\[([^\]]+)\]\(([\w/]+\.ipynb)\)")


def chosen_lessons(numbers: Sequence[str]) -> list[str]:
    """The names of the notebooks of these lessons, of all if there are no numbers; ExportError if one is not known."""
    known = {path.name[:2]: path.name for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    for number in numbers:
        if number not in known:
            raise ExportError(f"there is no lesson {number!r}; there are {', '.join(known)}")
    return [name for number, name in known.items() if number in (numbers or known)]


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
