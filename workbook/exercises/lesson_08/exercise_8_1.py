"""Exercise 8.1: save a file so that it is whole at every moment."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from ..checking import Exercise, Mistake, NotYet, because, call, case
from .disk import NEIGHBOURS, Interrupts, Moment, Refuses, Watch, is_open, playground, watched

# ruff: noqa: PTH105  answers are written as learners write them

State = dict[str, Any]


def right(state: State, path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def nothing(*inputs: Any) -> None:
    """A step that is left out."""


def syncs(file: Any) -> None:
    os.fsync(file.fileno())


def replaces(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)


def saving(
    name: Callable[[Path], Path] = beside,
    before: Callable[[Path], Any] = nothing,
    sync: Callable[[Any], Any] = syncs,
    put: Callable[[Path, Path], Any] = replaces,
    clean: bool = True,
) -> Callable[[State, Path], None]:
    """An answer that does what `right` does, but for the steps that are given.

    Args:
        name: makes the temporary's path from the path.
        before: what is done to the path first of all.
        sync: what is done to the file when it is written and still open.
        put: gives the temporary the path as its name.
        clean: whether the temporary is removed at the end.
    """

    def answer(state: State, path: Path) -> None:
        temporary = name(path)
        try:
            before(path)
            with temporary.open("wb") as file:
                torch.save(state, file)
                sync(file)
            put(temporary, path)
        finally:
            if clean:
                temporary.unlink(missing_ok=True)

    return answer


def in_the_temporary_folder(path: Path) -> Path:
    return Path(tempfile.gettempdir()) / path.name


def replaces_and_syncs(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def syncs_the_folder(temporary: Path, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    os.replace(temporary, path)


def empties_and_replaces(temporary: Path, path: Path) -> None:
    path.write_bytes(b"")
    os.replace(temporary, path)


def replaces_and_keeps_a_copy(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)
    shutil.copy(path, path.with_suffix(".old"))


def from_memory_without_flush(state: State, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(buffer.getvalue())
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def from_memory_with_a_strict_unlink(state: State, path: Path) -> None:
    temporary = beside(path)
    try:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with temporary.open("wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception:
        temporary.unlink()
        raise


def with_a_strict_unlink(state: State, path: Path) -> None:
    temporary = beside(path)
    try:
        saving(clean=False)(state, path)
    finally:
        temporary.unlink()


def renames_before_writing(state: State, path: Path) -> None:
    temporary = beside(path)
    with temporary.open("wb") as file:
        os.fsync(file.fileno())
        os.replace(temporary, path)
        torch.save(state, file)


def syncs_a_path(state: State, path: Path) -> None:
    torch.save(state, beside(path))
    os.fsync(beside(path))  # type: ignore[arg-type]
    os.replace(beside(path), path)


def syncs_a_closed_file(state: State, path: Path) -> None:
    with beside(path).open("wb") as file:
        torch.save(state, file)
    os.fsync(file.fileno())
    os.replace(beside(path), path)


def cleans_up_after_writing_only(state: State, path: Path) -> None:
    temporary = beside(path)
    try:
        torch.save(state, temporary)
    except Exception:
        temporary.unlink()
        raise
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def swallows(state: State, path: Path) -> None:
    with contextlib.suppress(Exception):
        right(state, path)


def raises_another_error(state: State, path: Path) -> None:
    try:
        right(state, path)
    except Exception as error:
        raise ValueError("not saved") from error


def removes_the_old_file(state: State, path: Path) -> None:
    try:
        right(state, path)
    except Exception:
        path.unlink()
        raise


def clears_the_folder(state: State, path: Path) -> None:
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()
    right(state, path)


def returns_the_path(state: State, path: Path) -> Path:
    right(state, path)
    return path


def cleans_up_after_exceptions(state: State, path: Path) -> None:
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception:
        temporary.unlink(missing_ok=True)
        raise


def opens_a_new_file_only(state: State, path: Path) -> None:
    temporary = beside(path)
    with temporary.open("xb") as file:
        torch.save(state, file)
        os.fsync(file.fileno())
    try:
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def waits_for_another(state: State, path: Path) -> None:
    if not beside(path).exists():
        right(state, path)


def clears_all_temporaries(path: Path) -> None:
    for other in path.parent.glob("*.tmp"):
        other.unlink()


def leaves_it_open(file: Any) -> None:
    os.fsync(os.dup(file.fileno()))


def cleans_up_before_naming(state: State, path: Path) -> None:
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    os.replace(temporary, path)


def raises_a_new_one(state: State, path: Path) -> None:
    try:
        right(state, path)
    except BaseException as error:
        raise type(error)("not saved") from error


STRAIGHT = "torch.save writes straight to it; write to path.with_name(path.name + '.tmp'), for instance."
COPIED = "shutil.copy and write_bytes write to it bit by bit; os.replace(temporary, path) is one step."
WRITTEN_TO = "it was written or copied to; give a whole file this name by os.replace."
GONE = "os.replace takes the place of an old file by itself; do not remove it or move it away before."
OTHER_FOLDER = "the other folder may be on another disk, where os.replace fails; path.with_name is in the same one."
NOT_NAMED = "os.replace(temporary, path) is missing."
NOT_SYNCED = "torch.save leaves the bytes to the system, which writes them later; a power cut loses them."
SYNCED_AFTER = "it comes after; the new name could be on the disk before the bytes."
SYNCED_ELSEWHERE = "it is called for something else, the folder or another file."
SYNCED_ALL = "os.sync asks for all files, and need not wait until it is done."
SYNCED_IN_PART = "the rest was still in Python's buffer, or was written later: file.flush(), then os.fsync."
LEFT = "when writing fails, at whatever step, the temporary is to be removed: try ... finally around all of it."
LEFT_BY_A_KILL = "a kill leaves its temporary behind, and nobody else removes it: write over it, open('wb')."
LEFT_OPEN = "what os.open or os.dup gives is to be closed by os.close; each save leaves one more open."
MOVED = "where it cannot rename, shutil.move copies, bit by bit; os.replace(temporary, path) raises the error."
INTERRUPTED = "KeyboardInterrupt is no Exception, so `except Exception` does not see it; try ... finally does."
SWALLOWED = "an `except` that does not end with `raise`, or a `return` in `finally`, swallows it."
OTHER_ERROR = "`raise` alone hands on the error as it is."
NO_TEMPORARY_YET = "there need not be a temporary yet when it is removed: unlink(missing_ok=True)."
NOTHING_TO_REMOVE = (
    "it is not written yet, or os.replace has given it its new name already, so that there is nothing to remove: "
    "unlink(missing_ok=True), or NamedTemporaryFile(delete=False)."
)
CLOSED = "the file is closed already; call os.fsync inside of its `with`."
NO_NUMBER = "os.fsync takes an open file's number: os.fsync(file.fileno())."
NO_STRING = "a path is no string: path.with_name(path.name + '.tmp')."

MISTAKES = (
    Mistake(STRAIGHT, lambda state, path: torch.save(state, path)),
    Mistake(COPIED, saving(put=shutil.copy)),
    Mistake(WRITTEN_TO, saving(put=empties_and_replaces)),
    Mistake(GONE, saving(before=lambda path: path.unlink(missing_ok=True))),
    Mistake(OTHER_FOLDER, saving(name=in_the_temporary_folder)),
    Mistake(f"there is no 'last.pt' afterwards.{because(NOT_NAMED)}", saving(put=nothing)),
    Mistake(
        "what is saved gets the name 'last.pth'; os.replace(temporary, path).",
        saving(put=lambda temporary, path: os.replace(temporary, path.with_suffix(".pth"))),
    ),
    Mistake("the file gets its name before torch.save has written it; write first.", renames_before_writing),
    Mistake(NOT_SYNCED, saving(sync=nothing)),
    Mistake(SYNCED_AFTER, saving(sync=nothing, put=replaces_and_syncs)),
    Mistake(SYNCED_ELSEWHERE, saving(sync=nothing, put=syncs_the_folder)),
    Mistake(SYNCED_ALL, saving(sync=lambda file: os.sync())),
    Mistake(SYNCED_IN_PART, from_memory_without_flush),
    Mistake(NO_NUMBER, syncs_a_path),
    Mistake(CLOSED, syncs_a_closed_file),
    Mistake("if the file is called 'last.tmp'", saving(name=lambda path: path.with_suffix(".tmp"))),
    Mistake("if the file is called 'last'", saving(name=lambda path: path.with_name(path.stem))),
    Mistake("if the file is called 'tmp.pt'", saving(name=lambda path: path.with_name("tmp.pt"))),
    Mistake(LEFT_BY_A_KILL, opens_a_new_file_only),
    Mistake(LEFT_BY_A_KILL, waits_for_another),
    Mistake("'best.pt.tmp' of the same folder is changed or gone", saving(before=clears_all_temporaries)),
    Mistake(LEFT_OPEN, saving(sync=leaves_it_open)),
    Mistake(MOVED, saving(put=shutil.move)),
    Mistake(LEFT, cleans_up_before_naming),
    Mistake(OTHER_ERROR, raises_a_new_one),
    Mistake(LEFT, saving(clean=False)),
    Mistake(LEFT, cleans_up_after_writing_only),
    Mistake("'last.old' is left beside 'last.pt'", saving(put=replaces_and_keeps_a_copy)),
    Mistake("'best.pt' of the same folder is changed or gone", clears_the_folder),
    Mistake(INTERRUPTED, cleans_up_after_exceptions),
    Mistake(SWALLOWED, swallows),
    Mistake(OTHER_ERROR, raises_another_error),
    Mistake(NOTHING_TO_REMOVE, with_a_strict_unlink),
    Mistake(NO_TEMPORARY_YET, from_memory_with_a_strict_unlink),
    Mistake("'last.pt' is not the old file any more", removes_the_old_file),
    Mistake("something else than the dictionary", lambda state, path: right({"epoch": state["epoch"]}, path)),
    Mistake("nothing is asked for", returns_the_path),
    Mistake(NO_STRING, lambda state, path: torch.save(state, path + ".tmp")),
)

CRASHES = [
    ("FileNotFoundError", NOTHING_TO_REMOVE),
    ("Bad file descriptor", CLOSED),
    ("I/O operation on closed file", CLOSED),
    ("have a fileno() method", NO_NUMBER),
    ("has no attribute 'fileno'", "os.fsync takes an open file's number: open it, os.fsync(file.fileno())."),
    ("must be str, not bytes", "open it for bytes: open('wb')."),
    ("does not support the argument", "open it for bytes: open('wb')."),
    ("unsupported operand type(s) for +", NO_STRING),
]


def verify(answer: Any) -> None:
    """`save_safely(state, path) -> None`."""
    with playground() as path, contextlib.suppress(NotYet):  # only to know a stub
        call(answer, {"epoch": 0}, path)
    with playground() as path:
        for name, rows in (("without an old file", 2), ("with an old file", 300)):
            with case(name):
                temporary = expect_saved(answer, path, rows)
        with case("if a kill has left half a file under the name of the temporary"):
            temporary.write_bytes(b"half")
            expect_saved(answer, path, 3, left=temporary)
        for name in ("last", "last.tmp", "tmp.pt", "temp.pt", "tmp", "temp"):
            with case(f"if the file is called {name!r}"):
                expect_saved(answer, path.with_name(name), 3)
                path.with_name(name).unlink()
        for name, (value, watch, error) in failures(path).items():
            with case(name):
                expect_failure(answer, {"weight": torch.ones(3), "value": value}, watch, error)


def failures(path: Path) -> dict[str, tuple[Any, Watch, BaseException]]:
    """What goes wrong -> a value to be saved, what watches, and the error that reaches the caller."""
    full = OSError(errno.ENOSPC, "No space left on device")
    denied = PermissionError(errno.EACCES, "Permission denied")
    plain = Watch(path)
    return {
        "if a value cannot be saved (its __reduce__ raises RuntimeError)": (
            Refuses(),
            plain,
            RuntimeError("on purpose"),
        ),
        "if the disk is full, and os.fsync says so (OSError)": (1, Watch(path, at_fsync=full), full),
        "if the file cannot get its name (PermissionError)": (1, Watch(path, at_name=denied), denied),
        "if somebody presses Ctrl + C while it is written (KeyboardInterrupt)": (
            Interrupts(),
            plain,
            KeyboardInterrupt(),
        ),
    }


def expect_saved(answer: Any, path: Path, rows: int, left: Path | None = None) -> Path:
    """Returns what the file was called before it got its name; `left` is a file that was there before."""
    watch = Watch(path)
    weight = torch.randn(rows, 7, generator=torch.Generator().manual_seed(81))
    state = {"epoch": rows, "weight": weight, "watch": watch}
    crashes = [("", LEFT_BY_A_KILL)] if left else CRASHES
    with watched(answer, watch):
        (got,) = call(lambda *inputs: (answer(*inputs),), state, path, crashes=crashes)
    if left and not watch.moments:
        raise NotYet(f"nothing is saved.{because(LEFT_BY_A_KILL)}")
    expect_named(watch)
    named = next(moment.source for moment in watch.moments if moment.what == "name" and moment.target == path)
    if left and left != named:
        left.unlink(missing_ok=True)  # this answer takes another name each time
    expect_alone(path)
    expect_content(path, state)
    if is_open(path):
        raise NotYet(f"{path.name!r} is still open afterwards.{because(LEFT_OPEN)}")
    if got is not None:
        raise NotYet(f"your function returns a {type(got).__name__}; nothing is asked for.")
    return named


def expect_named(watch: Watch) -> None:
    """The file was written and synced under another name, and then got its own in one step."""
    path, moments = watch.path, watch.moments
    named = next((i for i, m in enumerate(moments) if m.what == "name" and m.target == path), len(moments))
    for moment in moments[: named + 1]:
        expect_old_file(moment, path)
    if named == len(moments):
        say_where_the_file_is(watch)
    written = [i for i, moment in enumerate(moments) if moment.what == "pickle"]
    if written and written[0] > named:
        raise NotYet("the file gets its name before torch.save has written it; write first.")
    if moments[named].source.parent != path.parent:
        raise NotYet(f"the file is written in another folder than {path.name!r}.{because(OTHER_FOLDER)}")
    expect_synced(moments, named, path)


def expect_old_file(moment: Moment, path: Path) -> None:
    if moment.old == "whole":
        return
    when = {"pickle": "while torch.save writes", "name": "just before a file gets the name"}
    with case(when.get(moment.what, "before a file gets the name")):
        if moment.old == "gone":
            raise NotYet(f"there is no {path.name!r}; an interrupt here loses it.{because(GONE)}")
        why = because(STRAIGHT if moment.what == "pickle" else WRITTEN_TO)
        raise NotYet(f"{path.name!r} is not whole; an interrupt here leaves half a file.{why}")


def say_where_the_file_is(watch: Watch) -> NoReturn:
    """No file has got the name."""
    path = watch.path
    others = sorted({other.name for other in path.parent.iterdir()} - {path.name, *NEIGHBOURS})
    if (path.read_bytes() if path.exists() else None) != watch.before:
        raise NotYet(f"{path.name!r} itself is written to, and no file gets its name.{because(COPIED)}")
    found = f"{path.name!r} is still the old file" if path.exists() else f"there is no {path.name!r}"
    left = f"; beside it there is {', '.join(map(repr, others))}" if others else ""
    saved = others or any(moment.what == "pickle" for moment in watch.moments)
    cause = NOT_NAMED if saved else None
    for moment in watch.moments:
        if moment.what == "name" and moment.source != path:
            cause = f"what is saved gets the name {moment.target.name!r}; os.replace(temporary, path)."
    raise NotYet(f"{found} afterwards{left}.{because(cause)}")


def expect_synced(moments: list[Moment], named: int, path: Path) -> None:
    inode, size = moments[named].inode, path.stat().st_size
    synced = [moment for moment in moments[:named] if moment.what == "fsync" and moment.inode == inode]
    if not synced:
        cause = NOT_SYNCED
        if any(moment.what == "fsync" and moment.inode == inode for moment in moments):
            cause = SYNCED_AFTER
        elif any(moment.what == "fsync" for moment in moments):
            cause = SYNCED_ELSEWHERE
        elif any(moment.what == "sync" for moment in moments):
            cause = SYNCED_ALL
        raise NotYet(f"os.fsync is not called for the file before it gets its name.{because(cause)}")
    if all(moment.size != size for moment in synced):
        why = because(SYNCED_IN_PART)
        raise NotYet(f"the file had {synced[-1].size} of {size} bytes when os.fsync was called.{why}")


def expect_alone(path: Path, cause: str | None = None) -> None:
    """Nothing is left in the folder, and what was in it is as it was."""
    for name in NEIGHBOURS:
        neighbour = path.parent / name
        if not neighbour.exists() or neighbour.read_bytes() != b"the best so far":
            raise NotYet(f"{name!r} of the same folder is changed or gone; it is another file.")
    for folder in (path.parent, path.parents[1] / "elsewhere"):
        if left := sorted({other.name for other in folder.iterdir()} - {path.name, "last.pt", *NEIGHBOURS}):
            raise NotYet(f"{left[0]!r} is left beside {path.name!r}.{because(cause)}")


def expect_content(path: Path, state: State) -> None:
    try:
        found = torch.load(path, weights_only=True)
    except Exception as error:
        raise NotYet(f"torch.load cannot read the file: {type(error).__name__}.") from None
    same = isinstance(found, dict) and list(found) == list(state) and torch.equal(found["weight"], state["weight"])
    if not same or found["epoch"] != state["epoch"]:
        raise NotYet("torch.load gives back something else than the dictionary that was to be saved.")


def expect_failure(answer: Any, state: State, watch: Watch, wanted: BaseException) -> None:
    path = watch.path
    arrived: BaseException | None = None
    with watched(answer, watch):
        try:
            answer(state, path)
        except BaseException as error:
            arrived = error
    if not path.exists() or path.read_bytes() != watch.before:
        raise NotYet(f"{path.name!r} is not the old file any more.{because(MOVED if watch.at_name else None)}")
    expect_alone(path, LEFT if not isinstance(wanted, KeyboardInterrupt) else INTERRUPTED)
    if arrived is None:
        raise NotYet(f"no error reaches the caller, who thinks that it is saved.{because(SWALLOWED)}")
    if (type(arrived), arrived.args) != (type(wanted), wanted.args):
        why = because(NO_TEMPORARY_YET if isinstance(arrived, FileNotFoundError) else OTHER_ERROR)
        raise NotYet(f"another error reaches the caller: {type(arrived).__name__}: {arrived}{why}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "path.with_name(path.name + '.tmp') is another name in the same folder; temporary.replace(path), or "
        "os.replace(temporary, path), is the one step.",
        "with temporary.open('wb') as file: torch.save(state, file), and then os.fsync(file.fileno()), which waits "
        "until the bytes are on the disk.",
        "try: write, fsync, and, when the file is closed, os.replace; finally: temporary.unlink(missing_ok=True), "
        "which finds nothing if all went well.",
    ),
    praise="a crash at any moment leaves a whole file.",
)
