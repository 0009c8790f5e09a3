"""The two houses: helpers never need the workbook, no circles, and rooms need each other as CONTRIBUTING draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from imports import FILES, imports, room_of

from workbook.places import WORKBOOK

IMPORTS = imports()
NODES = {"helpers": "shared", "workbook": "stage"}  # what the files in the houses themselves are called in the drawing


def name(file: Path) -> str:
    return str(file.relative_to(WORKBOOK))


def node(file: Path) -> str:
    room = room_of(file)
    return NODES.get(room, room.rpartition("/")[2])


def test_there_are_files_and_imports() -> None:
    assert len(FILES) > 100
    assert WORKBOOK / "helpers/errors.py" in IMPORTS[WORKBOOK / "helpers/heads/finding.py"]
    assert WORKBOOK / "helpers/modes.py" in IMPORTS[WORKBOOK / "workbook/training.py"]


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file).startswith("helpers")], ids=name)
def test_helpers_never_import_the_workbook(file) -> None:
    strangers = [name(other) for other in IMPORTS[file] if not room_of(other).startswith("helpers")]
    assert strangers == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Files that import nothing but what is done already are done; what is left at the end stands in a circle."""
    left = dict(IMPORTS)
    while done := [file for file, needed in left.items() if not needed & left.keys()]:
        for file in done:
            del left[file]
    assert sorted(map(name, left)) == []


def test_the_drawing_in_contributing_has_the_arrows_between_the_rooms() -> None:
    text = (WORKBOOK / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"```mermaid\n(.*?)```", text, flags=re.S)
    drawn = set()
    for left, right in re.findall(r"^ *([\w& ]+?) --> ([\w& ]+)$", drawing, flags=re.M):
        drawn |= {(a.strip(), b.strip()) for a in left.split("&") for b in right.split("&")}
    found = {(node(file), node(other)) for file, needed in IMPORTS.items() for other in needed}
    assert drawn == {(a, b) for a, b in found if a != b}
