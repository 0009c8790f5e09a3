"""Each notebook as it is committed, for axe: text, tables, pictures and the pictures of interactives."""

from collections.abc import Callable

import pytest
from jupyter import Lesson

from workbook.places import NOTEBOOKS

NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(open_as_committed: Callable[[str], Lesson], name: str, theme: str) -> None:
    notebook = open_as_committed(name)
    notebook.set_theme(theme)
    assert notebook.violations(".jp-RenderedMarkdown, .jp-OutputArea-output") == []
