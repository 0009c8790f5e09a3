"""`python -m helpers.matconvnet`: the table of a file, and its weights as safetensors."""

import numpy as np
import pytest
from matlab import cell, dag, dag_layer, save, struct
from safetensors.torch import load_file

from helpers.matconvnet import load_matconvnet
from helpers.matconvnet.__main__ import main


@pytest.fixture
def file(tmp_path):
    kernel = np.random.default_rng(4).normal(size=(2, 3, 4, 5))
    layers = [dag_layer("one", "dagnn.Conv", "x", "y", ("f",)), dag_layer("two", "dagnn.Conv", "y2", "z", ("f",))]
    return save(tmp_path / "net.mat", net=struct(**dag(layers, {"f": kernel})))


def test_the_table_and_the_weights(file, tmp_path, capsys) -> None:
    weights = tmp_path / "weights.safetensors"
    assert main([str(file), "--to", str(weights)]) == 0
    shown, err = capsys.readouterr()
    assert err == ""
    assert shown.startswith(repr(load_matconvnet(file)))
    assert "takes x, y2, gives y, z\n1 tensors written to" in shown
    found, expected = load_file(weights), load_matconvnet(file).state_dict()
    assert list(found) == ["f"]
    assert found["f"].equal(expected["f"])


@pytest.mark.parametrize("name", ["nothing.mat", "text.mat", "\x1b[31m.mat"])
def test_what_cannot_be_read_is_one_line(tmp_path, capsys, name) -> None:
    if name == "text.mat":
        (tmp_path / name).write_text("no network")
    assert main([str(tmp_path / name)]) == 1
    shown, err = capsys.readouterr()
    assert shown == ""
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_names_in_the_file_cannot_move_the_cursor_and_nothing_is_written_without_weights(tmp_path, capsys) -> None:
    file = save(tmp_path / "net.mat", layers=cell(struct(type="relu", name="r", note="a\x1b[2Jb\u202ec")))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"mine")
    assert main([str(file), "--to", str(weights)]) == 1
    shown, err = capsys.readouterr()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "has no weights" in err
    assert weights.read_bytes() == b"mine"


def test_how_far_reading_is_stands_in_a_terminal(file, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main([str(file), "--to", str(tmp_path / "weights.safetensors")]) == 0
    lines = capsys.readouterr().err.split("\r")
    percents = [int(line.split()[-2]) for line in lines[1:]]
    assert percents == sorted(percents)
    assert percents[-1] > 50
    assert main([str(file)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("compressed", [False, True])
def test_the_share_that_was_read_grows_to_the_end(tmp_path, compressed) -> None:
    layers = [struct(type="conv", weights=cell(np.random.default_rng(n).normal(size=(3, 3, 90, 90)))) for n in range(3)]
    shares: list[float] = []
    load_matconvnet(save(tmp_path / "net.mat", compressed, layers=cell(*layers)), show=shares.append)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert shares[-1] > 0.9


def test_the_file_that_is_read_is_not_written_over(file, capsys) -> None:
    before = file.read_bytes()
    assert main([str(file), "--to", str(file)]) == 1
    assert "is the file that is read: give another name" in capsys.readouterr().err
    assert file.read_bytes() == before
