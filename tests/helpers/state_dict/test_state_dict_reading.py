"""`read_state_dict`: all formats, all wrappings, and everything that is no checkpoint."""

import argparse
import errno
import os
import pickle
import random
import re
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from helpers.state_dict import StateDictError, load_without_copying, read_state_dict
from helpers.state_dict.reading import load_safely
from workbook.data import DATA


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7))


def save(path, content, legacy: bool = False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_same(found, expected) -> None:
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor)
        assert found[key].device.type == "cpu"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["a.pth", "b.pt", "c.th", "d.ckpt", "e.tar", "f"])
def test_what_torch_saves_is_read_whatever_its_name(tmp_path, name, legacy) -> None:
    expected = small().state_dict()
    found = read_state_dict(save(tmp_path / name, expected, legacy))
    assert_same(found, expected)
    assert found.notes == ()


def test_the_three_shipped_forms_hold_the_same_network() -> None:
    pth, tensors = read_state_dict(DATA / "vgg16_thin.pth"), read_state_dict(DATA / "vgg16_thin.safetensors")
    assert {key: tuple(t.shape) for key, t in pth.items()} == {key: tuple(t.shape) for key, t in tensors.items()}
    assert all(torch.equal(pth[key], tensors[key]) for key in pth)
    mat = read_state_dict(DATA / "vgg16_thin.mat")
    assert torch.equal(mat["conv5_3.weight"], pth["features.28.weight"])
    assert mat["fc6.weight"].shape == (256, 128, 2, 2)


def test_what_is_read_loads_and_older_modules_are_converted(tmp_path) -> None:
    expected = small().state_dict()
    path = save(tmp_path / "a.pth", {"state_dict": {f"module.{key}": tensor for key, tensor in expected.items()}})
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7))
    model.load_state_dict(read_state_dict(path))
    assert_same(model.state_dict(), expected)
    wrapped = OrderedDict((f"module.{key}", tensor) for key, tensor in expected.items())
    wrapped._metadata = OrderedDict({"": {"version": 1}, "module": {"version": 1}, "module.1": {"version": 2}})
    found = read_state_dict(save(tmp_path / "b.pth", wrapped))
    assert found._metadata == {"": {"version": 1}, "1": {"version": 2}}


@pytest.mark.parametrize("nest", ["state_dict", "model", "net", "model_state_dict"])
def test_nests_are_unwrapped_and_reported(tmp_path, nest) -> None:
    expected = small().state_dict()
    found = read_state_dict(save(tmp_path / "a.pth", {"epoch": 7, nest: expected, "optimizer": {"lr": 1}}))
    assert_same(found, expected)
    assert found.notes == (f"unwrapped {nest!r}; beside it: epoch, optimizer",)


def test_nests_in_nests_and_prefixes_on_prefixes(tmp_path) -> None:
    expected = small().state_dict()
    wrapped = {f"_orig_mod.module.model.{key}": tensor for key, tensor in expected.items()}
    found = read_state_dict(save(tmp_path / "a.pth", {"model": {"state_dict": wrapped, "ema": 0.9}}))
    assert_same(found, expected)
    assert found.notes == (
        "unwrapped 'model'",
        "unwrapped 'state_dict'; beside it: ema",
        "stripped '_orig_mod.' from every name",
        "stripped 'module.' from every name",
        "stripped 'model.' from every name",
    )
    assert "9 tensors, 190 numbers, from a.pth\nunwrapped 'model'" in repr(found)


def test_a_nest_without_tensors_is_passed_over(tmp_path) -> None:
    expected = small().state_dict()
    found = read_state_dict(save(tmp_path / "a.pth", {"model": {"depth": 3}, "net": {"weights": 1, "model": expected}}))
    assert_same(found, expected)


def test_a_prefix_that_one_name_lacks_stays(tmp_path) -> None:
    mixed = {"module.a": torch.ones(2), "b": torch.ones(3)}
    assert list(read_state_dict(save(tmp_path / "a.pth", mixed))) == ["module.a", "b"]


def test_what_is_no_tensor_is_left_out_and_parameters_become_tensors(tmp_path) -> None:
    found = read_state_dict(save(tmp_path / "a.pth", {"w": nn.Parameter(torch.ones(2, 3)), "epoch": 3, "name": "x"}))
    assert type(found["w"]) is torch.Tensor
    assert not found["w"].requires_grad
    assert found.notes == ("left out, for they are no tensors: epoch, name",)


def test_a_zip_file_is_mapped_not_read(tmp_path) -> None:
    path = save(tmp_path / "a.pth", {"w": torch.zeros(25_000_000)})
    before = private_kilobytes()
    found = read_state_dict(path, verify=False)
    assert private_kilobytes() - before < 5_000
    assert found["w"].sum() == 0


def private_kilobytes() -> int:
    if not os.path.exists("/proc/self/smaps_rollup"):  # noqa: PTH110
        pytest.skip("needs Linux")
    with open("/proc/self/smaps_rollup", encoding="utf-8") as file:  # noqa: PTH123
        return sum(int(size) for size in re.findall(r"^Private_Dirty: +(\d+)", file.read(), flags=re.M))


