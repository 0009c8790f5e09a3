"""Fetch a large file once: with progress, resumed after an interruption, checked, kept in a cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from helpers.atomic_files import alone

CHUNK = 1 << 20


class DownloadError(OSError):
    """A file could not be fetched; what had arrived is kept unless it was wrong."""


def cache_folder() -> Path:
    """Where fetched files are kept: `$XDG_CACHE_HOME` or `~/.cache`, in a folder of this workbook's own."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pretrained-weights-workbook"


def fetch(url: str, *, md5: str = "", sha256: str = "", folder: str | Path | None = None) -> Path:
    """The path of the file at `url`, downloaded if it is not in the cache yet.

    An interrupted download leaves `<name>.part`; the next call asks the server for the rest of it only. The file
    gets its name after its checksum was compared, so a file that is there is whole. Progress goes to stdout. Of several
    processes that fetch into one folder, the others wait.

    Args:
        url: what to fetch; the last part of its path is the name of the file.
        md5: the checksum its authors publish. It guards against damage, not against forgery.
        sha256: the same, or its beginning, eight digits at least, if that is what they publish; PyTorch puts it into
            the name of the file. If both are given, both are compared.
        folder: where to keep it; by default `cache_folder()`.

    Raises:
        ValueError: neither checksum is given, or one is none; or the address names no file.
        DownloadError: no connection, the server refused, it broke off, or a checksum differs; or there is something
            else of this name.
    """
    wanted = _wanted(md5, sha256)
    path = (Path(folder) if folder else cache_folder()) / _name(url)
    part = path.with_name(path.name + ".part")
    _refuse_what_is_no_file(path, part)
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent):  # two that write one part would mix it
            if not path.is_file():
                while not _download(url, part):  # a server may send less than was asked for
                    pass
                difference = _difference(part, wanted)
                if not difference:
                    part.replace(path)
                    return path
                part.unlink()
    except (OSError, http.client.HTTPException, ValueError) as error:
        kept = f"{part.stat().st_size:,} bytes are kept" if part.is_file() else "nothing had arrived"
        raise DownloadError(f"{url}: {type(error).__name__}: {error}; {kept}, run this again to go on") from error
    if path.is_file():  # another process has fetched it meanwhile
        return path
    raise DownloadError(f"{url}: {difference}; the file was removed, run this again")


def _wanted(md5: str, sha256: str) -> dict[str, str]:
    """The checksums that are given: their kind -> their digits."""
    wanted = {}
    for kind, given, least, most in (("md5", md5, 32, 32), ("sha256", sha256, 8, 64)):
        if not given:
            continue
        digits = given.strip().lower() if isinstance(given, str) else ""
        if not re.fullmatch(rf"[0-9a-f]{{{least},{most}}}", digits):
            long = f"{least} to {most}" if least < most else f"{least}"
            raise ValueError(f"{given!r} is no {kind}: those are {long} of the digits 0 to 9 and a to f")
        wanted[kind] = digits
    if not wanted:
        raise ValueError("a checksum is needed: md5 or sha256")
    return wanted


def _name(url: str) -> str:
    name = urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1] if isinstance(url, str) else ""
    if name in ("", ".", ".."):
        raise ValueError(f"{url!r} names no file: its path must end in a name")
    return name


def _refuse_what_is_no_file(*places: Path) -> None:
    for place in places:
        try:
            strange = place.exists() and not place.is_file()
        except OSError as error:  # a name that is too long, a folder that is closed
            raise DownloadError(f"{place.name} cannot be kept: {error}") from error
        if strange:
            raise DownloadError(f"{place} is there, and no file: move it away, or choose another folder")


def _difference(path: Path, wanted: dict[str, str]) -> str:
    """Which checksum differs; nothing if all are right."""
    for kind, expected in wanted.items():
        found = _digest(path, kind)
        if not found.startswith(expected):
            return f"its {kind} is {found}, expected {expected}"
    return ""


def _download(url: str, part: Path) -> bool:
    """Append what is missing of `url` to `part`, or start it anew; whether it is complete now."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is left to fetch; the checksum decides
            return True
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise ConnectionError("the server answered with a web page instead of the file")
        resumed = response.status == 206
        start, total = _range(response) if resumed else (0, int(response.headers.get("Content-Length", 0)))
        if resumed and start != have:
            raise ConnectionError(f"the server sent the part from byte {start:,}, {have:,} was asked for")
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                _show_progress(part.name.removesuffix(".part"), file.tell(), total)
        sys.stdout.write("\n")
    arrived = part.stat().st_size
    if arrived < total and (not resumed or arrived == have):
        raise ConnectionError(f"the connection ended after {arrived:,} of {total:,} bytes")
    return arrived >= total


def _range(response: http.client.HTTPResponse) -> tuple[int, int]:
    """Where a 206 answer starts and how long the whole file is: `Content-Range: bytes 5-9/10` -> (5, 10)."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if not found:
        raise ConnectionError("the server sent a part of the file without saying which")
    return int(found[1]), int(found[2])


def _show_progress(name: str, done: int, total: int) -> None:
    share = f"{done / total:4.0%}" if total else ""
    sys.stdout.write(f"\r{name}: {done / 1e6:.0f} MB {share}")
    sys.stdout.flush()


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
