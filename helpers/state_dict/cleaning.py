"""What came out of a file, made safe to handle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from .arrays import NumpyArray
from .stand_ins import StandIn


def cleaned(found: object) -> object:
    """The same thing, in which tensors stand where arrays of numpy were; what holds them is changed in place.

    Raises:
        ValueError: something in it has attributes that would take the place of its methods, or versions of modules
            that are none.
    """
    content = {"": found}
    waiting: list[Any] = [content]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict | Tensor):
            _refuse_odd_attributes(value)
            waiting.append(getattr(value, "_metadata", None))
        for place, inner in _places(value):
            tensor = inner.tensor() if isinstance(inner, NumpyArray) else None
            if tensor is None or isinstance(value, tuple):
                waiting.append(inner)
            else:
                value[place] = tensor
    return content[""]


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """(where, what) lies in it."""
    if isinstance(value, StandIn):
        yield "", value.state
    if isinstance(value, dict):
        yield from list(value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _refuse_odd_attributes(value: object) -> None:
    """PyTorch lets a file set the attributes of dictionaries and tensors."""
    attributes = getattr(value, "__dict__", {})
    for name in attributes:
        if hasattr(type(value), name):
            raise ValueError(f"a {type(value).__name__} in it has {name[:100]!r} of its own")
    versions = attributes.get("_metadata", {})
    are_by_name = isinstance(versions, dict) and all(type(name) is str for name in versions)
    if not are_by_name or not all(type(version) is dict for version in dict.values(versions)):
        raise ValueError("the versions of its modules are no dictionaries by name")
