"""Read the tensors of a checkpoint, whatever wrote it, without running anything that it contains."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..matconvnet import MatConvNetError, load_matconvnet
from .errors import StateDictError

NESTS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.", "model.")

# what a file begins with if it is no checkpoint -> what it is, and the way out
STRANGERS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights: run `git lfs pull` where it was cloned",
    b"<!doctype html": "is a web page, not the weights: the download went wrong, fetch it again in a browser",
    b"<html": "is a web page, not the weights: the download went wrong, fetch it again in a browser",
    b"\x93numpy": "is a numpy array: read it with numpy.load, and give its tensors names",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    **{
        b"\x80" + bytes([protocol]): (
            "is a plain Python pickle, which cannot be read without running what it says. If you trust whoever wrote "
            "it, pickle.load it, and torch.save its arrays as tensors by name"
        )
        for protocol in (3, 4, 5)  # torch.save writes protocol 2 by default
    },
}


class StateDict(OrderedDict[str, Tensor]):
    """Tensors by name, as `load_state_dict` takes them, and what was taken off on the way.

    Attributes:
        path: the file they come from.
        notes: one sentence for everything that was unwrapped, stripped or left out.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None, path: Path | None = None) -> None:
        super().__init__(tensors or {})
        self.path, self.notes = path, ()

    def __repr__(self) -> str:
        numbers = sum(tensor.numel() for tensor in self.values())
        lines = [f"{len(self)} tensors, {numbers:,} numbers, from {self.path.name if self.path else 'memory'}"]
        return "\n".join([*lines, *self.notes])


def read_state_dict(path: str | Path, *, verify: bool = True, prefixes: Collection[str] = PREFIXES) -> StateDict:
    """The tensors of a checkpoint by name, on the CPU.

    Takes what `torch.save` writes, as a zip file (memory-mapped) or in the legacy format, `.safetensors`, and
    MatConvNet's `.mat`; which it is shows in the file, not in its name. A state_dict that is nested under one of
    `NESTS` is unwrapped; `PREFIXES` that all keys share are stripped. Nothing in the file is executed.

    As long as what is returned is in use, the file must not be overwritten, not even by saving to it: save under
    another name, and rename.

    Args:
        path: the file.
        verify: compare the checksums of a zip file, which `torch.load` does not do. It reads all of it. The legacy
            format and safetensors have none.
        prefixes: which to strip.

    Raises:
        FileNotFoundError: there is no such file.
        StateDictError: it is damaged, no checkpoint, or holds more than tensors; says what to do.
    """
    path = Path(path)
    start = _start(path)
    if start.startswith(b"MATLAB"):
        return StateDict(_read_matconvnet(path), path)
    if start[8:9] == b"{":
        return _unwrapped(_read_safetensors(path), path, prefixes)
    return _unwrapped(load_safely(path, verify=verify), path, prefixes)


def load_safely(path: str | Path, *, verify: bool = True) -> object:
    """What `torch.save` wrote, as it is, on the CPU, without running anything in it; a zip file is memory-mapped.

    Args:
        path: the file.
        verify: as in `read_state_dict`.

    Raises:
        FileNotFoundError: there is no such file.
        StateDictError: it is damaged, not what `torch.save` writes, or more than tensors, numbers and strings.
    """
    path = Path(path)
    if _start(path).startswith(b"PK"):
        return _read_zip(path, verify)
    return _load(path, mmap=False)  # the legacy format


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(128)
    if not start:
        raise StateDictError(f"{path.name} is empty: the download or the copy was cut off, fetch it again")
    for beginning, sentence in STRANGERS.items():
        if start.lower().startswith(beginning):
            raise StateDictError(f"{path.name} {sentence}")
    return start


