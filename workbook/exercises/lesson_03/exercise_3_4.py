"""Exercise 3.4: find the first layer behind which two networks differ."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case


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


def of_layers_with_weights(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    """Compares only behind layers that have weights."""
    y = x
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        x, y = first_layer(x), second_layer(y)
        if list(first_layer.parameters()) and not torch.equal(x, y):
            return i
    return -1


def from_the_second_on(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    for i in range(1, len(first)):
        if not torch.equal(first[: i + 1](x), second[: i + 1](x)):
            return i
    return -1


def all_modules(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    """Counts what lies inside a layer, too."""
    pairs = [(a, b) for a, b in zip(first.modules(), second.modules(), strict=False) if not list(a.children())]
    y = x
    for i, (first_layer, second_layer) in enumerate(pairs):
        x, y = first_layer(x), second_layer(y)
        if not torch.equal(x, y):
            return i
    return -1


def compares_before(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    """Compares what goes into a layer, not what comes out."""
    y = x
    for i, (first_layer, second_layer) in enumerate(zip(first, second, strict=True)):
        if not torch.equal(x, y):
            return i
        x, y = first_layer(x), second_layer(y)
    return -1 if torch.equal(x, y) else len(first)


def leaves_train_mode(first: nn.Sequential, second: nn.Sequential, x: Tensor) -> int:
    found = right(first, second, x)
    first.train()
    return found


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
SIGNS = "the sign was lost: x - y may be negative, and abs() and relu() make different numbers equal."
ONE_IS_ENOUGH = "any() asks whether one number agrees; all of them must, and torch.equal asks that."
ZERO_IS_FALSE = "0 is a layer, too, but Python takes it for false: `0 or -1` is -1."
WITHOUT_WEIGHTS = "layers without weights count, too: run each layer, and compare behind each."
FROM_THE_FIRST = "layer 0 counts, too: range(len(first)) begins there."
PART = "only a part of the outputs was compared; all pictures, channels and numbers count."
NESTED = "a layer of the Sequential counts once, whatever it holds: modules() goes inside, iterating does not."
SHAPES = "outputs of different shapes differ; torch.equal says so, while `-` and `==` stretch one to the other."
NUMBER_BY_NUMBER = "`==` compares number by number; torch.equal compares two tensors."

MISTAKES = (
    Mistake(NONE_DIFFERS, lambda first, second, x: max(right(first, second, x), 0)),
    Mistake(NONE_DIFFERS, number_where_none_differs),
    Mistake(NONE_DIFFERS, last_number_where_none_differs),
    Mistake("weights were compared; compare what the layers put out.", compares_weights),
    Mistake("types were compared, not outputs.", compares_types),
    Mistake(ZERO_IS_FALSE, lambda first, second, x: right(first, second, x) or -1),
    Mistake(FROM_THE_FIRST, from_the_second_on),
    Mistake(NESTED, all_modules),
    Mistake(WITHOUT_WEIGHTS, of_layers_with_weights),
    Mistake(PART, comparing_by(lambda x, y: torch.equal(x[0], y[0]))),
    Mistake(PART, comparing_by(lambda x, y: torch.equal(x[-1], y[-1]))),
    Mistake(PART, comparing_by(lambda x, y: torch.equal(x[:, 0], y[:, 0]))),
    Mistake(SHAPES, comparing_by(lambda x, y: bool((x == y).all()))),
    Mistake(SIGNS, comparing_by(lambda x, y: x.shape == y.shape and bool((x - y).max() <= 0))),
    Mistake(SIGNS, comparing_by(lambda x, y: torch.equal(x.abs(), y.abs()))),
    Mistake(SIGNS, comparing_by(lambda x, y: torch.equal(x.relu(), y.relu()))),
    Mistake(ONE_IS_ENOUGH, comparing_by(lambda x, y: x.shape == y.shape and bool((x == y).any()))),
    Mistake(TOLERANCE, comparing_by(lambda x, y: x.shape == y.shape and torch.allclose(x, y))),
    Mistake(TOLERANCE, comparing_by(lambda x, y: x.shape == y.shape and (x - y).abs().max() < 1e-3)),
    Mistake(TOLERANCE, comparing_by(lambda x, y: x.shape == y.shape and (x - y).abs().max() < 1e-8)),
    Mistake("only the last outputs were compared.", asks_the_last_outputs),
    Mistake(ONE_VALUE, comparing(lambda x: x.sum().item())),
    Mistake(FROM_ZERO, compares_before),
    Mistake("a hook stays until", leaves_hooks),
    Mistake("eval() and train() act on the model", lambda first, second, x: leaves_train_mode(first, second, x)),
    Mistake(
        "double(), half() and to() act on the model",
        lambda first, second, x: right(first.double(), second.double(), x.double()),
    ),
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
    x = pictures()
    cases = pairs(network(), x)
    for name, (first, second) in cases.items():
        with case(name):
            got = call(answer, first, second, x, crashes=CRASHES)
            if isinstance(got, bool) or not isinstance(got, Integral):
                raise NotYet(f"a number is wanted, but got a {type(got).__name__}.")
            expected = right(first, second, x)
            if got != expected:
                cause = because(why(answers_of(answer, cases, x), cases, x))
                raise NotYet(f"the answer should be {expected}, but is {got}.{cause}")


def answers_of(answer: Any, cases: Mapping[str, tuple[nn.Sequential, nn.Sequential]], x: Tensor) -> list[int | None]:
    """What it says in each case; None where it stops with an error."""
    answers: list[int | None] = []
    for first, second in cases.values():
        try:
            answers.append(int(call(answer, first, second, x)))
        except (NotYet, TypeError):
            answers.append(None)
    return answers


def why(answers: list[int | None], cases: Mapping[str, tuple[nn.Sequential, nn.Sequential]], x: Tensor) -> str | None:
    """The cause of the mistake that answers all cases so: in a single one, many agree."""
    known = (mistake for mistake in MISTAKES if answers_of(mistake.answer, cases, x) == answers)
    return next((mistake.cause for mistake in known), None)


def network() -> nn.Sequential:
    """In eval mode; its layer 2 holds others."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(4, 5, 3), nn.Tanh())
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), inner, nn.Dropout(), nn.Flatten(), nn.Linear(30, 7))
    with torch.no_grad():  # so that sums of layer 0 are exact, in whatever order
        for parameter in model[0].parameters():
            parameter.copy_((16 * parameter).round() / 16)
    return model.eval()


