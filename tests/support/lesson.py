"""What the tests of all lessons need: a recipe, and the notebook on real weights."""

import re
from typing import Any

import nbformat
from nbclient import NotebookClient

from workbook.places import NOTEBOOKS


def recipe_of(notebook: str, name: str) -> str:
    """The source of the one cell that defines a function of this name."""
    cells = nbformat.read(NOTEBOOKS / notebook, as_version=4).cells
    (source,) = [cell.source for cell in cells if f"def {name}(" in cell.source]
    return source


def defined(source: str, name: str) -> Any:
    """What a cell defines under a name, when it is run alone."""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace[name]


def run_usage(source: str, replace: dict[str, str], **namespace: Any) -> dict[str, Any]:
    """Run a recipe and its comments from `# import torchvision` on; `replace` puts what is here for what is not."""
    definition, _, usage = source.partition("# import torchvision\n")
    assert usage
    usage = re.sub("^# ", "", usage, flags=re.M)
    for old, new in replace.items():
        assert old in usage
        usage = usage.replace(old, new)
    exec(definition + usage, namespace)
    return namespace


def printed_with_real(notebook: str, shorter: dict[str, str] | None = None) -> str:
    """What a lesson prints when its switch REAL is set; `shorter` puts a smaller job in the place of a larger one."""
    lesson = nbformat.read(NOTEBOOKS / notebook, as_version=4)
    for old, new in {"REAL = False": "REAL = True", **(shorter or {})}.items():
        assert any(old in cell.source for cell in lesson.cells), old
        for cell in lesson.cells:
            cell.source = cell.source.replace(old, new)
    NotebookClient(lesson, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    return "".join(o.text for cell in lesson.cells for o in cell.get("outputs", []) if o.get("name") == "stdout")
