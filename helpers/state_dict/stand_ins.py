"""The tensors of a file that also holds objects of classes which are not here, without running any of them.

PyTorch's own restricted unpickler does the reading; for each class that it does not know it gets a stand-in, which
takes what the file gives it and does nothing.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .attacks import is_attack

AT_MOST = 1000  # different names in one file
PICKLED = "torch.storage._load_from_bytes"  # how pickle.dump stores tensors: as files in the file
BLOCKED = re.compile(r"GLOBAL (?P<name>[\w.]+\w)")


def blocked_name(error: Exception) -> str | None:
    """What the file asked for, if that is why it was not read."""
    found = BLOCKED.search(str(error))
    return found["name"] if found else None


class StandIn:
    """Stands for an object of a class that is not here; keeps the state that the file gives it, and does nothing."""

    state: Mapping[Any, Any] = MappingProxyType({})

    def __new__(cls, *_args: object, **_options: object) -> Any:
        return super().__new__(cls)

    def __init__(self, *_args: object, **_options: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        parts = state if isinstance(state, tuple) else (state,)  # a second one is of slots
        self.state = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}


class StandInList(StandIn, list):
    """For an object that things are appended to."""


class StandInPlainList(StandIn):
    """For the same, with a PyTorch that lets it be a plain list only."""

    def __new__(cls, *_args: object, **_options: object) -> Any:
        return []


class StandInDict(StandIn):
    """For an object that things are put into by name; PyTorch lets that be a plain dictionary only."""

    def __new__(cls, *_args: object, **_options: object) -> Any:
        return OrderedDict()


def load_with_stand_ins(load: Callable[[], object]) -> tuple[object, tuple[str, ...]]:
    """(what `load` returns, the names of what stand-ins stand for), with as many stand-ins as it takes.

    Args:
        load: calls `torch.load` with `weights_only=True`; its error is raised if stand-ins are no help.
    """
    stand_ins: dict[str, type] = {}
    for _ in range(AT_MOST):
        known: list[Any] = [(stand_in, name) for name, stand_in in stand_ins.items()]
        try:
            with torch.serialization.safe_globals(known):
                return load(), tuple(stand_ins)
        except Exception as error:
            name, kind = _wanted(error)
            before = stand_ins[name].__base__ if name in stand_ins else None
            kind = StandInPlainList if before is kind is StandInList else kind
            if name in (None, PICKLED) or is_attack(name) or before is kind:
                raise
            stand_ins[name] = type(name, (kind,), {})
    raise ValueError(f"the file asks for more than {AT_MOST} different names")


def _wanted(error: Exception) -> tuple[str | None, type]:
    """(the name that a stand-in is missing for, of which kind it should be)."""
    said = str(error)
    found = re.search(r"Can only (\w+)[^\n]*, but got <class '(?:[\w.]*stand_ins\.)?([\w.]+)'>", said)
    if found:
        return found[2], StandInDict if found[1].startswith("SETITEM") else StandInList
    found = re.search(r"'(?:[\w.]*stand_ins\.)?([\w.]+)' object does not support item assignment", said)
    if found:  # so says PyTorch 2.6
        return found[1], StandInDict
    return _full_name(error), StandIn


def _full_name(error: Exception) -> str | None:
    """PyTorch leaves `builtins.` out of its message."""
    name = blocked_name(error)
    return f"builtins.{name}" if name and "." not in name else name


def content_of(found: object) -> Mapping[Any, Any] | None:
    """What lies in a mapping or a stand-in; the tensors of a whole model by their names. None if it is neither."""
    if isinstance(found, StandIn):
        if "_parameters" in found.state and "_modules" in found.state:
            return OrderedDict(_tensors_of_model(found, ""))
        return found.state
    return found if isinstance(found, Mapping) else None


def _tensors_of_model(found: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """As `nn.Module.state_dict` gives them, from the attributes that a pickled module has."""
    waiting = [(found, prefix)]
    seen: set[int] = set()
    while waiting:
        module, front = waiting.pop()
        if not isinstance(module, StandIn) or id(module) in seen:
            continue
        seen.add(id(module))
        absent = module.state.get("_non_persistent_buffers_set")
        for group in ("_parameters", "_buffers"):
            for name, tensor in _by_name(module, group):
                if isinstance(tensor, Tensor) and not (isinstance(absent, set) and name in absent):
                    yield f"{front}{name}", tensor.detach()
        children = [(child, f"{front}{name}.") for name, child in _by_name(module, "_modules")]
        waiting.extend(reversed(children))


def _by_name(module: StandIn, group: str) -> list[tuple[str, Any]]:
    """What a pickled module has of a kind; the file may say anything."""
    found = module.state.get(group)
    return [(name, value) for name, value in found.items() if type(name) is str] if isinstance(found, dict) else []
