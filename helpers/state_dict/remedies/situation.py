"""A model, and what is known of the checkpoint that should be loaded into it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..fitting import fits
from ..report import Shape


@dataclass
class Situation:
    """A model, what is known of a checkpoint, and what was said and done so far.

    Attributes:
        model: as the user built it.
        in_model: its tensors by name.
        given: the checkpoint as it came.
        tensors: what the lines make of it.
        causes: sentences.
        lines: of Python over `state_dict`.
        extras: what modules keep beside tensors, by name.
        guessed: whether names were paired by shape and order.
        ambiguous: whether some of them could not be.
        hopeless: whether nothing honest can be advised.
        versions: of the modules that saved it, as far as the lines leave them with the names.
    """

    model: nn.Module
    in_model: dict[str, Tensor]
    given: Mapping[str, object]
    tensors: dict[str, Tensor]
    causes: list[str]
    lines: list[str]
    extras: Mapping[str, object] = field(default_factory=dict)
    guessed: bool = False
    ambiguous: bool = False
    hopeless: bool = False
    versions: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, cause: str, lines: str, tensors: Mapping[str, Tensor]) -> None:
        """A remedy that helps."""
        self.causes.append(cause)
        self.lines.append(lines)
        self.tensors = dict(tensors)
        self.versions = {}

    def convert(self, cause: str, converter: str, tensors: Mapping[str, Tensor], arguments: str = "") -> None:
        """A remedy that is one function of this room."""
        call = f"state_dict = {converter}(state_dict{arguments})"
        self.apply(cause, f"from helpers.state_dict import {converter}\n\n{call}", tensors)

    def give_up(self, cause: str) -> None:
        """A cause that no line mends."""
        self.causes.append(cause)
        self.hopeless = True

    def all(self) -> dict[str, Any]:
        """What the lines make of the checkpoint, as `load_state_dict` takes it."""
        return self.versioned({**self.tensors, **self.extras})

    def versioned(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """With the versions beside it, where a state_dict has them."""
        result = OrderedDict(tensors)
        if self.versions:
            result._metadata = self.versions  # type: ignore[attr-defined]
        return result

    def fits(self) -> int:
        return fits(self.in_model, self.tensors)

    def mismatched(self) -> dict[str, tuple[Shape, Shape]]:
        """Names of both sides -> shape in the checkpoint, shape in the model, where they differ."""
        found = {}
        for key, tensor in self.tensors.items():
            wanted = self.in_model.get(key)
            if wanted is not None and wanted.shape != tensor.shape:
                found[key] = tuple(tensor.shape), tuple(wanted.shape)
        return found


def are(names: Sized) -> str:
    """Which of the two fits the number of names."""
    return "is" if len(names) == 1 else "are"
