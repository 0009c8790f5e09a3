"""Exercise 1.4: fold the preprocessing into the first conv."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..checking import Exercise, Mistake, call, case, compare, pair, wrong_values


def right(weight: Tensor, bias: Tensor, average: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    return scaled(weight, 255 * std), shifted(bias, weight, 255 * mean - average)


def scaled(weight: Tensor, factor: Tensor) -> Tensor:
    """The weight times one factor for each input channel."""
    return weight * factor.view(1, -1, 1, 1)


def shifted(bias: Tensor, weight: Tensor, constant: Tensor) -> Tensor:
    """The bias and what the conv makes of one constant for each input channel."""
    return bias + scaled(weight, constant).sum((1, 2, 3))


def with_weight(weight_of: Callable) -> Callable:
    """An answer that finds the new weight in its own way."""
    return lambda weight, bias, average, mean, std: (
        weight_of(weight, std),
        shifted(bias, weight, 255 * mean - average),
    )


def with_constant(constant_of: Callable) -> Callable:
    """An answer with a constant of its own."""
    return lambda weight, bias, average, mean, std: (
        scaled(weight, 255 * std),
        shifted(bias, weight, constant_of(average, mean, std)),
    )


def with_bias(bias_of: Callable) -> Callable:
    """An answer that brings the right constant into the bias in its own way."""
    return lambda weight, bias, average, mean, std: (
        scaled(weight, 255 * std),
        bias_of(bias, weight, 255 * mean - average),
    )


def shifts_through_the_new_weight(
    weight: Tensor, bias: Tensor, average: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    weight = scaled(weight, 255 * std)
    return weight, shifted(bias, weight, 255 * mean - average)


def in_place(weight: Tensor, bias: Tensor, average: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    bias += scaled(weight, 255 * mean - average).sum((1, 2, 3))
    weight *= 255 * std.view(1, -1, 1, 1)
    return weight, bias


DIVIDED = "divided where it has to be multiplied: the conv undoes the division by std."
SIZES = "mean, std and average belong to dimension 1, view them as (1, 3, 1, 1); and sum over dimensions 1, 2, 3."

WRONG_WEIGHTS = (
    Mistake(
        "the factor 255 is missing: torchvision's pixels lie between 0 and 1.",
        with_weight(lambda weight, std: scaled(weight, std)),
    ),
    Mistake(DIVIDED, with_weight(lambda weight, std: scaled(weight, 255 / std))),
    Mistake(DIVIDED, with_weight(lambda weight, std: scaled(weight, 1 / (255 * std)))),
    Mistake("std was not applied.", with_weight(lambda weight, std: weight * 255)),
    Mistake("the weight was not changed.", with_weight(lambda weight, std: weight)),
)
WRONG_BIASES = (
    Mistake(
        "the bias was not changed; 255 * mean and average differ here.",
        with_bias(lambda bias, weight, constant: bias),
    ),
    Mistake(
        "the shift has the wrong sign; it is 255 * mean - average.",
        with_constant(lambda average, mean, std: average - 255 * mean),
    ),
    Mistake(
        "the shift was multiplied with the new weight; it takes the old one.",
        shifts_through_the_new_weight,
    ),
    Mistake(
        "mean was not brought to the scale 0-255.",
        with_constant(lambda average, mean, std: mean - average),
    ),
    Mistake(
        "255 * mean is missing from the shift.",
        with_constant(lambda average, mean, std: -average),
    ),
    Mistake(
        "average is missing from the shift; it is 255 * mean - average.",
        with_constant(lambda average, mean, std: 255 * mean),
    ),
    Mistake(
        "the shift is 255 times too small: the old network's pixels lie between 0 and 255.",
        with_constant(lambda average, mean, std: mean - average / 255),
    ),
    Mistake(
        "a conv adds its terms up, so take their sum, not their mean.",
        with_bias(lambda bias, weight, constant: bias + scaled(weight, constant).mean((1, 2, 3))),
    ),
    Mistake(
        "the sum runs over the outputs too; each output has a bias of its own.",
        with_bias(lambda bias, weight, constant: bias + scaled(weight, constant).sum()),
    ),
    Mistake(
        "the shift did not go through the weight; a conv multiplies first, then adds.",
        with_bias(lambda bias, weight, constant: bias + constant.sum()),
    ),
    Mistake(
        "std belongs to the weight alone; the shift is 255 * mean - average.",
        with_constant(lambda average, mean, std: 255 * mean / std - average),
    ),
    Mistake(
        "the average was rounded; its digits count, for the weights multiply them.",
        with_constant(lambda average, mean, std: 255 * mean - average.round()),
    ),
    Mistake(
        "the old bias is missing.",
        with_bias(lambda bias, weight, constant: scaled(weight, constant).sum((1, 2, 3))),
    ),
)
MISTAKES = (
    *WRONG_WEIGHTS,
    *WRONG_BIASES,
    Mistake(SIZES, lambda weight, bias, average, mean, std: (weight * std, bias)),
    Mistake("changes what it was given", in_place),
)


def verify(answer: Any) -> None:
    """`fold(weight, bias, average, mean, std) -> (weight, bias)`."""
    generator = torch.Generator().manual_seed(14)
    average, mean, std = (
        torch.tensor([120.3, 110.6, 90.2]),
        torch.tensor([0.5, 0.4, 0.3]),
        torch.tensor([0.2, 0.3, 0.4]),
    )
    for shape in ((5, 3, 2, 4), (1, 3, 4, 2)):
        weight, bias = torch.randn(shape, generator=generator), torch.randn(shape[0], generator=generator)
        with case(f"for a weight {shape}"):
            verify_fold(answer, (weight, bias, average, mean, std))


def verify_fold(answer: Any, inputs: tuple[Tensor, ...]) -> None:
    got = call(answer, *inputs, crashes=[("must match the size", SIZES)])
    new_weight, new_bias = right(*inputs)
    got_weight, got_bias = pair(got, "the new weight and the new bias")
    compare(got_weight, new_weight, "the weight", wrong_values(WRONG_WEIGHTS, *inputs, part=0))
    compare(got_bias, new_bias, "the bias", wrong_values(WRONG_BIASES, *inputs, part=1))


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Write the pixel x twice: the old network saw x - average, the new one sees z = (x / 255 - mean) / std. "
        "Solve the second for x and put it into the first.",
        "x - average = 255 * std * z + (255 * mean - average). The factor goes into the weight of each input "
        "channel; the constant goes, through the weight, into the bias.",
        "One factor for each input channel: view(1, -1, 1, 1). The constant meets every number of the weight, and "
        "each output adds up over input, height and width: sum((1, 2, 3)).",
        "new_weight = weight * (255 * std).view(1, -1, 1, 1); "
        "new_bias = bias + (weight * (255 * mean - average).view(1, -1, 1, 1)).sum((1, 2, 3))",
    ),
    praise="the network now takes torchvision's normalised images and computes what it computed.",
)
