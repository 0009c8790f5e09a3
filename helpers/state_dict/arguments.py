"""What the functions of this room take: a model, tensors by name, a path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import StateDictError

EXTRA_STATE = "_extra_state"  # what some modules keep beside tensors; it stays where it is


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
        if not isinstance(key, str):
            raise StateDictError(f"{key!r} is a {type(key).__name__} and no name: give its tensor one")
        if not isinstance(value, Tensor) and not key.endswith(EXTRA_STATE):
            raise StateDictError(
                f"{key!r} holds a {type(value).__name__} and no tensor: if the tensors lie deeper, take them out "
                "(explain(model, state_dict) says where they lie)"
            )


def check_path(path: object) -> Path:
    """The path.

    Raises:
        StateDictError: it is none.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes) or not os.fspath(path):
        raise StateDictError(f"{path!r} is no path, but a {type(path).__name__}: give the name of a file or a folder")
    return Path(path)
