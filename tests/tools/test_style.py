"""Style and types, as tests, so that they run beside others: mypy takes a minute where it has no cache yet."""

import subprocess
import sys

import pytest

from workbook.places import WORKBOOK

TOOLS = {
    "style": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
}


@pytest.mark.slow
@pytest.mark.parametrize("what", TOOLS)
def test_style_and_types(what) -> None:
    command = [sys.executable, "-m", *TOOLS[what]]
    done = subprocess.run(command, cwd=WORKBOOK, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
