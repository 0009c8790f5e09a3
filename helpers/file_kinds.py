"""What a file is, by its first bytes, whatever it is called; and what reads it, or what to do with it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

MATLAB = (b"\x00\x01IM", b"\x01\x00MI")  # bytes 124 to 128 of version 5 and 7, in either byte order
ZIP, LEGACY, SAFETENSORS, MATLAB_5, MATLAB_73, HDF5, INDEX, FOLDER, UNKNOWN = (
    "zip",
    "legacy",
    "safetensors",
    "MATLAB",
    "MATLAB 7.3",
    "HDF5",
    "index of shards",
    "folder",
    "unknown",
)
READ_STATE_DICT = "read_state_dict of helpers.state_dict reads it"
FETCH_AGAIN = "the download or the copy went wrong, fetch it again"
EXPORT = "it holds a program beside the weights: load it with the library that wrote it, and give its arrays names"


class FileKind(NamedTuple):
    """A kind of file.

    Attributes:
        name: as code compares it.
        what: as messages call it, with its article.
        way_out: what reads it, or what to do.
    """

    name: str
    what: str
    way_out: str

    def refusal(self, path: Path) -> str:
        """What to say of a file of this kind where another one is wanted."""
        return f"{path.name} is {self.what}: {self.way_out}"


EMPTY = FileKind("empty", "an empty file", FETCH_AGAIN)
DIRECTORY = FileKind(FOLDER, "a folder", "give the file in it")
SPECIAL = FileKind("special", "no regular file, but a pipe or a device", "copy what comes out of it into a file first")
PAGE = FileKind("web page", "a web page, not the file itself", f"{FETCH_AGAIN} in a browser")
PICKLE = FileKind(
    "pickle",
    "a plain Python pickle, which cannot be read without running what it says",
    "if you trust whoever wrote it, pickle.load it, and torch.save its arrays as tensors by name",
)
PICTURE = FileKind("picture", "a picture", "give the file with the weights")
JSON = FileKind("JSON", "text in JSON", "weights lie in another file, which it may name")
SHARDS = FileKind(INDEX, "the index of a checkpoint in several files", READ_STATE_DICT)
TFJS = FileKind("TensorFlow.js", "a model of TensorFlow.js; the numbers lie in the .bin files beside it", EXPORT)
TAR = FileKind("tar", "a tar archive", "unpack it first; one that PyTorch before 0.2 wrote, save it again with that")
SQUEEZED = "unpack it first"

# how a file begins, in lower case -> what it is; longer beginnings first
BEGINNINGS = {
    b"version https://git-lfs": FileKind(
        "Git LFS pointer", "a Git LFS pointer, not the file itself", "run `git lfs pull` where it was cloned"
    ),
    b"<!doctype html": PAGE,
    b"<html": PAGE,
    b"<": PAGE,
    b"matlab 7.3": FileKind(
        MATLAB_73, "a MATLAB v7.3 (HDF5) file", "load_matconvnet of helpers.matconvnet reads it, if it is a network"
    ),
    b"\x89hdf": FileKind(
        HDF5,
        "an HDF5 file, as Keras and MATLAB write them",
        "read its arrays with h5py and give them names, or a MatConvNet network with load_matconvnet",
    ),
    b"\x93numpy": FileKind("numpy", "a numpy array", "read it with numpy.load, and give its tensors names"),
    b"\x1f\x8b": FileKind("gzip", "compressed with gzip", SQUEEZED),
    b"bzh": FileKind("bzip2", "compressed with bzip2", SQUEEZED),
    b"\xfd7zxz": FileKind("xz", "compressed with xz", SQUEEZED),
    b"\x28\xb5\x2f\xfd": FileKind("zstd", "compressed with zstd", SQUEEZED),
    b"7z\xbc\xaf": FileKind("7z", "a 7z archive", SQUEEZED),
    b"rar!": FileKind("rar", "a rar archive", SQUEEZED),
    b"gguf": FileKind("GGUF", "a GGUF file of llama.cpp", "read its tensors with the package gguf"),
    b"%pdf": FileKind("PDF", "a PDF", "give the file with the weights"),
    b"\x89png": PICTURE,
    b"\xff\xd8\xff": PICTURE,
    b"gif8": PICTURE,
    b"pk\x03\x04": FileKind(ZIP, "a zip file, most likely a PyTorch checkpoint", READ_STATE_DICT),
    b"pk": FileKind(ZIP, "a zip file", READ_STATE_DICT),
    b"\x80\x02": FileKind(LEGACY, "a pickle, most likely an old PyTorch checkpoint", READ_STATE_DICT),
    b"\x80": PICKLE,  # torch.save writes protocol 2 by default
}
# what stands at another place -> what it is
MARKS = {
    (4, b"TFL3"): FileKind("TFLite", "a model of TensorFlow Lite", EXPORT),
    (4, b"ET12"): FileKind("ExecuTorch", "a program of ExecuTorch", EXPORT),
    (257, b"ustar"): TAR,
}
ONNX = FileKind("ONNX", "a model in ONNX", "read its initializers with onnx.numpy_helper.to_array, by their names")
FLAX = FileKind("msgpack", "a msgpack file, as Flax writes them", "read it with flax.serialization, and give names")
SAVED_MODEL = FileKind("SavedModel", "the graph of a TensorFlow SavedModel, without its numbers", EXPORT)
ONNX_FIELDS = b"\x12\x1a\x22\x3a\x42"  # what follows its version: producer, domain, graph or opset


def kind_of(path: Path) -> FileKind:
    """What a file is. Only regular files are opened.

    Raises:
        OSError: it cannot be read; FileNotFoundError if it is not there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return DIRECTORY
    if not stat.S_ISREG(mode):
        return SPECIAL
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        return EMPTY
    if start[124:128] in MATLAB:
        return FileKind(MATLAB_5, "a MATLAB file", "load_matconvnet of helpers.matconvnet reads networks from it")
    if start[8:9] == b"{":
        return FileKind(SAFETENSORS, "a safetensors file", READ_STATE_DICT)
    for (place, mark), kind in MARKS.items():
        if start[place:].startswith(mark):
            return kind
    for beginning, kind in BEGINNINGS.items():
        if start.lstrip().lower().startswith(beginning):
            return kind
    if start.lstrip()[:1] in (b"{", b"["):
        return _kind_of_json(start)
    if path.name == "saved_model.pb":
        return SAVED_MODEL
    first, second, third = (*start[:3], 0, 0, 0)[:3]
    if first == 8 and 3 <= second < 32 and third in ONNX_FIELDS:
        return ONNX
    if 0x81 <= first <= 0x8F and 0xA0 <= second <= 0xBF:  # a small map whose first key is a short text
        return FLAX
    return FileKind(
        UNKNOWN, f"of a kind unknown here (it starts with {start[:16]!r})", "check the path and the download"
    )


def _kind_of_json(start: bytes) -> FileKind:
    if b'"weight_map"' in start:
        return SHARDS
    if b'"weightsManifest"' in start or b'"modelTopology"' in start:
        return TFJS
    return JSON
