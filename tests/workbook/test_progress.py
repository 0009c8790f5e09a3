"""Remembering which exercises are passed."""

from pathlib import Path

import pytest

from workbook import check, places, progress
from workbook.exercises import find


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_PROGRESS", str(tmp_path / "new" / "kept"))
    return tmp_path / "new" / "kept"


def right(model) -> int:
    return sum(p.numel() for p in model.parameters())


def test_a_passed_check_is_remembered_and_others_are_not(kept) -> None:
    assert progress.passed() == frozenset()
    check("0.1", ...)
    check("0.1", lambda model: 7)
    assert progress.passed() == frozenset()
    assert check("0.1", right).kind == "passed"
    assert progress.passed() == {"0.1"}
    check("0.1", lambda model: 7)  # what was passed stays passed
    assert progress.passed() == {"0.1"}
    assert [path.name for path in kept.iterdir()] == ["0.1"]


def test_reset_forgets_everything(kept) -> None:
    for exercise in ("0.1", "1.3"):
        progress.record(exercise)
    progress.reset()
    assert progress.passed() == frozenset()
    progress.reset()  # nothing to forget is no error


def test_other_files_are_left_alone(kept) -> None:
    progress.record("1.2")
    (kept / "thesis.tex").write_text("mine")
    (kept / "1.3.tex").mkdir()
    assert progress.passed() == {"1.2"}
    progress.reset()
    assert sorted(path.name for path in kept.iterdir()) == ["1.3.tex", "thesis.tex"]


def test_running_a_solution_is_not_passing(kept, tmp_path, monkeypatch) -> None:
    (tmp_path / "solutions").mkdir()
    monkeypatch.chdir(tmp_path / "solutions")
    progress.record("0.1")
    assert progress.passed() == frozenset()


def test_nothing_is_remembered_in_continuous_integration_or_if_switched_off(monkeypatch) -> None:
    monkeypatch.setenv("WORKBOOK_PROGRESS", "")
    assert progress.folder() is None
    progress.record("0.1")
    progress.reset()
    assert progress.passed() == frozenset()
    monkeypatch.delenv("WORKBOOK_PROGRESS")
    monkeypatch.setenv("CI", "true")
    assert progress.folder() is None
    monkeypatch.setenv("WORKBOOK_PROGRESS", "~/kept")
    assert progress.folder() == Path.home() / "kept"
    monkeypatch.delenv("WORKBOOK_PROGRESS")
    monkeypatch.delenv("CI")
    assert progress.folder() == places.WORKBOOK / ".progress"
    assert (places.WORKBOOK / "notebooks/00_start_here.ipynb").exists()


def test_a_folder_that_cannot_be_written_does_not_spoil_the_check(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WORKBOOK_PROGRESS", str(tmp_path / "file"))
    assert check("0.1", right).text == find("0.1").praise
    assert progress.passed() == frozenset()
