"""Whether a package is the one of this workbook, and not of another copy."""

from types import SimpleNamespace

import helpers
import workbook
from workbook.places import NOTEBOOKS, WORKBOOK, is_here


def package(folder):
    return SimpleNamespace(__file__=str(folder / "helpers/__init__.py"))


def copy_of_the_workbook(folder):
    (folder / "workbook").mkdir(parents=True)
    (folder / "workbook/__init__.py").touch()
    (folder / "data").mkdir()
    (folder / "notebooks").mkdir()
    return folder


def test_in_a_notebook_of_this_workbook(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    assert is_here(helpers)
    assert is_here(workbook)
    assert not is_here(package(copy_of_the_workbook(tmp_path / "copy")))


def test_in_a_notebook_of_another_copy(monkeypatch, tmp_path) -> None:
    copy = copy_of_the_workbook(tmp_path / "copy")
    monkeypatch.chdir(copy / "notebooks")
    assert is_here(package(copy))
    assert not is_here(helpers)


def test_by_way_of_a_link(monkeypatch, tmp_path) -> None:
    (tmp_path / "link").symlink_to(WORKBOOK)
    monkeypatch.chdir(NOTEBOOKS)
    assert is_here(package(tmp_path / "link"))


def test_outside_of_any_workbook_as_nbgrader_runs_a_lesson(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_here(helpers)
    assert not is_here(package(tmp_path / "elsewhere"))
    assert not is_here(SimpleNamespace(__file__=None))
