"""The recipes as the notebook has them: its cells, and the names of the functions that they define."""

from __future__ import annotations

import ast

import nbformat
from lesson import NOTEBOOKS

NOTEBOOK = "recipes.ipynb"
CELLS = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
SOURCES = [cell.source for cell in CELLS if cell.cell_type == "code"]


def functions(source: str) -> list[ast.FunctionDef]:
    """The functions that a cell defines."""
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


NAMES = [functions(source)[0].name for source in SOURCES]
