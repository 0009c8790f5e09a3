"""Run notebooks from top to bottom and store their outputs, as `make test` will compare them.

Some of their pictures are shown in README.md, too: those of cells with the tag `picture-NAME` are written to
notebooks/pictures/NAME.png.

usage: python tools/refresh_notebooks.py [NOTEBOOK ...]     (all of notebooks/ if none is named)
"""

from __future__ import annotations

import base64
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = "picture-"  # tag of a cell whose picture README shows: "picture-masks" draws notebooks/pictures/masks.png
IMG = re.compile('class="plot"[^>]*src="data:image/png;base64,([^"]+)"')  # as workbook.plots shows a figure
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def refresh(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        folded = {"jupyter": {"source_hidden": True}} if "hide-input" in tags else {}  # proofs
        cell.metadata = ({"tags": tags} if tags else {}) | folded
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for output in (o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs):
        if output.output_type == "error":
            shorten(output)
        # without a kernel an interactive is nothing but an error message; the text and HTML beside it remain
        output.get("data", {}).pop(WIDGET, None)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    for name, pixels in pictures(notebook):
        (ROOT / "notebooks/pictures" / name).write_bytes(pixels)


def pictures(notebook: NotebookNode) -> list[tuple[str, bytes]]:
    """Names and PNGs of the first picture of each cell that is tagged for it."""
    found = []
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith(PICTURE):
                html = "".join(o.data.get("text/html", "") for o in cell.outputs if "data" in o)
                found.append((f"{tag.removeprefix(PICTURE)}.png", base64.b64decode(IMG.findall(html)[0])))
    return found


def shorten(error: NotebookNode) -> None:
    """Keep the frames of the notebook's own cells: the others name folders of this machine."""
    own = [frame for frame in error.traceback if re.sub(r"\x1b\[[0-9;]*m", "", frame).startswith("Cell In")]
    error.traceback = [*own, error.traceback[-1]]


def main(paths: list[str]) -> None:
    os.environ["WORKBOOK_PROGRESS"] = ""  # what is stored shows nobody's progress
    found = [Path(path).resolve() for path in paths] or sorted((ROOT / "notebooks").rglob("*.ipynb"))
    for path in found:
        if ".ipynb_checkpoints" not in path.parts:
            print(f"running {path.relative_to(ROOT)}", flush=True)
            refresh(path)


if __name__ == "__main__":
    main(sys.argv[1:])
