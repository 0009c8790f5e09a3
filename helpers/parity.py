"""Two networks that should compute the same: which layers agree, and where they part."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from .errors import WeightsError
from .text import few


def outputs_of(model: nn.Module, names: Collection[str], inputs: Tensor) -> dict[str, Tensor]:
    """What the modules of these names put out when the model runs once, as it is; "" is the model itself.

    Args:
        model: anything that takes `inputs`; its modes and weights stay what they are, but in train mode its BatchNorms
            take notice of the inputs.
        names: of modules that run once and put out one tensor.
        inputs: (N, ...).

    Raises:
        WeightsError: there is no such module; or one did not run, ran more than once, or puts out something else than a
            tensor; names it. And whatever the model raises.
    """
    tensors = {}
    for name, output in _outputs(model, names, inputs).items():
        if not isinstance(output, Tensor):
            raise WeightsError(f"{name!r} puts out a {type(output).__name__}, not a tensor")
        tensors[name] = output
    return tensors


@torch.no_grad()
def _outputs(model: nn.Module, names: Collection[str], inputs: Tensor) -> dict[str, object]:
    """As `outputs_of`, whatever the modules put out."""
    if not isinstance(model, nn.Module):
        raise WeightsError(f"outputs are those of an nn.Module, not of a {type(model).__name__}")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"names of modules are given in a list, as texts, not as {names!r:.60}")
    found: dict[str, list[object]] = {name: [] for name in names}
    modules = {}
    for name in found:
        try:
            modules[name] = model.get_submodule(name)
        except AttributeError as error:
            there = few([there for there, _ in model.named_modules() if there], 5)
            raise WeightsError(f"there is no module {name!r} ({error}); there are {there}") from error
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: found[name].append(_kept(output)))
        for name, module in modules.items()
    ]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for name, outputs in found.items():
        if len(outputs) != 1:
            raise WeightsError(
                f"{name!r} ran {len(outputs)} times, and its outputs can be compared only if it runs once"
            )
    return {name: outputs[0] for name, outputs in found.items()}


def _kept(output: object) -> object:
    """A copy, for the next layer may work in place."""
    return tree_map(lambda part: part.clone() if isinstance(part, Tensor) else part, output)


def compare_outputs(
    model: nn.Module, other: nn.Module, pairs: Mapping[str, str], inputs: Tensor, other_inputs: Tensor | None = None
) -> dict[str, float]:
    """How far each output of a network is from that of another: `|a - b| / |b|`, 0 where they are equal.

    The first pair that differs is where they part; the layers that lie between it and the pair before it are wrong,
    or the input is.

    Args:
        model: the network in doubt.
        other: the one that is right.
        pairs: names of modules of `model` -> names of modules of `other`, in the order in which they run.
        inputs: (N, ...) what `model` takes.
        other_inputs: the same for `other`, if that wants it prepared in another way.

    Returns:
        name of the module of `model` -> the relative difference; of modules that put out several tensors, in a tuple or
        a dictionary, the largest one.

    Raises:
        WeightsError: the outputs of a pair have other shapes, or are made up otherwise; names both. There are no pairs.
            And whatever `outputs_of` raises.
    """
    if not isinstance(pairs, Mapping) or not pairs:
        raise WeightsError(f"pairs are a dictionary, module of the one -> module of the other, not {pairs!r:.60}")
    of_model = _outputs(model, pairs.keys(), inputs)
    of_other = _outputs(other, set(pairs.values()), inputs if other_inputs is None else other_inputs)
    found = {}
    for name, other_name in pairs.items():
        what = f"{name!r} and {other_name!r}"
        (tensors, made), (others, made_there) = tree_flatten(of_model[name]), tree_flatten(of_other[other_name])
        if made != made_there or not tensors:
            raise WeightsError(
                f"{what} put out other things: {_called(of_model[name])} and {_called(of_other[other_name])}"
            )
        found[name] = max(relative_difference(a, b, what) for a, b in zip(tensors, others, strict=True))
    return found


def _called(output: object) -> str:
    return f"a {type(output).__name__}" + (f" of {len(output)}" if isinstance(output, tuple | list | dict) else "")


def relative_difference(a: Tensor, b: Tensor, what: str = "the tensors") -> float:
    """`|a - b| / |b|`, computed in float64 whatever the tensors hold.

    Numbers that are equal, infinite ones among them, differ by nothing; NaN anywhere, or a number that is infinite on
    one side alone, makes it infinite. Where b is all zeros, the answer is 0 if a is too, and 1 if it is not.

    Raises:
        WeightsError: the shapes differ, or they are no tensors with numbers.
    """
    for tensor in (a, b):
        if not isinstance(tensor, Tensor):
            raise WeightsError(f"{what}: one is a {type(tensor).__name__}, not a tensor")
        if tensor.is_meta:
            raise WeightsError(f"{what}: one is on the meta device, without numbers")
    if a.shape != b.shape:
        raise WeightsError(f"{what} have other shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = _as_double(a), _as_double(b)
    if not ((a.isfinite() & b.isfinite()) | (a == b)).all():
        return math.inf
    finite = b.isfinite()
    a, b = a[finite], b[finite]
    largest = max(float(tensor.abs().max()) if tensor.numel() else 0.0 for tensor in (a, b))
    if largest == 0 or not b.any():
        return float(largest > 0)
    a, b = a / largest, b / largest  # so that squares neither vanish nor overflow
    return ((a - b).norm() / b.norm()).item()


def _as_double(tensor: Tensor) -> Tensor:
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return dense.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64)