def pictures() -> Tensor:
    """Three, of which the one in the middle has the largest numbers."""
    x = torch.randint(0, 9, (3, 3, 5, 6)) / 8
    return x * torch.tensor([1, 2, 1]).view(3, 1, 1, 1)


def pairs(model: nn.Sequential, x: Tensor) -> dict[str, tuple[nn.Sequential, nn.Sequential]]:
    """Networks to compare, and how messages call them."""
    copies = [copy.deepcopy(model) for _ in range(14)]
    other_weight, other_layer, other_type, forgetful, forgotten, exchanged, nearly, slightly, *rest = copies
    leaky, clipped, negated, once, seven_times, last_channel = rest
    with torch.no_grad():
        other_weight.get_parameter("2.0.weight")[0, 1, 2, 0] += 0.01
        other_weight.get_parameter("5.bias").add_(1)
        forgotten.get_parameter("0.bias").sub_(1)
        for name in ("0.weight", "0.bias"):
            exchanged.get_parameter(name).copy_(exchanged.get_parameter(name).flip(0))
        for network, bias in ((nearly, 2**-20), (slightly, 2**-20 + 2**-40)):
            network.get_parameter("2.0.weight")[3] = 0
            network.get_parameter("2.0.bias")[3] = bias
        for network in (forgetful, forgotten):
            network.get_parameter("5.weight").zero_()
        for parameter in negated[5].parameters():
            parameter.neg_()
        last_channel.get_parameter("0.bias")[3] += 0.25
        once[5] = nn.Linear(30, 1)
        for network in (once, seven_times):
            network.get_parameter("5.weight").zero_()
            network.get_parameter("5.bias").fill_(0.5)
        limit = model[:2](x)[[0, 2]].max().item()
    other_layer[2] = nn.Sequential(model[2].get_submodule("0"), nn.Sigmoid())
    other_type[1] = nn.Threshold(0, 0)  # which a ReLU is
    leaky[1] = nn.LeakyReLU(0.5)
    clipped[1] = nn.Hardtanh(0, limit)
    return {
        "if layers 2 and 5 have other weights": (model, other_weight),
        "if the two are equal": (model, copy.deepcopy(model)),
        "if layer 2 ends in a Sigmoid in one and in a Tanh in the other": (model, other_layer),
        "if layer 0 differs, but the last layer forgets it": (forgetful, forgotten),
        "if layer 1 has another type and computes the same": (model, other_type),
        "if layer 0 gives the same channels in another order": (model, exchanged),
        "if layer 0 differs in its last channel alone": (model, last_channel),
        "if layer 1 is a ReLU in one and a LeakyReLU in the other": (model, leaky),
        "if layer 1 differs for one of three pictures": (model, clipped),
        "if layer 2 differs in the last bit": (nearly, slightly),
        "if layer 5 gives the same numbers with the other sign": (model, negated),
        "if layer 5 gives one number, and seven times that one": (once, seven_times),
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
