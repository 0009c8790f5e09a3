"""A checkpoint in several files, and which files belong to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import StateDictError
from ..file_kinds import INDEX, LEGACY, SAFETENSORS, ZIP, kind_of
from ..text import few

LONGEST = 255  # bytes of a file's name
WEIGHTS = (ZIP, LEGACY, SAFETENSORS)


def index_in(folder: Path) -> Path | None:
    """The index of shards in a folder; None if there is none.

    Raises:
        StateDictError: there are several.
    """
    found = sorted(path for path in folder.glob("*.index.json") if kind_of(path).name == INDEX)
    if len(found) > 1:
        raise StateDictError(f"{folder.name} has {few([path.name for path in found])}: give one of them as the path")
    return found[0] if found else None


def only_file_in(folder: Path) -> Path:
    """The checkpoint in a folder that has no index.

    Raises:
        StateDictError: there is none, or there are several.
    """
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and kind_of(path).name in WEIGHTS]
    if len(found) == 1:
        return found[0]
    if found:
        names = few([path.name for path in found])
        raise StateDictError(f"{folder.name} is a folder with several checkpoints ({names}): give one as the path")
    if (folder / "saved_model.pb").exists():
        raise StateDictError(f"{folder.name} is a TensorFlow SavedModel: load it there, and give its arrays names")
    there = few(sorted(path.name for path in folder.iterdir()), 4)
    raise StateDictError(f"{folder.name} is a folder without a checkpoint or an index of shards; it holds {there}")


# Links are followed wherever they lead, for caches of downloads are made of them; what an index may not do is name a
# place outside its folder.
def read_index(path: Path) -> dict[Path, list[str]]:
    """Each shard -> the names of the tensors that should lie in it.

    Raises:
        StateDictError: it is damaged, or a shard lies outside the folder or is missing.
    """
    try:
        weight_map = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)["weight_map"]
        pairs = [(str(key), str(name)) for key, name in weight_map.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StateDictError(f"{path.name} is no index of shards, or damaged ({error!r}): fetch it again") from error
    shards: dict[Path, list[str]] = {}
    for key, name in pairs:
        no_name = name in ("", ".", "..") or not name.isprintable() or len(os.fsencode(name)) > LONGEST
        if no_name or "/" in name or "\\" in name:
            shown = repr(name[:LONGEST])
            raise StateDictError(f"{path.name} names {shown}, which is no file in its folder: an attack, or damaged")
        shards.setdefault(path.parent / name, []).append(key)
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise StateDictError(f"{path.name} names {few(missing)}, which {_is(missing)} not there: fetch what is missing")
    if not shards:
        raise StateDictError(f"{path.name} names no shards: fetch it again")
    return shards


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; each name in it once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def refuse_what_the_index_does_not_say(index: Path, shard: Path, listed: list[str], there: list[str]) -> None:
    """Both must name the same tensors.

    Raises:
        StateDictError: a tensor is in one of them only.
    """
    if missing := sorted(set(listed) - set(there)):
        raise StateDictError(f"{shard.name} has no {few(map(repr, missing))}, which {index.name} lists there")
    if others := sorted(set(there) - set(listed)):
        raise StateDictError(f"{shard.name} has {few(map(repr, others))}, which {index.name} does not list there")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
