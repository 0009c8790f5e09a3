"""What students get: a workbook with some lessons, ready for `make lab`, without solutions, tests and results."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat

from ..progress import WORKBOOK
from .errors import ExportError
from .notebooks import without_outputs

# benchmarks and the scripts in data are what lessons and data/README.md speak of
FOLDERS = ("helpers", "data", "benchmarks")
FILES = (".ci/setup", ".gitattributes", ".gitignore", "LICENSE", "LICENSE-TEXT", "environment.yml", "pyproject.toml")
CACHES = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")

README = """{title}

Lessons with exercises that answer you at once, and give hints if you ask for them. The solutions are with your teacher.

{start}

## Lessons

| lesson | the question it answers |
|---|---|
{rows}

Code is under the [MIT licence](LICENSE), text and pictures are under [CC BY 4.0](LICENSE-TEXT).
"""
LAST_HINT, WITHOUT_SOLUTIONS = "the solution stands in notebooks/solutions/{where}.", "your teacher has the solution."


def write_handout(folder: Path, lessons: Sequence[str]) -> None:
    """Fill a folder for students; `lessons` are names of notebooks."""
    for name in FOLDERS:
        shutil.copytree(WORKBOOK / name, folder / name, ignore=CACHES)
    (folder / ".ci").mkdir()
    for name in FILES:
        shutil.copy(WORKBOOK / name, folder / name)
    (folder / "README.md").write_text(_readme(_read("README.md"), lessons), encoding="utf-8")
    (folder / "Makefile").write_text(_for_students(_read("Makefile"), lessons[0]), encoding="utf-8")
    exercises = _read("helpers/exercises.py")
    if exercises.count(LAST_HINT) != 1:
        raise ExportError(f"helpers/exercises.py should say once: {LAST_HINT}")
    (folder / "helpers/exercises.py").write_text(exercises.replace(LAST_HINT, WITHOUT_SOLUTIONS), encoding="utf-8")
    (folder / "notebooks").mkdir()
    places = {name: name for name in lessons}
    for name in lessons:
        nbformat.write(without_outputs(name, places), folder / "notebooks" / name)


def _read(name: str) -> str:
    return (WORKBOOK / name).read_text(encoding="utf-8")


def _readme(text: str, lessons: Sequence[str]) -> str:
    """The title, how to start and the rows of these lessons, from the README of the workbook."""
    start = re.search(r"^## Start\n.*?(?=\n\n## )", text, flags=re.M | re.S)
    rows = [line for line in text.splitlines() if any(f"](notebooks/{name}) |" in line for name in lessons)]
    if not start or len(rows) != len(lessons):
        raise ExportError("README.md should have a section '## Start' and one row for each lesson")
    return README.format(title=text.splitlines()[0], start=_for_students(start[0], lessons[0]), rows="\n".join(rows))


def _for_students(text: str, first: str) -> str:
    """The Makefile, or what is said of it, without tests; it opens the first lesson that is there."""
    rules = [part for part in text.split("\n\n") if not part.startswith(("test:", "notebooks:"))]
    text = re.sub(r"^(# )?make (test|test-all|notebooks) .*\n", "", "\n\n".join(rules), flags=re.M)
    variable = re.compile(r"(?:^#.*\n)*^(\w+) =.*\n", flags=re.M)
    text = variable.sub(lambda found: found[0] if f"$({found[1]})" in text else "", text)
    return text.replace(".PHONY: lab test test-all notebooks", ".PHONY: lab").replace("00_start_here.ipynb", first)
