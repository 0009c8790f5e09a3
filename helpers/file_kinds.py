"""What a file is, by its first bytes, whatever it is called; and what reads it, or what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

MATLAB = (b"\x00\x01IM", b"\x01\x00MI")  # bytes 124 to 128 of version 5 and 7, in either byte order
ZIP, LEGACY, SAFETENSORS, MATLAB_5, MATLAB_73, UNKNOWN = (
    "zip",
    "legacy",
    "safetensors",
    "MATLAB",
    "MATLAB 7.3",
    "unknown",
)
READ_STATE_DICT = "read_state_dict of helpers.state_dict reads it"
FETCH_AGAIN = "the download or the copy went wrong, fetch it again"


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
PAGE = FileKind("web page", "a web page, not the file itself", f"{FETCH_AGAIN} in a browser")
PICKLE = FileKind(
    "pickle",
    "a plain Python pickle, which cannot be read without running what it says",
    "if you trust whoever wrote it, pickle.load it, and torch.save its arrays as tensors by name",
)

# how a file begins, in lower case -> what it is; longer beginnings first
BEGINNINGS = {
    b"version https://git-lfs": FileKind(
        "Git LFS pointer", "a Git LFS pointer, not the file itself", "run `git lfs pull` where it was cloned"
    ),
    b"<!doctype html": PAGE,
    b"<html": PAGE,
    b"<": PAGE,
    b"matlab 7.3": FileKind(
        MATLAB_73, "a MATLAB v7.3 (HDF5) file", "in MATLAB, load it and save(file, '-struct', ..., '-v7')"
    ),
    b"\x89hdf": FileKind("HDF5", "an HDF5 file", "if it comes from MATLAB, save it there again with '-v7'"),
    b"\x93numpy": FileKind("numpy", "a numpy array", "read it with numpy.load, and give its tensors names"),
    b"\x1f\x8b": FileKind("gzip", "compressed with gzip", "unpack it first"),
    b"pk\x03\x04": FileKind(ZIP, "a zip file, most likely a PyTorch checkpoint", READ_STATE_DICT),
    b"pk": FileKind(ZIP, "a zip file", READ_STATE_DICT),
    b"\x80\x02": FileKind(LEGACY, "a pickle, most likely an old PyTorch checkpoint", READ_STATE_DICT),
    b"\x80": PICKLE,  # torch.save writes protocol 2 by default
}


def kind_of(path: Path) -> FileKind:
    """What a file is.

    Raises:
        OSError: it cannot be read; FileNotFoundError if it is not there.
    """
    with path.open("rb") as file:
        start = file.read(128)
    if not start:
        return EMPTY
    if start[124:128] in MATLAB:
        return FileKind(MATLAB_5, "a MATLAB file", "load_matconvnet of helpers.matconvnet reads networks from it")
    if start[8:9] == b"{":
        return FileKind(SAFETENSORS, "a safetensors file", READ_STATE_DICT)
    for beginning, kind in BEGINNINGS.items():
        if start.lstrip().lower().startswith(beginning):
            return kind
    return FileKind(
        UNKNOWN, f"of a kind unknown here (it starts with {start[:16]!r})", "check the path and the download"
    )
