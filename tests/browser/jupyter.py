"""JupyterLab in a real browser: a server of its own, a page that shows it, and lessons opened in that page.

Loading JupyterLab takes a page many times as long as opening a notebook in it. So a page is loaded once, and every
lesson opens in it as a tab, with a kernel of its own, both of which close before the next.

Nothing may leave this machine. The server and its kernels get a proxy that answers nobody and remembers who asked.
What a page asks for is watched; Chromium itself, which looks for updates whatever its flags are, has no way out.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import symtable
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import axe_playwright_python
import nbformat
import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page, expect

from workbook.export.merging import global_names
from workbook.places import WORKBOOK as ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NOWHERE = {"server": "http://127.0.0.1:9", "bypass": "127.0.0.1"}  # the browser's proxy; port 9 discards
PATIENCE = 15_000  # milliseconds; two lessons at once on two cores may take longer than the 5 seconds of `expect`
SETTINGS = {
    "notification": {"fetchNews": "false", "checkForUpdates": False},
    "themes": {"theme": "JupyterLab Light"},
}


def find_browser() -> str | None:
    """Path of a Chromium or Chrome: the one that `BROWSER_PATH` names, or the first that is installed."""
    on_a_mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return os.environ.get("BROWSER_PATH") or found or (str(on_a_mac) if on_a_mac.exists() else None)


class Outside:
    """A proxy to nowhere. `asked` is the first line of each request that wanted to leave this machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection:
                connection.settimeout(5)
                self.asked.append(connection.recv(1000).decode(errors="replace").split("\r\n")[0])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Lab:
    """A JupyterLab on 127.0.0.1 that serves a copy of the notebooks.

    Attributes:
        url: where it listens.
        token: what it asks for.
        folder: what it serves: `notebooks/` is a copy, `helpers`, `workbook` and `data` are those of this workbook. The
            lessons have no outputs, except for those in `notebooks/as_committed/`.
        progress: where passed exercises are remembered.
    """

    def __init__(self, folder: Path, outside: Outside) -> None:
        self.folder, self.progress = folder.resolve() / "workbook", folder.resolve() / "progress"
        self.token = secrets.token_hex()
        self._copy_the_workbook()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "jupyterlab.log"
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.folder,
            "ServerApp.allow_root": True,
            "ServerApp.open_browser": False,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.news_url": None,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *(f"--{key}={value}" for key, value in options.items())],
                cwd=self.folder,
                env=os.environ | self._variables(folder.resolve() / "jupyter", outside),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _copy_the_workbook(self) -> None:
        copy = self.folder / "notebooks"
        shutil.copytree(ROOT / "notebooks", copy, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        shutil.copytree(copy, copy / "as_committed")
        for path in copy.glob("*.ipynb"):
            write_without_outputs(nbformat.read(path, as_version=4), path)
        for shared in ("helpers", "workbook", "data"):
            (self.folder / shared).symlink_to(ROOT / shared)

    def _variables(self, own: Path, outside: Outside) -> dict[str, str]:
        config = own / "config/labconfig/page_config.json"
        config.parent.mkdir(parents=True)
        config.write_text(json.dumps({"buildCheck": False}))  # it runs npm
        for name, values in SETTINGS.items():
            settings = own / f"settings/@jupyterlab/apputils-extension/{name}.jupyterlab-settings"
            settings.parent.mkdir(parents=True, exist_ok=True)
            settings.write_text(json.dumps(values))
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), outside.url)
        here = {"PYTHONPATH": str(self.folder), "WORKBOOK_PROGRESS": str(self.progress)}
        nowhere = {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
        return {key: str(own / name) for key, name in folders.items()} | proxies | nowhere | here

    def _wait(self) -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(300):
            try:
                direct.open(f"{self.url}/api/status?token={self.token}", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                if self._process.poll() is not None:
                    break
                time.sleep(0.2)
        self.close()
        raise RuntimeError(f"JupyterLab did not start:\n{self._log.read_text()}")

    def remember(self, exercise: str) -> None:
        """As if the learner had passed it, perhaps in another lesson."""
        self.progress.mkdir(exist_ok=True)
        (self.progress / exercise).touch()

    def forget(self) -> None:
        """As if the learner had just begun."""
        shutil.rmtree(self.progress, ignore_errors=True)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def write_without_outputs(notebook: nbformat.NotebookNode, path: Path) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


class Window:
    """A page of the browser for JupyterLab.

    Attributes:
        lab: the server behind it.
        page: the page.
        errors: what the browser's console called an error, and exceptions that nobody caught.
        strangers: addresses beyond this machine that the page asked for.
    """

    def __init__(self, browser: Browser, lab: Lab) -> None:
        self.lab = lab
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 1000})
        self.page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", lambda request: self._meet(request.url))
        self.page.on("websocket", lambda websocket: self._meet(websocket.url))

    def _note(self, error: str) -> None:
        """JupyterLab itself says that a request was cancelled, if a tab is closed before its kernel has answered."""
        if "Canceled future for" not in error:
            self.errors.append(error)

    def open(self, name: str) -> str:
        """Open a notebook in a new tab; the first one by its address, as `make lab` does, which loads JupyterLab.

        Returns:
            the id of the tab.
        """
        path = f"notebooks/{name}"
        if self.page.url == "about:blank":
            self.page.goto(f"{self.lab.url}/lab/tree/{path}?token={self.lab.token}")
        else:
            self.page.evaluate("path => { jupyterapp.commands.execute('docmanager:open', {path}) }", path)
        self.page.wait_for_function(CONNECTED, arg=path, timeout=60_000)
        return self.page.evaluate("() => jupyterapp.shell.currentWidget.id")

    def _meet(self, url: str) -> None:
        own = (self.lab.url, self.lab.url.replace("http", "ws"), "data:", "blob:")
        if not url.startswith(own):
            self.strangers.append(url)

    def close(self) -> None:
        self.page.close()


