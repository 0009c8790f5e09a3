"""Run the unit tests of helpers with the oldest, or with the newest, versions of all that pyproject.toml asks for.

usage: python tools/versions.py oldest|newest

The environment is made anew in `.venv-oldest` or `.venv-newest`, beside the one for the lessons, which stays as it is.
The lessons themselves run on the versions of constraints.txt alone: their outputs are compared digit by digit.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# what other versions warn of is not for us to mend
PYTEST = "pytest -q -n 2 --dist loadfile -o filterwarnings=default"


def oldest(requirements: list[str]) -> list[str]:
    """`numpy>=2.0` -> `numpy==2.0`."""
    return [requirement.replace(">=", "==") for requirement in requirements]


def main(which: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    venv = ROOT / f".venv-{which}"
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    exact = oldest(project["dependencies"]) if which == "oldest" else []
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--upgrade"]
    subprocess.run([*pip, "pip>=24.1", "setuptools>=77"], check=True)
    subprocess.run([*pip, "--no-build-isolation", "--editable", ".[test]", *exact], cwd=ROOT, check=True)
    listed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    names = "|".join(re.split(r"\W", requirement)[0] for requirement in project["dependencies"])
    print("\n".join(re.findall(rf"^(?:{names})==.*$", listed, re.MULTILINE)), flush=True)
    command = [python, "-m", *PYTEST.split(), "-m", "not long and not slow", "tests/helpers"]
    sys.exit(subprocess.call(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}))


if __name__ == "__main__":
    if sys.argv[1:] not in (["oldest"], ["newest"]):
        sys.exit(__doc__)
    main(sys.argv[1])
