"""Exercise 4.2: a weight for bands in another order, and for more of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare, wrong_values


def right(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    new = weight.new_zeros(len(weight), in_channels, *weight.shape[2:])
    new[:, list(places)] = weight
    return new


def counted_from_one(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    return right(weight, in_channels, [place - 1 for place in places])


def repeated(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    if in_channels == 3:
        return right(weight, in_channels, places)
    return weight[:, [channel % 3 for channel in range(in_channels)]]


def in_float(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    new = torch.zeros(len(weight), in_channels, *weight.shape[2:])
    new[:, list(places)] = weight
    return new


def loud(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    new = torch.full_like(right(weight, in_channels, places), 0.5)
    new[:, list(places)] = weight
    return new


def taken(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    return weight[:, list(places)]


def taken_if_there_are_more(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    if in_channels > 3:
        return weight[:, list(places)]
    return right(weight, in_channels, places)


def flipped(weight: Tensor, in_channels: int, places: Sequence[int]) -> Tensor:
    return right(weight.flip(1), in_channels, range(3))


SORTED = "`places` stand in the order red, green, blue; sorted, they say nothing of which colour goes where."
BACKWARDS = "the first of `places` is for red, not for blue."
FLIPPED = "flip(1) turns RGB into BGR and knows no other order; `places` says where each colour goes."
SILENT = "the other channels should be silent: zeros."
SCALED = "the kernels keep their size: the other channels add nothing."
GOES = "`places[c]` says where colour c goes, not where channel c comes from."
MORE_CHANNELS = "`places` are places in the new weight, which has more channels than the old one."
KEEPS_TYPE = "weight.new_zeros keeps the type"

MISTAKES = (
    Mistake(
        "the colours stay in their old places; `places` was not used.",
        lambda weight, in_channels, places: right(weight, in_channels, (0, 1, 2)),
    ),
    Mistake(SORTED, lambda weight, in_channels, places: right(weight, in_channels, sorted(places))),
    Mistake(FLIPPED, flipped),
    Mistake(BACKWARDS, lambda weight, in_channels, places: right(weight, in_channels, places[::-1])),
    Mistake(SILENT, repeated),
    Mistake(SILENT, loud),
    Mistake("places are counted from 0.", counted_from_one),
    Mistake(
        "nothing was copied into the zeros.",
        lambda weight, in_channels, places: weight.new_zeros(len(weight), in_channels, *weight.shape[2:]),
    ),
    Mistake(SCALED, lambda weight, in_channels, places: right(weight, in_channels, places) * in_channels / 3),
    Mistake(SCALED, lambda weight, in_channels, places: right(weight, in_channels, places) * 3 / in_channels),
    Mistake(
        GOES,
        lambda weight, in_channels, places: (right if in_channels > 3 else taken)(weight, in_channels, places),
    ),
    Mistake(MORE_CHANNELS, taken),
    Mistake(MORE_CHANNELS, taken_if_there_are_more),
    Mistake(KEEPS_TYPE, in_float),
    Mistake(KEEPS_TYPE, lambda weight, in_channels, places: right(weight.double(), in_channels, places)),
    Mistake(KEEPS_TYPE, lambda weight, in_channels, places: right(weight, in_channels, places).float()),
    Mistake(
        "the new weight has `in_channels` channels, not always three.",
        lambda weight, in_channels, places: right(weight, in_channels, places)[:, :3],
    ),
)

CRASHES = [
    ("dtypes match", f"{KEEPS_TYPE}; torch.zeros is float32."),
    ("The size of tensor", "kernels need not be square: take weight.shape[2:]."),
    ("shape mismatch", "kernels need not be square, and channels are axis 1."),
    ("IndexError: index 3", MORE_CHANNELS),
    ("IndexError: index 4", MORE_CHANNELS),
    ("out of bounds", MORE_CHANNELS),
]


def verify(answer: Any) -> None:
    """`place(weight, in_channels, places) -> weight`."""
    weight = torch.arange(1.0, 121.0).reshape(5, 3, 2, 4)
    cases = {
        "for seven channels with red in 4, green in 1, blue in 2": (7, (4, 1, 2)),
        "for blue, red, green": (3, (1, 2, 0)),
        "for blue, green, red": (3, (2, 1, 0)),
    }
    for name, (in_channels, places) in cases.items():
        with case(name):
            got = call(answer, weight, in_channels, places, crashes=CRASHES)
            expected = right(weight, in_channels, places)
            causes = wrong_values(MISTAKES, weight, in_channels, places)
            if isinstance(got, Tensor) and got.shape == expected.shape and torch.equal(got[:, list(places)], weight):
                causes.append((SILENT, got))  # the colours are right, so what differs is elsewhere
            compare(got, expected, "the weight", causes)
            expect_type(got, weight)
    exact = torch.full((1, 3, 1, 1), 0.1, dtype=torch.float64)
    with case("for a weight in double precision"):
        got = call(answer, exact, 4, (3, 0, 1), crashes=CRASHES)
        expect_type(got, exact)


def expect_type(got: Tensor, weight: Tensor) -> None:
    """It is that of the weight."""
    if got.dtype != weight.dtype:
        raise NotYet(f"a weight of {weight.dtype} comes back as {got.dtype}.{because(f'{KEEPS_TYPE}.')}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Begin with zeros of the new shape, of the same type as the weight: weight.new_zeros(...).",
        "A list can stand where an index stands: new[:, [4, 2, 1]] are three channels of it.",
        "new[:, list(places)] = weight",
    ),
    praise="the network sees the colours it knows, wherever they lie, and nothing else yet.",
)
