"""The learner's own copies: made once, without outputs, and never written over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbook import my_lessons
from workbook.places import NOTEBOOKS, WORKBOOK


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A folder `notebooks` with two lessons, a solution and a picture, in place of the workbook's."""
    place = tmp_path / "notebooks"
    (place / "solutions").mkdir(parents=True)
    (place / "pictures").mkdir()
    for name in ("solutions/02_b.ipynb", "pictures/a.png", "01_a.ipynb", "02_b.ipynb"):
        (place / name).touch()
    write(place / "01_a.ipynb", "first")
    write(place / "02_b.ipynb", "second")
    monkeypatch.setattr(my_lessons, "NOTEBOOKS", place)
    return place


def write(path: Path, text: str) -> None:
    cell = new_code_cell("1 + 1", execution_count=3, outputs=[new_output("stream", text="2")], id="code")
    nbformat.write(new_notebook(cells=[new_markdown_cell(text, id="text"), cell]), path)


def texts(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def test_all_notebooks_are_copied_without_outputs(source, tmp_path) -> None:
    assert my_lessons.update(tmp_path / "mine") == ["01_a.ipynb is new", "02_b.ipynb is new"]
    copy = nbformat.read(tmp_path / "mine/02_b.ipynb", as_version=4)
    assert copy.cells[0].source == "second"
    assert (copy.cells[1].outputs, copy.cells[1].execution_count) == ([], None)
    assert nbformat.read(source / "02_b.ipynb", as_version=4).cells[1].outputs
    assert my_lessons.update(tmp_path / "mine") == []


@pytest.mark.parametrize(
    ("link", "from_here"),
    [
        ("[b](02_b.ipynb)", "[b](02_b.ipynb)"),
        ("[b](02_b.ipynb#part)", "[b](02_b.ipynb#part)"),
        ("[s](solutions/02_b.ipynb)", "[s](../notebooks/solutions/02_b.ipynb)"),
        ("![a](pictures/a.png)", "![a](../notebooks/pictures/a.png)"),
        ("[r](../README.md) [w](https://pytorch.org/a) [h](#here)",) * 2,
        ("`model.features[0](images)`", "`model.features[0](images)`"),
    ],
)
def test_links_lead_to_where_they_led(source, tmp_path, link, from_here) -> None:
    write(source / "01_a.ipynb", link)
    my_lessons.update(tmp_path / "mine")
    assert texts(tmp_path / "mine/01_a.ipynb")[0] == from_here


def test_what_a_learner_wrote_stays_and_the_new_version_stands_beside_it(source, tmp_path) -> None:
    mine = tmp_path / "mine"
    my_lessons.update(mine)
    write(mine / "01_a.ipynb", "my answer")
    write(source / "01_a.ipynb", "first, mended")
    (said,) = my_lessons.update(mine)
    assert said == "01_a.ipynb has changed: the new version is 01_a_2.ipynb, and yours is as it was"
    assert texts(mine / "01_a.ipynb")[0] == "my answer"
    assert texts(mine / "01_a_2.ipynb")[0] == "first, mended"
    assert my_lessons.update(mine) == []
    write(mine / "01_a_2.ipynb", "my second answer")
    write(source / "01_a.ipynb", "first, mended again")
    assert "01_a_3.ipynb" in my_lessons.update(mine)[0]
    assert [texts(path)[0] for path in sorted(mine.glob("01_a*"))] == [
        "my answer",
        "my second answer",
        "first, mended again",
    ]


def test_what_nobody_began_becomes_the_new_version(source, tmp_path) -> None:
    mine = tmp_path / "mine"
    my_lessons.update(mine)
    write(source / "02_b.ipynb", "second, mended")
    (said,) = my_lessons.update(mine)
    assert said == "02_b.ipynb has changed, and you had not begun it: it is the new version now"
    assert texts(mine / "02_b.ipynb")[0] == "second, mended"
    assert not (mine / "02_b_2.ipynb").exists()


def test_a_lesson_that_comes_later_and_one_that_was_deleted_are_added(source, tmp_path) -> None:
    mine = tmp_path / "mine"
    my_lessons.update(mine)
    write(source / "03_c.ipynb", "third")
    (mine / "01_a.ipynb").unlink()
    assert my_lessons.update(mine) == ["01_a.ipynb is new", "03_c.ipynb is new"]


@pytest.mark.parametrize("register", ["", "[1]", None])
def test_a_broken_register_loses_nothing(source, tmp_path, register) -> None:
    mine = tmp_path / "mine"
    my_lessons.update(mine)
    write(mine / "01_a.ipynb", "my answer")
    (mine / my_lessons.REGISTER).unlink()
    if register is not None:
        (mine / my_lessons.REGISTER).write_text(register)
    my_lessons.update(mine)
    assert texts(mine / "01_a.ipynb")[0] == "my answer"
    assert [path.name for path in sorted(mine.glob("*.ipynb"))] == ["01_a.ipynb", "01_a_2.ipynb", "02_b.ipynb"]
    assert my_lessons.update(mine) == []


def test_a_lesson_as_it_was_and_the_learners_beside_it(source, tmp_path) -> None:
    mine = tmp_path / "mine"
    assert my_lessons.start_again("01_a.ipynb", mine) is None
    for answer in ("one", "two"):
        write(mine / "01_a.ipynb", answer)
        kept = my_lessons.start_again("01_a.ipynb", mine)
        assert kept is not None
        assert texts(kept)[0] == answer
        assert texts(mine / "01_a.ipynb")[0] == "first"
    assert [path.name for path in sorted(mine.glob("*_before*"))] == ["01_a_before.ipynb", "01_a_before_2.ipynb"]


def test_the_workbooks_own_notebooks_are_all_there_and_no_link_is_dead(tmp_path) -> None:
    mine = tmp_path / "my_lessons"
    (tmp_path / "notebooks").symlink_to(NOTEBOOKS)
    my_lessons.update(mine)
    assert {path.name for path in mine.glob("*.ipynb")} == {path.name for path in NOTEBOOKS.glob("*.ipynb")}
    links = [
        link[1] for path in mine.glob("*.ipynb") for text in texts(path) for link in my_lessons.LINK.finditer(text)
    ]
    files = [link.partition("#")[0] for link in links if ".ipynb" in link or ".png" in link]
    assert len(files) > 20
    assert [file for file in files if not (mine / file).exists()] == []


def test_the_command_says_what_it_did(tmp_path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbook.my_lessons"]
        place = tmp_path / "my_lessons"  # it takes the folder in which it runs if that is called so
        return subprocess.run(
            command, cwd=place, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(WORKBOOK)}
        )

    (tmp_path / "my_lessons").mkdir()
    assert "my_lessons: 00_start_here.ipynb is new" in run().stdout
    assert run().stdout == ""
    register = tmp_path / "my_lessons" / my_lessons.REGISTER
    assert "recipes.ipynb" in json.loads(register.read_text())
    register.unlink()
    register.mkdir()
    failed = run()
    assert failed.returncode == 1
    assert failed.stderr.startswith("my_lessons: your copies of the lessons cannot be written: ")
