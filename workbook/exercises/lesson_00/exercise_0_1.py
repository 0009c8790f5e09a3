"""Exercise 0.1: count the parameters of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..checking import Exercise, Mistake, NotYet, because, call, cause_of


def right(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def in_layers_only(model: Any) -> int:
    return sum(layer.weight.numel() + layer.bias.numel() for layer in model.children())


COUNTS = (  # known by the number that they give
    Mistake(
        "this counts the entries of state_dict(): each holds many numbers (tensor.numel()), and some are buffers, "
        "which are no parameters.",
        lambda model: len(model.state_dict()),
    ),
    Mistake(
        "this counts the tensors; each holds many numbers (tensor.numel()).",
        lambda model: len(list(model.parameters())),
    ),
    Mistake(
        "len(tensor) is only its first dimension; tensor.numel() is all of it.",
        lambda model: sum(len(tensor) for tensor in model.parameters()),
    ),
    Mistake(
        "state_dict() also holds buffers, such as BatchNorm's running mean; model.parameters() does not.",
        lambda model: sum(tensor.numel() for tensor in model.state_dict().values()),
    ),
    Mistake(
        "the biases are missing.",
        lambda model: sum(tensor.numel() for tensor in model.parameters() if tensor.ndim > 1),
    ),
    Mistake(
        "a frozen layer has parameters, too; requires_grad only says whether they are trained.",
        lambda model: sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad),
    ),
    Mistake(
        "tensors with the same numbers are different parameters all the same.",
        lambda model: each_number_once(model),
    ),
    Mistake(
        "a tensor of one number counts, too, such as the bias of a layer with one output.",
        lambda model: sum(tensor.numel() for tensor in model.parameters() if tensor.numel() > 1),
    ),
    Mistake(
        "a parameter may have no axis, or any number of them; numel() knows them all.",
        lambda model: sum(tensor.numel() for tensor in model.parameters() if tensor.ndim in (1, 2, 4)),
    ),
    Mistake(
        "parameters count whatever their type.",
        lambda model: sum(tensor.numel() for tensor in model.parameters() if tensor.dtype == torch.float32),
    ),
    Mistake(
        "these are bytes; numel() counts numbers.",
        lambda model: sum(tensor.numel() * tensor.element_size() for tensor in model.parameters()),
    ),
    Mistake(
        "parameters() goes into all modules by itself; ask the model alone.",
        lambda model: sum(tensor.numel() for module in model.modules() for tensor in module.parameters()),
    ),
)


def each_number_once(model: nn.Module) -> int:
    known: list[torch.Tensor] = []
    for tensor in model.parameters():
        if not any(torch.equal(tensor, other) for other in known):
            known.append(tensor)
    return sum(tensor.numel() for tensor in known)


def counts_shared_ones_twice(model: nn.Module) -> int:
    return sum(p.numel() for module in model.modules() for p in module.parameters(recurse=False))


SHARED = "two layers share a parameter, which is one; model.parameters() has it once."
OTHER_NAMES = (
    "parameters may have other names than weight and bias, and lie in no layer; model.parameters() has all of them."
)


def of_layers(leaves: tuple[str, ...], shared_twice: bool) -> Any:
    """An answer that asks every module for parameters of these names."""

    def count_parameters(model: nn.Module) -> int:
        found = [getattr(module, leaf, None) for module in model.modules() for leaf in leaves]
        tensors = [tensor for tensor in found if isinstance(tensor, torch.Tensor)]
        return sum(t.numel() for t in (tensors if shared_twice else {id(t): t for t in tensors}.values()))

    return count_parameters


MISTAKES = (
    *COUNTS,
    Mistake(OTHER_NAMES, of_layers(("weight", "bias"), shared_twice=True)),
    Mistake(OTHER_NAMES, of_layers(("weight", "bias"), shared_twice=False)),
    Mistake(SHARED, counts_shared_ones_twice),
    Mistake(
        "expected a whole number, got a Tensor",
        lambda model: torch.tensor([tensor.numel() for tensor in model.parameters()]),
    ),
    Mistake("stopped with AttributeError", in_layers_only),
    Mistake("expected 181 for a small Sequential, got 1.", lambda model: 1),
    Mistake("expected 124 for a small Conv2d, got 181.", lambda model: 181),
)


def verify(answer: Any) -> None:
    """`count_parameters(model) -> int`."""
    frozen = nn.Linear(6, 7).requires_grad_(False)
    nested = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4)), frozen)
    for model in (nested, nn.Conv2d(5, 4, (3, 2)), recurrent(), odd()):
        got = call(answer, model)
        if isinstance(got, np.generic) or (isinstance(got, torch.Tensor) and got.numel() == 1):
            got = got.item()
        if not isinstance(got, (int, float)):
            raise NotYet(f"expected a whole number, got a {type(got).__name__}.")
        if got != right(model):
            cause = because(of_the_recurrent(got, model) or cause_of(got, COUNTS, model))
            raise NotYet(f"expected {right(model)} for a small {type(model).__name__}, got {got}.{cause}")


def of_the_recurrent(got: float, model: nn.Module) -> str | None:
    if not isinstance(model, Recurrent):
        return None
    return SHARED if got == counts_shared_ones_twice(model) else OTHER_NAMES


class Recurrent(nn.Module):
    """Parameters of other names, without bias, of no layer, and one that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.memory = nn.Embedding(7, 3), nn.LSTM(3, 5)
        self.back, self.out = nn.Linear(5, 3, bias=False), nn.Linear(3, 7)
        self.out.weight = self.words.weight
        self.token = nn.Parameter(torch.zeros(2))


def odd() -> nn.Module:
    """Equal tensors that are two, and tensors of one number, of no axis and of three; halves, in eval mode."""
    layers = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.Conv1d(4, 1, 3), nn.PReLU())
    layers.register_parameter("scale", nn.Parameter(torch.tensor(2.0)))
    return layers.half().eval()


def recurrent() -> nn.Module:
    torch.manual_seed(0)
    return Recurrent()


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "model.parameters() runs through all weight and bias tensors of a model.",
        "tensor.numel() is the number of elements of a tensor.",
        "sum(parameter.numel() for parameter in model.parameters())",
    ),
    praise="you know how exercises work here, and how to count a network's parameters.",
)
