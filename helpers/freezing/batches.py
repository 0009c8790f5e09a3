"""What a loader gives: the inputs in it, and tensors and values with one row for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import FreezingError

INPUTS = ("inputs", "input", "images", "image", "img", "pixel_values", "x", "data")
"""Keys under which the inputs are looked for in a batch that is a dictionary."""

Leaf = Tensor | list[Any]  # one row, or one value, for each example
Structure = Any  # {"dict": {key: Structure}}, {"tuple": [Structure]}, {"list": [Structure]}, or the name of a leaf


class CachedFeatures(Dataset[Any]):
    """Examples as the loader gave them, tuples or dictionaries, with the features in the place of the inputs.

    Attributes:
        parts: all of it: tensors (N, ...) and lists of N values, in tuples and dictionaries.
    """

    def __init__(self, parts: Any, length: int) -> None:
        self.parts, self.length = parts, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> Any:
        if not -self.length <= place < self.length:
            raise IndexError(place)
        return _row(self.parts, place)


def _row(parts: Any, place: int) -> Any:
    if isinstance(parts, dict):
        return {key: _row(part, place) for key, part in parts.items()}
    if isinstance(parts, tuple):
        return tuple(_row(part, place) for part in parts)
    return parts[place]  # a tensor or a list


def split(batch: Any, key: str | None) -> tuple[Any, Any]:
    """(the inputs of a batch, a function of the features that gives the batch with them in the inputs' place).

    Raises:
        FreezingError: nobody can say which the inputs are.
    """
    if isinstance(batch, Mapping):
        name = key if key is not None else next((known for known in INPUTS if known in batch), None)
        if name is None or name not in batch:
            there = ", ".join(map(repr, batch))
            raise FreezingError(f"the batch has {there}; say which of them the backbone takes, with inputs=...")
        others = {other: value for other, value in batch.items() if other != name}
        if "features" in others:
            raise FreezingError("the batch has 'features' already; give it another name in the data set")
        return batch[name], lambda features: {"features": features, **others}
    if key is not None:
        raise FreezingError(f"the batch is a {type(batch).__name__}, not a dictionary: leave out inputs={key!r}")
    if isinstance(batch, (tuple, list)) and len(batch) > 0:
        return batch[0], lambda features: (features, *batch[1:])
    if isinstance(batch, (Tensor, np.ndarray)):
        return batch, lambda features: (features,)
    raise FreezingError(
        f"the loader gives a {type(batch).__name__}: it should give tensors, tuples that begin with the inputs, or "
        "dictionaries"
    )


def moved(inputs: Any, device: torch.device | None) -> Any:
    """Inputs on a device: a tensor, or dictionaries and lists of tensors."""
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "fiubc":
        return torch.as_tensor(inputs, device=device)
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {key: moved(value, device) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)) and inputs:
        return type(inputs)([moved(value, device) for value in inputs])
    raise FreezingError(f"the inputs are a {type(inputs).__name__}, not tensors: let the data set make tensors of them")


def rows_in(inputs: Any) -> int:
    """How many examples inputs are."""
    if isinstance(inputs, Mapping):
        return max((rows_in(value) for value in inputs.values()), default=0)
    if isinstance(inputs, Tensor) and inputs.ndim == 0:
        raise FreezingError("the inputs are a single number: the loader should give batches (N, ...)")
    return len(inputs)


def take_apart(value: Any, rows: int, name: str, leaves: dict[str, Leaf]) -> Structure:
    """Put tensors (rows, ...) and lists of as many values into `leaves` by name, and say how they belong together.

    Raises:
        FreezingError: something has not one row for each example; names it.
    """
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value) if value.dtype.kind in "fiubc" else value.tolist()
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise FreezingError(f"{name} is a sparse, quantized or meta tensor, which has no rows: make it dense")
        if value.ndim == 0 or len(value) != rows:
            raise FreezingError(f"{name} has shape {tuple(value.shape)} for {rows} inputs: it needs one row for each")
        leaves[name] = value.detach().cpu().resolve_conj().resolve_neg()
        return name
    if isinstance(value, Mapping):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise FreezingError(f"{name} has the key {strange[0]!r}: keys should be text")
        return {"dict": {key: take_apart(part, rows, _inner(name, key), leaves) for key, part in value.items()}}
    if isinstance(value, (tuple, list)) and _holds_rows(value, rows):
        parts = [take_apart(part, rows, _inner(name, str(place)), leaves) for place, part in enumerate(value)]
        return {"tuple": parts}
    if isinstance(value, (tuple, list)) and len(value) == rows:
        leaves[name] = list(value)
        return name
    what = f"{len(value)} values" if isinstance(value, (tuple, list)) else f"a {type(value).__name__}"
    raise FreezingError(f"{name} is {what} for {rows} inputs: it needs one row or value for each")


def _inner(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _holds_rows(parts: tuple[Any, ...] | list[Any], rows: int) -> bool:
    """Whether these are several things with a row for each example, and not one value for each example."""
    if not parts or (len(parts) == rows and all(isinstance(part, Mapping) for part in parts)):
        return False
    for part in parts:
        if isinstance(part, (Tensor, np.ndarray)):
            fits = part.ndim > 0 and len(part) == rows
        elif isinstance(part, (tuple, list)):
            fits = len(part) == rows or _holds_rows(part, rows)
        else:
            fits = isinstance(part, Mapping)
        if not fits:
            return False
    return True


def put_together(structure: Structure, leaves: Mapping[str, Any]) -> Any:
    """What `take_apart` took apart; lists come back as tuples."""
    if isinstance(structure, str):
        return leaves[structure]
    if "dict" in structure:
        return {key: put_together(part, leaves) for key, part in structure["dict"].items()}
    return tuple(put_together(part, leaves) for part in structure["tuple"])
