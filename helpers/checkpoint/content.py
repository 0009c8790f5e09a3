"""What a checkpoint holds: tensors, numbers, strings, and lists and dictionaries of them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import CheckpointError
from ..modes import names_in_eval
from ..state_dict.kinds import why_no_plain_numbers
from .batches import ResumableBatches

FORMAT = "pretrained-weights-workbook checkpoint"
VERSION = 1

# key of a checkpoint -> what lies under it; "model" is where `read_state_dict` looks for the weights
FIELDS: dict[str, tuple[type, ...]] = {
    "model": (dict,),
    "requires_grad": (dict,),
    "in_eval": (list,),
    "modes": (dict,),
    "optimizer": (dict, type(None)),
    "scheduler": (dict, type(None)),
    "epoch": (int,),
    "random": (dict,),
    "generator": (Tensor, type(None)),
    "batches": (dict, type(None)),
    "score": (float, type(None)),
    "extra": (dict,),
}

LEAVES = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
TENSORS = (Tensor, nn.Parameter)
SEQUENCES = (list, tuple, set)
MAPPINGS = (dict, OrderedDict, Counter)


def check_parts(model: object, optimizer: object, scheduler: object, batches: object, generator: object) -> None:
    """See to it that all parts of a training are of their kind; None stands for a part that there is not.

    Raises:
        CheckpointError: one is not.
    """
    if not isinstance(model, nn.Module):
        raise CheckpointError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    for what, part, wanted, fits in (
        ("optimizer", optimizer, "a torch optimizer", hasattr(optimizer, "param_groups")),
        ("scheduler", scheduler, "something with a state_dict", hasattr(scheduler, "state_dict")),
        ("batches", batches, "ResumableBatches(loader)", isinstance(batches, ResumableBatches)),
        ("generator", generator, "a torch.Generator", isinstance(generator, torch.Generator)),
    ):
        if part is not None and not fits:
            raise CheckpointError(f"{what} is a {type(part).__name__}: give {wanted}")


def of_model(model: nn.Module) -> dict[str, Any]:
    """The part of a checkpoint that is about the model."""
    parameters = model.named_parameters(remove_duplicate=False)
    return {
        "model": model.state_dict(),
        "requires_grad": {name: parameter.requires_grad for name, parameter in parameters},
        "in_eval": names_in_eval(model),
        "modes": {name: module.training for name, module in model.named_modules()},
    }


def of_optimizer(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """Its state_dict, its class, and which parameters each group has, by which a mix-up is found."""
    return {
        "class": type(optimizer).__name__,
        "parameters": parameters_of(optimizer, model),
        "stepped": bool(getattr(optimizer, "_opt_called", False)),
        "state": optimizer.state_dict(),
    }


def parameters_of(optimizer: Optimizer, model: nn.Module) -> list[list[tuple[str, tuple[int, ...]]]]:
    """For each group, for each parameter, its name in the model ("" if it is not in it) and its shape."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        groups.append([(names.get(id(parameter), ""), tuple(parameter.shape)) for parameter in group["params"]])
    return groups


def of_scheduler(scheduler: Any) -> dict[str, Any]:
    """Its state_dict and its class."""
    return {"class": type(scheduler).__name__, "state": scheduler.state_dict()}


def refuse_unreadable(value: object, where: str, depth: int = 0) -> None:
    """See to it that `weights_only=True` will read a value back.

    It goes by the very class: numpy's numbers pass for Python's (`np.float64` is a float), but are not read back.

    Raises:
        CheckpointError: it will not; says where the value is, and what to store instead.
    """
    kind = type(value)
    if depth > 50:
        raise CheckpointError(f"{where} is nested too deeply, or contains itself; store flat lists and dictionaries")
    if kind in MAPPINGS and isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_unreadable(key, f"the key {key!r} of {where}", depth + 1)
            refuse_unreadable(inner, f"{where}[{key!r}]", depth + 1)
    elif kind in SEQUENCES and isinstance(value, SEQUENCES):
        for position, inner in enumerate(value):
            refuse_unreadable(inner, f"{where}[{position}]", depth + 1)
    elif kind not in LEAVES and kind not in TENSORS:
        raise CheckpointError(
            f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot be read back without running code; "
            f"store {_instead(value)}"
        )
    elif isinstance(value, Tensor) and value.is_meta:
        raise CheckpointError(f"{where} is on the meta device and has no values; load or initialise it first")


def _instead(value: object) -> str:
    if isinstance(value, np.generic):
        return "its item()"
    if isinstance(value, np.ndarray):
        return "torch.from_numpy of it"
    if hasattr(value, "__fspath__"):
        return "str() of it"
    if isinstance(value, nn.Module) or hasattr(value, "state_dict"):
        return "its state_dict()"
    if isinstance(value, Tensor):
        return f"a plain tensor (it {why_no_plain_numbers(value) or 'is of a class of its own'})"
    if isinstance(value, Mapping):
        return "dict() of it"
    return "tensors, numbers, strings, and lists and dictionaries of them"
