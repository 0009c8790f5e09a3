"""The learner's own copies of the notebooks, in the folder `my_lessons`, which git does not see.

    python -m workbook.my_lessons

makes those that are missing, without outputs, so that no result stands below a prediction. What a learner has written
is never written over: where a lesson has changed since, its new version is put beside it, and said.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.atomic_files import replacing
from helpers.errors import WeightsError

from .places import NOTEBOOKS, WORKBOOK

LINK = re.compile(r"\]\((?!https?://|#|/)([^)\s]+)\)")  # of Markdown, to a file beside the text
REGISTER = ".made.json"  # in the folder: notebook -> digests of all versions that were put there


def folder() -> Path:
    """Where they lie: here, if the running notebook is one of them."""
    here = Path.cwd()
    return here if here.name == "my_lessons" else WORKBOOK / "my_lessons"


def update(place: Path) -> list[str]:
    """Put into `place` what is missing there; it is made if it is not there.

    Returns:
        A sentence for each notebook that is new.

    Raises:
        OSError, WeightsError: the folder cannot be written.
    """
    place.mkdir(parents=True, exist_ok=True)
    made = _register(place)
    said = []
    for source in sorted(NOTEBOOKS.glob("*.ipynb")):
        content = as_nobody_has_run_it(source)
        versions = made.setdefault(source.name, [])
        copies = [path for path in numbered(place / source.name) if path.exists()]
        if copies and (_digest(content) in versions or content in map(_read, copies)):
            continue
        untouched = [path for path in copies if _digest(_read(path)) in versions]
        target = untouched[0] if untouched else free(place / source.name)
        if target.name != source.name:
            said.append(f"{source.name} has changed: the new version is {target.name}, and yours is as it was")
        elif copies:
            said.append(f"{source.name} has changed, and you had not begun it: it is the new version now")
        else:
            said.append(f"{source.name} is new")
        _write(target, content)
        versions.append(_digest(content))
    _write(place / REGISTER, json.dumps(made, indent=1))
    return said


def start_again(name: str, place: Path) -> Path | None:
    """Give a notebook back as it was; the learner's is kept under another name, which is returned if there was one.

    Raises:
        OSError, WeightsError: the folder cannot be written.
    """
    place.mkdir(parents=True, exist_ok=True)
    target, kept = place / name, None
    if target.exists():
        kept = free(target.with_stem(f"{target.stem}_before"))
        target.rename(kept)
    _write(target, as_nobody_has_run_it(NOTEBOOKS / name))
    return kept


def as_nobody_has_run_it(source: Path) -> str:
    """A notebook without outputs; links to what is not copied lead to the original."""
    notebook = without_outputs(source)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(_from_here, cell.source)
    return nbformat.writes(notebook)


def without_outputs(path: Path) -> NotebookNode:
    """A notebook that nobody has run: predictions come before results, and an interactive would be a dead picture."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def _from_here(link: re.Match[str]) -> str:
    path = link[1].partition("#")[0]
    is_beside = "/" not in path and path.endswith(".ipynb")
    if is_beside or path.startswith("..") or not (NOTEBOOKS / path).exists():  # or code that looks like a link
        return link[0]
    return f"](../{NOTEBOOKS.name}/{link[1]})"


def numbered(path: Path) -> list[Path]:
    """`a.ipynb`, and its later versions `a_2.ipynb` and so on."""
    later = sorted(path.parent.glob(f"{path.stem}_*.ipynb"))
    return [path, *(other for other in later if other.stem.removeprefix(f"{path.stem}_").isdecimal())]


def free(path: Path) -> Path:
    """That path, or the first of `a_2.ipynb`, `a_3.ipynb` and so on that is not taken."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_stem(f"{path.stem}_{number}"), number + 1
    return free


def _register(place: Path) -> dict[str, list[str]]:
    """What was put there so far; nothing if somebody has broken it, and then new versions come beside."""
    try:
        found = json.loads((place / REGISTER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> int:
    """Make what is missing and say so; the status is returned."""
    place = folder()
    is_first = not place.exists()
    try:
        said = update(place)
    except (OSError, WeightsError) as error:
        print(f"my_lessons: your copies of the lessons cannot be written: {error}", file=sys.stderr)
        return 1
    if is_first:
        said = [f"{len(said)} notebooks are in {place.name}, where you can write; those in {NOTEBOOKS.name} stay"]
    for sentence in said:
        print(f"my_lessons: {sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
