"""Tests, and the notebooks that are run as tests, leave alone what the learner has passed; the slowest run first."""

import os

import pytest

os.environ["WORKBOOK_PROGRESS"] = ""

# What takes a minute or more. With two workers, one of these left for the end would run alone.
SLOWEST = (
    "tests/test_lessons_real.py",
    "tests/test_torchvision_models.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        file = item.nodeid.split("::")[0]
        return SLOWEST.index(file) if file in SLOWEST else len(SLOWEST)

    items.sort(key=place)  # stable: within a file, nothing changes its place
