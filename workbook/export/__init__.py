"""For teachers: the lessons without solutions, to hand out as they are or as a course for nbgrader.

`python -m workbook.export` is the command; CONTRIBUTING.md says what to do with what it writes.
"""

from .errors import ExportError
from .exporting import export
from .merging import definitions, merge

__all__ = ["ExportError", "definitions", "export", "merge"]
