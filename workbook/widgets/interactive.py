"""The pattern of every interactive: controls, and one view that is drawn from their values.

An interactive is a class with two parts. Its `__init__` hands its controls to `Interactive`, each with a
`description`, for that is its label. Its `draw` takes their values and returns HTML, text and pictures alike, and
changes nothing. So a test asks `draw` without a browser, a notebook stores what it drew first, and nbval compares its
words.
"""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

# What Python cannot set. JupyterLab takes arrows and letters from a focused control, to move between cells and to
# delete them (https://github.com/jupyter-widgets/ipywidgets/issues/3912), unless the notebook has the class that it has
# while somebody types into a text field. Sliders and groups of radio buttons lack the name that their label gives them,
# and radio buttons do not know that they belong together. A dropdown's arrow is black in the dark theme, too.
FOR_BROWSERS = """<style onload="
    const root = this.closest('.widget-vbox')
    // a place of its own that stays, so that a change of it is read out: the view is long, and replaced as a whole
    root.querySelector('.said').setAttribute('role', 'status')
    root.querySelector('.said').style = 'position: absolute; width: 1px; height: 1px; overflow: hidden; margin: 0'
    const notebook = root.closest('.jp-Notebook') ?? root
    const labelOf = control =>
        control.closest('.widget-slider, .widget-radio').querySelector('.widget-label').textContent
    root.addEventListener('focusin', () => {
        // JupyterLab takes the class away at each change of focus, so this comes after it, further up
        notebook.addEventListener('focusin', () => notebook.classList.add('jp-mod-readWrite'), {once: true})
        root.querySelectorAll('[role=slider]').forEach(slider => slider.setAttribute('aria-label', labelOf(slider)))
        root.querySelectorAll('.widget-radio-box:not([role])').forEach(group => {
            group.setAttribute('role', 'radiogroup')
            group.setAttribute('aria-label', labelOf(group))
            const name = 'group ' + Math.random()
            group.querySelectorAll('input').forEach(input => { input.name = name })
        })
    })
    root.addEventListener('focusout', () => notebook.classList.remove('jp-mod-readWrite'))
">
    body[data-jp-theme-light='false'] .widget-dropdown > select {
        appearance: auto; background-image: none; color-scheme: dark
    }
</style>"""

UNSIGNED: dict[str, Any] = {"Software": None}  # a picture without the version of matplotlib in it
FONT = "color: var(--jp-content-font-color1, inherit); line-height: 1.6"


BOX = "max-height: 24em; overflow: auto"  # of a long list, which scrolls by itself


INTERACTIVES: dict[str, type[Interactive]] = {}
"""Name of a module in this folder -> the interactive in it."""


