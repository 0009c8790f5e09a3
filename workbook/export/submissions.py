"""What came back from students: which lesson each file is, and what is wrong with it.

SUBMITTED/NAME/LESSON.ipynb is how it should lie; other names are read, too. What was handed in is never lost: a file
that is repaired is kept in SUBMITTED/NAME/as_it_came.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.atomic_files import replacing

from ..my_lessons import free
from .answers import CHECK, answers_in, code_of
from .course import as_handed_in
from .errors import ExportError
from .notebooks import exercises_of_lessons

KEPT = "as_it_came"  # folder of a student with the files that were repaired
RESULTS = ("grades.csv", "class.html")
OWN = ("_pages", KEPT)  # folders that are written beside what is handed in
HEADING = re.compile(r"^# (\d\d) · ", flags=re.M)
LARGEST = 100 * 2**20  # bytes of a notebook, with its pictures
MOST_CODE = 100_000  # characters; the longest lesson has a fifth of that


@dataclass(frozen=True)
class Submission:
    """One file that a student handed in.

    Attributes:
        student: the name of the folder.
        path: where it lies.
        lesson: the name of the lesson's notebook; empty if it is not known.
        notebook: what is in it; None if it cannot be read.
        problem: why it is not graded; empty if it is.
        remarks: what was found and does not stand in the way.
        others: further files of the same lesson; of each exercise the best answer counts.
    """

    student: str
    path: Path
    lesson: str = ""
    notebook: NotebookNode | None = None
    problem: str = ""
    remarks: tuple[str, ...] = ()
    others: tuple[Submission, ...] = ()


def students(folder: Path) -> list[Path]:
    """The folders of the students, by name.

    Raises:
        ExportError: there are none.
    """
    if not folder.is_dir():
        raise ExportError(f"there is no folder {folder}")
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = sorted(path for path in found if path.name not in OWN)
    if not found:
        raise ExportError(
            f"{folder} has no folder of a student; what came back lies in {folder.name}/NAME/LESSON.ipynb"
        )
    return found


def submissions_of(student: Path, known: Mapping[str, Mapping[str, str]]) -> list[Submission]:
    """What a student handed in, one for each lesson, and one for each file that is none.

    Args:
        student: the folder.
        known: see `exercises_of_lessons`.
    """
    files = [path for path in sorted(student.rglob("*")) if path.is_file() and not _is_ours(path.relative_to(student))]
    read = [_read(student.name, path, known) for path in files]
    chosen = []
    for lesson in dict.fromkeys(each.lesson for each in read):
        same = [each for each in read if each.lesson == lesson]
        chosen += same if not lesson else [_one_of(same)]
    return chosen


def findings(folder: Path) -> list[str]:
    """A line for each file that stands out: what could not be read, or was repaired, or belongs to nobody.

    Raises:
        ExportError: there are no students.
    """
    known = exercises_of_lessons()
    lines = [_loose_line(path) for path in _loose(folder)]
    for student in students(folder):
        for each in submissions_of(student, known):
            said = [text for text in (each.problem, *each.remarks) if text]
            if said:
                lines.append(f"{student.name}: {each.path.name} {'; '.join(said)}")
    return lines


def collect(folder: Path, course: Path | None = None) -> list[str]:
    """Put right what came back, as far as that can be done, and say so.

    Each lesson lies in NAME/LESSON.ipynb afterwards, with cells of which no two have one id; nothing that a student
    wrote is changed.

    Args:
        folder: with a folder for each student.
        course: a course for nbgrader, into whose `submitted` the lessons are put that it has.

    Returns:
        A line for each student.

    Raises:
        ExportError: there is no folder, there are no students in it, or it is no course.
        OSError: it cannot be written.
    """
    if course is not None and not (course / "source").is_dir():
        raise ExportError(f"{course} has no folder `source`: it is no course that was exported")
    known = exercises_of_lessons()
    lines = [_loose_line(path) for path in _loose(folder)]
    for student in students(folder):
        found = submissions_of(student, known)
        said = [_put_right(student, each) for each in found]
        for each in found:
            if course is not None and each.notebook is not None and not each.problem:
                _put_into(course, each)
        lines.append(f"{student.name}: {'; '.join(said) or 'nothing is here'}")
    return lines


def _loose(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.name not in RESULTS)


def _loose_line(path: Path) -> str:
    unpack = "unpack it: " if path.suffix in (".zip", ".gz", ".7z", ".rar") else ""
    return f"{path.name}: {unpack}it lies outside of any student's folder, and is not graded"


def _is_ours(path: Path) -> bool:
    return any(part.startswith(".") or part in OWN for part in path.parts) or path.suffix == ".html"


def _read(student: str, path: Path, known: Mapping[str, Mapping[str, str]]) -> Submission:
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return Submission(student, path, problem="is a link or too large, and was not opened")
        notebook = _as_notebook(json.loads(_text(path)))
        if sum(map(len, code_of(notebook))) > MOST_CODE:
            raise ValueError(f"it has more than {MOST_CODE:,} characters of code")
    except (ValueError, RecursionError, OSError) as error:
        lesson = _by_name(path.name, known)
        return Submission(student, path, lesson, problem=f"cannot be read as a notebook: {error}")
    lesson = _which(notebook, known) or _by_name(path.name, known)
    if not lesson:
        return Submission(student, path, "", notebook, "is none of the lessons")
    remarks = [] if path.name == lesson else [f"it was called {path.name}"]
    return Submission(student, path, lesson, notebook, "", (*remarks, *_remarks(notebook, known[lesson])))


def _text(path: Path) -> str:
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "utf-16"):
        try:
            return content.decode(encoding)
        except UnicodeError:
            continue
    raise ValueError("it is no text")


def _as_notebook(given: object) -> NotebookNode:
    """A notebook of version 4, with all that a cell must have; ValueError if it is none."""
    if not isinstance(given, dict):
        raise ValueError("it is JSON, but no notebook")
    if given.get("nbformat") in (2, 3):
        given = dict(nbformat.convert(nbformat.from_dict(given), 4))
    cells = given.get("cells")
    if not isinstance(cells, list):
        raise ValueError("it has no cells")
    made = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    made.cells = [_cell(cell) for cell in cells if isinstance(cell, dict)]
    return made


def _cell(cell: Mapping[str, object]) -> NotebookNode:
    source = cell.get("source", "")
    text = "".join(str(line) for line in source) if isinstance(source, list) else str(source)
    new = nbformat.v4.new_code_cell if cell.get("cell_type") == "code" else nbformat.v4.new_markdown_cell
    made = new(text)
    if isinstance(cell.get("id"), str):
        made["id"] = cell["id"]
    return made


def _which(notebook: NotebookNode, known: Mapping[str, Mapping[str, str]]) -> str:
    """The lesson whose heading it has, or most of whose exercises it checks."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    checks = [number for code in code_of(notebook) for number, _ in CHECK.findall(code)]
    counted = Counter(lesson for lesson, asked in known.items() for number in checks if number in asked)
    if counted:
        return counted.most_common(1)[0][0]
    heading = HEADING.search(prose)
    return next((lesson for lesson in known if heading and lesson.startswith(heading[1])), "")


