"""Files that are either the old one or the new one, whenever the process is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from .errors import WeightsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_numbers = count()
_in_use: set[Path] = set()  # temporaries that this process, in any of its threads, is writing


@contextlib.contextmanager
def replacing(path: str | Path, error: type[WeightsError] = WeightsError) -> Iterator[Path]:
    """A place beside `path` for a file to be written; when the block ends, the file takes the name `path` in one step.

    Whenever the process is killed, `path` is whole: the old file or the new one. A link stays a link, and what it
    points to is replaced. What a killed process left behind is deleted by the next that writes the same path.

    Args:
        path: the file. Its folder must exist.
        error: what to raise.

    Raises:
        FileNotFoundError: there is no such folder.
        WeightsError: it is no path, a folder or a special file such as a device; or it cannot be written, because the
            disk is full, the folder is read-only or the name too long, for instance: what was there before still is.
    """
    target = target_of(path, error)
    try:
        clear_stale(target)
        _leave_memory(target)
        with temporary(target) as place:
            yield place
            flush_to_disk(place)
            publish(place, target)
    except (OSError, RuntimeError) as problem:
        # torch hides a full disk behind a RuntimeError of its own
        reason = next((cause for cause in (problem, problem.__context__) if isinstance(cause, OSError)), None)
        if reason is None:
            raise
        raise error(_why_not_written(target, reason)) from problem


def target_of(path: str | Path, error: type[WeightsError] = WeightsError) -> Path:
    """The file that is to be replaced; raises what `replacing` raises if it cannot be."""
    if not isinstance(path, (str, Path)) or str(path) == "" or "\0" in str(path):
        raise error(f"{path!r} names no file: give a path as text or as a pathlib.Path")
    target = Path(path)
    try:
        if target.is_symlink():
            target = target.resolve()
        if target.is_dir():
            raise error(f"{str(path)!r} is a folder: name a file in it")
        if target.exists() and not target.is_file():
            raise error(f"{path} is no regular file, but a device, pipe or socket: name another file")
        if not target.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {str(target.parent)!r} for {target.name}: make it first")
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError) as problem:  # a name that is too long, a folder that is closed, a circle of links
        raise error(_why_not_written(target, problem)) from problem
    return target


def _why_not_written(target: Path, problem: Exception) -> str:
    said = f"{target.name} cannot be written ({problem}); what was there before still is. "
    if isinstance(problem, OSError) and problem.errno == errno.ENAMETOOLONG:
        size = len(os.fsencode(target.name))
        return said + (
            f"The name has {size} bytes, and while the file is written it gets some more; choose a shorter name in "
            f"{target.parent}"
        )
    return (
        said + f"See to it that there is room in {target.parent} and that you may write there, or choose another folder"
    )


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file to be written; what is still there at the end, or on an error, is deleted.

    The name is `.NAME.PID.NUMBER.tmp`, so that the next save of the same path can tell whose it is.
    """
    place = path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}.tmp")
    _in_use.add(place)
    try:
        yield place
    finally:
        place.unlink(missing_ok=True)
        _in_use.discard(place)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process that asks for the same folder goes on meanwhile; without locks, as on Windows, all do."""
    if fcntl is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def flush_to_disk(place: Path) -> None:
    """Wait until all of a file is on the disk, and not only in the memory of the operating system."""
    with place.open("r+b") as file:
        os.fsync(file.fileno())


def _leave_memory(path: Path) -> None:
    """Let the system use the memory in which it keeps a file for what is written next; on the disk the file stays.

    Otherwise that memory is free only when the file is replaced, after the new one has been written into other.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def publish(place: Path, path: Path) -> None:
    """Let a finished file take the name `path`, in one step and for good."""
    place.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, must survive a loss of power
        finally:
            os.close(folder)


def also_publish(place: Path, path: Path, second: Path) -> None:
    """Let a finished file, which is about to be published as `path`, take the name `second` as well, in one step.

    It is a hard link, which costs neither time nor space; a copy, where the file system has no links.
    """
    with temporary(path) as link:
        try:
            link.hardlink_to(place)
        except OSError:
            shutil.copyfile(place, link)
            flush_to_disk(link)
        publish(link, second)


def clear_stale(path: Path) -> None:
    """Delete what saves of the same path left behind when they were killed; those of a process that lives are kept."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.\d+\.tmp")
    for place in path.parent.iterdir():
        found = pattern.fullmatch(place.name)
        if found and not _is_written(place, int(found[1])):
            place.unlink(missing_ok=True)


def _is_written(place: Path, process: int) -> bool:
    if process == os.getpid():  # numbers of processes return: in a container, each training may be number 7
        return place in _in_use
    if os.name != "posix":  # there, asking would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True
