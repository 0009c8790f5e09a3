"""The set-up script: its clear lines, which PyTorch it takes, and that conda users get the same environment.

PyTorch's index of CPU wheels is played by a server on this computer, with wheels that hold nothing. Solving
environment.yml needs conda and its channel, which the tests do not have: only its specs are validated.
"""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tools import setup
from workbook.places import WORKBOOK as ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {"torch": "2.99.1", "torchvision": "0.99.2"}  # not what is installed here
NOWHERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "0",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_CONSTRAINT": "",
    "PIP_NO_CACHE_DIR": "1",
    "TORCH": "default",
}
posix = pytest.mark.skipif(os.name != "posix", reason="make, and scripts of a shell that stand in for programs")


def run_setup(folder: Path, *groups: str, **environment: str) -> tuple[int, str]:
    """Run tools/setup.py in `folder`; exit status and what it said."""
    (folder / "tools").mkdir(exist_ok=True)
    for name in ("tools/setup.py", *setup.LISTS):
        shutil.copy(ROOT / name, folder / name)
    done = subprocess.run(
        [sys.executable, "tools/setup.py", *groups],
        cwd=folder,
        env=os.environ | NOWHERE | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr.strip() or done.stdout.strip()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The script, with `tmp_path` in place of the clone."""
    for name in setup.LISTS:
        shutil.copy(ROOT / name, tmp_path / name)
    places = {"ROOT": tmp_path, "VENV": tmp_path / ".venv", "PYTHON": tmp_path / ".venv/bin/python"}
    places |= {"READY": tmp_path / ".venv/ready", "ERRORS": tmp_path / ".venv/errors"}
    for name, place in places.items():
        monkeypatch.setattr(setup, name, place)
    return tmp_path


def said_by(call: Any, *inputs: Any) -> str:
    with pytest.raises(SystemExit) as left:
        call(*inputs)
    return str(left.value)


@posix
def test_no_python() -> None:
    done = subprocess.run(["make", "setup", "PYTHON=python3.99"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "there is no 'python3.99'; install Python 3.11 or newer" in done.stderr


def test_python_too_old(here, monkeypatch) -> None:
    monkeypatch.setattr(setup, "OLDEST", (3, 99))
    assert said_by(setup.run, []).startswith("setup: Python 3.11 or newer is needed, this is 3.")
    assert not (here / ".venv").exists()


@pytest.mark.parametrize(("wish", "needed"), [("cpu", 2), ("default", 8)])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's ordinary wheels need so much")
def test_disk_too_small(here, monkeypatch, wish, needed) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(9, 9, 10**9))
    monkeypatch.setenv("TORCH", wish)
    assert said_by(setup.run, []) == f"setup: {needed} GB of free disk are needed here, there are 1 GB"
    assert not (here / ".venv").exists()


def test_a_venv_that_cannot_be_made(here) -> None:
    (here / ".venv").write_text("a file is in its way")
    assert "install python3-venv" in said_by(setup.run, [])


def test_no_network_then_nothing_counts_as_ready(tmp_path) -> None:
    status, said = run_setup(tmp_path)
    assert (status, said) == (
        1,
        "setup: the packages could not be downloaded; "
        "connect to the internet (only this first time) and run this again",
    )
    assert not (tmp_path / ".venv/ready").exists()


def test_an_unchanged_environment_is_ready_at_once(here, monkeypatch, capsys) -> None:
    made = {"python": sys.version, "folder": str(here), "lists": setup._digest(), "groups": ["test"]}
    setup.READY.parent.mkdir()
    setup.READY.write_text(json.dumps(made))
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    installed: list[list[str]] = []
    monkeypatch.setattr(setup, "_install", installed.append)
    monkeypatch.setattr(setup, "_make_venv", lambda: installed.append(["new"]))
    for groups in ([], ["test"]):
        setup.main(groups)
        assert capsys.readouterr().out == "setup: .venv is up to date\n"
    assert installed == []
    setup.main(["classroom"])  # what was there stays
    assert installed == [["classroom", "test"]]
    (here / "constraints.txt").write_text("torch==9.9\n")
    setup.main([])
    assert installed[1:] == [["classroom", "test"]]
    setup.READY.write_text("1 2 Python 3.11 of an earlier version of this script")
    setup.main([])
    assert installed[2:] == [["new"], []]


# which PyTorch


class Index(http.server.BaseHTTPRequestHandler):
    """PyTorch's index, as it behaves under `behaviour`; also a proxy, which is asked for whole addresses."""

    behaviour = "good"
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        path = self.path.removeprefix("http://index.invalid")
        name = path.rstrip("/").rpartition("/")[2]
        wheel = path.endswith(".whl")
        if self.behaviour in ("404", "503"):
            self.send_error(int(self.behaviour))
        elif self.behaviour == "silent" or (self.behaviour == "silent files" and wheel):
            time.sleep(15)
        elif self.behaviour == "slow":
            self._drip()
        elif self.behaviour == "portal":
            self._answer(b"<html>Welcome to the WLAN of this train. Please log in.</html>")
        elif wheel and self.behaviour == "no files":
            self.send_error(404)
        elif wheel:
            package, version = name.split("-")[:2]
            self._answer(empty_wheel(package, version.replace("%2B", "+")))
        else:
            file = f"{name}-{PINS[name]}%2Bcpu-py3-none-any.whl"
            self._answer(f'<a href="/files/{file}">{file.replace("%2B", "+")}</a>'.encode())

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if content.startswith(b"<") else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(60):
            time.sleep(0.3)
            self.wfile.write(b"<")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def empty_wheel(name: str, version: str) -> bytes:
    path = Path(os.environ["PIP_TARGET"]).parent / "made.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path.read_bytes()


@pytest.fixture
def index(here, monkeypatch) -> Any:
    """Gives the address of an index that behaves in some way; what is installed from it lands in `installed`."""
    servers: list[http.server.HTTPServer] = []
    for name, value in (NOWHERE | {"PIP_TARGET": str(here / "installed")}).items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "TORCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(setup, "PROBE", 1.5)
    monkeypatch.setattr(setup, "STALLED", 3)

    def begin(behaviour: str) -> str:
        handler = type("Behaving", (Index,), {"behaviour": behaviour})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def install() -> str | None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    return setup.install_cpu_wheels(pip, PINS)


def installed(here: Path) -> list[str]:
    return sorted(path.name for path in (here / "installed").glob("*.dist-info"))


BOTH = ["torch-2.99.1+cpu.dist-info", "torchvision-0.99.2+cpu.dist-info"]


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        ("good", None),
        ("404", "cannot be reached"),
        ("503", "cannot be reached"),
        ("portal", "has no such version"),
        ("silent", "does not answer|cannot be reached"),
        ("slow", "does not answer"),
        ("no files", "lists them, and does not give them"),
        ("silent files", "lists them, and does not give them"),
    ],
)
def test_cpu_wheels_of_an_index(here, index, monkeypatch, behaviour, failure) -> None:
    monkeypatch.setenv("TORCH_CPU_INDEX", index(behaviour))
    said = install()
    assert installed(here) == (BOTH if failure is None else [])
    if failure is None:
        assert said is None
    else:
        assert any(part in said for part in failure.split("|"))


