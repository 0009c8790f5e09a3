"""A handout that a teacher brings to a new version while students work in it."""

import json
from pathlib import Path

import pytest

from workbook import export
from workbook.export import updating
from workbook.export.__main__ import main
from workbook.places import NOTEBOOKS


@pytest.fixture
def handout(tmp_path) -> Path:
    folder = tmp_path / "handout"
    export.export(folder, ["00", "02"])
    return folder


def older(handout: Path, name: str, text: str) -> None:
    """Let a file be one that was handed out in another version."""
    path = handout / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    given = json.loads((handout / updating.MANIFEST).read_text())
    given["files"][name] = updating._digest(path)
    (handout / updating.MANIFEST).write_text(json.dumps(given))


def test_a_handout_of_this_version_stays_as_it_is(handout) -> None:
    before = {path: path.stat().st_mtime_ns for path in handout.rglob("*") if path.is_file()}
    assert export.update(handout) == ["0 files are new or were replaced, 0 are gone"]
    after = {path: path.stat().st_mtime_ns for path in handout.rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} == {handout / updating.MANIFEST}


def test_what_nobody_changed_is_replaced_and_what_was_changed_stays(handout, capsys) -> None:
    lesson, start = (f"notebooks/{next(NOTEBOOKS.glob(f'{n}_*.ipynb')).name}" for n in ("02", "00"))
    new_lesson = (handout / lesson).read_text()
    older(handout, lesson, "an older lesson")
    (handout / lesson).write_text("my answers")
    older(handout, start, "an older start")
    older(handout, "helpers/text.py", "# older")
    older(handout, "helpers/gone.py", "# there is none any more")
    older(handout, "helpers/kept.py", "# there is none any more")
    (handout / "helpers/kept.py").write_text("# but somebody has written here")
    older(handout, "README.md", "older")
    (handout / "README.md").write_text("mine")
    (handout / "my_lessons").mkdir()
    (handout / "my_lessons/own.ipynb").write_text("own")
    (handout / "helpers/errors.py").unlink()
    main(["update", str(handout)])
    beside = Path(lesson).with_stem(f"{Path(lesson).stem}_2")
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "README.md was changed in it, and stays",
        f"{lesson} was changed in it, and stays; the new version is {beside.name}",
        "3 files are new or were replaced, 1 are gone",
    ]
    assert (handout / lesson).read_text() == "my answers"
    assert (handout / beside).read_text() == new_lesson
    assert json.loads((handout / start).read_text())["cells"]
    assert "# older" not in (handout / "helpers/text.py").read_text()
    assert (handout / "helpers/errors.py").exists()
    assert not (handout / "helpers/gone.py").exists()
    assert (handout / "helpers/kept.py").read_text() == "# but somebody has written here"
    assert (handout / "README.md").read_text() == "mine"
    assert (handout / "my_lessons/own.ipynb").read_text() == "own"
    assert export.update(handout)[-1] == "0 files are new or were replaced, 0 are gone"
    assert sorted(path.name for path in (handout / "notebooks").glob("02*")) == [Path(lesson).name, beside.name]


def test_a_lesson_can_be_added(handout) -> None:
    export.update(handout, ["03"])
    assert sorted(path.name[:2] for path in (handout / "notebooks").glob("*.ipynb")) == ["00", "02", "03"]
    with pytest.raises(export.ExportError, match="there is no lesson '77'"):
        export.update(handout, ["77"])


def test_what_is_no_handout_is_refused(handout, tmp_path) -> None:
    with pytest.raises(export.ExportError, match="is no handout that was exported"):
        export.update(tmp_path)
    older(handout, "helpers/text.py", "x")
    given = json.loads((handout / updating.MANIFEST).read_text())
    given["files"]["../mine"] = "0"
    (handout / updating.MANIFEST).write_text(json.dumps(given))
    with pytest.raises(export.ExportError, match=r"names '\.\./mine', which is not in it"):
        export.update(handout)


def test_a_changed_notebook_of_which_there_is_no_new_version_gets_nothing_beside(handout) -> None:
    lesson = handout / "notebooks" / next(NOTEBOOKS.glob("02_*.ipynb")).name
    lesson.write_text("my answers", encoding="utf-8")
    for _ in range(2):
        assert export.update(handout) == ["0 files are new or were replaced, 0 are gone"]
    assert [path.name for path in lesson.parent.glob("02*")] == [lesson.name]
