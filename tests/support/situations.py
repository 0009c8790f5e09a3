"""What people have whose checkpoint does not load: a model, a state_dict, and what is right to say and to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True)
class Situation:
    """One of them.

    Attributes:
        model: as the user built it.
        state_dict: what lies in the file, as `torch.load` gives it.
        says: regular expressions, without regard to case; each must be found in one of the causes.
        holds: what the model must hold under which name after `fix` was run; whatever is not named must be as it was.
            None: nothing honest can be advised, and `fix` must be empty.
        never: regular expressions that are found in no cause.
    """

    model: nn.Module
    state_dict: Mapping[str, object]
    says: Sequence[str]
    holds: Mapping[str, Tensor] | None
    never: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Registered:
    """Attributes:
    make: builds the situation.
    report: the address of the public report that it was rebuilt from, or "".
    module: where it is written down; those of `not_yet_known` are still answered wrongly.
    """

    make: Callable[[], Situation]
    report: str
    module: str


SITUATIONS: dict[str, Registered] = {}


def situation(report: str = "") -> Callable[[Callable[[], Situation]], Callable[[], Situation]]:
    """Register what builds one; the name of the function says what is the matter."""

    def register(make: Callable[[], Situation]) -> Callable[[], Situation]:
        assert make.__name__ not in SITUATIONS, make.__name__
        SITUATIONS[make.__name__] = Registered(make, report, make.__module__)
        return make

    return register


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a model holds, in memory of its own."""
    return {key: value.detach().clone() for key, value in model.state_dict().items() if isinstance(value, Tensor)}


def without(state_dict: Mapping[str, Tensor], pattern: str) -> dict[str, Tensor]:
    """All whose names the regular expression is not found in."""
    return {key: tensor for key, tensor in state_dict.items() if not re.search(pattern, key)}
