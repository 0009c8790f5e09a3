"""What a reader of a lesson must hold, as numbers.

usage: python tests/support/anatomy.py     (a table of all lessons)
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from workbook.lessons import reading_minutes
from workbook.places import NOTEBOOKS

NOT_COUNTED = {"check", "hint", "plots", "widgets", "is_here"}  # of `workbook`
PROOF, RECIPE = "hide-input", "recipe"


@dataclass(frozen=True)
class Anatomy:
    """Of one lesson: words and minutes without exercises, names it brings, lengths, and what should not be."""

    words: int
    minutes: float
    names: tuple[str, ...]
    longest_line: int
    longest_cell: int
    open_asserts: int
    silent_pictures: int


def anatomy(path: Path, seconds: float) -> Anatomy:
    """Of the lesson in `path`, whose cells run that long."""
    notebook = nbformat.read(path, as_version=4)
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [cell for cell in code if not is_stub(cell) and not {PROOF, RECIPE} & tags(cell)]
    words = sum(len(re.findall(r"\w+", source)) for source in text)
    predictions = sum(source.count("**Predict:**") for source in text)
    lines = [line for cell in code for line in cell.source.splitlines()]
    return Anatomy(
        words,
        reading_minutes(words, len(shown), predictions, seconds),
        names([cell.source for cell in code if RECIPE not in tags(cell)]),
        max(map(len, lines)),
        max(map(length, shown)),
        sum(len(re.findall(r"^\s*assert\b", without_setup(cell), flags=re.M)) for cell in shown),
        sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs),
    )


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def is_stub(cell: NotebookNode) -> bool:
    return bool(re.search(r"^check\(", cell.source, flags=re.M))


def length(cell: NotebookNode) -> int:
    return sum(1 for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#"))


def without_setup(cell: NotebookNode) -> str:
    return re.sub(r"^    assert workbook\.is_here.*", "", cell.source, flags=re.M)


def names(sources: list[str]) -> tuple[str, ...]:
    """What is used of `helpers` and `workbook`: imported names, and the members used of imported modules."""
    trees = [ast.parse(source) for source in sources]
    imported: dict[str, str] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("helpers", "workbook"):
            imported |= {(alias.asname or alias.name): f"{node.module}.{alias.name}" for alias in node.names}
    modules = {name for name, full in imported.items() if full in {f"workbook.{name}" for name in MODULES}}
    found = {name for name in imported if name not in modules}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add(f"{node.value.id}.{node.attr}")
    return tuple(sorted(name for name in found if name.split(".")[0] not in NOT_COUNTED))


MODULES = ("data", "networks", "plots", "widgets", "wren", "training")


def main() -> None:
    print("lesson  words  minutes  names  line  cell  asserts  pictures")
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        found = anatomy(path, seconds=0)
        print(
            f"{path.name[:2]:6} {found.words:6} {found.minutes:8.0f} {len(found.names):6} {found.longest_line:5} "
            f"{found.longest_cell:5} {found.open_asserts:8} {found.silent_pictures:9}"
        )


if __name__ == "__main__":
    main()
