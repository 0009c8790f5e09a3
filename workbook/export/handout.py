"""What students get: a workbook with some lessons, ready for `make lab`, without solutions, tests and results."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat

from ..places import WORKBOOK
from .notebooks import with_links

# benchmarks and the scripts in data are what lessons and data/README.md speak of
FOLDERS = ("helpers", "workbook", "data", "benchmarks")
FILES = (
    *("Makefile", "tools/setup.py", "tools/lab.py", "pyproject.toml", "constraints.txt", "environment.yml"),
    *(".gitattributes", ".gitignore", "LICENSE", "LICENSE-TEXT"),
)
HAND_IN = """
## Handing in

Save the lesson, and hand in its file from `my_lessons`, as it is called there. Leave the names of the functions and the lines with `check` as they are.
"""  # noqa: E501
CACHES = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)[^)]*\)")  # to a file beside the text


def write_handout(folder: Path, lessons: Sequence[str]) -> None:
    """Fill a folder for students; `lessons` are names of notebooks."""
    for name in FOLDERS:
        shutil.copytree(WORKBOOK / name, folder / name, ignore=CACHES)
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(WORKBOOK / name, folder / name)
    (folder / "notebooks").mkdir()
    for name in lessons:
        nbformat.write(with_links(name, {name: name for name in lessons}), folder / "notebooks" / name)
    readme = (WORKBOOK / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(with_live_links(readme, folder) + HAND_IN, encoding="utf-8")


def with_live_links(text: str, folder: Path) -> str:
    """What is true in `folder` of a page in Markdown: paragraphs and rows that link to what is not there are left out.

    A heading that does so takes its section along, and a heading with nothing left below it goes, too.
    """
    kept: list[str] = []
    dropped = 0  # level of the heading whose section is left out
    for block in text.rstrip("\n").split("\n\n"):
        level = _level(block)
        rows = block.split("\n") if block.startswith("|") else [block]
        alive = [row for row in rows if all((folder / link).exists() for link in LINK.findall(row))]
        if level:
            while kept and _level(kept[-1]) >= level:
                kept.pop()
            if not dropped or level <= dropped:
                dropped = 0 if alive else level
        only_a_head = block.startswith("|") and len(alive) <= 2
        if alive and not dropped and not only_a_head:
            kept.append("\n".join(alive))
    while _level(kept[-1]):
        kept.pop()
    return "\n\n".join(kept) + "\n"


def _level(block: str) -> int:
    """1 for a heading with one `#` and so on; 0 for what is no heading."""
    return len(block) - len(block.lstrip("#")) if block.startswith("#") else 0
