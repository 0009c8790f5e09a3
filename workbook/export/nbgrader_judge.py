"""nbgrader gives points for what our own judge says, not for what happens in a kernel in which students' code runs.

`nbgrader_config.py` of a course puts this in the place of nbgrader's `Execute`.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from traitlets import Bool, List, Unicode

from .answers import answers_in
from .judging import best

POINTS = re.compile(r'judge\("([\d.]+)", (\w+)\)')  # in the cell that has the points, see `course.TEST`


class JudgeAnswers(Preprocessor):
    """Leaves nothing in a cell that has earned its points, and an error in the others."""

    enabled = Bool(True).tag(config=True)  # nbconvert leaves out, without a word, what is not
    hidden = List(Unicode(), help="folders that answers may not read").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """As nbconvert asks for it."""
        graded = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade")]
        asked = dict(match for cell in graded for match in POINTS.findall(cell.source))
        found = answers_in(nb, asked)
        for cell in graded:
            for exercise, _ in POINTS.findall(cell.source):
                verdict = best(found[exercise], tuple(map(Path, self.hidden)))
                said = f"{exercise} {verdict.state}: {verdict.text}"
                error = nbformat.v4.new_output("error", ename="AssertionError", evalue=said, traceback=[said])
                cell.outputs = [] if verdict.state == "passed" else [error]
        return nb, resources
