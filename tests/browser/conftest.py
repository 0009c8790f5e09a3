"""A JupyterLab and a browser for all tests in this folder; skipped, with a word why, where there is no browser.

With BROWSER_TESTS=required, as continuous integration sets it, they fail instead of being skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from jupyter import FLAGS, NOWHERE, Lab, Lesson, Outside, find_browser
from playwright.sync_api import Browser, sync_playwright


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
def open_lesson(browser: Browser, lab: Lab) -> Iterator[Callable[[str], Lesson]]:
    """Opens a notebook, without its outputs, and runs it to its end."""
    opened = []

    def open_and_run(name: str) -> Lesson:
        lesson = Lesson(browser, lab, name)
        opened.append(lesson)
        lesson.run_all()
        return lesson

    yield open_and_run
    for lesson in opened:
        lesson.close()
