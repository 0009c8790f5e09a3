"""Read the tensors of a checkpoint, whatever wrote it, without running anything that it contains."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import StateDictError
from ..file_kinds import LEGACY, MATLAB_5, MATLAB_73, SAFETENSORS, UNKNOWN, ZIP, kind_of
from ..matconvnet import MatConvNetError, load_matconvnet
from ..text import few

NESTS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.", "model.")

READ = (ZIP, LEGACY, SAFETENSORS, MATLAB_5, MATLAB_73, UNKNOWN)  # kinds of files that are tried


class StateDict(OrderedDict[str, Tensor]):
    """Tensors by name, as `load_state_dict` takes them, and what was taken off on the way.

    Attributes:
        path: the file they come from.
        notes: one sentence for everything that was unwrapped, stripped or left out.
    """

    _metadata: OrderedDict[str, Any]  # versions of modules, by which torch converts older ones; where there are some

    def __init__(self, tensors: Mapping[str, Tensor] | None = None, path: Path | None = None) -> None:
        super().__init__(tensors or {})
        self.path = path
        self.notes: tuple[str, ...] = ()

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
    kind = _readable_kind(path)
    if kind in (MATLAB_5, MATLAB_73):
        return StateDict(_read_matconvnet(path), path)
    if kind == SAFETENSORS:
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
    if _readable_kind(path) == ZIP:
        return _read_zip(path, verify)
    return _load(path, mmap=False)  # the legacy format


def _readable_kind(path: Path) -> str:
    kind = kind_of(path)
    if kind.name not in READ:
        raise StateDictError(kind.refusal(path))
    return kind.name


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
        raise StateDictError(
            f"{path.name} is a zip file, but not one that torch.save wrote: it holds {few(sorted(names), 5)}"
        )
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
        name, inner = nest
        beside = ", ".join(str(key) for key in found if key != name)
        notes.append(f"unwrapped {name!r}" + (f"; beside it: {beside}" if beside else ""))
        found = inner
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
    while prefix := next((prefix for prefix in prefixes if shared_by_all(prefix, tensors)), None):
        notes.append(f"stripped {prefix!r} from every name")
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
        metadata = {
            (f"{key}.").removeprefix(prefix).removesuffix("."): version for key, version in (metadata or {}).items()
        }
    result = StateDict(tensors, path)
    result.notes = tuple(notes)
    if metadata:
        result._metadata = OrderedDict(metadata)
    return result


def shared_by_all(prefix: str, names: Iterable[str]) -> bool:
    """Whether all names begin with it."""
    return all(name.startswith(prefix) for name in names)


def find_nest(found: Mapping[Any, Any]) -> tuple[str, Mapping[Any, Any]] | None:
    """(the key under which the state_dict lies, what lies there), if it is nested.

    A nest with tensors goes before one without.
    """
    nests = [(key, found[key]) for key in NESTS if isinstance(found.get(key), Mapping)]
    return next(((key, inner) for key, inner in nests if _has_tensors(inner)), next(iter(nests), None))


def _has_tensors(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, Mapping) and any(map(_has_tensors, value.values())))


def _refuse_bombs(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A small file can describe a view of terabytes."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > 100 * path.stat().st_size + 2**20:
        raise StateDictError(f"{path.name} has {path.stat().st_size:,} bytes and asks for {size:,} of memory")