class Lesson:
    """A notebook opened in a window, and run as far as a test wants.

    Attributes:
        window: what it is opened in.
        page: the page of that window.
        tab: the id of its tab.
        notebook: all that is in its tab.
    """

    def __init__(self, window: Window, name: str) -> None:
        self.window, self.page = window, window.page
        self.tab = window.open(name)
        self.notebook = self.page.locator(f'[id="{self.tab}"]')
        self.set_theme("JupyterLab Light")

    def run_to(self, text: str) -> None:
        """Start the kernel, and run the cell that contains `text` after the cells above it that it needs.

        All others are left to nbval: they train for minutes, and no interactive shows what they compute.
        """
        self.page.evaluate(ANSWERS)
        cells = self.page.evaluate(CODE)
        last = next(number for number, source in cells if text in source)
        for number in needed(dict(cells), last):
            self.page.evaluate(RUN_CELL, number)
            self.page.wait_for_function(FINISHED, arg=number, timeout=300_000, polling=100)

    def set_theme(self, theme: str) -> None:
        """Change to JupyterLab's theme of that name, for instance "JupyterLab Dark"."""
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        light = "true" if theme.endswith("Light") else "false"
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
        expect(self.page.locator("#jupyterlab-splash")).to_be_hidden()

    def answer(self, stub: str, answer: str, exercise: str) -> None:
        """Put `answer` in place of the cell that begins with `stub`, run it, and see that its check passes."""
        number = self.page.evaluate(FIND_CELL, stub)
        self.page.evaluate(REPLACE_AND_RUN, [number, f'{answer}\ncheck("{exercise}", {answer.split(" =")[0]})'])
        expect(self.notebook.locator(".jp-Notebook-cell").nth(number)).to_contain_text(f"{exercise} passed")

    def cells(self) -> list[str]:
        """The source of each cell."""
        return self.page.evaluate(SOURCES)

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def interactive(self, name: str) -> Interactive:
        """The interactive of that name."""
        return Interactive(self.notebook.locator(f'.widget-vbox:has(> .widget-html [aria-label="{name}"])'))

    def expect_readable(self, interactive: Interactive) -> None:
        """An interactive is for everybody, in JupyterLab's light and dark themes.

        All text stands out as WCAG 2.2 asks (level AA), axe finds nothing, and in a window of 800 pixels, or of 1,280
        at a zoom of 200 %, nothing is cut off.
        """
        size = self.page.viewport_size
        assert size is not None
        for width in (640, 800):
            self.page.set_viewport_size({"width": width, "height": 700})
            assert interactive.cut_off() == [], width
        self.page.set_viewport_size(size)
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            self.set_theme(theme)
            contrasts = interactive.contrasts()
            assert len(contrasts) > 10
            assert min(contrasts.values()) >= 4.5, (theme, contrasts)
            found = self.violations(".widget-vbox")
            assert not found, (theme, found)

    def expect_still(self, name: str, text: str) -> None:
        """What was stored of an interactive is there without a kernel, with this text, and no error in its place."""
        said = f"Run this cell to use the controls of this {name}"
        self.page.evaluate(SCROLL_TO, said)
        outputs = self.notebook.locator(".jp-OutputArea-output")
        still = outputs.filter(has_text=said)
        expect(still).to_contain_text(text)
        expect(outputs.filter(has_text="Error displaying widget")).to_have_count(0)

    def violations(self, parts: str) -> list[str]:
        """What axe (https://github.com/dequelabs/axe-core, 4.12) finds in those parts of the notebook, and where."""
        self.page.evaluate(ALL_CELLS)
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        return self.page.evaluate(VIOLATIONS, f'[id="{self.tab}"] :is({parts})')

    def close(self) -> None:
        """Shut its kernel down and close its tab; the one before it is in front again."""
        self.page.evaluate(CLOSE, self.tab)


