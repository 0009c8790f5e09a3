"""Set up .venv if need be, and run the tests and all notebooks.

usage: python tools/test.py [--all] [--lesson NN]

`--all` adds lessons on full-size networks and all of torchvision's models; `--lesson 04` runs what concerns one lesson.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import setup

# two workers, each with a core of its own; a file stays with one worker, in the order that conftest.py gives
PYTEST = ("-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
NBVAL = ("--nbval", "--nbval-cell-timeout=300", "--nbval-sanitize-with", "tests/support/nbval_sanitize.cfg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--lesson", default=None)
    given = parser.parse_args()
    if not (setup.ROOT / "tests").is_dir():
        sys.exit("a handout has no tests: they are in the workbook that it was made from")
    setup.run(["test"])
    chosen = () if given.all else ("-m", "not long")
    lesson = ("--lesson", given.lesson) if given.lesson is not None else ()
    os.environ["OMP_NUM_THREADS"] = "1"
    command = [str(setup.PYTHON), *PYTEST, *chosen, *NBVAL, *lesson, "tests", "notebooks"]
    sys.exit(subprocess.call(command, cwd=setup.ROOT))


if __name__ == "__main__":
    main()
