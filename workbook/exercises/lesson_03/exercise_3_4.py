"""Exercise 3.4: find the first layer behind which two networks differ."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case, cause_of


def right(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    y = x
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        x, y = first_layer(x), second_layer(y)
        if not torch.equal(x, y):
            return i
    return -1


def number_where_none_differs(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    found = right(first, second, x)
    return len(first) if found == -1 else found


def last_number_where_none_differs(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    found = right(first, second, x)
    return len(first) - 1 if found == -1 else found


def compares_weights(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        for a, b in zip(first_layer.parameters(), second_layer.parameters(), strict=True):
            if not torch.equal(a, b):
                return i
    return -1


def compares_types(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        if type(first_layer) is not type(second_layer):
            return i
    return right(first, second, x)


def last_difference(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    y, found = x, -1
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        x, y = first_layer(x), second_layer(y)
        if not torch.equal(x, y):
            found = i
    return found


def asks_the_last_outputs(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    if torch.equal(first(x), second(x)):
        return -1
    return right(first, second, x)


def gives_up_at_once(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    return 0 if not torch.equal(first[0](x), second[0](x)) else -1


def always_the_input(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        if not torch.equal(first_layer(x), second_layer(x)):
            return i
    return -1


def comparing_by(same: Any) -> Any:
    """The right answer, but for how two outputs are compared."""

    def first_difference(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
        y = x
        for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
            x, y = first_layer(x), second_layer(y)
            if not same(x, y):
                return i
        return -1

    return first_difference


def comparing(value: Any) -> Any:
    """An answer that compares one number of each output."""
    return comparing_by(lambda x, y: value(x) == value(y))


def compares_before(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    """Compares what goes into a layer, not what comes out."""
    y = x
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        if not torch.equal(x, y):
            return i
        x, y = first_layer(x), second_layer(y)
    return -1 if torch.equal(x, y) else len(first)


def leaves_hooks(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    seen: list[Tensor] = []
    for layer in (*first, *second):
        layer.register_forward_hook(lambda _, given, output: seen.append(output))
    first(x), second(x)
    pairs = zip(seen[: len(first)], seen[len(first) :], strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if not torch.equal(a, b)), -1)


ONE_VALUE = (
    "one number of an output, such as its sum or mean, can be equal where the outputs are not: compare all of it."
)
TOLERANCE = "a tolerance lets small differences pass; equal weights give equal bits, so compare with torch.equal."
FROM_ZERO = "layers are numbered from 0, and what counts is what a layer puts out: run it first, then compare."
NONE_DIFFERS = "where no layer differs, the answer is -1."
INPUT = "each layer takes what the layer before it put out, not x."
NUMBER_BY_NUMBER = "`==` compares number by number; torch.equal compares two tensors."

MISTAKES = (  # what differs in one case only comes first: there, others may give the same number
    Mistake(NONE_DIFFERS, lambda first, second, x: max(right(first, second, x), 0)),
    Mistake(NONE_DIFFERS, number_where_none_differs),
    Mistake(NONE_DIFFERS, last_number_where_none_differs),
    Mistake("weights were compared; compare what the layers put out.", compares_weights),
    Mistake("types were compared, not outputs.", compares_types),
    Mistake(TOLERANCE, comparing_by(torch.allclose)),
    Mistake(TOLERANCE, comparing_by(lambda x, y: (x - y).abs().max() < 1e-3)),
    Mistake("only the last outputs were compared.", asks_the_last_outputs),
    Mistake(ONE_VALUE, comparing(lambda x: x.sum().item())),
    Mistake(FROM_ZERO, compares_before),
    Mistake("a hook stays until", leaves_hooks),
    Mistake("eval() and train() act on the model", lambda first, second, x: right(first.eval(), second.eval(), x)),
    Mistake(FROM_ZERO, lambda first, second, x: right(first, second, x) + 1),
    Mistake("return at the first difference, not the last.", last_difference),
    Mistake("return as soon as the two differ, and -1 only behind the loop.", gives_up_at_once),
    Mistake(INPUT, always_the_input),
    Mistake(NUMBER_BY_NUMBER, lambda first, second, x: -1 if first(x) == second(x) else 0),
    Mistake("a number is wanted, but got a bool", lambda first, second, x: right(first, second, x) >= 0),
)

CRASHES = [
    ("expected input", INPUT),
    ("mat1 and mat2", INPUT),
    ("Boolean value of Tensor", NUMBER_BY_NUMBER),
]


def verify(answer: Any) -> None:
    """`first_difference(first, second, x) -> number of a layer`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(30, 7))
    with torch.no_grad():  # so that sums of layer 0 are exact, in whatever order
        for parameter in model[0].parameters():
            parameter.copy_((16 * parameter).round() / 16)
    x = torch.randint(0, 9, (2, 3, 5, 6)) / 8
    for name, (first, second) in pairs(model).items():
        with case(name):
            got = call(answer, first, second, x, crashes=CRASHES)
            if isinstance(got, bool) or not isinstance(got, Integral):
                raise NotYet(f"a number is wanted, but got a {type(got).__name__}.")
            expected = right(first, second, x)
            if got != expected:
                cause = because(cause_of(int(got), MISTAKES, first, second, x))
                raise NotYet(f"the answer should be {expected}, but is {got}.{cause}")


def pairs(model: nn.Sequential) -> dict[str, tuple[nn.Sequential, nn.Sequential]]:
    """Networks to compare, and how messages call them."""
    other_weight, other_layer, other_type, forgetful, forgotten = (copy.deepcopy(model) for _ in range(5))
    exchanged, nearly, slightly = (copy.deepcopy(model) for _ in range(3))
    with torch.no_grad():
        other_weight.get_parameter("2.weight")[0, 1, 2, 0] += 0.01
        other_weight.get_parameter("5.bias").add_(1)
        forgotten.get_parameter("0.bias").sub_(1)
        for name in ("0.weight", "0.bias"):
            exchanged.get_parameter(name).copy_(exchanged.get_parameter(name).flip(0))
        nearly.get_parameter("2.bias")[3] = 8
        slightly.get_parameter("2.bias")[3] = 8.00001
        forgetful.get_parameter("5.weight").zero_()
        forgotten.get_parameter("5.weight").zero_()
    other_layer[3] = nn.Sigmoid()
    other_type[1] = nn.Threshold(0, 0)  # which a ReLU is
    return {
        "if layers 2 and 5 have other weights": (model, other_weight),
        "if the two are equal": (model, copy.deepcopy(model)),
        "if layer 3 is a Sigmoid in one and a Tanh in the other": (model, other_layer),
        "if layer 0 differs, but the last layer forgets it": (forgetful, forgotten),
        "if layer 1 has another type and computes the same": (model, other_type),
        "if layer 0 gives the same channels in another order": (model, exchanged),
        "if layer 2 differs by a millionth": (nearly, slightly),
    }


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Keep two tensors, both x at first, and send each through its own network, one layer at a time.",
        "enumerate(zip(first, second, strict=True)) gives number and layers; torch.equal compares two tensors.",
        "for i, (a, b) in enumerate(zip(first, second, strict=True)): x, y = a(x), b(y); return i if they are not "
        "equal; behind the loop return -1.",
    ),
    praise="now you can say not only that a transfer went wrong, but where.",
)
