"""Files that are either the old one or the new one, whenever the process is killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_numbers = count()
_in_use: set[Path] = set()  # temporaries that this process, in any of its threads, is writing


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


def flush_to_disk(place: Path) -> None:
    """Wait until all of a file is on the disk, and not only in the memory of the operating system."""
    with place.open("r+b") as file:
        os.fsync(file.fileno())


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


def target_of(path: str | Path) -> Path:
    """Where to write: a link stays a link, and what it points to is replaced."""
    path = Path(path)
    return path.resolve() if path.is_symlink() else path
