"""A handout brought to a new version, without touching what students have changed in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from helpers.atomic_files import replacing

from ..my_lessons import free, numbered
from .errors import ExportError
from .handout import write_handout
from .notebooks import chosen_lessons

MANIFEST = ".handout.json"  # in the handout: its lessons, and the digest of each file as it was handed out


def write_manifest(folder: Path, lessons: Sequence[str]) -> None:
    """Note what a handout has, so that `update` knows later what its students have changed."""
    given = {"lessons": list(lessons), "files": _digests(folder)}
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(given, indent=1), encoding="utf-8")


def update(folder: Path, numbers: Sequence[str] = ()) -> list[str]:
    """Bring a handout to the version of this workbook.

    A file that is as it was handed out is replaced, or deleted if there is none any more. One that was changed stays;
    of a notebook the new version is put beside it.

    Args:
        folder: of a handout.
        numbers: of lessons that it should have besides those it has.

    Returns:
        A sentence for each file that was changed in it, and one on the others.

    Raises:
        ExportError: it is no handout, or there is no such lesson.
        OSError: it cannot be written.
    """
    lessons, handed_out = _manifest(folder)
    wanted = sorted({*lessons, *chosen_lessons(numbers)}) if numbers else lessons
    lessons = [name for name in chosen_lessons(()) if name in wanted]
    with tempfile.TemporaryDirectory(prefix=".update-", dir=folder.resolve().parent) as temporary:
        new = Path(temporary)
        write_handout(new, lessons)
        digests = _digests(new)
        said, written = [], 0
        for name, digest in digests.items():
            path = folder / name
            now = _digest(path) if path.is_file() else None
            if now == digest:
                continue
            if now in (None, handed_out.get(name)):
                _copy(new / name, path)
                written += 1
            elif handed_out.get(name) == digest:
                continue  # changed in it, and there is no new version
            elif path.suffix == ".ipynb":
                same = [other for other in numbered(path) if _is(other, digest)]
                beside = same[0] if same else free(path)
                _copy(new / name, beside)
                said.append(f"{name} was changed in it, and stays; the new version is {beside.name}")
            else:
                said.append(f"{name} was changed in it, and stays")
        gone = [name for name in handed_out if name not in digests and _is(folder / name, handed_out[name])]
        for name in gone:
            (folder / name).unlink()
    given = {"lessons": lessons, "files": digests}
    with replacing(folder / MANIFEST) as path:
        path.write_text(json.dumps(given, indent=1), encoding="utf-8")
    return [*said, f"{written} files are new or were replaced, {len(gone)} are gone"]


def _manifest(folder: Path) -> tuple[list[str], dict[str, str]]:
    try:
        given = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        lessons, files = list(given["lessons"]), dict(given["files"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ExportError(f"{folder} is no handout that was exported: {MANIFEST} cannot be read ({error})") from None
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ExportError(f"{MANIFEST} of {folder} names {name!r}, which is not in it")
    return lessons, files


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and _digest(path) == digest


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        shutil.copy(source, temporary)
