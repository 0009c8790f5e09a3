"""Two networks that should compute the same: which layers agree, and where they part."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from .errors import WeightsError


@torch.no_grad()
def outputs_of(model: nn.Module, names: Collection[str], inputs: Tensor) -> dict[str, Tensor]:
    """What the modules of these names put out when the model runs once, as it is; "" is the model itself.

    Args:
        model: anything that takes `inputs`; its modes and weights stay what they are, but in train mode its BatchNorms
            take notice of the inputs.
        names: of modules that run once and put out one tensor.
        inputs: (N, ...).

    Raises:
        AttributeError: there is no such module.
        WeightsError: a module did not run, ran more than once, or puts out something else than a tensor; names it.
    """
    found: dict[str, list[object]] = {name: [] for name in names}
    modules = {name: model.get_submodule(name) for name in found}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: found[name].append(_kept(output)))
        for name, module in modules.items()
    ]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    tensors = {}
    for name, outputs in found.items():
        if len(outputs) != 1:
            raise WeightsError(
                f"{name!r} ran {len(outputs)} times, and its outputs can be compared only if it runs once"
            )
        output = outputs[0]
        if not isinstance(output, Tensor):
            raise WeightsError(f"{name!r} puts out a {type(output).__name__}, not a tensor")
        tensors[name] = output
    return tensors


def _kept(output: object) -> object:
    """A copy, for the next layer may work in place."""
    return output.clone() if isinstance(output, Tensor) else output


def compare_outputs(
    model: nn.Module, other: nn.Module, pairs: Mapping[str, str], inputs: Tensor, other_inputs: Tensor | None = None
) -> dict[str, float]:
    """How far each output of a network is from that of another: |a - b| / |b|, 0 where they are equal.

    The first pair that differs is where they part; the layers that lie between it and the pair before it are wrong,
    or the input is.

    Args:
        model: the network in doubt.
        other: the one that is right.
        pairs: names of modules of `model` -> names of modules of `other`, in the order in which they run.
        inputs: (N, ...) what `model` takes.
        other_inputs: the same for `other`, if that wants it prepared in another way.

    Returns:
        name of the module of `model` -> the relative difference.

    Raises:
        WeightsError: the outputs of a pair have other shapes; names both. And whatever `outputs_of` raises.
    """
    of_model = outputs_of(model, pairs.keys(), inputs)
    of_other = outputs_of(other, set(pairs.values()), inputs if other_inputs is None else other_inputs)
    return {
        name: relative_difference(of_model[name], of_other[other_name], f"{name!r} and {other_name!r}")
        for name, other_name in pairs.items()
    }


def relative_difference(a: Tensor, b: Tensor, what: str = "the tensors") -> float:
    """|a - b| / |b|; WeightsError if the shapes differ."""
    if a.shape != b.shape:
        raise WeightsError(f"{what} have other shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    return ((a - b).norm() / b.norm()).item() if b.any() else float(a.any())
