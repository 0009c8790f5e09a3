"""Put everything back as it was, bit by bit, if restoring a checkpoint fails on its way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError
from ..modes import keep_in_eval_, release_, stays_in_eval
from ..random_states import random_state, set_random_state
from .batches import ResumableBatches

Undo = Callable[[], None]


@contextmanager
def undone_on_error(
    model: nn.Module,
    optimizer: Any | None,
    scheduler: Any | None,
    batches: ResumableBatches | None,
    generator: torch.Generator | None,
    file: str,
) -> Iterator[None]:
    """Remember all of these, and the random states; after an error inside, put them back.

    The weights are kept twice meanwhile.

    Raises:
        CheckpointError: there was an error inside.
    """
    state = random_state()
    generators = ([generator] if generator is not None else []) + (batches.generators if batches is not None else [])
    undos = [_model_as_now(model), *map(_generator_as_now, generators)]
    undos += [_object_as_now(part) for part in _parts(optimizer) + _parts(scheduler) + _parts(batches)]
    try:
        yield
    except BaseException as error:  # Ctrl-C, too, must leave a whole model
        for undo in [*undos, lambda: set_random_state(state)]:
            undo()
        if not isinstance(error, Exception):
            raise
        raise CheckpointError(f"{file} could not be restored ({error}); everything is as it was") from error


def _model_as_now(model: nn.Module) -> Undo:
    tensors = [(tensor, tensor.detach().clone()) for tensor in [*model.parameters(), *model.buffers()]]
    grads = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training, stays_in_eval(module)) for module in model.modules()]
    more = [
        (module, copy.deepcopy(module.get_extra_state()))
        for module in model.modules()
        if type(module).get_extra_state is not nn.Module.get_extra_state
    ]

    @torch.no_grad()
    def undo() -> None:
        for tensor, values in tensors:
            tensor.copy_(values)
        for parameter, requires_grad in grads:
            parameter.requires_grad_(requires_grad)
        for module, training, in_eval in modes:
            if in_eval:
                keep_in_eval_(module)
            else:
                release_(module)
            module.training = training
        for module, extra_state in more:
            module.set_extra_state(extra_state)

    return undo


def _generator_as_now(generator: torch.Generator) -> Undo:
    state = generator.get_state()

    def undo() -> None:
        generator.set_state(state)

    return undo


def _object_as_now(part: Any) -> Undo:
    """Attributes, with what lies in lists and dictionaries, however deep; tensors and other objects are the same ones.

    That is enough, for `load_state_dict` of an optimizer or a scheduler puts others in their places.
    """
    attributes = vars(part)
    before = {name: _containers_copied(value) for name, value in attributes.items()}

    def undo() -> None:
        attributes.clear()
        attributes.update(before)

    return undo


def _containers_copied(value: Any) -> Any:
    if isinstance(value, dict):
        copied = copy.copy(value)  # keeps its class, such as defaultdict
        for key, inner in value.items():
            copied[key] = _containers_copied(inner)
        return copied
    if type(value) in (list, tuple):
        return type(value)(map(_containers_copied, value))
    return value


def _parts(whole: Any | None) -> list[Any]:
    """An object and those in its lists that have a state of their own, such as the schedulers of a SequentialLR."""
    if whole is None or isinstance(whole, type(lambda: None)) or not hasattr(whole, "__dict__"):
        return []
    inner = [item for value in vars(whole).values() if isinstance(value, list) for item in value]
    return [whole, *(part for item in inner for part in _parts(item))]
