"""Tests, and the notebooks that are run as tests, leave alone what the learner has passed; the slowest run first."""

import os

import pytest

os.environ["WORKBOOK_PROGRESS"] = ""

# What takes a minute or more. With two workers, one of these left for the end would run alone.
SLOWEST = (
    "tests/test_lessons_real.py",
    "tests/test_torchvision_models.py",
    "tests/test_state_dict_renames.py",
    "notebooks/solutions/09_capstone.ipynb",
    "notebooks/06_initialize_fcn_upsampling.ipynb",
    "notebooks/04_adapt_first_conv.ipynb",
    "notebooks/03_load_partial_state_dict.ipynb",
    "tests/test_recipes.py",
    "tests/test_classroom.py",
    "tests/browser/test_lesson_03.py",
    "tests/browser/test_lesson_04.py",
)
LONG = ("notebooks/solutions/09_capstone.ipynb",)  # a notebook cannot mark itself


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        file = item.nodeid.split("::")[0]
        return SLOWEST.index(file) if file in SLOWEST else len(SLOWEST)

    for item in items:
        if item.nodeid.split("::")[0] in LONG:
            item.add_marker("long")
    items.sort(key=place)  # stable: within a file, nothing changes its place