def _by_name(name: str, known: Iterable[str]) -> str:
    number = re.search(r"(?<!\d)(\d\d)_", unicodedata.normalize("NFC", name))
    return next((lesson for lesson in known if number and lesson.startswith(number[1])), "")


def _remarks(notebook: NotebookNode, asked: Mapping[str, str]) -> list[str]:
    found = answers_in(notebook, asked)
    remarks = [f"{number} is missing" for number, answers in found.items() if not answers]
    remarks += [f"{number} is there {len(a)} times, the best counts" for number, a in found.items() if len(a) > 1]
    ids = [cell.get("id") for cell in notebook.cells]
    if len(set(ids)) < len(ids):
        remarks.append("cells had one id")
    return remarks


def _one_of(same: list[Submission]) -> Submission:
    """Of several files of one lesson the one with its name, or else the newest; the others go with it."""
    if len(same) == 1:
        return same[0]
    readable = [each for each in same if not each.problem] or same
    chosen = max(readable, key=lambda each: (each.path.name == each.lesson, each.path.stat().st_mtime))
    others = tuple(each for each in same if each is not chosen)
    remark = f"there is {', '.join(each.path.name for each in others)}, too: of each exercise the best answer counts"
    return replace(chosen, remarks=(*chosen.remarks, remark), others=others)


def _keep(came: Path, student: Path) -> None:
    """Move a file, if there is one, to where nothing is written over."""
    if came.exists() or came.is_symlink():
        kept = student / KEPT / came.relative_to(student)
        kept.parent.mkdir(parents=True, exist_ok=True)
        came.rename(free(kept))


def _put_into(course: Path, each: Submission) -> None:
    name = Path(each.lesson).stem
    source = course / "source" / name / each.lesson
    if each.notebook is None or not source.is_file():
        return
    target = course / "submitted" / each.student / name / each.lesson
    target.parent.mkdir(parents=True, exist_ok=True)
    made = as_handed_in(each.notebook, nbformat.read(source, as_version=4))
    with replacing(target) as temporary:
        temporary.write_text(nbformat.writes(made), encoding="utf-8")


def _put_right(student: Path, each: Submission) -> str:
    """What is to be said of it; it lies in its place afterwards if it can be read."""
    if each.notebook is None or each.problem:
        return f"{each.path.name} {each.problem}"
    target = student / each.lesson
    ids = [cell.get("id") for cell in each.notebook.cells]
    if each.path != target or len(set(ids)) < len(ids):
        for cell in each.notebook.cells:
            if ids.count(cell.get("id")) > 1:
                cell["id"] = nbformat.v4.new_code_cell().id
        for came in {each.path, target}:
            _keep(came, student)
        with replacing(target) as temporary:
            temporary.write_text(nbformat.writes(each.notebook), encoding="utf-8")
    number = each.lesson[:2]
    return f"{number} ({', '.join(each.remarks)})" if each.remarks else number
