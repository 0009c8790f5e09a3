"""The harness itself: what it must notice, made to happen in a notebook of its own."""

from collections.abc import Iterator

import nbformat
import pytest
from jupyter import PATIENCE, Lesson, needed, write_without_outputs
from playwright.sync_api import Page, expect

NOTEBOOK = """
import ipywidgets
import numpy as np
from workbook.widgets.interactive import Interactive, picture

class Dots(Interactive):
    def __init__(self, name, draw):
        self.name, self._dots = name, draw
        super().__init__(count=ipywidgets.IntSlider(1, 1, 9, description="Count"))

    def draw(self, count):
        return self._dots(count)

def dots(text, pixels):
    return f"{text} dots" + picture(np.full((pixels, 2, 3), 127, np.uint8), "dots")

ipywidgets.VBox([
    Dots("good", lambda count: dots(count, count)),
    Dots("deaf", lambda count: dots(1, 1)),
    Dots("half deaf", lambda count: dots(count, 1)),
    Dots("wrong", lambda count: dots(count / 0 if count > 1 else 1, 1)),
])
"""


@pytest.fixture(scope="module")
def lesson(lab, open_lesson) -> Lesson:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    write_without_outputs(notebook, lab.folder / "notebooks/harness.ipynb")
    return open_lesson("harness.ipynb", to="ipywidgets.VBox(")


def test_only_what_a_cell_needs_is_run() -> None:
    cells = {
        1: "import torch\nwidth = 3",
        3: "def build():\n    import math\n    height = math.floor(4.5)\n    return torch.zeros(width, height)",
        4: "height = 7",
        6: "built = build()\nmath = 5",
        7: "shown = [built for _ in range(2)]",
        8: "width = 99",
    }
    assert needed(cells, 7) == [1, 3, 6, 7]
    assert needed(cells, 4) == [4]


def move_the_slider(lesson: Lesson, name: str):
    """What moves the slider of an interactive, by keyboard."""
    slider = lesson.interactive(name).root.get_by_role("slider")

    def move() -> None:
        slider.focus()
        lesson.press("ArrowRight")

    return move


def test_a_slider_has_a_name_and_moves_text_and_picture(lesson) -> None:
    good = lesson.interactive("good")
    assert good.labels() == ["Count"]
    good.expect_change(move_the_slider(lesson, "good"))
    expect(good.view).to_have_text("2 dots")
    assert good.pictures()[0].shape == (2, 2, 4)


@pytest.fixture
def impatient() -> Iterator[None]:
    """What never comes is waited for no longer than it takes to know that."""
    expect.set_options(timeout=2_000)
    yield
    expect.set_options(timeout=PATIENCE)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("name", "message"), [("deaf", "not to have text"), ("half deaf", "still the same")])
def test_an_interactive_that_ignores_its_slider_is_caught(lesson, name, message) -> None:
    with pytest.raises(AssertionError, match=message):
        lesson.interactive(name).expect_change(move_the_slider(lesson, name))


def test_an_error_in_drawing_is_shown(lesson) -> None:
    move_the_slider(lesson, "wrong")()
    expect(lesson.interactive("wrong").view).to_have_text("ZeroDivisionError: division by zero")


def test_errors_in_the_console_are_caught(lesson) -> None:
    lesson.page.evaluate("() => { console.error('first'); setTimeout(() => { throw new Error('second') }) }")
    lesson.page.wait_for_function("() => true")
    assert [error.split()[0] for error in lesson.window.errors] == ["first", "second"]
    lesson.window.errors.clear()


@pytest.mark.parametrize("address", ["http://example.org/", "ws://example.org/"])
def test_requests_of_a_page_that_would_leave_the_machine_are_caught(lesson, address) -> None:
    open_one = "address => { address.startsWith('ws') ? new WebSocket(address) : fetch(address).catch(() => 0) }"
    event = "websocket" if address.startswith("ws") else "request"
    with lesson.page.expect_event(event):
        lesson.page.evaluate(open_one, address)
    assert lesson.window.strangers == [address]
    settle(lesson.page)
    lesson.window.strangers.clear()
    lesson.window.errors.clear()


def settle(page: Page) -> None:
    """Give the failed connection time to be reported as an error, which is right, but not what is tested."""
    page.wait_for_timeout(500)


def test_requests_of_a_kernel_that_would_leave_the_machine_are_caught(lesson, outside) -> None:
    code = "import urllib.request\ntry: urllib.request.urlopen('http://example.org/', timeout=5)\nexcept OSError: pass"
    kernel = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    lesson.page.evaluate(f"code => {kernel}.requestExecute({{code}}).done", code)
    assert outside.asked == ["GET http://example.org/ HTTP/1.1"]
    outside.asked.clear()
