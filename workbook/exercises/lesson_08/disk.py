"""A folder to play in, and what notices how a file is written in it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEIGHBOURS = "best.pt", "best.pt.tmp"  # files in the same folder, which are none of the answer's business


@dataclass(frozen=True)
class Moment:
    """Something is about to happen on the disk: "pickle", "fsync", "sync" or "name"; and how things stood then."""

    what: str
    old: str  # of what stands under `path`: "whole", "gone" or "broken"
    inode: int = 0  # of the file that is synced or named
    size: int = 0
    source: Path = Path()
    target: Path = Path()


class Watch:
    """Notes what an answer does, and how the file under `path` is meanwhile; raises `at_fsync` and `at_name` there."""

    def __init__(self, path: Path, at_fsync: OSError | None = None, at_name: OSError | None = None) -> None:
        self.path, self.at_fsync, self.at_name = path, at_fsync, at_name
        self.before = path.read_bytes() if path.exists() else None
        self.moments: list[Moment] = []

    def note(self, what: str, *file: Any) -> None:
        found = self.path.read_bytes() if self.path.exists() else None
        old = "whole" if found == self.before else "gone" if found is None else "broken"
        self.moments.append(Moment(what, old, *file))

    def __reduce__(self) -> tuple[Any, ...]:
        """Is asked for when it is pickled, so a dictionary that holds it tells when it is saved."""
        self.note("pickle")
        return OrderedDict, ()

    def __deepcopy__(self, memo: Any) -> Watch:
        return self


class Interrupts:
    """A value during whose saving somebody presses Ctrl + C."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise KeyboardInterrupt

    def __deepcopy__(self, memo: Any) -> Interrupts:
        return self


class Refuses:
    """A value that cannot be saved."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("on purpose")

    def __deepcopy__(self, memo: Any) -> Refuses:
        return self


@contextlib.contextmanager
def watched(answer: Any, watch: Watch) -> Iterator[None]:
    """Let `os`, and names that the learner has imported from it, tell `watch` what they are asked to do."""

    def syncs(fsync: Callable) -> Callable:
        def sync(fd: Any) -> None:
            number = fd.fileno() if hasattr(fd, "fileno") else fd
            if isinstance(number, int):
                found = os.fstat(number)
                watch.note("fsync", found.st_ino, found.st_size)
            if watch.at_fsync:
                raise watch.at_fsync
            fsync(fd)

        return sync

    def names(replace: Callable) -> Callable:
        def name(source: Any, target: Any, **options: Any) -> None:
            here, there = (Path(os.fsdecode(file)).resolve() for file in (source, target))
            found = here.stat() if here.exists() else None
            watch.note("name", found.st_ino if found else 0, found.st_size if found else 0, here, there)
            if watch.at_name:
                raise watch.at_name
            replace(source, target, **options)

        return name

    def syncs_all(sync: Callable) -> Callable:
        def sync_all() -> None:
            watch.note("sync")
            sync()

        return sync_all

    wrappers = {"fsync": syncs, "fdatasync": syncs, "sync": syncs_all, "replace": names, "rename": names}
    real = {name: getattr(os, name) for name in wrappers if hasattr(os, name)}
    instead = {id(function): wrappers[name](function) for name, function in real.items()}
    put = []
    try:
        for namespace in (vars(os), getattr(answer, "__globals__", {})):
            for key, value in list(namespace.items()):
                if id(value) in instead:
                    put.append((namespace, key, value))
                    namespace[key] = instead[id(value)]
        yield
    finally:
        for namespace, key, value in put:
            namespace[key] = value


def is_open(path: Path) -> bool:
    """Whether this process has the file open; False where a system does not tell."""
    there = Path("/dev/fd")
    for number in there.iterdir() if there.exists() else ():
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(int(number.name)), path.stat()):
                return True
    return False


@contextlib.contextmanager
def playground() -> Iterator[Path]:
    """A path in a folder of its own; what is written anywhere else without a folder is also thrown away afterwards."""
    with tempfile.TemporaryDirectory() as made:
        root, was = Path(made).resolve(), tempfile.tempdir
        folder, elsewhere = root / "run", root / "elsewhere"
        folder.mkdir()
        elsewhere.mkdir()
        for name in NEIGHBOURS:
            (folder / name).write_bytes(b"the best so far")
        try:
            tempfile.tempdir = str(elsewhere)
            with contextlib.chdir(elsewhere):
                yield folder / "last.pt"
        finally:
            tempfile.tempdir = was
