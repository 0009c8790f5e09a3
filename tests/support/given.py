"""Folders with networks and images from elsewhere, which tests use if a variable names them."""

import os
from pathlib import Path

import pytest


def folder(variable: str, content: str) -> Path:
    """The folder that `variable` names; the test is skipped, with the reason, if it names none."""
    if variable not in os.environ:
        pytest.skip(f"set {variable} to a folder with {content}")
    return Path(os.environ[variable])
