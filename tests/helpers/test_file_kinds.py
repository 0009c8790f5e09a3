"""What a file is shows in its first bytes, on files that the libraries themselves have written."""

import bz2
import gzip
import json
import lzma
import os
import pickle
import tarfile

import matplotlib.pyplot as plt
import numpy as np
import pytest
import safetensors.torch
import scipy.io
import torch

from helpers import file_kinds
from helpers.file_kinds import kind_of


def add_to_tar(path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"))


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
    "bzip2": lambda path: path.write_bytes(bz2.compress(b"words")),
    "xz": lambda path: path.write_bytes(lzma.compress(b"words")),
    "zstd": lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20)),
    "7z": lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(20)),
    "rar": lambda path: path.write_bytes(b"Rar!\x1a\x07" + bytes(20)),
    "tar": lambda path: add_to_tar(path),
    "GGUF": lambda path: path.write_bytes(b"GGUF\x03" + bytes(30)),
    "ONNX": lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(30)),
    "TFLite": lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(30)),
    "ExecuTorch": lambda path: path.write_bytes(b"\x1c\0\0\0ET12" + bytes(30)),
    "msgpack": lambda path: path.write_bytes(b"\x81\xa6params\x81\xa5Dense" + bytes(30)),
    "TensorFlow.js": lambda path: path.write_text(json.dumps({"format": "layers-model", "weightsManifest": []})),
    "index of shards": lambda path: path.write_text(json.dumps({"metadata": {}, "weight_map": {"w": "a"}})),
    "SavedModel": lambda path: path.write_bytes(b"\x08\x01\x12\x05words" + bytes(20)),
    "JSON": lambda path: path.write_text('[{"lr": 0.1}]'),
    "picture": lambda path: plt.imsave(path, np.zeros((4, 5)), format="png"),
    "PDF": lambda path: path.write_bytes(b"%PDF-1.7\n"),
    "folder": lambda path: path.mkdir(),
    "special": lambda path: os.mkfifo(path),
    "empty": lambda path: path.write_bytes(b""),
    "unknown": lambda path: path.write_text("layers: conv1\n"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_what_it_begins_like_whatever_it_is_called(tmp_path, name) -> None:
    path = tmp_path / ("saved_model.pb" if name == "SavedModel" else "weights.pth")
    WRITERS[name](path)
    kind = kind_of(path)
    assert kind.name == name
    assert kind.refusal(path) == f"{path.name} is {kind.what}: {kind.way_out}"
    assert kind.way_out


def test_every_kind_is_among_them() -> None:
    kinds = [kind for kind in vars(file_kinds).values() if isinstance(kind, file_kinds.FileKind)]
    kinds += [*file_kinds.BEGINNINGS.values(), *file_kinds.MARKS.values()]
    assert {kind.name for kind in kinds} | {"MATLAB", "safetensors", "unknown"} == set(WRITERS)


def test_an_unknown_one_says_how_it_begins(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"once upon a time there was")
    assert "(it starts with b'once upon a time')" in kind_of(tmp_path / "a").refusal(tmp_path / "a")


def test_a_missing_file_is_the_usual_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        kind_of(tmp_path / "a")


def test_files_of_a_byte_or_two_have_a_kind(tmp_path) -> None:
    for content in (b"\x08", b"\x08\x08", b"\x85", b"{", b"P", b"\x80"):
        (tmp_path / "a").write_bytes(content)
        assert kind_of(tmp_path / "a").way_out
