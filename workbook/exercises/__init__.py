"""The exercises: each is one file, `lesson_05/exercise_5_1.py`, found by its number; nothing has to be registered."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from .checking import Exercise

FOLDER = Path(__file__).parent


def numbers(lesson: str) -> tuple[str, ...]:
    """The exercises of a lesson, such as "5.1"; nothing is imported for it.

    Args:
        lesson: its two digits, such as "05".
    """
    files = (FOLDER / f"lesson_{lesson}").glob("exercise_*.py")
    found = [file.stem.removeprefix("exercise_").replace("_", ".") for file in files]
    return tuple(sorted(found, key=lambda number: int(number.split(".")[1])))


def find(number: str) -> Exercise:
    """The exercise of this number, such as "1.2".

    Raises:
        KeyError: there is none; the message says how they are numbered.
    """
    parts = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", number) if isinstance(number, str) else None
    lesson = f"{int(parts[1]):02d}" if parts else ""
    if not parts or number not in numbers(lesson):
        raise KeyError(f"there is no exercise {number!r}; they are numbered like '1.2', and written in quotes")
    name = number.replace(".", "_")
    return importlib.import_module(f".lesson_{lesson}.exercise_{name}", __name__).EXERCISE
