"""Write the table of the lessons into README.md, and TEACHING.md, from what each lesson says of itself.

usage: python tools/refresh_readme.py
"""

from __future__ import annotations

from workbook.export.teaching import teaching_page
from workbook.lessons import LESSONS, TABLE_HEAD, markdown_table
from workbook.places import WORKBOOK


def refreshed(text: str) -> str:
    """A page with the table of today in the place of the one that it has."""
    blocks = text.split("\n\n")
    (place,) = [number for number, block in enumerate(blocks) if block.startswith(TABLE_HEAD)]
    blocks[place] = markdown_table(LESSONS)
    return "\n\n".join(blocks)


if __name__ == "__main__":
    readme = WORKBOOK / "README.md"
    readme.write_text(refreshed(readme.read_text(encoding="utf-8")), encoding="utf-8")
    (WORKBOOK / "TEACHING.md").write_text(teaching_page(), encoding="utf-8")
