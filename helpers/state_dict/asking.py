"""Which tensors of a state_dict a model takes, asked of its own modules: they rename and convert what is older."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import StateDictError
from ..probing import first_line
from ..random_states import random_states_kept
from .report import Shape

SMALL = 1 << 20  # numbers; statistics of a norm are far below


@dataclass(frozen=True)
class Answer:
    """What `load_state_dict` would do with what fits.

    Attributes:
        targets: keys of the model -> its tensors.
        taken: keys of the model -> the tensors that would be copied there.
        mismatched: keys of the model -> shape in the checkpoint, shape in the model.
        missing: keys that modules miss, as they say themselves.
        unexpected: keys that no module wants.
        errors: what modules say of the rest.
    """

    targets: dict[str, Tensor] = field(default_factory=dict)
    taken: dict[str, Tensor] = field(default_factory=dict)
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether `load_state_dict` would load it as it is."""
        return not (self.missing or self.unexpected or self.errors)


@random_states_kept()  # some modules make new ones while they load
def ask(model: nn.Module, state_dict: Mapping[str, Tensor]) -> Answer:
    """Let each module of a copy without weights read its part of `state_dict`; neither argument is changed.

    `model.load_state_dict` asks the same, but each module looks at all keys of the one above, which takes seconds where
    there are thousands of modules; and it does not say what it took.

    Raises:
        StateDictError: a lazy module does not know its shapes yet, or a module's own code for loading fails.
    """
    answer = Answer()
    metadata = getattr(state_dict, "_metadata", None) or {}
    waiting = [("", model, empty_twin(model), _lent(state_dict))]
    while waiting:
        prefix, module, empty, part = waiting.pop()
        before = dict(own_tensors(empty))
        version = {**metadata.get(prefix[:-1], {}), "assign_to_params_buffers": True}
        try:
            with torch.no_grad():
                empty._load_from_state_dict(
                    part, prefix, version, True, answer.missing, answer.unexpected, answer.errors
                )
        except Exception as error:  # a module may read its part in any way it likes
            lacking = [prefix + name for name, _ in own_tensors(module) if prefix + name not in part]
            answer.missing.extend(lacking)
            if not lacking:
                raise StateDictError(
                    f"{prefix[:-1] or 'the model'} ({type(module).__name__}) cannot read its part of the checkpoint: "
                    f"{first_line(error)}"
                ) from error
        for name, tensor in own_tensors(module):
            key = prefix + name
            answer.targets[key] = tensor
            found = part.get(key)
            if not isinstance(found, Tensor) or found is before.get(name):  # BatchNorm finds its own counter
                continue
            if found.shape == tensor.shape:
                answer.taken[key] = found
            else:
                answer.mismatched[key] = tuple(found.shape), tuple(tensor.shape)
        parts = _by_child(part, prefix)
        for name, child in reversed(module._modules.items()):
            empty_child = empty._modules[name]
            if child is not None and empty_child is not None:
                waiting.append((f"{prefix}{name}.", child, empty_child, parts.get(name, {})))
    return answer


def _lent(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What modules may read and write: buffers are small and copied, for some modules change them where they are."""
    lent = {}
    for key, value in state_dict.items():
        is_small = isinstance(value, Tensor) and not value.is_meta and value.numel() <= SMALL
        lent[key] = value.detach().clone() if is_small else value
    return lent


def lent_nest(given: Mapping[Any, Any]) -> Any:
    """The same for a checkpoint as it came, with all that lies in it; itself, if it holds what cannot be copied."""
    memo: dict[int, object] = {}
    waiting: list[Mapping[Any, Any]] = [given]
    while waiting:
        nest = waiting.pop()
        for value in nest.values():
            if isinstance(value, Mapping) and id(value) not in memo:
                memo[id(value)] = None
                waiting.append(value)
            elif isinstance(value, Tensor) and not (type(value) is Tensor and value.numel() <= SMALL):
                memo[id(value)] = value
    memo = {key: value for key, value in memo.items() if value is not None}
    try:
        return copy.deepcopy(given, memo)
    except Exception:
        return given


def own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers that this module itself, without those in it, has in its state_dict."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, buffer


def empty_twin(model: nn.Module) -> nn.Module:
    """A copy whose parameters are on `meta`; buffers are few, and some modules look at them while they load.

    Raises:
        StateDictError: a lazy module does not know its shapes yet, or the model cannot be copied.
    """
    memo: dict[int, object] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if is_lazy(parameter):
            raise StateDictError(f"the lazy module of {name!r} has no shapes yet: run the model once, then load")
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    return twin(model, memo)


def twin(model: nn.Module, memo: dict[int, object] | None = None) -> nn.Module:
    """A copy of a model, that of a weight which a hook computes anew at each run included.

    Args:
        model: any.
        memo: id of a tensor -> what stands for it in the copy.

    Raises:
        StateDictError: the model cannot be copied.
    """
    memo = dict(memo or {})
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise StateDictError(f"this {type(model).__name__} cannot be copied ({first_line(error)})") from error


def _by_child(part: Mapping[str, Tensor], prefix: str) -> dict[str, dict[str, Tensor]]:
    """The keys of each child; in one pass, so that many children cost no more than their keys."""
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in part.items():
        if key.startswith(prefix):
            child, dot, _ = key[len(prefix) :].partition(".")
            if dot:
                found[child][key] = tensor
    return found
