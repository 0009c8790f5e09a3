"""Which file of the two houses imports which, read from their source: imports in functions and for types count, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from workbook.places import WORKBOOK

HOUSES = ("helpers", "workbook")
FILES = sorted(file for house in HOUSES for file in (WORKBOOK / house).rglob("*.py"))


def imports() -> dict[Path, set[Path]]:
    """File -> the files that it imports, of both houses."""
    return {file: set(_imported(file)) - {file} for file in FILES}


def room_of(file: Path) -> str:
    """`helpers/heads` for what lies in this folder, `helpers` for what lies in the house itself."""
    house, *inside = file.relative_to(WORKBOOK).parts
    return f"{house}/{inside[0]}" if len(inside) > 1 else house


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(WORKBOOK.joinpath(*alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if node.level else WORKBOOK
            module = base.joinpath(*node.module.split(".")) if node.module else base
            for alias in node.names:
                inside = list(_files(module / alias.name))
                yield from inside or _files(module)


def _files(module: Path) -> Iterator[Path]:
    """The file of a module, if it is one of the houses'."""
    for file in (module.with_name(f"{module.name}.py"), module / "__init__.py"):
        if file in FILES:
            yield file