CONNECTED = """path => {
    const panel = window.jupyterapp?.shell?.currentWidget
    return panel?.context?.path === path && panel.sessionContext?.session?.kernel
}"""
# as JupyterLab's "Close and Shut Down Notebook" does, which would first ask
CLOSE = """async id => {
    const panel = [...jupyterapp.shell.widgets('main')].find(widget => widget.id === id)
    await panel.sessionContext.shutdown()
    panel.dispose()
}"""
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# JupyterLab lays out only what is near the screen
# JupyterLab draws cells that are out of sight when the browser finds the time, which may be never
SCROLL_TO = """async text => {
    const content = jupyterapp.shell.currentWidget.content
    await content.scrollToItem([...content.model.cells].findIndex(
        cell => cell.type === 'code' && JSON.stringify(cell.outputs.toJSON()).includes(text)), 'center')
}"""
ALL_CELLS = """async () => {
    const content = jupyterapp.shell.currentWidget.content
    for (const [number, cell] of content.widgets.entries())
        if (cell.placeholder) await content.scrollToItem(number)
    content.notebookConfig = {...content.notebookConfig, windowingMode: 'none'}
    await new Promise(resolve => setTimeout(resolve, 1000))
    if (content.widgets.some(cell => cell.placeholder)) throw Error('not all cells are drawn')
}"""
VIOLATIONS = """async parts => {
    const {violations} = await axe.run({include: [...document.querySelectorAll(parts)]}, {resultTypes: ['violations']})
    return violations.flatMap(({id, nodes}) => nodes.map(node => `${id}: ${node.html.slice(0, 200)}`))
}"""
CODE = """() =>
    [...jupyterapp.shell.currentWidget.content.model.cells].flatMap((cell, number) =>
        cell.type === 'code' ? [[number, cell.sharedModel.getSource()]] : [])
"""
SOURCES = """() =>
    [...jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.sharedModel.getSource())
"""
FIND_CELL = f"stub => ({SOURCES})().findIndex(source => source.startsWith(stub))"
REPLACE_AND_RUN = """([number, source]) => {
    const notebook = jupyterapp.shell.currentWidget.content
    notebook.activeCellIndex = number
    notebook.activeCell.model.sharedModel.setSource(source)
    jupyterapp.commands.execute('notebook:run-cell')
}"""
# a kernel that says it is idle may still lose what it is sent: ask until it answers
ANSWERS = """async () => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel
    for (;;) {
        const answer = kernel.requestExecute({code: '1', silent: true}).done.then(() => true, () => false)
        if (await Promise.race([answer, new Promise(resolve => setTimeout(resolve, 2000, false))])) return
    }
}"""
# neither is awaited: the command returns when the cell has run, which evaluate would not wait for
RUN_CELL = """number => {
    jupyterapp.shell.currentWidget.content.activeCellIndex = number
    jupyterapp.commands.execute('notebook:run-cell')
}"""
FINISHED = """number => {
    const cell = jupyterapp.shell.currentWidget.content.model.cells.get(number)
    return cell.executionCount && cell.executionState !== 'running'
}"""


def needed(cells: Mapping[int, str], last: int) -> list[int]:
    """Number of a code cell -> its source; what of it cell `last` needs, directly or not, in order, and itself."""
    found, names = [last], global_names(cells[last])
    for number in sorted((number for number in cells if number < last), reverse=True):
        symbols = symtable.symtable(cells[number], "cell", "exec").get_symbols()
        if any(s.get_name() in names and (s.is_assigned() or s.is_imported()) for s in symbols):
            found.append(number)
            names |= global_names(cells[number])
    return found[::-1]


