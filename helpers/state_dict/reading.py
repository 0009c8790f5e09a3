"""Read the tensors of a checkpoint, whatever wrote it, without running anything that it contains."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import StateDictError
from ..file_kinds import FOLDER, INDEX, LEGACY, MATLAB_5, MATLAB_73, PICKLE, SAFETENSORS, ZIP, kind_of
from ..matconvnet import MatConvNetError, load_matconvnet
from ..text import few
from .arguments import NOT_RUN, check_path, is_name, shown
from .arrays import STORED
from .attacks import is_attack
from .cleaning import cleaned
from .nests import DEPTH, LOAD_AND_CHOOSE, describe, open_nest
from .shards import LONGEST, WEIGHTS, index_in, only_file_in, read_index, refuse_what_the_index_does_not_say
from .stand_ins import PICKLED, blocked_name, load_with_stand_ins

PREFIXES = ("module.", "_orig_mod.", "model.")

READ = (ZIP, LEGACY, SAFETENSORS, MATLAB_5, MATLAB_73, INDEX, FOLDER)  # kinds of files that are tried


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
        tensors = "1 tensor" if len(self) == 1 else f"{len(self)} tensors"
        lines = [f"{tensors}, {numbers:,} numbers, from {self.path.name if self.path else 'memory'}"]
        return "\n".join([*lines, *self.notes])


def read_state_dict(
    path: str | Path,
    *,
    verify: bool = True,
    prefixes: Collection[str] = PREFIXES,
    key: str | None = None,
    stand_ins: bool = False,
) -> StateDict:
    """The tensors of a checkpoint by name, on the CPU.

    Takes what `torch.save` writes, as a zip file (memory-mapped) or in the legacy format, `.safetensors`, MatConvNet's
    `.mat`, and a folder or an index (`*.index.json`) of several such files; which it is shows in the file, not in its
    name. A state_dict that is nested is unwrapped; `PREFIXES` that all keys share are stripped; arrays of numpy become
    tensors. Nothing in the file is executed.

    As long as what is returned is in use, the file must not be overwritten, not even by saving to it: save under
    another name, and rename.

    Args:
        path: the file, or a folder that holds one checkpoint.
        verify: compare the checksums of a zip file, which `torch.load` does not do. It reads all of it. The legacy
            format and safetensors have none.
        prefixes: which to strip.
        key: under which name the tensors lie; "a.b" is b in a, and "0" may be a number. Without it, one of `NESTS` is
            taken, or the only one.
        stand_ins: read a file that also holds objects of other classes: inert stand-ins take their place, and the
            tensors of whole models are found. The notes say what they stand for.

    Raises:
        FileNotFoundError: there is no such file.
        StateDictError: it is damaged, no checkpoint, or holds more than tensors; nothing lies under `key`; says what
            to do.
    """
    path = check_path(path)
    _check_prefixes(prefixes)
    with _os_errors_named(path):
        return _read(path, verify, prefixes, key, stand_ins)


def _check_prefixes(prefixes: object) -> None:
    several = prefixes if isinstance(prefixes, Collection) and not isinstance(prefixes, str) else [None]
    if not all(isinstance(prefix, str) and prefix for prefix in several):
        raise StateDictError(f"prefixes are several texts, of which none is empty, as ('module.',), not {prefixes!r}")


def _read(path: Path, verify: bool, prefixes: Collection[str], key: str | None, stand_ins: bool) -> StateDict:
    kind = _readable_kind(path)
    if kind == FOLDER:
        path = index_in(path) or only_file_in(path)
        kind = _readable_kind(path)
    if kind == INDEX:
        return _unwrapped(_read_shards(path, verify), path, prefixes, key)
    if kind in (MATLAB_5, MATLAB_73):
        return _unwrapped(_read_matconvnet(path), path, prefixes, key)
    if kind == SAFETENSORS:
        return _unwrapped(_read_safetensors(path), path, prefixes, key)
    if not stand_ins:
        return _unwrapped(load_safely(path, verify=verify, arrays=True), path, prefixes, key)
    try:
        found, names = load_with_stand_ins(lambda: _torch_load(path, _is_mapped(path, kind, verify), arrays=True))
    except StateDictError:
        raise
    except Exception as error:
        raise StateDictError(f"{path.name} {_why(error)}") from error
    result = _unwrapped(found, path, prefixes, key)
    if names:
        result.notes = (*result.notes, f"stand-ins took the place of {few(names, 5)}")
    return result


def load_safely(path: str | Path, *, verify: bool = True, arrays: bool = False) -> object:
    """What `torch.save` wrote, as it is, on the CPU, without running anything in it; a zip file is memory-mapped.

    Args:
        path: the file.
        verify: as in `read_state_dict`.
        arrays: put tensors where dictionaries and lists hold arrays of numpy, which are refused otherwise.

    Raises:
        FileNotFoundError: there is no such file.
        StateDictError: it is damaged, not what `torch.save` writes, or more than tensors, numbers and strings.
    """
    path = check_path(path)
    with _os_errors_named(path):
        kind = _readable_kind(path)
    mmap = _is_mapped(path, kind, verify)
    try:
        return _torch_load(path, mmap, arrays)
    except Exception as error:  # a damaged pickle fails in any way it likes
        raise StateDictError(f"{path.name} {_why(error)}") from error


@contextmanager
def _os_errors_named(path: Path) -> Iterator[None]:
    """What the system says of a file becomes the error of this room, but for one that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        name = Path(error.filename).name if error.filename else path.name
        raise StateDictError(f"{name[:LONGEST]} cannot be read: {error.strerror or error}") from error


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