def test_an_index_that_refuses(here, index, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_CPU_INDEX", "http://127.0.0.1:9")
    assert "cannot be reached" in install()


@pytest.mark.parametrize(("live", "expected"), [(True, BOTH), (False, [])])
def test_cpu_wheels_through_a_proxy(here, index, monkeypatch, live, expected) -> None:
    monkeypatch.setenv("TORCH_CPU_INDEX", "http://index.invalid")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.invalid")  # for pip, which wants https
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, index("good") if live else "http://127.0.0.1:9")
    said = install()
    assert (said is None) == live
    assert installed(here) == expected


def test_what_is_there_is_not_installed_again(here, index, monkeypatch) -> None:
    import torch

    monkeypatch.setenv("TORCH_CPU_INDEX", "http://127.0.0.1:9")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    assert setup.install_cpu_wheels(pip, PINS | {"torch": torch.__version__.split("+")[0]}) is None
    assert setup.install_cpu_wheels(pip, PINS | {"torch": "2.1"}) is not None


@posix
@pytest.mark.parametrize(
    ("nvidia_smi", "gpu"),
    [
        ("echo GPU 0: NVIDIA H100", True),
        ("echo No devices were found; exit 6", False),
        ("exit 9", False),
        (None, False),
    ],
)
def test_cpu_wheels_are_for_linux_without_a_gpu(here, monkeypatch, nvidia_smi, gpu) -> None:
    monkeypatch.delenv("TORCH", raising=False)
    monkeypatch.setenv("PATH", str(here / "bin"))
    monkeypatch.setattr(setup, "DRIVER", here / "version")
    (here / "bin").mkdir()
    if nvidia_smi:
        (here / "bin/nvidia-smi").write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        (here / "bin/nvidia-smi").chmod(0o755)
    for system in ("Linux", "Darwin", "Windows"):
        monkeypatch.setattr(setup.platform, "system", lambda system=system: system)
        assert setup.wants_cpu_wheels() == (system == "Linux" and not gpu)
    monkeypatch.setattr(setup.platform, "system", lambda: "Linux")
    (here / "version").touch()
    assert not setup.wants_cpu_wheels()
    for wish in ("cpu", "default"):
        monkeypatch.setenv("TORCH", wish)
        assert setup.wants_cpu_wheels() == (wish == "cpu")
    monkeypatch.setenv("TORCH", "cuda")
    assert said_by(setup.run, []) == "setup: TORCH is 'cpu' or 'default', not 'cuda'"


@pytest.mark.parametrize("wish", ["", "cpu"])
def test_without_cpu_wheels_the_ordinary_ones_follow_unless_they_were_asked_for(
    here, monkeypatch, capsys, wish
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setenv("TORCH", wish)
    monkeypatch.setattr(setup, "wants_cpu_wheels", lambda: True)
    monkeypatch.setattr(setup, "install_cpu_wheels", lambda pip, pins: "the index is away")
    monkeypatch.setattr(setup, "run_pip", lambda command: ran.append(command) or 0)
    if wish:
        with pytest.raises(setup.SetupError, match="TORCH=cpu, but the index is away; TORCH=default takes"):
            setup._install([])
        assert len(ran) == 1
        return
    setup._install(["test"])
    assert "the index is away, so the ordinary wheels are taken" in capsys.readouterr().out
    assert ran[1][-5:] == ["--no-build-isolation", "--constraint", "constraints.txt", "--editable", ".[test]"]


def test_progress_counts_what_was_downloaded(capsys) -> None:
    lines = [
        "Collecting torch",
        "Progress 1000000 of 3000000",
        "Progress 3000000 of 3000000",
        "Progress 250000000 of 250000000",
        "Installing collected packages: torch",
    ]
    progress = setup.Progress()
    progress.end()
    assert capsys.readouterr().out == ""
    for end, said in ((2, "downloading, 1 MB"), (4, "downloading, 253 MB"), (5, "installing, 253 MB")):
        progress = setup.Progress()
        progress.read(lines[:end])
        progress.shown -= 60
        progress.show()
        assert capsys.readouterr().out.startswith(f"setup: {said} were downloaded, 0:0")
    progress.end()
    assert capsys.readouterr().out.startswith("setup: installing, 253 MB were downloaded, 0:0")


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
