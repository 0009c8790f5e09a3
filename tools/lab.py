"""Set up .venv if need be, make your own copies of the lessons, and open the first of them in JupyterLab.

usage: python tools/lab.py [OPTION OF JUPYTERLAB ...]
"""

from __future__ import annotations

import os
import subprocess
import sys

import setup


def command(options: list[str]) -> list[str]:
    """What opens the first lesson; the file browser shows the whole workbook, not just its notebooks."""
    first = f"my_lessons/{min(path.name for path in setup.ROOT.glob('notebooks/[0-9]*.ipynb'))}"
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [str(setup.PYTHON), "-m", "jupyterlab", "--ServerApp.root_dir=.", *root, *options, first]


def main(options: list[str]) -> None:
    setup.run([])
    # on the PATH, so that `python` is this workbook's in JupyterLab's terminals, too
    os.environ["PATH"] = os.pathsep.join([str(setup.PYTHON.parent), os.environ["PATH"]])
    os.chdir(setup.ROOT)
    subprocess.run([str(setup.PYTHON), "-m", "workbook.my_lessons"], check=True)
    lab = command(options)
    print(f"lab: opening {lab[-1]}; stop the server with Ctrl-C", flush=True)
    if os.name == "posix":
        os.execv(lab[0], lab)
    try:  # Windows knows no exec
        sys.exit(subprocess.call(lab))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