class Interactive:
    """An interactive as a page shows it. Its controls are found by their labels, as assistive technology does.

    Attributes:
        root: all of it.
        view: what it drew.
        page: where it is shown.
    """

    def __init__(self, root: Locator) -> None:
        self.root, self.view, self.page = root, root.locator('.widget-html [role="group"]'), root.page
        expect(self.view).to_be_attached(timeout=30_000)
        self.root.scroll_into_view_if_needed()  # JupyterLab does not lay out what is far from the screen

    def control(self, label: str) -> Locator:
        """The control of that name."""
        return self.root.get_by_label(label, exact=True).or_(self.root.get_by_role("button", name=label, exact=True))

    def labels(self) -> list[str]:
        """The name of each control, in the order in which they stand."""
        return self.root.evaluate(LABELS)

    def pictures(self) -> list[NDArray[np.uint8]]:
        """The pixels of each picture as the browser decoded it: (H, W, 4) RGBA."""
        return [read_png(url) for url in self.view.evaluate(PIXELS)]

    def slide(self, value: int, place: int = 0) -> None:
        """Move a slider, the first one if there are several, by keyboard: it has no text field that takes a number."""
        slider = self.root.get_by_role("slider").nth(place)  # it has its name once it was focused
        slider.focus()
        while (now := float(slider.get_attribute("aria-valuenow"))) != value:
            self.page.keyboard.press("ArrowRight" if now < value else "ArrowLeft")
            expect(slider).not_to_have_attribute("aria-valuenow", f"{now:.1f}")

    def row(self, first: str) -> list[str]:
        """The cells of the table row that begins with `first`."""
        for line in self.view.locator("tr").all():
            cells = line.locator("th, td").all_text_contents()
            if cells[0] == first:
                return cells
        raise AssertionError(f"no row {first!r} in:\n{self.view.text_content()}")

    def expect_change(self, operate: Callable[[], None]) -> None:
        """Whatever `operate` does to the controls changes the text and a picture."""
        text, pictures = self.view.text_content(), self.pictures()
        operate()
        expect(self.view).not_to_have_text(text)
        assert [p.tolist() for p in pictures] != [p.tolist() for p in self.pictures()], (
            "the pictures are still the same"
        )

    def cut_off(self) -> list[str]:
        """What reaches beyond the output that it stands in, and does not scroll by itself."""
        return self.root.evaluate(CUT_OFF)

    def contrasts(self) -> dict[str, float]:
        """Each piece of text -> how much it stands out from its background, as WCAG 2.2 defines contrast."""
        return dict(self.root.evaluate(CONTRASTS))


def read_png(url: str) -> NDArray[np.uint8]:
    """A data URL -> (H, W, 4) RGBA."""
    png = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.round(255 * imread(io.BytesIO(png))).astype(np.uint8)


LABELS = """root => [...root.querySelectorAll('select, input, button, [role=slider]')].map(control => {
    const labels = [...(control.labels ?? [])].map(label => label.textContent.trim()).filter(Boolean)
    if (control.role === 'slider') control.focus() // it has its name from then on
    return (control.getAttribute('aria-label') || labels[0] || control.textContent).trim()
})"""
PIXELS = """async view => Promise.all([...view.querySelectorAll('img')].map(async image => {
    await image.decode()
    const canvas = document.createElement('canvas')
    canvas.width = image.naturalWidth
    canvas.height = image.naturalHeight
    canvas.getContext('2d').drawImage(image, 0, 0)
    return canvas.toDataURL()
}))"""
CUT_OFF = """async root => {
    await new Promise(resolve => setTimeout(resolve, 500))
    const right = root.closest('.jp-OutputArea-output').getBoundingClientRect().right + 1
    const scrolls = element => {
        for (let e = element.parentElement; e !== root.parentElement; e = e.parentElement)
            if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX)) return true
        return false
    }
    return [...root.querySelectorAll('*')]
        .filter(element => element.getClientRects().length && element.getBoundingClientRect().right > right)
        .filter(element => !scrolls(element))
        .map(element => element.outerHTML.slice(0, 200))
}"""
CONTRASTS = """root => {
    const parse = color => (color.match(/[\\d.]+/g) ?? []).map(Number)
    const opaque = color => { const [, , , alpha = 1] = parse(color); return alpha > 0 }
    const background = element => {
        while (element && !opaque(getComputedStyle(element).backgroundColor)) element = element.parentElement
        return element ? getComputedStyle(element).backgroundColor : 'rgb(255, 255, 255)'
    }
    const luminance = color => {
        const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
        const [r, g, b] = parse(color).map(v => linear(v / 255))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const found = []
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim()
        const parent = walker.currentNode.parentElement
        if (!text || parent.getClientRects().length === 0) continue
        const pair = [getComputedStyle(parent).color, background(parent)].map(luminance).sort((a, b) => b - a)
        found.push([text, (pair[0] + 0.05) / (pair[1] + 0.05)])
    }
    return found
}"""
