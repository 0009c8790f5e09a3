"""Create or update .venv, for `make lab` and `make test`. Finishes at once if nothing has changed since the last time.

usage: python tools/setup.py [GROUP ...]

A group is one of pyproject.toml's optional dependencies, such as `test`; without one a learner gets what lessons need.

On Linux, PyTorch's ordinary wheels bring 3 GB of CUDA libraries. Where no GPU of NVIDIA is found, its wheels for CPUs
are taken from PyTorch's own index, if that can be reached. TORCH=cpu takes them anywhere or stops, TORCH=default never
takes them. It uses nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
READY, ERRORS = VENV / "ready", VENV / "errors"
LISTS = ("pyproject.toml", "constraints.txt")  # what decides whether an environment is up to date
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
DRIVER = Path("/proc/driver/nvidia/version")
OLDEST = (3, 11)
PROBE, STALLED = 8, 20  # seconds: for the index to answer, and without a byte of a download


class SetupError(Exception):
    """One line on what is wrong, and the way out."""


def main(groups: list[str]) -> None:
    """Make .venv ready for the lessons, and for these groups."""
    wanted = {"python": sys.version, "folder": str(ROOT), "lists": _digest()}
    before = _ready()
    if before and {**before, "groups": []} == {**wanted, "groups": []} and {*groups} <= {*before["groups"]}:
        print("setup: .venv is up to date")
        return
    if before and before["python"] == wanted["python"] and before["folder"] == wanted["folder"]:
        print("setup: updating .venv, because pyproject.toml, constraints.txt or what is wanted of them has changed")
        groups = sorted({*groups, *before["groups"]})
    else:
        print(f"setup: creating .venv with Python {platform.python_version()}", flush=True)
        _make_venv()
    READY.unlink(missing_ok=True)
    _install(groups)
    settings = VENV / "share/jupyter/lab/settings"
    settings.mkdir(parents=True, exist_ok=True)
    # JupyterLab asks at its first start whether it may fetch news: it may not, the workbook works offline
    no_news = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (settings / "overrides.json").write_text(json.dumps(no_news), encoding="utf-8")
    READY.write_text(json.dumps({**wanted, "groups": sorted(groups)}), encoding="utf-8")
    print("setup: .venv is ready")


def _digest() -> str:
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in LISTS)).hexdigest()


def _ready() -> dict | None:
    """What the environment that is there was made for; None if there is none, or it does not run."""
    try:
        found = json.loads(READY.read_text(encoding="utf-8"))
        subprocess.run([PYTHON, "-c", ""], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return found if isinstance(found, dict) and "groups" in found else None


def _make_venv() -> None:
    needed = 2 if wants_cpu_wheels() or platform.system() != "Linux" else 8  # GB
    free = shutil.disk_usage(ROOT).free // 10**9
    if free < needed:
        raise SetupError(f"{needed} GB of free disk are needed here, there are {free} GB")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, check=False)
    if made.returncode:
        raise SetupError(
            "'python -m venv' failed; on Debian and Ubuntu install python3-venv (and see that this folder is writable)"
        )


def _install(groups: list[str]) -> None:
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install"]
    # on their own first: any Python has a version of them, so if this fails the network is missing
    if run_pip([*pip, "setuptools>=77", "pip>=24.1"]):
        raise SetupError(
            "the packages could not be downloaded; connect to the internet (only this first time) and run this again"
        )
    if wants_cpu_wheels():
        constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
        pins = dict(re.findall(r"^(torch|torchvision)==([^\s;]+)", constraints, re.MULTILINE))
        failure = install_cpu_wheels(pip, pins)
        if failure and os.environ.get("TORCH") == "cpu":
            raise SetupError(f"TORCH=cpu, but {failure}; TORCH=default takes the ordinary wheels")
        if failure:
            print(f"setup: {failure}, so the ordinary wheels are taken, which need 6 GB more", flush=True)
    me = f".[{','.join(groups)}]" if groups else "."
    if run_pip([*pip, "--no-build-isolation", "--constraint", "constraints.txt", "--editable", me]):
        said = ERRORS.read_text(encoding="utf-8", errors="replace")
        if re.search("no space left", said, re.IGNORECASE):
            raise SetupError("the disk is full; free some space and run this again")
        first = next((line for line in said.splitlines() if "error" in line.lower()), "no reason was given")
        raise SetupError(f"pip could not install the packages: {first} (more in .venv/errors)")


def wants_cpu_wheels() -> bool:
    """Whether PyTorch's wheels for CPUs would serve this computer better than the ordinary ones."""
    wish = os.environ.get("TORCH", "")
    if wish not in ("", "cpu", "default"):
        raise SetupError(f"TORCH is 'cpu' or 'default', not {wish!r}")
    if wish:
        return wish == "cpu"
    return platform.system() == "Linux" and not has_gpu()


