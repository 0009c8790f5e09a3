"""What a model and its layers must be, to be looked through and to get other weights."""

from __future__ import annotations

import operator
from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def why_no_model(model: object) -> str | None:
    """Why something cannot be run layer by layer: it is no module, or compiled; None if it can."""
    if not isinstance(model, nn.Module):
        return f"the model must be a torch.nn.Module, not {_what(model)}"
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            return f"{name or 'the model'} is TorchScript, whose layers are fixed; take what it was made from"
        if "_orig_mod" in module._modules:
            if not name:
                return (
                    "the model is compiled; hand in what was compiled, `model._orig_mod`, which has the same weights, "
                    "and compile afterwards"
                )
            return (
                f"{name!r} is compiled; put what was compiled in its place with "
                f"`model.set_submodule({name!r}, model.get_submodule({name!r})._orig_mod)`, and compile afterwards"
            )
    return None


def why_not_plain(model: nn.Module | None, layer: nn.Module, name: str) -> str | None:
    """Why weight and bias of a layer cannot be replaced by others; None if they can.

    Args:
        model: where another layer may have the same parameter; None if nobody knows.
        layer: what shall get others.
        name: how messages call it.
    """
    for kind in ("weight", "bias"):
        tensor = layer._parameters.get(kind)
        # not asked for by its name: a weight that is made is made anew each time, and spectral_norm goes a step on
        is_made = hasattr(type(layer), kind) or vars(layer).get(kind) is not None
        if tensor is None and not is_made:
            if kind == "weight":
                return f"{name} has no weight"
            continue
        if not isinstance(tensor, nn.Parameter) or is_lazy(tensor):
            return (
                f"the {kind} of {name} is made from other tensors (weight_norm, spectral_norm, pruning), or it is "
                "lazy: make it plain first"
            )
        if tensor.is_complex():
            return f"the {kind} of {name} is complex"
        if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
            return f"the {kind} of {name} is quantised ({tensor.dtype}): make it floating point first"
        for other_name, other in model.named_modules() if model is not None else ():
            if other is not layer and any(parameter is tensor for parameter in other._parameters.values()):
                return f"the {kind} of {name} is that of {other_name!r}, too: give each its own first"
    return None


def whole_number(value: object) -> int | None:
    """An int, also of numpy or in a tensor, as an int; None for what is no whole number: 2.0, True, "7", NaN."""
    is_truth = isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool)
    if is_truth:
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # whatever it is
    except Exception:  # a type may fail in any way it likes
        return None


def numbers_beside(
    model: nn.Module, name: str, attributes: Collection[str], number: int
) -> list[tuple[nn.Module, str]]:
    """Where the modules that contain a layer keep a number of it: (module, attribute), the model itself included.

    Args:
        model: what contains the layer.
        name: of the layer.
        attributes: what they may call the number.
        number: what they must say.
    """
    found = []
    parts = name.split(".")
    for depth in range(len(parts)):
        container = model.get_submodule(".".join(parts[:depth]))
        for attribute in attributes:
            kept = vars(container).get(attribute)
            if type(kept) is int and kept == number:
                found.append((container, attribute))
    return found


def _what(value: object) -> str:
    """a dict, a class ResNet: what somebody has handed in."""
    if isinstance(value, type):
        return f"the class {value.__name__}: make one first, {value.__name__}(...)"
    return f"{type(value).__name__}"