def _read_shards(index: Path, verify: bool) -> Mapping[str, Tensor]:
    """All tensors that the index lists, from the files in its folder; each mapped as if it were alone."""
    tensors: dict[str, Tensor] = {}
    for shard, listed in read_index(index).items():
        kind = _readable_kind(shard)
        if kind not in WEIGHTS:
            raise StateDictError(f"{shard.name} is no file with weights, but {kind_of(shard).what}")
        found = _read_safetensors(shard) if kind == SAFETENSORS else load_safely(shard, verify=verify, arrays=True)
        if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
            raise StateDictError(f"{shard.name} holds more than tensors by name, as a shard should")
        refuse_what_the_index_does_not_say(index, shard, listed, list(found))
        tensors.update(found)
    return tensors


def _is_mapped(path: Path, kind: str, verify: bool) -> bool:
    """Whether PyTorch may map the file: a zip file, whose records are not compressed. It is looked at first.

    Raises:
        StateDictError: it is damaged, not what `torch.save` writes, or a bomb.
    """
    if kind != ZIP:
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            unpacked = sum(record.file_size for record in records)
            if unpacked > _room(path):
                raise StateDictError(f"{path.name} has {path.stat().st_size:,} bytes and unpacks to {unpacked:,}")
            damaged = archive.testzip() if verify else None
    except StateDictError:
        raise
    except Exception as error:  # zipfile and zlib have many ways to meet a damaged byte
        raise StateDictError(f"{path.name} is a damaged zip file ({error}): fetch it again") from error
    if damaged:
        raise StateDictError(
            f"{path.name} is damaged: the checksum of {damaged} does not hold; take another copy of it (or, if it was "
            "saved with checksums switched off, read it with verify=False)"
        )
    _refuse_other_zips(path, {record.filename.rpartition("/")[2] for record in records})
    return all(record.compress_type == zipfile.ZIP_STORED for record in records)


def _refuse_other_zips(path: Path, names: set[str]) -> None:
    if "constants.pkl" in names:
        raise StateDictError(
            f"{path.name} is a TorchScript program: torch.jit.load(path).state_dict() gives its tensors"
        )
    if "data.pkl" in names:
        return
    what = f"it holds {few(sorted(names), 5)}"
    if any(name.endswith(".npy") for name in names):
        what = "it holds arrays of numpy: read them with numpy.load(path), and give them to torch.from_numpy"
    elif "model.weights.h5" in names:
        what = "it is a model of Keras: save_weights there, or read model.weights.h5 in it with h5py"
    elif "archive_format" in names:
        what = "it is a program of torch.export: torch.export.load(path).state_dict gives its tensors"
    raise StateDictError(f"{path.name} is a zip file, but not one that torch.save wrote: {what}")


