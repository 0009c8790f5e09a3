"""Make a book for the browser of the notebooks as they are stored, in `build/site`. Nothing is run.

usage: python tools/build_site.py

It can be read from the disk, search included, and asks nobody else for anything. Where pyproject.toml names a
repository (project.urls), each lesson gets a link to Colab, and `build/colab` the notebooks for it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
SITE, NOTEBOOKS = ROOT / "site", ROOT / "notebooks"
BUILD = ROOT / "build"
SOURCE, BOOK, COLAB = BUILD / "source", BUILD / "site", BUILD / "colab"
ROOMS = ("state_dict", "matconvnet", "first_conv", "heads", "fcn", "freezing", "checkpoint", "parity", "probing")
MENDED = {  # what those miss who listen, or have no mouse; and the map's links, which are to notebooks
    "<pre>": '<pre tabindex="0">',
    'role="heading">': 'role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '.ipynb"': '.html"',
}
IN_COLAB = """\
!git clone --quiet --depth 1 {repository} workbook_of_weights
!pip install --quiet safetensors h5py "ipywidgets>=8.1"
import os, sys
os.chdir("workbook_of_weights/notebooks")
sys.path.insert(0, "..")"""
COLAB_LINK = "[Open in Colab](https://colab.research.google.com/github/{name}/blob/gh-pages/colab/{notebook})"


def repository() -> str | None:
    """Its address, from the one place where it stands; None as long as it stands nowhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def for_reading(notebook: NotebookNode, name: str, address: str | None) -> NotebookNode:
    """A lesson as a page: it may be opened in Colab, and nothing of it needs a kernel."""
    if address:
        link = COLAB_LINK.format(name=re.sub(r"^https://github\.com/|\.git$", "", address), notebook=name)
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(link))
    return notebook


def for_colab(notebook: NotebookNode, address: str) -> NotebookNode:
    """A lesson without outputs, whose first cell gets what it needs."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IN_COLAB.format(repository=address)))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def helpers_page() -> str:
    """What the docstrings say of all that is public."""
    rooms = [
        f"## helpers.{room}\n\n```{{eval-rst}}\n.. automodule:: helpers.{room}\n   :members:\n```" for room in ROOMS
    ]
    readme = (ROOT / "helpers/README.md").read_text(encoding="utf-8")
    examples = re.sub(r"^# .*$", "# The helpers", readme, count=1, flags=re.MULTILINE)
    return "\n\n".join([re.sub(r"\]\((?!https?:)[^)]*\)", "]", examples), *rooms])


def main() -> None:
    for place in (SOURCE, BOOK, COLAB):
        shutil.rmtree(place, ignore_errors=True)
    write_source(repository())
    make_book()


def write_source(address: str | None) -> None:
    """What Sphinx reads; and the notebooks for Colab, if it is known where they are fetched from."""
    shutil.copytree(SITE, SOURCE)
    lessons = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    for path in (*lessons, NOTEBOOKS / "recipes.ipynb"):
        page = nbformat.read(path, as_version=4)
        nbformat.write(for_reading(page, path.name, address), SOURCE / path.name)
        if address:
            COLAB.mkdir(exist_ok=True)
            nbformat.write(for_colab(nbformat.read(path, as_version=4), address), COLAB / path.name)
    (SOURCE / "helpers.md").write_text(helpers_page(), encoding="utf-8")
    index = (SITE / "index.md").read_text(encoding="utf-8")
    names = "\n".join(path.stem for path in lessons)
    (SOURCE / "index.md").write_text(index.replace("LESSONS", names), encoding="utf-8")


def make_book() -> None:
    """Let Sphinx do it, and say how large it is."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(SOURCE), str(BOOK)]
    subprocess.run(command, cwd=ROOT, check=True)
    pages = sorted(BOOK.rglob("*.html"))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for found, instead in MENDED.items():
            text = text.replace(found, instead)
        page.write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in BOOK.rglob("*") if path.is_file())
    print(f"{len(pages)} pages, {size / 1e6:.1f} MB: {BOOK / 'index.html'}")


if __name__ == "__main__":
    main()
