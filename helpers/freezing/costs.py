"""What a training step costs when parts of a network are frozen: what backward still has to do, and to remember."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import FreezingError
from ..random_states import random_states_kept

MULTIPLIES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
REMEMBERS = (*MULTIPLIES, nn.modules.batchnorm._NormBase, nn.MaxPool2d)


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs in one step.

    Attributes:
        name: as in `named_modules`.
        forward: floating-point operations of its forward pass; a multiplication and an addition are two. 0 for norms
            and pools, whose work is small.
        for_weights: the same number if its weight is trained, else 0.
        for_inputs: the same number if anything before it is trained, so that backward must pass through it; else 0.
        kept: bytes of its input (for a pool, of the places it took, too), if PyTorch keeps them for backward: where
            either holds, but for Linears only where the weight is trained.
    """

    name: str
    forward: int
    for_weights: int
    for_inputs: int
    kept: int

    @property
    def step(self) -> int:
        """Operations of a whole step."""
        return self.forward + self.for_weights + self.for_inputs


def step_costs(model: nn.Module, x: Tensor) -> list[LayerCost]:
    """The convs, Linears, norms and pools of a network in the order in which they run, and what each costs in a step.

    An estimate: it takes the layers as a chain, and counts what two branches share for both. What other kinds of
    layers do, such as transposed convs, attention and LayerNorm, is left out.

    Args:
        model: any network, frozen where it shall be. It is run once, as a copy.
        x: its input.

    Raises:
        FreezingError: that is no model, or it cannot be run on that input.
    """
    _check(model, x)
    costs: list[LayerCost] = []
    trained_before = False

    def note(name: str, layer: nn.Module, given: Tensor, output: Tensor) -> None:
        nonlocal trained_before
        trained = any(p.requires_grad for p in layer.parameters())
        if isinstance(layer, REMEMBERS):
            forward = 0
            if isinstance(layer, MULTIPLIES):
                forward = 2 * output.numel() * math.prod(layer.weight.shape[1:])
            kept = 0
            if trained or (trained_before and not isinstance(layer, nn.Linear)):
                kept = given.nbytes
                if not hasattr(layer, "weight"):  # a pool, with the places it took
                    kept += 8 * output.numel()
            for_weights = forward if trained else 0
            for_inputs = forward if trained_before else 0
            costs.append(LayerCost(name, forward, for_weights, for_inputs, kept))
        trained_before = trained_before or trained

    twin = copy.deepcopy(model)
    for name, layer in twin.named_modules():
        if not any(True for _ in layer.children()):
            layer.register_forward_hook(lambda layer, given, output, name=name: note(name, layer, given[0], output))
    try:
        with torch.no_grad(), random_states_kept():
            twin(x)
    except Exception as error:  # whatever a network does with an input that is not for it
        raise FreezingError(f"{type(model).__name__} cannot be run on an input {tuple(x.shape)}: {error}") from error
    return costs


def measured_step(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """One step of a copy, forward and backward, as autograd really runs it.

    Args:
        model: with at least one trainable parameter, and one tensor as its output.
        x: its input.

    Returns:
        Floating-point operations as torch counts them, and bytes that the forward pass keeps for the backward pass,
        beside parameters and buffers.

    Raises:
        FreezingError: that is no model, it cannot be run on that input, gives no tensor, or nothing in it is trained.
    """
    _check(model, x)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise FreezingError("all parameters are frozen, so there is no backward pass; unfreeze some")
    twin = copy.deepcopy(model)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*twin.parameters(), *twin.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            try:
                output = twin(x.clone())  # a view would count with all that it is a view of
            except Exception as error:  # whatever a network does with an input that is not for it
                said = f"{type(model).__name__} cannot be run on an input {tuple(x.shape)}: {error}"
                raise FreezingError(said) from error
            if not isinstance(output, Tensor):
                raise FreezingError(
                    f"the output is a {type(output).__name__}; wrap the model so that it gives a tensor"
                )
            loss = output.sum()
        loss.backward()
    return counter.get_total_flops(), sum(kept.values())


def _check(model: object, x: object) -> None:
    if not isinstance(model, nn.Module):
        raise FreezingError(f"the model is a {type(model).__name__}: give a torch.nn.Module")
    if not isinstance(x, Tensor):
        raise FreezingError(f"the input is a {type(x).__name__}: give a tensor")
