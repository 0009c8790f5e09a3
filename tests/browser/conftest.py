"""A JupyterLab and a browser for all tests in this folder; skipped, with a word why, where there is no browser.

With BROWSER_TESTS=required, as continuous integration sets it, they fail instead of being skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from jupyter import FLAGS, NOWHERE, PATIENCE, Lab, Lesson, Outside, Window, find_browser
from playwright.sync_api import Browser, expect, sync_playwright

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    proxy = Outside()
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None and os.environ.get("BROWSER_TESTS") != "required":
        pytest.skip("there is no Chromium or Chrome; install one, or name it: BROWSER_PATH=/path/to/chromium")
    assert path, "BROWSER_TESTS=required, but there is no Chromium or Chrome"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS, proxy=NOWHERE)
        yield found
        found.close()


@pytest.fixture(scope="session")
def lab(browser: Browser, outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    server = Lab(tmp_path_factory.mktemp("lab"), outside)
    yield server
    server.close()


@pytest.fixture(scope="session")
def windows() -> list[Window]:
    """Empty until a test asks for a window, and most tests ask for the same one."""
    return []


@pytest.fixture(scope="session")
def window(browser: Browser, lab: Lab, windows: list[Window]) -> Iterator[Window]:
    windows.append(Window(browser, lab))
    yield windows[-1]
    windows.pop().close()


@pytest.fixture(scope="module")
def open_lesson(window: Window) -> Iterator[Callable[[str, str], Lesson]]:
    """Opens a notebook, without its outputs, and runs the cell that contains some text, with those that it needs."""
    lessons: list[Lesson] = []

    def open_and_run(name: str, to: str) -> Lesson:
        lessons.append(Lesson(window, name))
        lessons[-1].run_to(to)
        return lessons[-1]

    yield open_and_run
    for lesson in lessons:
        lesson.close()


@pytest.fixture
def open_as_committed(window: Window) -> Iterator[Callable[[str], Lesson]]:
    """Opens a notebook with the outputs that are stored in it, and runs nothing."""
    lessons: list[Lesson] = []

    def open_it(name: str) -> Lesson:
        lessons.append(Lesson(window, f"as_committed/{name}"))
        return lessons[-1]

    yield open_it
    for lesson in lessons:
        lesson.close()


@pytest.fixture(autouse=True)
def nothing_goes_wrong(windows: list[Window], outside: Outside) -> Iterator[None]:
    """After each test: no error in the console, and nothing wanted to leave this machine."""
    yield
    for window in windows:
        assert window.errors == []
        assert window.strangers == []
    assert outside.asked == []
