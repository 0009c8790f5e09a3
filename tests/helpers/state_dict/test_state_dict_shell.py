"""`python -m helpers.state_dict`."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from helpers.state_dict import StateDictError
from helpers.state_dict.__main__ import build, main, plain
from workbook.data import DATA

THIN = str(DATA / "vgg16_thin.pth")


@pytest.fixture
def shell(capsys) -> Callable[..., tuple[int, str, str]]:
    """The command with these arguments -> its status, what it printed, and its errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        return status, *capsys.readouterr()

    return run


def test_the_explanation_comes_first_and_the_list_on_request(shell) -> None:
    status, said, _ = shell(THIN, "vgg16")
    assert status == 0
    assert said.startswith("- Another width: most layers of the model have 4 times as many channels")
    assert said.endswith("32 tensors, 1,120,474 numbers, from vgg16_thin.pth\n")
    assert "features.0.weight   " not in said
    _, said, _ = shell(THIN, "--list")
    assert said.startswith(
        "32 tensors, 1,120,474 numbers, from vgg16_thin.pth\n  features.0.weight    (16, 3, 3, 3)  float32"
    )
    assert len(said.splitlines()) == 33


def test_a_model_of_ones_own(shell) -> None:
    status, said, _ = shell(THIN, "workbook.networks:vgg16")
    assert status == 0
    assert said.startswith("- It loads: all names and shapes are the same.")


def test_json_is_one_object_for_a_report(shell) -> None:
    found = json.loads(shell(THIN, "workbook.networks:vgg16", "--json", "--list")[1])
    assert (found["file"], found["kind"]) == ("vgg16_thin.pth", "zip")
    assert found["coverage"] == 1
    assert found["fix"] == "model.load_state_dict(state_dict)"
    assert found["list"]["features.0.weight"] == {"shape": [16, 3, 3, 3], "dtype": "float32"}
    assert found["versions"]["torch"] == torch.__version__
    assert "list" not in json.loads(shell(THIN, "--json")[1])


def test_key_and_stand_ins_are_passed_on(shell, tmp_path) -> None:
    content = {"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2), "v": torch.ones(3)}, "c": pytest.approx(1)}
    torch.save(content, tmp_path / "a.pth")
    path = str(tmp_path / "a.pth")
    assert "stand_ins=True" in shell(path)[2]
    assert "say which with key=" in shell(path, "--stand-ins")[2]
    assert shell(path, "--stand-ins", "--key", "b")[1].startswith("2 tensors, 5 numbers")


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "deeplabv3_resnet50", "r3d_18", "ssd300_vgg16"])
def test_no_model_is_downloaded(name, monkeypatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with torch.device("meta"):
        assert isinstance(build(name), nn.Module)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg61", "torchvision has no model 'vgg61'; of your own, give package.module:factory"),
        ("nowhere:build", "nowhere:build cannot be imported: ModuleNotFoundError"),
        ("workbook.networks:nothing", "cannot be imported: AttributeError"),
        ("torch.nn:Linear", "torch.nn:Linear cannot be built without arguments: TypeError"),
        ("builtins:dict", "builtins:dict makes a dict, not a model"),
    ],
)
def test_models_that_cannot_be_built_are_named(name, message) -> None:
    with pytest.raises(StateDictError, match=message):
        build(name)


FACTORIES = """
import sys
import torch
from torch import nn

class Stop(BaseException):
    pass

class Careless(nn.Linear):
    def _load_from_state_dict(self, *_arguments):
        sys.exit(0)

def leave(): sys.exit(0)
def leave_in_words(): sys.exit("goodbye")
def interrupt(): raise KeyboardInterrupt
def stop(): raise Stop("two\\nlines")
def needs(number): return nn.Linear(number, 3)
def nothing(): pass
def careless(): return Careless(2, 3)
def path(): sys.path.clear(); return nn.Linear(2, 3)
number = 3
def loud():
    print("building")
    return nn.Linear(2, 3)
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """A checkpoint, beside which lies a module of factories."""
    (tmp_path / "factories.py").write_text(FACTORIES)
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)")
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "a.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(tmp_path / "a.pth")
    sys.modules.pop("factories", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("factories:leave", "factories:leave cannot be built without arguments: SystemExit: 0"),
        ("factories:leave_in_words", "cannot be built without arguments: SystemExit: goodbye"),
        ("factories:interrupt", "cannot be built without arguments: KeyboardInterrupt"),
        ("factories:stop", "cannot be built without arguments: Stop: two"),
        ("factories:needs", "cannot be built without arguments: TypeError"),
        ("factories:nothing", "factories:nothing makes a NoneType, not a model"),
        ("factories:number", "cannot be built without arguments: TypeError: 'int' object is not callable"),
        ("factories:careless", "factories:careless stops with SystemExit: 0"),
        ("leaves:build", "leaves:build cannot be imported: SystemExit: 0"),
        (":build", ":build cannot be imported: ValueError"),
        ("factories:", "factories: cannot be imported: AttributeError"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_whatever_a_factory_does_there_is_one_line_and_status_1(shell, own, name, said, options) -> None:
    status, printed, errors = shell(own, name, *options)
    assert (status, printed) == (1, "")
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_what_a_factory_prints_is_no_part_of_the_report(shell, own) -> None:
    status, printed, errors = shell(own, "factories:loud", "--json")
    assert (status, errors) == (0, "building\n")
    assert json.loads(printed)["coverage"] == 1
    assert shell(own, "factories:path")[0] == 0


def test_what_cannot_be_read_gives_status_1(shell, tmp_path) -> None:
    (tmp_path / "a.pth").write_bytes(b"")
    said = "a.pth is an empty file: the download or the copy went wrong, fetch it again\n"
    assert shell(str(tmp_path / "a.pth")) == (1, "", said)
    assert shell(THIN, "vgg61")[0] == 1
    assert shell("nowhere.pth")[0] == 1


@pytest.mark.parametrize("arguments", [[], [THIN, "vgg16", "vgg16"], [THIN, "--colour"]])
def test_a_wrong_call_gives_status_2(arguments) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_names_cannot_move_the_cursor(shell, tmp_path) -> None:
    name = "\n- It loads\x1b[2Jweight\u202e\r\x07\u200b"
    torch.save({name: torch.ones(2)}, tmp_path / "a.pth")
    said = shell(str(tmp_path / "a.pth"), "--list")[1]
    assert "\\n- It loads\\x1b[2Jweight\\u202e\\r\\x07\\u200b" in said
    assert not any(letter in said for letter in "\x1b\u202e\r\x07\u200b")
    assert plain("a\nä") == "a\\nä"
    explained = shell(str(tmp_path / "a.pth"), "torch.nn:Identity")[1]
    assert "\x1b" not in explained


def test_python_runs_the_command() -> None:
    command = [sys.executable, "-m", "helpers.state_dict"]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m helpers.state_dict")
