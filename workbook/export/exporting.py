"""Write lessons into a new folder: all of it or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..places import WORKBOOK
from .course import write_course
from .errors import ExportError
from .handout import write_handout
from .notebooks import chosen_lessons
from .updating import write_manifest


def export(folder: Path, numbers: Sequence[str] = (), nbgrader: bool = False) -> list[str]:
    """Write lessons without solutions into a new folder: all of it or nothing.

    Args:
        folder: not inside the workbook; it does not exist yet, or is empty.
        numbers: lessons, such as "01"; all if there are none.
        nbgrader: write a course for nbgrader, with solutions in its `source`, instead of a workbook for students.

    Returns:
        The names of the exported notebooks.

    Raises:
        ExportError: there is no such lesson, the folder is not fit, or an exercise and its solution do not match.
    """
    target, lessons = folder.resolve(), chosen_lessons(numbers)
    if target == WORKBOOK or WORKBOOK in target.parents:
        raise ExportError(f"{folder} is inside the workbook; name a folder outside of it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"{folder} is there already, and is not an empty folder")
    if not target.parent.is_dir():
        raise ExportError(f"there is no folder {target.parent}")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        made = Path(temporary, target.name)
        made.mkdir()
        if nbgrader:
            write_course(made, lessons)
        else:
            write_handout(made, lessons)
            write_manifest(made, lessons)
        if target.exists():  # empty; Windows renames onto nothing that is there
            target.rmdir()
        made.rename(target)
    return lessons