def _read_matconvnet(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_matconvnet(path).state_dict()
    except MatConvNetError as error:
        raise StateDictError(str(error)) from error


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise StateDictError(f"{path.name} is a damaged safetensors file ({error}): fetch it again") from error


def _read_zip(path: Path, verify: bool) -> object:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
            damaged = archive.testzip() if verify else None
    except Exception as error:  # zipfile and zlib have many ways to meet a damaged byte
        raise StateDictError(f"{path.name} is a damaged zip file ({error}): fetch it again") from error
    if damaged:
        raise StateDictError(
            f"{path.name} is damaged: the checksum of {damaged} does not hold; fetch it again (or, if it was "
            "saved with checksums switched off, read it with verify=False)"
        )
    if "constants.pkl" in names:
        raise StateDictError(
            f"{path.name} is a TorchScript program: torch.jit.load(path).state_dict() gives its tensors"
        )
    if "data.pkl" not in names:
        raise StateDictError(f"{path.name} is a zip file, but not one that torch.save wrote: it holds {_some(names)}")
    return _load(path, mmap=True)


def _load(path: Path, mmap: bool) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged pickle fails in any way it likes
        raise StateDictError(f"{path.name} {_why(error)}") from error


def _why(error: Exception) -> str:
    found = re.search(r"GLOBAL ([\w.]+\w)", str(error))
    if found and "blocked" in str(error):
        return f"asks to call {found[1]}, which no honest checkpoint does: it is an attack, delete it"
    if found:
        return (
            f"holds more than tensors: an object of {found[1]}, and to create it is to run code that the file names. "
            "If you trust whoever wrote it, torch.load(path, weights_only=False) where that class is installed, and "
            "save the state_dict() of what you get"
        )
    first_line = (str(error).splitlines() or [""])[0]
    return f"is no checkpoint that torch.save wrote, or it is damaged ({type(error).__name__}: {first_line})"


def _unwrapped(found: object, path: Path, prefixes: Collection[str]) -> StateDict:
    """The tensors in what was loaded, with the nests and prefixes around them taken off."""
    notes = []
    while isinstance(found, Mapping) and (nest := find_nest(found)):
        others = ", ".join(str(key) for key in found if key != nest)
        notes.append(f"unwrapped {nest!r}" + (f"; beside it: {others}" if others else ""))
        found = found[nest]
    if not isinstance(found, Mapping):
        raise StateDictError(f"{path.name} holds a {type(found).__name__}, not tensors by name")
    tensors = {str(key): value.detach() for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        there = ", ".join(f"{key} ({type(value).__name__})" for key, value in list(found.items())[:8]) or "nothing"
        raise StateDictError(f"{path.name} has no tensors by name; it holds {there}")
    if others := [str(key) for key, value in found.items() if not isinstance(value, Tensor)]:
        notes.append(f"left out, for they are no tensors: {', '.join(others)}")
    _refuse_bombs(tensors, path)
    metadata = getattr(found, "_metadata", None)
    while prefix := next((p for p in prefixes if all(key.startswith(p) for key in tensors)), None):
        notes.append(f"stripped {prefix!r} from every name")
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
        metadata = {
            (f"{key}.").removeprefix(prefix).removesuffix("."): version for key, version in (metadata or {}).items()
        }
    result = StateDict(tensors, path)
    result.notes = tuple(notes)
    if metadata:
        result._metadata = OrderedDict(metadata)  # versions of modules, by which torch converts older ones
    return result


def find_nest(found: Mapping[Any, Any]) -> str | None:
    """The key under which the state_dict lies, if it is nested; a nest with tensors goes before one without."""
    nests = [key for key in NESTS if isinstance(found.get(key), Mapping)]
    return next((key for key in nests if _has_tensors(found[key])), next(iter(nests), None))


def _has_tensors(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, Mapping) and any(map(_has_tensors, value.values())))


def _refuse_bombs(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A small file can describe a view of terabytes."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > 100 * path.stat().st_size + 2**20:
        raise StateDictError(f"{path.name} has {path.stat().st_size:,} bytes and asks for {size:,} of memory")


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
