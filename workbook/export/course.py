"""A course for nbgrader: its settings, and each lesson as an assignment with solutions and points.

The cells' metadata are nbgrader's, version 3 (https://nbgrader.readthedocs.io, "nbgrader cell metadata").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from ..places import NOTEBOOKS
from .answers import CHECK, answers_in
from .errors import ExportError
from .merging import definitions, merge
from .nbgrader_judge import POINTS
from .notebooks import points, with_links

# imported here, for a learner may define a `check` of their own; `judge` is it without a picture
TEST = """# {points} points for exercise {exercise}: nbgrader gives them if this cell runs without an error
import contextlib
import io

from workbook.feedback import judge

with contextlib.redirect_stderr(io.StringIO()):  # nbgrader takes a warning for an error
    feedback = judge("{exercise}", {answer})
assert feedback.kind == "passed", feedback"""

CONFIG = '''"""Settings of this course; run nbgrader in this folder."""

import os
import sys

try:
    import workbook.export  # without the workbook nobody would get a point
except ImportError:
    sys.exit(f"{{sys.executable}} has no workbook; run the nbgrader in the workbook's .venv")

c = get_config()
c.CourseDirectory.course_id = {course!r}
c.JudgeAnswers.hidden = [os.getcwd()]  # nbgrader runs here, beside the solutions and all that was handed in
c.ClearSolutions.code_stub = {{"python": "..."}}  # students get the stubs of the lessons, which a check recognises
c.Autograde.autograde_preprocessors = [  # nbgrader's own, but for the first, which takes the place of Execute
    "workbook.export.nbgrader_judge.JudgeAnswers",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
'''


def write_course(folder: Path, lessons: Sequence[str]) -> None:
    """Fill a folder for nbgrader; `lessons` are names of notebooks."""
    (folder / "nbgrader_config.py").write_text(CONFIG.format(course=folder.name), encoding="utf-8")
    places = {name: f"../{Path(name).stem}/{name}" for name in lessons}
    for name in lessons:
        solution = NOTEBOOKS / "solutions" / name
        if not solution.exists():
            raise ExportError(f"the solutions of {name} are not here")
        path = folder / "source" / Path(name).stem / name
        path.parent.mkdir(parents=True)
        nbformat.write(_assignment(with_links(name, places), nbformat.read(solution, as_version=4), points(name)), path)


def as_handed_in(student: NotebookNode, assignment: NotebookNode) -> NotebookNode:
    """A student's notebook in the form that nbgrader grades, whatever became of its cells.

    Args:
        student: a lesson of a handout or of a release, worked on.
        assignment: the same lesson in `source` of the course.
    """
    graded = {cell.metadata.nbgrader.grade_id: cell for cell in assignment.cells if _grade_id(cell, "points")}
    asked = dict(match for cell in graded.values() for match in POINTS.findall(cell.source))
    made = nbformat.from_dict(student)
    made.cells = [cell for cell in made.cells if not POINTS.search(cell.source)]
    for cell in made.cells:
        cell.metadata.pop("nbgrader", None)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    for exercise, answers in answers_in(made, asked).items():
        number = exercise.replace(".", "-")
        cell = code[answers[0].cell] if answers else nbformat.v4.new_code_cell(f"# exercise {exercise} is missing")
        if not answers:
            made.cells.append(cell)
        elif "nbgrader" in cell.metadata:  # two answers in one cell
            cell = nbformat.v4.new_code_cell(f"# exercise {exercise} is answered above")
            made.cells.append(cell)
        cell.metadata["nbgrader"] = _metadata(f"answer-{number}", solution=True)
        made.cells.insert(made.cells.index(cell) + 1, graded[f"points-{number}"])
    return made


def _grade_id(cell: NotebookNode, kind: str) -> bool:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "").startswith(f"{kind}-")


def _assignment(lesson: NotebookNode, solutions: NotebookNode, worth: Mapping[str, int]) -> NotebookNode:
    """The lesson with a solution in each exercise, and behind it the cell that decides about its points."""
    code, solved = _code(lesson), _code(solutions)
    known = definitions(code[:1])
    extra = {name: lines for name, lines in definitions(solved).items() if known.get(name) != lines}
    answers = {match[1]: source for source in solved for match in CHECK.finditer(source)}
    cells = []
    for cell in lesson.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        for exercise, answer in CHECK.findall(cell.source):
            cell.source = merge(cell.source, answers.get(exercise, ""), answer, extra)
            cell.metadata["nbgrader"] = _metadata(f"answer-{exercise}", solution=True)
            cells.append(_test(exercise, answer, worth[exercise]))
    lesson.cells = cells
    return lesson


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _metadata(grade_id: str, **given: bool | int) -> dict[str, str | bool | int]:
    """What nbgrader has to know of a code cell; in its names, dots are not allowed."""
    name = grade_id.replace(".", "-")
    fixed: dict[str, str | bool | int] = {"schema_version": 3, "cell_type": "code", "grade_id": name, "task": False}
    return fixed | {"grade": False, "solution": False, "locked": False} | given


def _test(exercise: str, answer: str, points: int) -> NotebookNode:
    """The cell that decides about the points: it fails while the exercise is open, and must not stop Run All."""
    metadata = _metadata(f"points-{exercise}", grade=True, locked=True, points=points)
    source = TEST.format(exercise=exercise, answer=answer, points=points)
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["raises-exception"], "nbgrader": metadata})
    cell.id = metadata["grade_id"]  # nbformat would choose one at random
    return cell
