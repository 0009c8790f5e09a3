"""Put everything back as it was, bit by bit, if restoring a checkpoint fails on its way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..modes import keep_in_eval_, release_, stays_in_eval
from ..random_states import random_state, set_random_state
from ..text import few
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

    The weights are kept twice meanwhile. Each step of putting back is taken, whatever another one does.

    Raises:
        CheckpointError: there was an error inside. Says so if something could not be put back.
    """
    try:
        undos = _undos(model, optimizer, scheduler, batches, generator)
    except Exception as error:  # such as get_extra_state of a module, or a deepcopy of what it gives
        raise CheckpointError(
            f"{file} is not restored, for the present state cannot be kept ({error}); everything is as it was"
        ) from error
    try:
        yield
    except BaseException as error:  # Ctrl-C, too, must leave a whole model
        failures = []
        for what, undo in undos:
            try:
                undo()
            except Exception as failure:  # the others must still be put back
                failures.append(f"{what} ({failure})")
        if not isinstance(error, Exception):
            raise
        state = (
            f"everything is as it was but {few(failures)}: make them anew" if failures else "everything is as it was"
        )
        raise CheckpointError(f"{file} could not be restored ({error}); {state}") from error


def _undos(
    model: nn.Module,
    optimizer: Any | None,
    scheduler: Any | None,
    batches: ResumableBatches | None,
    generator: torch.Generator | None,
) -> list[tuple[str, Undo]]:
    """(what is put back, how) for all that restoring may change."""
    state = random_state()
    generators = ([generator] if generator is not None else []) + (batches.generators if batches is not None else [])
    undos = [*_model_as_now(model)]
    undos += [("a random generator", _generator_as_now(generator)) for generator in generators]
    for part in _parts(optimizer) + _parts(scheduler) + _parts(batches):
        undos.append((f"the {type(part).__name__}", _object_as_now(part)))
    return [*undos, ("the random states", lambda: set_random_state(state))]


def _model_as_now(model: nn.Module) -> list[tuple[str, Undo]]:
    """How to put back extra states, tensors, what takes gradients, and modes, each on its own."""
    undos: list[tuple[str, Undo]] = []
    for name, module in model.named_modules():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            undos += [(f"the extra state of {name or 'the model'}", _extra_state_as_now(module))]
            undos += [(f"the attributes of {name or 'the model'}", _object_as_now(module))]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        undos.append((name, _tensor_as_now(tensor)))
    undos += [(f"the mode of {name or 'the model'}", _mode_as_now(module)) for name, module in model.named_modules()]
    return undos


def _tensor_as_now(tensor: Tensor) -> Undo:
    values, requires_grad = tensor.detach().clone(), tensor.requires_grad

    @torch.no_grad()
    def undo() -> None:
        if not (tensor.layout == torch.strided and torch.equal(tensor, values)):  # an expanded one takes no copy
            tensor.copy_(values)
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)

    return undo


def _extra_state_as_now(module: nn.Module) -> Undo:
    state = copy.deepcopy(module.get_extra_state())
    return lambda: module.set_extra_state(state)


def _mode_as_now(module: nn.Module) -> Undo:
    training, in_eval = module.training, stays_in_eval(module)

    def undo() -> None:
        if in_eval:
            keep_in_eval_(module)
        else:
            release_(module)
        module.training = training

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