def has_gpu() -> bool:
    """Whether a driver of NVIDIA is there."""
    if DRIVER.exists():
        return True
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout


def install_cpu_wheels(pip: list[str], pins: dict[str, str]) -> str | None:
    """Install torch and torchvision for CPUs; None, or in some words why that is not possible.

    Args:
        pip: the command, up to `install`.
        pins: name -> version.
    """
    index = os.environ.get("TORCH_CPU_INDEX", CPU_INDEX)
    wanted = [f"{name}=={pins[name]}" for name in ("torch", "torchvision")]
    show = [*pip[:-1], "show", "torch"]
    there = subprocess.run(show, capture_output=True, text=True, check=False).stdout
    if re.search(rf"^Version: {re.escape(pins['torch'])}(\+|$)", there, re.MULTILINE):
        return None
    failure = _probe(f"{index}/torch/", f"torch-{pins['torch']}")
    if failure:
        return failure
    options = ["--retries", "1", "--timeout", "10", "--no-deps", "--index-url", index]
    if run_pip([*pip, *options, *wanted], STALLED):
        return "PyTorch's index of CPU wheels lists them, and does not give them"
    return None


def _probe(page: str, text: str) -> str | None:
    """Why this page cannot be had, or does not hold the text, within a few seconds; None if all is well."""
    said = ["PyTorch's index of CPU wheels does not answer"]

    def read() -> None:
        try:
            with urllib.request.build_opener().open(page, timeout=PROBE) as answer:
                found = answer.read()
        except (OSError, ValueError):
            said[0] = "PyTorch's index of CPU wheels cannot be reached"
            return
        said[0] = "" if text.encode() in found else "PyTorch's index of CPU wheels has no such version"

    reading = threading.Thread(target=read, daemon=True)  # a server may send a byte now and then
    reading.start()
    reading.join(PROBE)
    return said[0] or None


def run_pip(command: list[str], stalled: float | None = None) -> int:
    """Run pip, show in one line how much has been downloaded, and return its status.

    Args:
        command: with `install`.
        stalled: seconds after which it is stopped if it downloads nothing.
    """
    command = [*command, "--progress-bar", "raw"] if _knows_raw() else command
    VENV.mkdir(exist_ok=True)
    progress = Progress()
    with (
        ERRORS.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8") as pip,
    ):
        watch = threading.Thread(target=progress.read, args=(pip.stdout,), daemon=True)
        watch.start()
        while watch.is_alive():
            watch.join(1)
            progress.show()
            if stalled and not progress.installing and time.monotonic() - progress.moved > stalled:
                pip.kill()
        status = pip.wait()
    progress.end()
    return status


def _knows_raw() -> bool:
    """Whether the pip of .venv can tell its progress in plain numbers."""
    try:
        said = subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return tuple(map(int, re.findall(r"\d+", said)[:2])) >= (24, 1)


class Progress:
    """A line on how far pip is, from what it prints."""

    def __init__(self) -> None:
        self.begun = self.moved = time.monotonic()
        self.done = self.current = 0  # bytes of finished files, and of this one
        self.installing = False
        self.shown = self.begun  # what takes a moment says nothing

    def read(self, lines: Iterable[str]) -> None:
        """Follow what pip prints to its end."""
        for line in lines:
            self.moved = time.monotonic()
            words = line.split()
            if words[:1] == ["Progress"] and len(words) == 4:
                self.current = int(words[1])
                if words[1] == words[3]:
                    self.done, self.current = self.done + self.current, 0
            self.installing = self.installing or line.startswith("Installing collected")

    def show(self) -> None:
        """At most once a second on a terminal, and once in half a minute in a log."""
        pause, end = (1, "\r") if sys.stdout.isatty() else (30, "\n")
        if time.monotonic() - self.shown >= pause:
            self.shown = time.monotonic()
            print(self._line(), end=end, flush=True)

    def end(self) -> None:
        """The last word, if anything was shown before."""
        if self.shown > self.begun:
            print(self._line(), flush=True)

    def _line(self) -> str:
        seconds = int(time.monotonic() - self.begun)
        what = "installing" if self.installing else "downloading"
        size = (self.done + self.current) / 1e6
        return f"setup: {what}, {size:,.0f} MB were downloaded, {seconds // 60}:{seconds % 60:02d} minutes "


def run(groups: list[str]) -> None:
    """`main`, with one line where it fails."""
    if sys.version_info < OLDEST:
        found = platform.python_version()
        sys.exit(
            f"setup: Python 3.11 or newer is needed, this is {found}; name another one: make lab PYTHON=python3.12"
        )
    try:
        main(groups)
    except SetupError as error:
        sys.exit(f"setup: {error}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run it again")


if __name__ == "__main__":
    run(sys.argv[1:])
