"""Which exercises this learner has passed: one empty file each, in the folder `.progress` of the workbook.

`WORKBOOK_PROGRESS` names another folder; empty, it switches remembering off, as `conftest.py` does for the tests. So
does `CI`, unless a folder is named.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from .places import WORKBOOK


def folder() -> Path | None:
    """Where passed exercises are kept, or None if they are not."""
    default = "" if os.environ.get("CI") else WORKBOOK / ".progress"
    named = os.environ.get("WORKBOOK_PROGRESS", default)
    return Path(named).expanduser() if named else None


def record(exercise: str) -> None:
    """Remember that `exercise` is passed; not from a solution, and not where nothing can be written."""
    kept = folder()
    if kept is None or Path.cwd().name == "solutions":
        return
    with suppress(OSError):
        kept.mkdir(parents=True, exist_ok=True)
        (kept / exercise).touch()


def passed() -> frozenset[str]:
    """The numbers of the exercises passed so far, such as "1.2"; none if the folder cannot be read."""
    kept = folder()
    with suppress(OSError):
        if kept is not None:
            return frozenset(path.name for path in kept.iterdir() if re.fullmatch(r"\d+\.\d+", path.name))
    return frozenset()


def reset() -> None:
    """Forget all of them.

    Raises:
        OSError: the folder cannot be written.
    """
    kept = folder()
    if kept is not None:
        for exercise in passed():
            (kept / exercise).unlink(missing_ok=True)
