"""What the tests of all lessons need: a recipe, what a check says, and the notebook on real weights."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.exercises import check

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


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


def outcome(exercise: str, answer: Any) -> tuple[str, str]:
    """What `check` says of an answer: its kind, and the text."""
    feedback = check(exercise, answer)
    return feedback.kind, feedback.text


def mistakes(named: dict[str, dict[str, tuple[Any, str]]]) -> list[Any]:
    """For parametrize: exercise, wrong answer, cause that its check must name; from exercise -> name -> the two."""
    return [
        pytest.param(exercise, answer, cause, id=f"{exercise} {name}")
        for exercise, wrong in named.items()
        for name, (answer, cause) in wrong.items()
    ]


def expect_passed(exercise: str, answer: Any) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "passed", text


def expect_not_yet(exercise: str, answer: Any, cause: str) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not yet", text
    assert cause in text


def printed_with_real(notebook: str, shorter: dict[str, str] | None = None) -> str:
    """What a lesson prints when its switch REAL is set; `shorter` puts a smaller job in the place of a larger one."""
    lesson = nbformat.read(NOTEBOOKS / notebook, as_version=4)
    for old, new in {"\nREAL = False": "\nREAL = True", **(shorter or {})}.items():
        assert any(old in cell.source for cell in lesson.cells), old
        for cell in lesson.cells:
            cell.source = cell.source.replace(old, new)
    NotebookClient(lesson, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    return "".join(o.text for cell in lesson.cells for o in cell.get("outputs", []) if o.get("name") == "stdout")