class Interactive(ipywidgets.VBox):
    """Controls above what they show; it is drawn anew when the value of one of them changes.

    Attributes:
        name: what it is, for those who hear the page instead of seeing it.
        controls: by the name of the argument of `draw` that takes its value.
        view: what `draw` returned last, an `ipywidgets.HTML`.
    """

    name = "interactive"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        INTERACTIVES[cls.__module__.rpartition(".")[2]] = cls

    def __init__(self, **controls: ipywidgets.ValueWidget) -> None:
        """
        Args:
            controls: in the order in which they are shown; buttons, which have no value, are added by
                `add_button`.

        Raises:
            Whatever `draw` raises for the first values.
        """
        self.controls = controls
        # JupyterLab may hand each control's changes to a thread of its own ("comms over subshells")
        self._one_at_a_time = threading.RLock()
        self.view, self.said = ipywidgets.HTML(), ipywidgets.HTML()
        self.said.add_class("said")
        self.bar = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap", "align_items": "center"})
        super().__init__([self.bar, self.view, self.said, ipywidgets.HTML(FOR_BROWSERS, layout={"display": "none"})])
        for control in controls.values():
            control.observe(self.update, names="value")
        self.view.value = self._drawn()

    def draw(self, *args: Any, **state: Any) -> str:
        """The values of the controls, by their names -> HTML. It changes nothing."""
        raise NotImplementedError

    def update(self, _change: object = None) -> None:
        """Draw anew. An error is shown in place of the view, since Jupyter hides what callbacks raise."""
        with self._one_at_a_time:
            try:
                self.view.value = self._drawn()
                self.said.value = self._summary()
            except Exception as error:
                self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """Put an error in the place of the view."""
        message = f"{type(error).__name__}: {error}"
        self.view.value = self._framed(f'<pre style="white-space: pre-wrap">{escape(message)}</pre>')
        self.said.value = escape(message)

    def add_button(self, description: str) -> ipywidgets.Button:
        """A button at the end of the row of controls, as wide as its text."""
        button = ipywidgets.Button(description=description, layout={"width": "auto"})
        self.bar.children = (*self.bar.children, button)
        return button

    def _summary(self) -> str:
        """What is read out after a change: the first paragraph of what is drawn, or else the controls."""
        paragraph = re.search("<p>(.*?)</p>", self.view.value, flags=re.DOTALL)
        if paragraph:
            return re.sub("<[^>]+>", " ", paragraph[1])
        chosen = [f"{control.description}: {_shown(control)}" for control in self.controls.values()]
        return escape(", ".join(chosen))

    def _drawn(self) -> str:
        return self._framed(self.draw(**{key: control.value for key, control in self.controls.items()}))

    def _framed(self, html: str) -> str:
        return f'<div role="group" aria-label="{escape(self.name)}" style="{FONT}">{html}</div>'

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Also what is drawn: committed notebooks keep that alone, and other programs show it that know no widgets."""
        still = f"<p>(Run this cell to use the controls of this {escape(self.name)}.)</p>"
        # where it is stored, nothing can take the focus, so nothing may need it to be scrolled
        whole = self.view.value.replace(BOX, "")
        drawn = {"text/plain": f"<{self.name}>", "text/html": whole + still}
        return super()._repr_mimebundle_(**kwargs) | drawn


def _shown(control: ipywidgets.ValueWidget) -> str:
    """The value of a control as it stands on the screen."""
    return str(getattr(control, "label", None) or control.value)


def picture(pixels: NDArray[np.uint8], alt: str, zoom: int = 1) -> str:
    """An `<img>` that carries its pixels with it.

    Args:
        pixels: (H, W, 3) RGB or (H, W, 4) RGBA.
        alt: what it shows, for those who do not see it.
        zoom: how many times larger to show it, without smoothing.
    """
    png = io.BytesIO()
    imsave(png, np.ascontiguousarray(pixels), format="png", metadata=UNSIGNED)
    height, width = pixels.shape[:2]
    data = base64.b64encode(png.getvalue()).decode()
    size = f'width="{width * zoom}" height="{height * zoom}" style="image-rendering: pixelated; max-width: none"'
    return f'<img alt="{escape(alt)}" {size} src="data:image/png;base64,{data}">'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already, aligned left as Jupyter's own are not; it scrolls if it is too wide."""
    return f'<div style="overflow-x: auto">{plain_table(head, rows)}</div>'


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same for a place that scrolls by itself."""
    left = 'style="text-align: left; vertical-align: top; padding: 0.15em 1em 0.15em 0; white-space: normal"'
    top = "".join(f'<th scope="col" {left}>{cell}</th>' for cell in head)
    body = ""
    for row in rows:
        cells = "".join(f"<td {left}>{cell}</td>" for cell in row)
        body += f"<tr>{cells}</tr>"
    inner = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<table style="border-spacing: 0; margin: 0.5em 0">{inner}</table>'


def beside(*parts: str) -> str:
    """Parts side by side, below one another where there is no room."""
    inner = "".join(f'<div style="max-width: 100%; overflow-x: auto">{part}</div>' for part in parts)
    return f'<div style="display: flex; flex-wrap: wrap; gap: 1.5em; align-items: center">{inner}</div>'


def bar(share: float) -> str:
    """A bar that is filled to a share between 0 and 1. What it shows must also be said in words."""
    filled = f'<div style="width: {share:.0%}; height: 4px; background: var(--jp-success-color1, #388e3c)"></div>'
    return f'<div aria-hidden="true" style="background: var(--jp-border-color2, #bdbdbd)">{filled}</div>'
