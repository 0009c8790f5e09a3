"""For teachers: the lessons without solutions, to hand out as they are or as a course for nbgrader, and their grades.

`python -m workbook.export` is the command; CONTRIBUTING.md says what to do with what it writes.
"""

from .errors import ExportError
from .exporting import export
from .grading import grade
from .merging import definitions, merge
from .submissions import collect
from .updating import update

__all__ = ["ExportError", "collect", "definitions", "export", "grade", "merge", "update"]
