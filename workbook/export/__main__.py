"""usage: python -m workbook.export handout|course DIR [LESSON ...]

handout: the lessons without solutions, ready to hand out. course: the same with solutions and points, for nbgrader.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .errors import ExportError
from .exporting import export


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what is asked for, and say what it is; a usage error if that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m workbook.export", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("what", choices=["handout", "course"])
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder outside of the workbook")
    parser.add_argument("lessons", metavar="LESSON", nargs="*", help="such as 01; all lessons if none is named")
    chosen = parser.parse_args(arguments)
    try:
        exported = export(chosen.folder, chosen.lessons, nbgrader=chosen.what == "course")
    except (ExportError, OSError) as error:
        parser.error(str(error))
    print(f"exported to {chosen.folder}: {', '.join(exported)}")


if __name__ == "__main__":
    main()
