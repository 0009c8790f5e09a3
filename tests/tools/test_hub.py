"""The recipe of an image for JupyterHub; what needs no Docker of it is tried."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from workbook import export
from workbook.places import WORKBOOK

RECIPE = (WORKBOOK / "tools/hub.Dockerfile").read_text(encoding="utf-8")
KNOWN = {"FROM", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in RECIPE.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_it_is_a_recipe() -> None:
    found = instructions()
    assert found[0][0] == "FROM"
    assert {name for name, _ in found} == KNOWN
    for name, given in found:
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(part, str) for part in json.loads(given))
        else:
            assert shlex.split(given)


def test_what_it_installs_is_in_a_handout(tmp_path) -> None:
    export.export(tmp_path / "handout", ["00"])
    files = re.findall(r"--constraint (\S+)", RECIPE)
    assert files
    assert all((tmp_path / "handout" / name).is_file() for name in [*files, "pyproject.toml"])
    constraints = (WORKBOOK / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch==\d", constraints, flags=re.M)
    assert re.search(r"^torchvision==\d", constraints, flags=re.M)


def test_a_server_starts_with_lessons_in_the_home_of_the_student(tmp_path) -> None:
    (entry,) = [json.loads(given) for name, given in instructions() if name == "ENTRYPOINT"]
    env = os.environ | {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*entry, "echo", "a server"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "a server"
    assert (tmp_path / "my_lessons/00_start_here.ipynb").is_file()