def _torch_load(path: Path, mmap: bool, arrays: bool) -> object:
    with warnings.catch_warnings(), torch.serialization.safe_globals(STORED if arrays else []):
        warnings.filterwarnings("ignore", "Validating sparse tensor invariants")  # which is what is wanted
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # the error says it
        if path.suffix != ".safetensors":
            return cleaned(torch.load(path, map_location="cpu", weights_only=True, mmap=mmap))
        with path.open("rb") as file:  # by this name torch.load takes a file for what it is not
            return cleaned(torch.load(file, map_location="cpu", weights_only=True))


def _why(error: Exception) -> str:
    name = blocked_name(error)
    if name and is_attack(name):
        return f"asks for {name}, which no weights need: it is an attack, delete it"
    if name and name.startswith("torch.nn.parameter.Uninitialized"):
        return f"holds what {NOT_RUN}"
    if name == PICKLED:
        return f"is {PICKLE.what}: {PICKLE.way_out}"
    if name:
        return (
            f"holds more than tensors: an object of {name}, and to create it would be to run code. "
            "read_state_dict(path, stand_ins=True) reads its tensors without it"
        )
    if "torch.distributed.tensor" in str(error):
        return "holds DTensors, parts of tensors of several processes: import torch.distributed.tensor, then read it"
    if isinstance(error, RecursionError):
        return "holds too many things in one another: no weights are nested so deep"
    if "Only persistent_load of storage" in str(error):
        return (
            "is a whole model in PyTorch's older format, which only its own classes can read: load it where they are, "
            "and save its state_dict()"
        )
    if re.search(r"Unsupported operand (14\d|150)", str(error)):
        return (
            "was saved with a pickle protocol above 2, which cannot be read without running what it says: save it "
            "again with torch.save's own protocol"
        )
    said = str(error).rpartition("WeightsUnpickler error:")[2].strip()  # without advice to read it unsafely
    first_line = (said.splitlines() or [""])[0].split(" Please ")[0][:200]
    return f"is no checkpoint that torch.save wrote, or it is damaged ({type(error).__name__}: {first_line})"


def _unwrapped(found: object, path: Path, prefixes: Collection[str], key: str | None) -> StateDict:
    """The tensors in what was loaded, with the nests and prefixes around them taken off."""
    nest = open_nest(found, path.name, key)
    notes = list(nest.notes)
    tensors: dict[str, Tensor] = {}
    others = []
    for name, value in nest.content.items():
        if not isinstance(value, Tensor):
            others.append(shown(name))
        elif not is_name(name):
            raise StateDictError(
                f"{path.name} holds a tensor under {shown(name)}, and names are text: {LOAD_AND_CHOOSE}"
            )
        elif str(name) in tensors:
            raise StateDictError(f"{path.name} has {name!r} twice, as a number and as text: one would be lost")
        else:
            tensors[str(name)] = value.detach()
    if not tensors:
        deeper = any(isinstance(value, Mapping) for value in nest.content.values())
        more = f"; {DEPTH} dictionaries in one another were looked into, key= goes deeper" if deeper else ""
        raise StateDictError(f"{path.name} has no tensors by name; {describe(nest.content)}{more}")
    if others:
        notes.append(f"left out, for they are no tensors: {few(others, 8)}")
    if nest.loose:
        notes.append(f"names were made from numbers: {few(nest.loose)}")
    _refuse_bombs(tensors, path)
    metadata = getattr(nest.content, "_metadata", None)
    while prefix := next((prefix for prefix in prefixes if shared_by_all(prefix, tensors)), None):
        notes.append(f"stripped {prefix!r} from every name")
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        metadata = {
            (f"{name}.").removeprefix(prefix).removesuffix("."): version for name, version in (metadata or {}).items()
        }
    result = StateDict(tensors, path)
    result.notes = tuple(notes)
    if metadata:
        result._metadata = OrderedDict(metadata)
    return result


def shared_by_all(prefix: str, names: Iterable[str]) -> bool:
    """Whether all names begin with it."""
    return all(name.startswith(prefix) for name in names)


def _room(path: Path) -> int:
    """How many bytes an honest file of this size asks for at most; that of an index counts its shards."""
    files = read_index(path) if path.name.endswith(".index.json") else [path]
    return 100 * sum(file.stat().st_size for file in files) + 2**20


def _refuse_bombs(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A small file can describe a view of terabytes."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > _room(path):
        raise StateDictError(f"{path.name} has {path.stat().st_size:,} bytes and asks for {size:,} of memory")
