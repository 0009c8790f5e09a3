"""A JupyterLab and a browser for all tests in this folder; skipped, with a word why, where there is no browser.

With BROWSER_TESTS=required, as continuous integration sets it, they fail instead of being skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from jupyter import FLAGS, NOWHERE, PATIENCE, Lab, Lesson, Outside, find_browser
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


@pytest.fixture(scope="module")
def opened() -> Iterator[list[Lesson]]:
    """The lessons that a test file has opened."""
    lessons: list[Lesson] = []
    yield lessons
    for lesson in lessons:
        lesson.close()


@pytest.fixture(scope="module")
def open_lesson(browser: Browser, lab: Lab, opened: list[Lesson]) -> Callable[[str, str], Lesson]:
    """Opens a notebook, without its outputs, and runs the cell that contains some text, with those that it needs."""

    def open_and_run(name: str, to: str) -> Lesson:
        opened.append(Lesson(browser, lab, name))
        opened[-1].run_to(to)
        return opened[-1]

    return open_and_run


@pytest.fixture(autouse=True)
def nothing_goes_wrong(opened: list[Lesson], outside: Outside) -> Iterator[None]:
    """After each test: no error in the console, and nothing wanted to leave this machine."""
    yield
    for lesson in opened:
        assert lesson.errors == []
        assert lesson.strangers == []
    assert outside.asked == []
