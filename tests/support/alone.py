"""Cells that are run alone, in an interpreter that knows nothing of this workbook.

One isolated process imports what every user of PyTorch has; each cell runs in a fork of it, with a namespace, a folder
and a home of its own. So a cell that forgets an import still fails, and PyTorch is imported once instead of each time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PLACES = ("here", "temporary", "home")

# what the process runs: it reads pairs of source and folder, and writes a list of [exit status, stdout, stderr]
PROGRAM = """
import sys
for house in ("helpers", "workbook"):
    sys.modules[house] = None  # they may be installed in this environment
import json, os, traceback
import numpy, scipy, torch, torchvision

def run(source, folder):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.environ.update(TMPDIR=f"{folder}/temporary", HOME=f"{folder}/home")
    os.chdir(f"{folder}/here")
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    status = 0
    try:
        exec(compile(source, "<cell>", "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)

print(json.dumps([run(source, folder) for source, folder in json.load(sys.stdin)]))
"""


class Done(NamedTuple):
    """What became of a cell: its exit status, what it said, and the files that it left."""

    status: int
    stdout: str
    stderr: str
    left: list[Path]


def run_alone(sources: dict[str, str], folder: Path) -> dict[str, Done]:
    """Run each of some cells by itself.

    Args:
        sources: by name.
        folder: an empty one.
    """
    for name in sources:
        for place in PLACES:
            (folder / name / place).mkdir(parents=True)
    pairs = [(source, str(folder / name)) for name, source in sources.items()]
    command = [sys.executable, "-I", "-W", "error", "-c", PROGRAM]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, input=json.dumps(pairs), env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    return {name: _done(folder / name, status) for name, status in zip(sources, statuses, strict=True)}


def _done(folder: Path, status: int) -> Done:
    # an optimizer makes an empty folder for PyTorch's compiler in TMPDIR
    elsewhere = [path for place in ("temporary", "home") for path in (folder / place).rglob("*") if path.is_file()]
    left = [*(folder / "here").iterdir(), *elsewhere]
    return Done(status, (folder / "stdout").read_text(), (folder / "stderr").read_text(), left)
