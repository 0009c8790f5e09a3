"""What a file is shows in its first bytes, on files that the libraries themselves have written."""

import gzip
import pickle

import numpy as np
import pytest
import safetensors.torch
import scipy.io
import torch

from helpers import file_kinds
from helpers.file_kinds import kind_of

TENSORS = {"w": torch.ones(2, 3)}
WRITERS = {
    "zip": lambda path: torch.save(TENSORS, path),
    "legacy": lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
    "safetensors": lambda path: safetensors.torch.save_file(TENSORS, path),
    "MATLAB": lambda path: scipy.io.savemat(path, {"x": np.ones(3)}, appendmat=False),
    "MATLAB 7.3": lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512)),
    "HDF5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "pickle": lambda path: path.write_bytes(pickle.dumps(TENSORS, protocol=4)),
    "numpy": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}"),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"words")),
    "web page": lambda path: path.write_text("\n  <!DOCTYPE html><html>404</html>"),
    "Git LFS pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    "empty": lambda path: path.write_bytes(b""),
    "unknown": lambda path: path.write_text("layers: conv1\n"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_what_it_begins_like_whatever_it_is_called(tmp_path, name) -> None:
    path = tmp_path / "weights.pth"
    WRITERS[name](path)
    kind = kind_of(path)
    assert kind.name == name
    assert kind.refusal(path) == f"weights.pth is {kind.what}: {kind.way_out}"
    assert kind.way_out


def test_every_kind_is_among_them() -> None:
    named = {kind.name for kind in file_kinds.BEGINNINGS.values()}
    assert named | {"empty", "MATLAB", "safetensors", "unknown"} == set(WRITERS)


def test_an_unknown_one_says_how_it_begins(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"once upon a time there was")
    assert "(it starts with b'once upon a time')" in kind_of(tmp_path / "a").refusal(tmp_path / "a")


def test_a_missing_file_is_the_usual_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        kind_of(tmp_path / "a")
