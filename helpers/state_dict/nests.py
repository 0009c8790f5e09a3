"""Where in a checkpoint the tensors lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import StateDictError
from ..text import few
from .stand_ins import content_of

NESTS = ("state_dict", "model_state_dict", "model", "net")  # under these names first
DEPTH = 8  # nests in one another that are looked into
SHOWN = 8


@dataclass(frozen=True)
class Nest:
    """Attributes:
    content: names -> what lies there, tensors among it.
    notes: one sentence for everything that was taken off.
    loose: names that are no text.
    """

    content: Mapping[Any, Any]
    notes: tuple[str, ...]
    loose: tuple[object, ...]


def open_nest(found: object, name: str, key: str | None) -> Nest:
    """The mapping that holds the tensors.

    Args:
        found: what was loaded.
        name: of the file, for messages.
        key: where they lie, "a.b" for b in a; None: one of `NESTS`, or the only one.

    Raises:
        StateDictError: there is nothing there, or several things of which none has a usual name.
    """
    content = _content(found, name)
    notes: list[str] = []
    if key is not None:
        content = _at(content, name, key)
        return Nest(content, (f"took what lies under {key!r}",), _loose(content))
    for _ in range(DEPTH):
        nests = nests_in(content)
        here = sum(isinstance(value, Tensor) for value in content.values())
        if not nests or here >= max(map(count_tensors, nests.values())):  # a loss may be a tensor, too
            break
        usual = [nest for nest in NESTS if nest in nests]
        if not usual and len({id(nest) for nest in nests.values()}) > 1:
            raise StateDictError(f"{name} holds tensors in several places; say which with key=: {_listed(nests)}")
        chosen = usual[0] if usual else next(iter(nests))
        beside = [other for other in nests if other != chosen]
        note = f"unwrapped {chosen!r}"
        if len(content) > 1:
            note += f"; beside it: {', '.join(str(other) for other in content if other != chosen)}"
        if beside:
            note += f" (key={beside[0]!r} takes the tensors there)"
        notes.append(note)
        content = nests[chosen]
    return Nest(content, tuple(notes), _loose(content))


def nests_in(found: Mapping[Any, Any]) -> dict[Any, Mapping[Any, Any]]:
    """What lies in a mapping and holds tensors by name itself, or in something in it; the optimizer's state is none."""
    nests = {}
    for name, value in found.items():
        content = _mapping(value)
        if content is not None and not _is_optimizer(content) and count_tensors(content):
            nests[name] = content
    return nests


def count_tensors(found: object) -> int:
    """How many tensors there are in it, not deeper than `DEPTH`; a dictionary may lie in itself."""
    waiting: deque[tuple[object, int]] = deque([(found, 0)])
    seen: set[int] = set()
    count = 0
    while waiting:
        value, depth = waiting.popleft()
        count += isinstance(value, Tensor)
        content = _mapping(value)
        if content is not None and id(value) not in seen and depth < DEPTH:
            seen.add(id(value))
            waiting.extend((inner, depth + 1) for inner in content.values())
    return count


def describe(found: Mapping[Any, Any]) -> str:
    """What a mapping holds, in a few words."""
    there = [f"{name} ({type(value).__name__})" for name, value in list(found.items())[:SHOWN]]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"it holds {', '.join(there) or 'nothing'}{more}"


def _content(found: object, name: str) -> Mapping[Any, Any]:
    content = _mapping(found)
    if content is None:
        raise StateDictError(
            f"{name} holds a {type(found).__name__}, not tensors by name: if you know which is which, load it with "
            "load_safely of helpers.state_dict.reading, and give them names"
        )
    return content


def _mapping(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, nn.Module):
        return value.state_dict()
    return content_of(value)


def _is_optimizer(content: Mapping[Any, Any]) -> bool:
    return {"state", "param_groups"} <= content.keys()


def _at(content: Mapping[Any, Any], name: str, key: str) -> Mapping[Any, Any]:
    """What lies under a key, or under a path of keys."""
    if not isinstance(key, str):
        raise StateDictError(f"key is a name, not a {type(key).__name__}")
    here, parts = content, key.split(".")
    if _mapping(here.get(key)) is not None:
        parts = [key]
    for part in parts:
        inner = _mapping(here.get(part))
        if inner is None:
            raise StateDictError(f"{name} has no tensors under {key!r}; {_listed(nests_in(here)) or describe(here)}")
        here = inner
    return here


def _listed(nests: Mapping[Any, Mapping[Any, Any]]) -> str:
    """Nests, and how many tensors lie in them."""
    return few([f"{name!r} ({_counted(content)})" for name, content in nests.items()], SHOWN) if nests else ""


def _counted(content: Mapping[Any, Any]) -> str:
    count = sum(isinstance(value, Tensor) for value in content.values())
    inner = [str(name) for name in nests_in(content)]
    if count or not inner:
        return f"{count} tensor{'' if count == 1 else 's'}"
    return f"in it {few(inner)}"


def _loose(content: Mapping[Any, Any]) -> tuple[object, ...]:
    return tuple(name for name, value in content.items() if isinstance(value, Tensor) and not isinstance(name, str))
