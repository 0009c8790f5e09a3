"""Where in a checkpoint the tensors lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import StateDictError
from ..text import few
from .arguments import is_name, shown
from .stand_ins import content_of

NESTS = ("state_dict", "model_state_dict", "model", "net")  # under these names first
DEPTH = 8  # nests in one another that are looked into
SHOWN = 8
LOAD_AND_CHOOSE = "load it with load_safely(path, arrays=True) of helpers.state_dict.reading, and give them names"


@dataclass(frozen=True)
class Nest:
    """Attributes:
    content: names -> what lies there, tensors among it.
    notes: one sentence for everything that was taken off.
    loose: names of tensors that are no text.
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
        note = f"unwrapped {_given(chosen)}"
        if len(content) > 1:
            note += f"; beside it: {', '.join(shown(other) for other in content if other != chosen)}"
        if beside:
            note += f" (key={_given(beside[0])} takes the tensors there)"
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
    """How many tensors there are in it, not deeper than `DEPTH`."""
    content = _mapping(found)
    if content is None:
        return int(isinstance(found, Tensor))
    return sum(isinstance(value, Tensor) for inner in mappings_in(content) for value in inner.values())


def mappings_in(found: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    """It, and all in it, not deeper than `DEPTH`; each once, for one may lie in several others, or in itself."""
    waiting: deque[tuple[object, int]] = deque([(found, 0)])
    seen = {id(found)}
    while waiting:
        value, depth = waiting.popleft()
        content = _mapping(value)
        if content is None:
            continue
        yield content
        if depth == DEPTH:
            continue
        for inner in content.values():
            if not isinstance(inner, Tensor) and id(inner) not in seen:
                seen.add(id(inner))
                waiting.append((inner, depth + 1))


def describe(found: Mapping[Any, Any]) -> str:
    """What a mapping holds, in a few words."""
    there = [f"{shown(name)} ({type(value).__name__})" for name, value in list(found.items())[:SHOWN]]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"it holds {', '.join(there) or 'nothing'}{more}"


def _content(found: object, name: str) -> Mapping[Any, Any]:
    content = _mapping(found)
    if content is None:
        raise StateDictError(
            f"{name} holds a {type(found).__name__}, not tensors by name: if you know which is which, {LOAD_AND_CHOOSE}"
        )
    return content


def _mapping(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, nn.Module):
        return value.state_dict()
    return content_of(value)


def _is_optimizer(content: Mapping[Any, Any]) -> bool:
    return {"state", "param_groups"} <= content.keys()


def _at(content: Mapping[Any, Any], name: str, key: str) -> Mapping[Any, Any]:
    """What lies under a key, or under a path of keys; at each step the longest name that is there."""
    if not isinstance(key, str):
        raise StateDictError(f"key is a name, not a {type(key).__name__}")
    here, parts, taken = content, key.split("."), 0
    while taken < len(parts):
        by_name = _by_name(here, name)
        ends = [end for end in range(len(parts), taken, -1) if ".".join(parts[taken:end]) in by_name]
        if not ends:
            front = "".join(f"{part}." for part in parts[:taken])
            there = _listed(nests_in(here), front) or describe(here)
            raise StateDictError(f"{name} has no tensors under {key!r}; {there}")
        here, taken = by_name[".".join(parts[taken : ends[0]])], ends[0]
    return here


def _by_name(content: Mapping[Any, Any], name: str) -> dict[str, Mapping[Any, Any]]:
    """What has something in it, by names as text.

    Raises:
        StateDictError: a number and a text would be one name.
    """
    found: dict[str, Mapping[Any, Any]] = {}
    for key, value in content.items():
        inner = _mapping(value) if is_name(key) else None
        if inner is not None:
            if str(key) in found:
                raise StateDictError(f"{name} has {str(key)!r} twice, as a number and as text: {LOAD_AND_CHOOSE}")
            found[str(key)] = inner
    return found


def _given(key: object, front: str = "") -> str:
    """A name as key= takes it."""
    return repr(front + str(key)) if is_name(key) else shown(key)


def _listed(nests: Mapping[Any, Mapping[Any, Any]], front: str = "") -> str:
    """Nests, as key= takes them, and how many tensors lie in them."""
    first = [f"{_given(key, front)} ({_counted(content)})" for key, content in list(nests.items())[:SHOWN]]
    return few(first + [""] * (len(nests) - SHOWN), SHOWN) if nests else ""


def _counted(content: Mapping[Any, Any]) -> str:
    count = sum(isinstance(value, Tensor) for value in content.values())
    inner = [shown(name) for name in nests_in(content)]
    if count or not inner:
        return f"{count} tensor{'' if count == 1 else 's'}"
    return f"in it {few(inner)}"


def _loose(content: Mapping[Any, Any]) -> tuple[object, ...]:
    return tuple(name for name, value in content.items() if isinstance(value, Tensor) and not isinstance(name, str))
