"""Set up .venv if need be, make your own copies of the lessons, and open the first of them in JupyterLab.

usage: python tools/lab.py [OPTION OF JUPYTERLAB ...]
"""

from __future__ import annotations

import os
import subprocess
import sys

import setup


def main(options: list[str]) -> None:
    setup.run([])
    python = str(setup.PYTHON)
    # on the PATH, so that `python` is this workbook's in JupyterLab's terminals, too
    os.environ["PATH"] = os.pathsep.join([str(setup.PYTHON.parent), os.environ["PATH"]])
    os.chdir(setup.ROOT)
    subprocess.run([python, "-m", "workbook.my_lessons"], check=True)
    first = f"my_lessons/{min(path.name for path in setup.ROOT.glob('notebooks/[0-9]*.ipynb'))}"
    print(f"lab: opening {first}; stop the server with Ctrl-C", flush=True)
    # the file browser shows the whole workbook, not just its notebooks
    lab = [python, "-m", "jupyterlab", "--ServerApp.root_dir=.", *options, first]
    if hasattr(os, "geteuid"):
        lab += ["--allow-root"] if os.geteuid() == 0 else []
        os.execv(python, lab)
    try:  # Windows knows no exec
        sys.exit(subprocess.call(lab))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
