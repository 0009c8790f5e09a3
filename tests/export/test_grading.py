"""A class whose notebooks come back as they do: right, half, blank, renamed, broken."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from workbook.export import __main__ as command
from workbook.export import grading, judging
from workbook.export.answers import answers_in, asked_in
from workbook.export.errors import ExportError
from workbook.export.submissions import collect
from workbook.my_lessons import without_outputs
from workbook.places import NOTEBOOKS

LESSON = next(NOTEBOOKS.glob("02_*.ipynb")).name
ASKED = asked_in(without_outputs(NOTEBOOKS / LESSON))
RIGHT = {
    exercise: answers[0].code
    for exercise, answers in answers_in(nbformat.read(NOTEBOOKS / "solutions" / LESSON, as_version=4), ASKED).items()
}


def worked_on(answers: dict[str, str]) -> nbformat.NotebookNode:
    """The lesson with these answers in the cells of their exercises."""
    notebook = without_outputs(NOTEBOOKS / LESSON)
    for cell in notebook.cells:
        for exercise, code in answers.items():
            if f'check("{exercise}"' in cell.source:
                cell.source = f'{code}\n\n\ncheck("{exercise}", {ASKED[exercise]})'
    return notebook


def cell_of(notebook: nbformat.NotebookNode, exercise: str) -> int:
    return next(i for i, cell in enumerate(notebook.cells) if f'check("{exercise}"' in cell.source)


def without_2_2() -> nbformat.NotebookNode:
    notebook = worked_on(RIGHT)
    del notebook.cells[cell_of(notebook, "2.2")]
    return notebook


def with_one_id() -> str:
    given = json.loads(nbformat.writes(worked_on(RIGHT)))
    for cell in given["cells"]:
        cell["id"] = "same"
    return json.dumps(given)


def with_a_copied_cell() -> nbformat.NotebookNode:
    notebook = worked_on(RIGHT)
    place = cell_of(notebook, "2.2")
    stub = nbformat.v4.new_code_cell(without_outputs(NOTEBOOKS / LESSON).cells[place].source)
    notebook.cells.insert(place + 1, stub)
    return notebook


ALL, NONE = (6, 10, 9), (0, 0, 0)
WRONG = "def unwrap(checkpoint):\n    return checkpoint"
CLASS: dict[str, tuple[str, Callable[[], nbformat.NotebookNode | str | bytes], tuple[int, ...], str]] = {
    # student -> name of the file, what is in it, points, what `collect` says
    "right": (LESSON, lambda: worked_on(RIGHT), ALL, "02"),
    "half": (LESSON, lambda: worked_on({"2.1": RIGHT["2.1"], "2.2": WRONG}), (6, 0, 0), "02"),
    "blank": (LESSON, lambda: worked_on({}), NONE, "02"),
    "renamed": ("Kopie (2).ipynb", lambda: worked_on(RIGHT), ALL, "02 (it was called Kopie (2).ipynb)"),
    "deleted": (LESSON, without_2_2, (6, 0, 9), "02 (2.2 is missing)"),
    "copied": (LESSON, with_a_copied_cell, ALL, "02 (2.2 is there 2 times, the best counts)"),
    "one id": (LESSON, with_one_id, ALL, "02 (cells had one id)"),
    "cut": (LESSON, lambda: nbformat.writes(worked_on(RIGHT))[:999], NONE, f"{LESSON} cannot be read as a notebook"),
    "picture": (LESSON, lambda: b"\x89PNG\xff\xfe", NONE, f"{LESSON} cannot be read as a notebook"),
    "list": (LESSON, lambda: "[1, 2]", NONE, f"{LESSON} cannot be read as a notebook: it is JSON, but no notebook"),
    "windows": (LESSON, lambda: b"\xef\xbb\xbf" + nbformat.writes(worked_on(RIGHT)).encode(), ALL, "02"),
    "text": ("homework.docx", lambda: b"PK\x03\x04\xff", NONE, "homework.docx cannot be read as a notebook"),
    "=cmd": (LESSON, lambda: worked_on({}), NONE, "02"),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "submitted"
    for student, (name, content, _, _) in CLASS.items():
        (folder / student).mkdir(parents=True)
        given = content()
        text = given if isinstance(given, (str, bytes)) else nbformat.writes(given)
        (folder / student / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "absent").mkdir()
    grading.grade(folder)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "grades.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_everybody_gets_the_points_that_are_due(graded) -> None:
    found: dict[str, list[int]] = {}
    for row in rows(graded):
        found.setdefault(row["student"], []).append(int(row["points"]))
    expected = {student.replace("=", "'="): list(points) for student, (_, _, points, _) in CLASS.items()}
    assert found == expected | {"absent": [0, 0, 0]}
    assert [row["of"] for row in rows(graded)[:3]] == ["6", "10", "9"]
    assert {row["lesson"] for row in rows(graded)} == {"02"}


def test_what_is_no_zero_is_told_apart(graded) -> None:
    states = {(row["student"], row["exercise"]): row["state"] for row in rows(graded)}
    assert states["absent", "2.1"] == states["text", "2.1"] == "not handed in"
    assert states["cut", "2.1"] == states["picture", "2.3"] == states["list", "2.2"] == "unreadable"
    assert states["deleted", "2.2"] == "missing"
    assert states["blank", "2.1"] == "not attempted"
    assert states["half", "2.2"] == "not yet"


def test_pages_say_what_the_checks_say(graded) -> None:
    page = (graded / "_pages/half.html").read_text(encoding="utf-8")
    assert "<td>Exercise 2.2</td><td>0 of 10</td><td>not yet</td><td>for a checkpoint that is nested" in page
    assert "6 of 25 points." in page
    everybody = (graded / "class.html").read_text(encoding="utf-8")
    stuck = re.search(r"<td>Exercise 2.2</td><td>1</td><td>(.*?)</td>", everybody)
    assert stuck
    assert stuck[1].startswith("the tensors lie one level deeper")
    assert "<td>Exercise 2.1</td><td>7 of 14</td>" in everybody
    assert "<td>=cmd</td>" in everybody


def test_what_was_judged_is_not_judged_again(graded, monkeypatch) -> None:
    before, log = rows(graded), graded / grading.VERDICTS
    monkeypatch.setattr(grading, "best", None)
    lines = log.read_text(encoding="utf-8")
    log.write_text(lines + '{"key": "broken off', encoding="utf-8")
    grading.grade(graded, ["02"])
    assert rows(graded) == before


def test_collect_says_and_mends_what_came_back(graded, capsys) -> None:
    before = {path: path.read_bytes() for path in graded.rglob("*.ipynb")}
    command.main(["collect", str(graded)])
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    for student, (_, _, _, expected) in CLASS.items():
        assert said[student].startswith(expected), student
    assert said["absent"] == "nothing is here"
    kept = graded / "renamed/as_it_came/Kopie (2).ipynb"
    assert kept.read_bytes() == before[graded / "renamed/Kopie (2).ipynb"]
    assert nbformat.read(graded / "renamed" / LESSON, as_version=4).cells[3].source == worked_on({}).cells[3].source
    ids = [cell.id for cell in nbformat.read(graded / "one id" / LESSON, as_version=4).cells]
    assert len(set(ids)) == len(ids)
    assert collect(graded)[1] == "absent: nothing is here"  # and a second time nothing more happens
    assert kept.read_bytes() == before[graded / "renamed/Kopie (2).ipynb"]


def test_another_lesson_under_this_name_is_graded_as_what_it_is(tmp_path) -> None:
    other = next(NOTEBOOKS.glob("03_*.ipynb"))
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / LESSON).write_bytes(other.read_bytes())
    assert {each.lesson for each in grading.grade(tmp_path)} == {"03"}
    assert {each.state for each in grading.grade(tmp_path, ["02"])} == {"not handed in"}


def test_of_two_files_of_a_lesson_the_best_answer_to_each_exercise_counts(tmp_path) -> None:
    for student, answers, others in (("anna", {}, RIGHT), ("ben", {"2.1": RIGHT["2.1"]}, {"2.2": RIGHT["2.2"]})):
        (tmp_path / student).mkdir()
        nbformat.write(worked_on(answers), tmp_path / student / LESSON)
        nbformat.write(worked_on(others), tmp_path / student / "02_load-Copy1.ipynb")
    for _ in range(2):
        states = {
            name: [each.state for each in grading.grade(tmp_path) if each.student == name] for name in ("anna", "ben")
        }
        assert states == {"anna": ["passed"] * 3, "ben": ["passed", "passed", "not attempted"]}
        page = (tmp_path / "_pages/ben.html").read_text(encoding="utf-8")
        assert "02_load-Copy1.ipynb, too: of each exercise the best answer counts" in page
        assert "there is" in collect(tmp_path)[0]
    assert "passed" not in {each.text for each in grading.grade(tmp_path) if each.state == "not attempted"}


def test_what_stands_out_is_said_before_the_grades(tmp_path, capsys) -> None:
    for student in ("anna", "gus", "hal"):
        (tmp_path / student).mkdir()
    nbformat.write(worked_on(RIGHT), tmp_path / "anna" / LESSON)
    (tmp_path / "gus" / LESSON).write_text("{", encoding="utf-8")
    (tmp_path / "hal" / LESSON).write_bytes(next(NOTEBOOKS.glob("03_*.ipynb")).read_bytes())
    (tmp_path / "kim.zip").write_bytes(b"PK")
    (tmp_path / LESSON).write_bytes((tmp_path / "anna" / LESSON).read_bytes())
    for _ in range(2):  # what was written by the first is nobody's file
        command.main(["grade", str(tmp_path), "02"])
        said = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in said[:-1]] == [LESSON, "kim.zip", "gus", "hal"]
        assert "unpack it" in said[1]
        assert "cannot be read" in said[2]
        assert f"it was called {LESSON}" in said[3]
        assert said[-1].startswith("3 students, 3 of 9 exercises passed")


def test_where_there_is_nothing_to_grade_it_says_so(tmp_path, capsys) -> None:
    with pytest.raises(ExportError, match="has no folder of a student"):
        grading.grade(tmp_path)
    (tmp_path / "anna").mkdir()
    with pytest.raises(SystemExit):
        command.main(["grade", str(tmp_path), "77"])
    assert "there is no lesson '77'" in capsys.readouterr().err
    with pytest.raises(ExportError, match="there is no folder"):
        collect(tmp_path / "nowhere")


def test_a_strange_folder_stops_nobody(tmp_path) -> None:
    long = "x" * 240
    for student in (long, "pipe", "link", "right"):
        (tmp_path / student).mkdir()
        nbformat.write(worked_on(RIGHT), tmp_path / student / LESSON)
    for student in ("pipe", "link"):
        (tmp_path / student / LESSON).unlink()
    os.mkfifo(tmp_path / "pipe" / LESSON)
    (tmp_path / "link" / LESSON).symlink_to(tmp_path / "right" / LESSON)
    (tmp_path / "endless").mkdir()
    more = worked_on(RIGHT)
    more.cells.append(nbformat.v4.new_code_cell("x = 1\n" * 20_000))
    nbformat.write(more, tmp_path / "endless" / LESSON)
    found = {each.student: each.state for each in grading.grade(tmp_path, ["02"]) if each.exercise == "2.2"}
    assert found == {
        long: "passed", "right": "passed", "pipe": "not handed in", "link": "not handed in", "endless": "unreadable",
    }  # fmt: skip
    assert len(list((tmp_path / "_pages").glob("xxx*.html"))) == 1


def test_collect_writes_over_nothing(tmp_path) -> None:
    student = tmp_path / "anna"
    (student / "sub").mkdir(parents=True)
    broken = nbformat.writes(worked_on(RIGHT))[:999]
    given = {LESSON: broken, "old.ipynb": nbformat.writes(worked_on({})), "sub/old.ipynb": "[1]"}
    for name, text in given.items():
        (student / name).write_text(text, encoding="utf-8")
    assert "the best answer counts" in collect(tmp_path)[0]
    assert nbformat.read(student / LESSON, as_version=4).cells
    (student / LESSON).unlink()
    nbformat.write(worked_on(RIGHT), student / "old.ipynb")
    collect(tmp_path)
    texts = [path.read_text(encoding="utf-8") for path in student.rglob("*.ipynb")]
    assert all(text in texts for text in given.values())
    assert len(list((student / "as_it_came").glob("old*.ipynb"))) == 2


def test_what_goes_wrong_here_is_no_zero_and_is_tried_again(tmp_path, monkeypatch) -> None:
    (tmp_path / "anna").mkdir()
    nbformat.write(worked_on(RIGHT), tmp_path / "anna" / LESSON)
    with monkeypatch.context() as broken:
        broken.setattr(judging, "judged", None)
        assert {each.state for each in grading.grade(tmp_path)} == {"not judged"}
    assert {each.state for each in grading.grade(tmp_path)} == {"passed"}


def test_an_answer_reads_nothing_of_the_class(tmp_path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna/notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "grades.csv").write_text("of another time", encoding="utf-8")
    (tmp_path / "ben").mkdir()
    for path in (tmp_path / "anna/notes.txt", tmp_path / "grades.csv"):
        code = f"def unwrap(checkpoint):\n    return open({str(path)!r}).read()"
        nbformat.write(worked_on({"2.2": code}), tmp_path / "ben" / LESSON)
        text = next(each.text for each in grading.grade(tmp_path) if (each.student, each.exercise) == ("ben", "2.2"))
        assert "read what is hidden" in text