class Evil:
    """What an attacker puts into a pickle."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_never_runs(tmp_path, monkeypatch, legacy) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.pth", {"state_dict": small().state_dict(), "x": Evil()}, legacy)
    with pytest.raises(StateDictError, match=r"a.pth asks for posix.mkdir, .* attack"):
        read_state_dict("a.pth")
    with open("b.pth", "wb") as file:  # noqa: PTH123
        pickle.dump(Evil(), file)
    with pytest.raises(StateDictError, match=r"b.pth is a plain Python pickle"):
        read_state_dict("b.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (small(), "torch.nn.modules.container.Sequential"),
        ({"state_dict": {"w": torch.ones(2)}, "hyper": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        ({"state_dict": {"w": torch.ones(2)}, "best": np.float64(3)}, "numpy._core.multiarray.scalar"),
    ],
)
def test_more_than_tensors_is_refused_by_name(tmp_path, content, named, legacy) -> None:
    with pytest.raises(StateDictError, match=f"more than tensors: an object of {re.escape(named)}"):
        read_state_dict(save(tmp_path / "a.pth", content, legacy))


def script(path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/constants.pkl", b"")
        archive.writestr("m/data.pkl", b"")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "is an empty file"),
        (lambda path: path.write_text("once upon a time " * 20), "of a kind unknown here"),
        (lambda path: path.write_text("<!DOCTYPE html><html>"), "is a web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(50)), "gzip"),
        (lambda path: path.write_bytes(b"\x93NUMPY" + bytes(50)), "numpy array"),
        (lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200)), "v7.3"),
        (lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200)), "a.pth"),
        (lambda path: path.write_bytes((50).to_bytes(8, "little") + b'{"w":'), "damaged safetensors"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(50)), "damaged zip"),
        (
            lambda path: np.savez(path.open("wb"), a=np.ones(3)),
            "not one that torch.save wrote: it holds arrays of numpy",
        ),
        (script, "TorchScript"),
        (lambda path: torch.save([torch.ones(2)], path), "holds a list, not tensors by name"),
        (lambda path: torch.save(torch.ones(2), path), "holds a Tensor, not tensors by name"),
        (
            lambda path: torch.save({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2)}}, path),
            r"several places; say which with key=: 'a' \(1 tensor\), 'b'",
        ),
        (lambda path: torch.save({}, path), "it holds nothing"),
        (lambda path: torch.save({"w": torch.zeros(1).expand(1 << 40)}, path), "asks for 4,398,046,511,104 of memory"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of np.savez's open file
def test_what_is_no_checkpoint_gets_one_clear_error(tmp_path, write, message) -> None:
    path = tmp_path / "a.pth"
    write(path)
    with pytest.raises(StateDictError, match=message):
        read_state_dict(path)


def test_a_missing_file_is_the_usual_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("call", [read_state_dict, load_safely, lambda path: load_without_copying(small, path)])
def test_what_the_system_says_of_a_path_becomes_one_clear_error(tmp_path, call) -> None:
    for name in ("a\0b", "\ud800"):
        with pytest.raises(StateDictError, match="is no path: it holds letters that no name of a file can have"):
            call(name)
    (tmp_path / "loop.pth").symlink_to(tmp_path / "loop.pth")
    with pytest.raises(StateDictError, match=r"loop\.pth cannot be read: Too many levels of symbolic links"):
        call(tmp_path / "loop.pth")
    with pytest.raises(StateDictError, match=r"x{255} cannot be read: File name too long"):
        call("x" * 5000)
    (tmp_path / "file").write_text("once")
    with pytest.raises(StateDictError, match=r"a\.pth cannot be read: Not a directory"):
        call(tmp_path / "file" / "a.pth")
    with pytest.raises(FileNotFoundError):
        call(tmp_path / "a.pth")


@pytest.mark.parametrize("opened", ["open", "iterdir"])
def test_what_may_not_be_read_is_named(tmp_path, monkeypatch, opened) -> None:
    """Whoever runs the tests as root may read everything, so the system's answer is made up."""
    path = tmp_path / "a.pth" if opened == "open" else tmp_path
    save(tmp_path / "a.pth", small().state_dict())

    def refuse(path, *_arguments, **_options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(f"pathlib.Path.{opened}", refuse)
    with pytest.raises(StateDictError, match=f"{path.name} cannot be read: Permission denied"):
        read_state_dict(path)


@pytest.mark.parametrize("name", ["vgg16_thin.pth", "vgg16_thin.safetensors", "vgg16_thin.mat"])
def test_files_cut_off_anywhere_are_refused(tmp_path, name) -> None:
    whole = (DATA / name).read_bytes()
    path = tmp_path / name
    for share in (0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(StateDictError):
            read_state_dict(path)


def test_legacy_files_cut_off_anywhere_are_refused(tmp_path) -> None:
    path = save(tmp_path / "a.pth", small().state_dict(), legacy=True)
    whole = path.read_bytes()
    for length in range(1, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(StateDictError):
            read_state_dict(path)


def test_single_flipped_bytes_never_load_silently_wrong(tmp_path) -> None:
    path = save(tmp_path / "a.pth", {f"layer{i}.weight": torch.randn(97, 31) for i in range(12)})
    whole, right = path.read_bytes(), torch.load(path)
    silent, refused, harmless = 0, 0, 0
    choose = random.Random(0)
    for place in choose.sample(range(len(whole)), 500):
        flipped = bytearray(whole)
        flipped[place] ^= choose.randrange(1, 256)
        path.write_bytes(flipped)
        try:
            plain = torch.load(path)
            wrong = plain.keys() != right.keys() or not all(torch.equal(plain[key], right[key]) for key in right)
        except Exception:
            wrong = False
        silent += wrong
        try:
            found = read_state_dict(path)
        except StateDictError:
            refused += 1
            continue
        harmless += 1
        assert_same(found, right)
    assert silent > 400  # torch.load alone
    assert refused >= silent
    assert refused + harmless == 500
    print(
        f"of 500 flipped bytes torch.load reads {silent} silently wrong; {refused} are refused, {harmless} do no harm"
    )
