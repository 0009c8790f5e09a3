"""Write the version of every package in this environment into constraints.txt, which set-up and conda install.

Do it when all tests are green. Local versions such as `2.14.1+cpu` are written without their end, so that one list
serves computers with and without CUDA; packages that nobody asks for on a system are not installed there. What other
systems and Pythons need besides, or instead, uv finds out and adds, with a marker that says for whom it is.

usage: python tools/write_constraints.py
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
HEAD = "# What all tests were green with. Written by `make constraints`; not to be edited by hand.\n"
OWN = {"pretrained-weights-workbook", "pip", "setuptools"}
COMPILE = ("uv", "pip", "compile", "--quiet", "--universal", "--all-extras", "--no-annotate", "--no-header")


def installed() -> dict[str, str]:
    """Name -> version, without its local end, of every package but our own and those that install."""
    here = distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    found = {canonicalize_name(package.name): package.version.split("+")[0] for package in here}
    return {name: found[name] for name in sorted(found) if name not in OWN}


def pins() -> list[Requirement]:
    """The lines of constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned() -> dict[str, str]:
    """What constraints.txt says for this system."""
    here = [pin for pin in pins() if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


def write(versions: dict[str, str]) -> None:
    """Pin these."""
    lines = [f"{name}=={version}\n" for name, version in versions.items()]
    CONSTRAINTS.write_text(HEAD + "".join(lines), encoding="utf-8")


def add_other_systems(oldest_python: str) -> None:
    """Keep the versions that are there wherever they can be had, and add those that others need."""
    command = [sys.executable, "-m", *COMPILE, "--python-version", oldest_python, "-o", str(CONSTRAINTS)]
    subprocess.run([*command, "pyproject.toml"], cwd=ROOT, check=True)
    CONSTRAINTS.write_text(HEAD + CONSTRAINTS.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    write(installed())
    add_other_systems("3.11")
