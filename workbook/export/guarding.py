"""What an answer may not do while it is judged: see solutions, write outside of its folder, start or reach anything.

Python's audit hooks cannot be taken away again by what runs behind them. They see what goes through Python; code that
is written in C to get around them is not held, so a class is still graded where its code may run.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

REFUSED = (  # the beginnings of Python's names for what is done, https://docs.python.org/3/library/audit_events.html
    *("subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "pty.", "os.kill", "signal."),
    *("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "gc.get_", "sys.settrace", "sys.setprofile", "code."),
)
CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    "shutil.",
)
WATCHED = re.compile(
    r"builtins|copy|math|numpy|torch|torch\._tensor|(torch\.nn|torch\.testing|helpers|workbook)(\..*)?"
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NotAllowedError(PermissionError):
    """What an answer did that has nothing to do with an exercise."""


def guard(own: Path, hidden: Iterable[Path]) -> None:
    """Refuse, from now on and as long as this process lives, what an answer may not do.

    Args:
        own: the folder in which all is allowed.
        hidden: folders in which nothing may be opened.
    """
    own_folder = os.path.realpath(own)
    hidden_folders = [os.path.realpath(folder) for folder in hidden]

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            reason = _opens(given, own_folder, hidden_folders)
        elif event.startswith(CHANGES):
            paths = [path for path in given if isinstance(path, (str, bytes, os.PathLike))]
            reason = event if any(not _is_in(path, own_folder) for path in paths) else ""
        else:
            reason = event if event.startswith(REFUSED) else ""
        if reason:
            raise NotAllowedError(f"an answer may not do this while it is judged: {reason}")

    sys.addaudithook(hook)


def _opens(given: tuple[Any, ...], own: str, hidden: list[str]) -> str:
    """What is wrong with opening a file; nothing if it may be opened."""
    path, _, flags = given
    if not isinstance(path, (str, bytes, os.PathLike)):
        return ""  # a number of a file that is open already
    if isinstance(flags, int) and flags & WRITES and not _is_in(path, own) and os.fspath(path) != os.devnull:
        return "write a file"
    return "read what is hidden" if any(_is_in(path, folder) for folder in hidden) else ""


def _is_in(path: Any, folder: str) -> bool:
    real = os.path.realpath(os.fsdecode(path))
    return real == folder or real.startswith(folder + os.sep)


def hide_modules(*names: str) -> None:
    """Let imports of these modules, and of all in them, fail from now on; who has them already keeps them."""
    for name in [known for known in sys.modules if known.startswith(tuple(f"{n}." for n in names)) or known in names]:
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and hasattr(sys.modules[parent], child):
            delattr(sys.modules[parent], child)
        sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say that there is none
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]


def functions_of(modules: Iterable[ModuleType]) -> dict[tuple[str, str], object]:
    """What checks are made of: (module or class, name) -> function; see `exchanged`."""
    found: dict[tuple[str, str], object] = {}
    for module in modules:
        for name, value in list(vars(module).items()):
            found[module.__name__, name] = _code_of(value)
            if isinstance(value, type):
                inside = f"{module.__name__}.{name}"
                found |= {(inside, key): _code_of(made) for key, made in list(vars(value).items())}
    return {place: value for place, value in found.items() if callable(value) or isinstance(value, CodeType)}


def modules_to_watch() -> list[ModuleType]:
    """Those that a check relies on, as far as they are imported."""
    found = [module for module in sys.modules.values() if isinstance(module, ModuleType)]
    return [module for module in found if WATCHED.fullmatch(module.__name__)]


def exchanged(before: Mapping[tuple[str, str], object], modules: Iterable[ModuleType]) -> str:
    """The name of the first function that is another one than `functions_of` found before; nothing if none is."""
    now = functions_of(modules)
    for place, value in before.items():
        if now.get(place) is not value:
            return ".".join(place)
    return ""


def _code_of(value: object) -> object:
    """A function's code, which can be exchanged without exchanging the function."""
    return value.__code__ if isinstance(value, FunctionType) else value
