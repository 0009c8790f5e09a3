"""What the functions of this room take: a model, tensors by name, a path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import StateDictError

EXTRA_STATE = "_extra_state"  # what some modules keep beside tensors; it stays where it is
NOT_RUN = "is of a lazy module and has no numbers yet: run the model once where it was built, and save it again"


def check_model(model: object) -> None:
    """
    Raises:
        StateDictError: it is no model.
    """
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise StateDictError(f"this is no model, but {what} ({type(model).__name__}): give an nn.Module that is built")


def check_tensors(state_dict: Mapping[Any, Any]) -> None:
    """
    Raises:
        StateDictError: it is no mapping, or something in it has no name or is no tensor.
    """
    if not isinstance(state_dict, Mapping):
        raise StateDictError(f"a state_dict holds tensors by name; this is a {type(state_dict).__name__}")
    for key, value in state_dict.items():
        if type(key) is not str:
            what = f"{key} is a" if is_name(key) else "a key is a"
            raise StateDictError(f"{what} {type(key).__name__} and no name: give its tensor one")
        if isinstance(value, np.ndarray):
            raise StateDictError(
                f"{key!r} is an array of numpy and no tensor: explain(model, state_dict) gives lines that make tensors"
            )
        if not isinstance(value, Tensor) and not key.endswith(EXTRA_STATE):
            raise StateDictError(
                f"{key!r} holds a {type(value).__name__} and no tensor: if the tensors lie deeper, take them out "
                "(explain(model, state_dict) says where they lie)"
            )
        if is_lazy(value):
            raise StateDictError(f"{key!r} {NOT_RUN}")


def is_name(key: object) -> bool:
    """Whether a key is text, or a number that can be made text. Other kinds have code of their own for that."""
    return type(key) in (str, int)


def shown(key: object) -> str:
    """A key as messages show it; of what is no name only the kind."""
    return str(key) if is_name(key) else f"a {type(key).__name__}"


def check_path(path: object) -> Path:
    """The path.

    Raises:
        StateDictError: it is none.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes) or not os.fspath(path):
        raise StateDictError(f"{path!r} is no path, but a {type(path).__name__}: give the name of a file or a folder")
    try:
        if b"\0" not in os.fsencode(path):
            return Path(path)
    except UnicodeError:
        pass
    raise StateDictError(f"{os.fspath(path)!r} is no path: it holds letters that no name of a file can have")
