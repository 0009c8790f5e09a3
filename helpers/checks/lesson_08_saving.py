"""Lesson 08: the exercise that saves a file so that it is whole at every moment."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Any

import torch

from .feedback import NotYet, because, call
from .lesson_08_disk import NEIGHBOUR, Moment, Refuses, Watch, playground, watched


def verify_save_safely(answer: Any) -> None:
    """8.1 `save_safely(state, path) -> None`."""
    with playground() as path, contextlib.suppress(NotYet):  # only to know a stub
        call(answer, {"epoch": 0}, path)
    with playground() as path:
        generator = torch.Generator().manual_seed(81)
        for case, rows in (("without an old file", 2), ("with an old file", 300)):
            watch = Watch(path)
            state = {"epoch": rows, "weight": torch.randn(rows, 7, generator=generator), "watch": watch}
            with watched(answer, watch):
                (got,) = call(lambda *inputs: (answer(*inputs),), state, path, case=case, crashes=SAVING_CRASHES)
            expect_named(watch, case)
            expect_alone(path, case)
            expect_content(path, state, case)
            if got is not None:
                raise NotYet(f"{case}, your function returns a {type(got).__name__}; nothing is asked for.")
        refused, full = RuntimeError("on purpose"), OSError(errno.ENOSPC, "No space left on device")
        cannot = "if a value cannot be saved (its __reduce__ raises RuntimeError)"
        expect_failure(answer, {"weight": torch.ones(3), "refuses": Refuses()}, Watch(path), cannot, refused)
        full_disk = "if the disk is full, and os.fsync says so (OSError)"
        expect_failure(answer, {"weight": torch.ones(3)}, Watch(path, full_disk=True), full_disk, full)


def expect_named(watch: Watch, case: str) -> None:
    """The file was written and synced under another name, and then got its own in one step."""
    path, moments = watch.path, watch.moments
    named = next((i for i, m in enumerate(moments) if m.what == "name" and m.target == path), None)
    for moment in moments if named is None else moments[: named + 1]:
        expect_old_file(moment, path, case)
    if named is None:
        expect_any_file(watch, case)
    written = [i for i, moment in enumerate(moments) if moment.what == "pickle"]
    if written and written[0] > named:
        raise NotYet(f"{case}, the file gets its name before torch.save has written it; write first.")
    source = moments[named].source
    if source.parent != path.parent:
        cause = "the other folder may be on another disk, where os.replace fails; path.with_name is in the same one."
        raise NotYet(f"{case}, the file is written in another folder than {path.name!r}.{because(cause)}")
    expect_synced(moments, named, path, case)


def expect_old_file(moment: Moment, path: Path, case: str) -> None:
    if moment.old == "whole":
        return
    when = {"pickle": "while torch.save writes", "name": "just before a file gets the name"}
    when = f"{case}, {when.get(moment.what, 'before a file gets the name')}"
    if moment.old == "gone":
        cause = "os.replace takes the place of an old file by itself; do not remove it or move it away before."
        raise NotYet(f"{when}, there is no {path.name!r}; an interrupt here loses it.{because(cause)}")
    cause = "torch.save writes straight to it; write to path.with_name(path.name + '.tmp'), for instance."
    after = "it was written or copied to; give a whole file this name by os.replace."
    why = because(cause if moment.what == "pickle" else after)
    raise NotYet(f"{when}, {path.name!r} is not whole; an interrupt here leaves half a file.{why}")


def expect_any_file(watch: Watch, case: str) -> None:
    """`NotYet` anyway; what is said depends on where the file is."""
    path = watch.path
    others = sorted({other.name for other in path.parent.iterdir()} - {path.name, NEIGHBOUR})
    if (path.read_bytes() if path.exists() else None) != watch.before:
        cause = "shutil.copy and write_bytes write to it bit by bit; os.replace(temporary, path) is one step."
        raise NotYet(f"{case}, {path.name!r} itself is written to, and no file gets its name.{because(cause)}")
    found = f"{path.name!r} is still the old file" if path.exists() else f"there is no {path.name!r}"
    beside = f"; beside it there is {', '.join(map(repr, others))}" if others else ""
    saved = others or any(moment.what == "pickle" for moment in watch.moments)
    cause = "os.replace(temporary, path) is missing." if saved else None
    for moment in watch.moments:
        if moment.what == "name" and moment.source != path:
            cause = f"what is saved gets the name {moment.target.name!r}; os.replace(temporary, path)."
    raise NotYet(f"{case}, {found} afterwards{beside}.{because(cause)}")


def expect_synced(moments: list[Moment], named: int, path: Path, case: str) -> None:
    inode, size = moments[named].inode, path.stat().st_size
    synced = [moment for moment in moments[:named] if moment.what == "fsync" and moment.inode == inode]
    if not synced:
        cause = "torch.save leaves the bytes to the system, which writes them later; a power cut loses them."
        if any(moment.what == "fsync" and moment.inode == inode for moment in moments):
            cause = "it comes after; the new name could be on the disk before the bytes."
        elif any(moment.what == "fsync" for moment in moments):
            cause = "it is called for something else, the folder or another file."
        elif any(moment.what == "sync" for moment in moments):
            cause = "os.sync asks for all files, and need not wait until it is done."
        raise NotYet(f"{case}, os.fsync is not called for the file before it gets its name.{because(cause)}")
    if all(moment.size != size for moment in synced):
        cause = "the rest was still in Python's buffer, or was written later: file.flush(), then os.fsync."
        raise NotYet(
            f"{case}, the file had {synced[-1].size} of {size} bytes when os.fsync was called.{because(cause)}"
        )


def expect_alone(path: Path, case: str, cause: str | None = None) -> None:
    """Nothing is left in the folder, and what was in it is as it was."""
    neighbour = path.parent / NEIGHBOUR
    if not neighbour.exists() or neighbour.read_bytes() != b"the best so far":
        raise NotYet(f"{case}, {NEIGHBOUR!r} of the same folder is changed or gone; it is another file.")
    for folder in (path.parent, path.parents[1] / "elsewhere"):
        if left := sorted({other.name for other in folder.iterdir()} - {path.name, NEIGHBOUR}):
            raise NotYet(f"{case}, {left[0]!r} is left beside {path.name!r}.{because(cause)}")


def expect_content(path: Path, state: dict[str, Any], case: str) -> None:
    try:
        found = torch.load(path, weights_only=True)
    except Exception as error:
        raise NotYet(f"{case}, torch.load cannot read the file: {type(error).__name__}.") from None
    same = isinstance(found, dict) and list(found) == list(state) and torch.equal(found["weight"], state["weight"])
    if not same or found["epoch"] != state["epoch"]:
        raise NotYet(f"{case}, torch.load gives back something else than the dictionary that was to be saved.")


def expect_failure(answer: Any, state: Any, watch: Watch, case: str, wanted: Exception) -> None:
    path, arrived = watch.path, None
    with watched(answer, watch):
        try:
            answer(state, path)
        except (Exception, SystemExit) as error:
            arrived = error
    if not path.exists() or path.read_bytes() != watch.before:
        raise NotYet(f"{case}, {path.name!r} is not the old file any more.")
    cleanup = "when writing fails, at whatever step, the temporary is to be removed: try ... finally around all of it."
    expect_alone(path, case, cleanup)
    if arrived is None:
        cause = "an `except` that does not end with `raise`, or a `return` in `finally`, swallows it."
        raise NotYet(f"{case}, no error reaches the caller, who thinks that it is saved.{because(cause)}")
    if type(arrived) is not type(wanted):
        cause = "`raise` alone hands on the error as it is."
        if isinstance(arrived, FileNotFoundError):
            cause = "there need not be a temporary yet when it is removed: unlink(missing_ok=True)."
        said = f"{type(arrived).__name__}: {arrived}"
        raise NotYet(f"{case}, another error reaches the caller: {said}{because(cause)}")


SAVING_CRASHES = [
    (
        "FileNotFoundError",
        "it is not written yet, or os.replace has given it its new name already, so that there is nothing to remove: "
        "unlink(missing_ok=True), or NamedTemporaryFile(delete=False).",
    ),
    ("Bad file descriptor", "the file is closed already; call os.fsync inside of its `with`."),
    ("I/O operation on closed file", "the file is closed already; call os.fsync inside of its `with`."),
    ("have a fileno() method", "os.fsync takes an open file's number: os.fsync(file.fileno())."),
    ("has no attribute 'fileno'", "os.fsync takes an open file's number: open it, os.fsync(file.fileno())."),
    ("must be str, not bytes", "open it for bytes: open('wb')."),
    ("does not support the argument", "open it for bytes: open('wb')."),
    ("unsupported operand type(s) for +", "a path is no string: path.with_name(path.name + '.tmp')."),
]
