"""Where the workbook lies, and whether a package is this one's."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

WORKBOOK = Path(__file__).resolve().parents[1]
DATA = WORKBOOK / "data"
NOTEBOOKS = WORKBOOK / "notebooks"


def is_here(package: ModuleType) -> bool:
    """Whether a package lies in the workbook that the running notebook belongs to, and not in another copy of it.

    nbgrader runs a notebook in a folder outside of any workbook; there it is enough that the package lies in one.
    """
    if package.__file__ is None:  # a folder of that name without code
        return False
    home = Path(package.__file__).absolute().parents[1]
    around = next((folder for folder in Path.cwd().parents if (folder / "workbook/__init__.py").is_file()), None)
    if around is None:
        return (home / "data").is_dir()
    return home == around or home.resolve() == around.resolve()
