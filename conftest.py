"""How tests run, notebooks among them: in which order, which take long, and which are about one lesson."""

import json
import os
import re
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from forked_kernel import kernels_forked

os.environ["WORKBOOK_PROGRESS"] = ""  # what the learner has passed is left alone


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lesson", default="", help="two digits: only what is about this lesson")


def pytest_configure(config: pytest.Config) -> None:
    """All kernels of this run are forks of one process; the workers of pytest-xdist inherit the variables."""
    if hasattr(config, "workerinput"):
        return
    kernels = ExitStack()
    folder = kernels.enter_context(TemporaryDirectory(prefix="kernels-"))
    kernels.enter_context(kernels_forked(Path(folder)))
    config.add_cleanup(kernels.close)


@cache
def is_long(path: Path) -> bool:
    """A notebook cannot mark itself: one of its cells has the tag."""
    if path.suffix != ".ipynb":
        return False
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return any("long" in cell["metadata"].get("tags", []) for cell in cells)


def is_about(item: pytest.Item, lesson: str) -> bool:
    """Its notebook and solution, test files with its number, and in shared files the tests of its exercises."""
    name = rf"(?<!\d){lesson}_\w+|_{lesson}\.py"
    return bool(re.search(rf"{name}|[\[ -]{int(lesson)}\.\d", item.nodeid))


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Notebooks first, then files with slow tests, then the rest: so no worker is left alone with a long one."""
    lesson = config.getoption("--lesson")
    if lesson:
        items[:] = [item for item in items if is_about(item, lesson)]
    for item in items:
        if is_long(item.path):
            item.add_marker("long")
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> int:
        if item.path.suffix == ".ipynb":
            return 0
        return 1 if item.path in slow else 2

    items.sort(key=place)  # stable: within a file, nothing changes its place
