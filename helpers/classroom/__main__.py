"""usage: python -m helpers.classroom export DIR [--nbgrader] [LESSON ...]

Writes the lessons without solutions into DIR, ready to hand out; with --nbgrader, a course for nbgrader.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .errors import ExportError
from .exporting import export


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers.classroom", description=__doc__.split("\n\n")[1])
    parser.add_argument("command", choices=["export"])
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder outside of the workbook")
    parser.add_argument("lessons", metavar="LESSON", nargs="*", help="such as 01; all lessons if none is named")
    parser.add_argument("--nbgrader", action="store_true", help="write a course for nbgrader")
    chosen = parser.parse_intermixed_args(arguments)
    try:
        exported = export(chosen.folder, chosen.lessons, chosen.nbgrader)
    except (ExportError, OSError) as error:
        parser.error(str(error))
    print(f"exported to {chosen.folder}: {', '.join(exported)}")


if __name__ == "__main__":
    main()
