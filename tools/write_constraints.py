"""Write the version of every package in this environment into constraints.txt, which set-up and conda install.

Do it when all tests are green. Local versions such as `2.14.1+cpu` are written without their end, so that one list
serves computers with and without CUDA; packages that nobody asks for on a system are not installed there.

usage: python tools/write_constraints.py
"""

from __future__ import annotations

import sysconfig
from importlib.metadata import distributions
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
HEAD = "# What all tests were green with. Written by `make constraints`; not to be edited by hand.\n"
OWN = {"pretrained-weights-workbook", "pip", "setuptools"}


def installed() -> dict[str, str]:
    """Name -> version, without its local end, of every package but our own and those that install."""
    here = distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    found = {package.name.lower().replace("_", "-"): package.version.split("+")[0] for package in here}
    return {name: found[name] for name in sorted(found) if name not in OWN}


def pinned() -> dict[str, str]:
    """What constraints.txt says."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name: version for name, version in pairs}  # noqa: C416  mypy knows no lists of pairs


def write(versions: dict[str, str]) -> None:
    """Pin these."""
    pins = [f"{name}=={version}\n" for name, version in versions.items()]
    CONSTRAINTS.write_text(HEAD + "".join(pins), encoding="utf-8")


if __name__ == "__main__":
    write(installed())
