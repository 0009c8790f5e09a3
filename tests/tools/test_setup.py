"""The set-up script's clear lines, and that conda users get the same environment.

Solving environment.yml needs conda and its channel, which the tests do not have: only its specs are validated.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from workbook.places import WORKBOOK as ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LISTS = ("pyproject.toml", "constraints.txt")  # what decides whether an environment is up to date
posix = pytest.mark.skipif(os.name != "posix", reason="the set-up script is for POSIX shells; Windows uses conda")


def run_setup(folder: Path, python: str = sys.executable, **environment: str) -> tuple[int, str]:
    """Run tools/setup.sh in `folder`, whose `bin` comes first on the PATH; exit status and what it said."""
    (folder / "tools").mkdir(exist_ok=True)
    for name in ("tools/setup.sh", *LISTS):
        shutil.copy(ROOT / name, folder / name)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "tools/setup.sh", python],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr.strip() or done.stdout.strip()


def fake(folder: Path, name: str, script: str) -> None:
    command = folder / "bin" / name
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


@posix
def test_no_python(tmp_path) -> None:
    assert run_setup(tmp_path, "python3.99") == (
        1,
        "setup: there is no 'python3.99'; install Python 3.11 or newer",
    )


@posix
def test_python_too_old(tmp_path) -> None:
    fake(tmp_path, "oldpython", 'if [ "$1" = -V ]; then echo Python 3.8.1; else exit 1; fi')
    status, said = run_setup(tmp_path, "oldpython")
    assert status == 1
    assert said.startswith("setup: Python 3.11 or newer is needed, 'oldpython' is Python 3.8.1;")


@posix
def test_disk_too_small(tmp_path) -> None:
    fake(tmp_path, "df", 'printf "Filesystem 1024-blocks Used Available\\n/dev/x 9 9 1048576\\n"')
    status, said = run_setup(tmp_path)
    assert status == 1
    assert said.endswith("GB of free disk are needed here, there are 1 GB")
    assert not (tmp_path / ".venv").exists()


@posix
def test_python_without_venv(tmp_path) -> None:
    fake(tmp_path, "bare", f'if [ "$1" = -m ]; then exit 1; else exec {sys.executable} "$@"; fi')
    status, said = run_setup(tmp_path, "bare")
    assert status == 1
    assert "install python3-venv" in said


@posix
def test_no_network_then_nothing_counts_as_ready(tmp_path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    nowhere |= {"PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1"}
    status, said = run_setup(tmp_path, **nowhere)
    assert (status, said) == (
        1,
        "setup: the packages could not be downloaded; "
        "connect to the internet (only this first time) and run this again",
    )
    assert not (tmp_path / ".venv/ready").exists()


@posix
def test_an_unchanged_environment_is_ready_at_once(tmp_path) -> None:
    fake(tmp_path / ".venv", "python", "exit 0")
    version = subprocess.run([sys.executable, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    lists = "".join((ROOT / name).read_text() for name in LISTS)
    checksum = subprocess.run(["cksum"], input=lists, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / ".venv/ready").write_text(f"{checksum} {version} {tmp_path}\n")
    assert run_setup(tmp_path) == (0, "setup: .venv is up to date")
    (tmp_path / ".venv/ready").write_text(f"1 1 {version} {tmp_path}\n")
    assert run_setup(tmp_path) != (0, "setup: .venv is up to date")


def test_environment_yml_takes_python_and_pip_from_conda_and_the_rest_from_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    python, pip, packages = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert SpecifierSet(python.removeprefix("python")).contains("3.11")
    assert pip == "pip"
    assert packages == {"pip": ["--constraint constraints.txt", "--editable .[test]"]}
    assert "test" in PROJECT["optional-dependencies"]


def test_every_requirement_is_valid_and_satisfied_here() -> None:
    from importlib.metadata import version

    requirements = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    for requirement in map(Requirement, requirements):
        assert requirement.specifier, requirement.name
        assert requirement.specifier.contains(version(requirement.name)), requirement.name
