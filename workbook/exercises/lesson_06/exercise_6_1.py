"""Exercise 6.1: where the units of a stack of layers look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, case, wrong_values

Layers = Sequence[tuple[int, int, int]]
Place = tuple[float, float, float]


def right(layers: Layers) -> Place:
    apart, start, size = 1, 0.0, 1
    for kernel, stride, padding in layers:
        start += apart * ((kernel - 1) / 2 - padding)
        size += apart * (kernel - 1)
        apart *= stride
    return apart, start, size


def walk(
    shift: Callable[[int, int, int, int], float] = lambda apart, kernel, stride, padding: (
        apart * ((kernel - 1) / 2 - padding)
    ),
    grow: Callable[[int, int, int], int] = lambda apart, kernel, stride: apart * (kernel - 1),
    widen: Callable[[int, int], int] = lambda apart, stride: apart * stride,
    first_size: int = 1,
) -> Callable[[Layers], Place]:
    """An answer like `right`, with a part of it exchanged for a mistake."""

    def answer(layers: Layers) -> Place:
        apart, start, size = 1, 0.0, first_size
        for kernel, stride, padding in layers:
            start += shift(apart, kernel, stride, padding)
            size += grow(apart, kernel, stride)
            apart = widen(apart, stride)
        return apart, start, size

    return answer


def start_first(layers: Layers) -> Place:
    apart, start, size = right(layers)
    return start, apart, size


def sets_the_result_in_the_loop(layers: Layers) -> Place:
    apart, start, size = 1, 0.0, 1
    for kernel, stride, padding in layers:
        start += apart * ((kernel - 1) / 2 - padding)
        size += apart * (kernel - 1)
        apart *= stride
        found = apart, start, size
    return found


def takes_pairs(layers: Any) -> Place:
    apart, size = 1, 1
    for kernel, stride in layers:
        size += apart * (kernel - 1)
        apart *= stride
    return apart, 0.0, size


ORDER = "the order is distance, start, size."
IN_PIXELS = "count in pixels of the image: times the distance of the units that the layer reads."
STRIDE_LAST = "a layer reads units that its own stride has not moved apart yet; multiply by its stride last."
ONE_LESS = "first k - 1, then times the distance: apart * (k - 1), not apart * k - 1."
TRIPLE_ORDER = "a layer is (kernel, stride, padding), in this order; kernel and stride are exchanged."
IN_THE_LOOP = "this is the first layer alone: `return` stands inside the loop."
TRIPLES = "each layer is a tuple (kernel, stride, padding); `for kernel, stride, padding in layers`."
NO_LAYERS = "what is set in the loop alone does not exist if there are no layers; begin with 1, 0, 1."

MISTAKES = (
    Mistake(ORDER, start_first),
    Mistake(
        "the kernel moves the first unit on, and the padding back.",
        walk(shift=lambda apart, kernel, stride, padding: apart * (padding - (kernel - 1) / 2)),
    ),
    Mistake("strides multiply; they do not add up.", walk(widen=lambda apart, stride: apart + stride)),
    Mistake("the last layer's stride alone; they multiply.", walk(widen=lambda apart, stride: stride)),
    Mistake(
        "the padding moves the first unit back.",
        walk(shift=lambda apart, kernel, stride, padding: apart * (kernel - 1) / 2),
    ),
    Mistake(
        "the padding moves the first unit back, not on.",
        walk(shift=lambda apart, kernel, stride, padding: apart * ((kernel - 1) / 2 + padding)),
    ),
    Mistake(
        "the centre of k pixels is (k - 1) / 2 behind the first one's, and that of the first pixel is 0.",
        walk(shift=lambda apart, kernel, stride, padding: apart * (kernel / 2 - padding)),
    ),
    Mistake(
        "rounding, or `//`, loses half a pixel where a kernel is even.",
        walk(shift=lambda apart, kernel, stride, padding: apart * ((kernel - 1) // 2 - padding)),
    ),
    Mistake(
        "rounding, or `//`, loses half a pixel where a kernel is even: (kernel - 1) / 2.",
        walk(shift=lambda apart, kernel, stride, padding: apart * (kernel // 2 - padding)),
    ),
    Mistake(IN_PIXELS, walk(shift=lambda apart, kernel, stride, padding: apart * (kernel - 1) / 2 - padding)),
    Mistake(
        "a kernel of 1 sees no pixel more, and its stride counts as any other.",
        lambda layers: right([layer for layer in layers if layer[0] > 1]),
    ),
    Mistake(
        "the receptive field grows by what the kernel adds; a stride lets it see no more.",
        walk(grow=lambda apart, kernel, stride: apart * max(kernel - 1, stride - 1)),
    ),
    Mistake(ONE_LESS, walk(grow=lambda apart, kernel, stride: apart * kernel - 1)),
    Mistake(TRIPLE_ORDER, lambda layers: right([(stride, kernel, padding) for kernel, stride, padding in layers])),
    Mistake(IN_THE_LOOP, lambda layers: right(layers[:1])),
    Mistake(ORDER, lambda layers: right(layers)[::-1]),
    Mistake(IN_PIXELS, walk(shift=lambda apart, kernel, stride, padding: (kernel - 1) / 2 - padding)),
    Mistake(IN_PIXELS, walk(grow=lambda apart, kernel, stride: kernel - 1)),
    Mistake(
        STRIDE_LAST,
        walk(shift=lambda apart, kernel, stride, padding: apart * stride * ((kernel - 1) / 2 - padding)),
    ),
    Mistake(STRIDE_LAST, walk(grow=lambda apart, kernel, stride: apart * stride * (kernel - 1))),
    Mistake(
        "a kernel of k adds k - 1 pixels, since one is there already.",
        walk(grow=lambda apart, kernel, stride: apart * kernel),
    ),
    Mistake("one unit alone sees one pixel, so the size begins with 1.", walk(first_size=0)),
    Mistake("three numbers are wanted", lambda layers: right(layers)[:2]),
    Mistake(TRIPLES, takes_pairs),
    Mistake(NO_LAYERS, sets_the_result_in_the_loop),
)
CRASHES = (("unpack", TRIPLES), ("UnboundLocalError", NO_LAYERS))

STACKS: dict[str, tuple[Layers, Place]] = {  # what it is called -> the layers, and where their units look
    "[(7, 2, 3), (3, 2, 0), (4, 3, 1)]": ([(7, 2, 3), (3, 2, 0), (4, 3, 1)], (12, 4, 23)),
    "a single conv (3, 2, 1)": ([(3, 2, 1)], (2, 0, 3)),
    "[(2, 2, 0), (5, 1, 1)]": ([(2, 2, 0), (5, 1, 1)], (2, 2.5, 10)),
    "[(3, 1, 100), (2, 2, 0), (2, 2, 0), (7, 1, 0)]": (
        [(3, 1, 100), (2, 2, 0), (2, 2, 0), (7, 1, 0)],
        (4, -85.5, 30),
    ),
    "[(4, 3, 1), (1, 2, 0), (3, 1, 0)]": ([(4, 3, 1), (1, 2, 0), (3, 1, 0)], (6, 6.5, 16)),
    "no layers at all": ([], (1, 0, 1)),
}
PARTS = ("the distance of the units", "the centre of the first unit", "the size of the receptive field")


def verify(answer: Any) -> None:
    """`place(layers) -> (stride, start, size)`."""
    for name, (layers, expected) in STACKS.items():
        with case(f"for {name}"):
            got = call(answer, layers, crashes=CRASHES)
            if not isinstance(got, (tuple, list, Tensor, np.ndarray)) or len(got) != 3:
                raise NotYet(f"three numbers are wanted: stride, start, size; not {got!r}.")
            found = tuple(float(number) for number in got)
            for i, part in enumerate(PARTS):
                if found[i] != expected[i]:
                    cause = because(likely_cause(found, expected, layers, upto=i + 1))
                    raise NotYet(f"{part} should be {expected[i]:g}, but is {found[i]:g}.{cause}")


def likely_cause(found: tuple[float, ...], expected: Place, layers: Layers, upto: int) -> str | None:
    """That of the mistake which gives the same numbers, up to the first wrong one; further ones may have others."""
    if sorted(found) == sorted(expected):
        return ORDER
    wrong = wrong_values(MISTAKES, layers)
    return next((cause for cause, numbers in wrong if numbers[:upto] == found[:upto]), None)


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Begin with one pixel: units 1 pixel apart, the first at 0, each seeing 1.",
        "The text above has the three rules; S is the distance before the layer, so change it last.",
        "for kernel, stride, padding in layers: start += apart * ((kernel - 1) / 2 - padding); "
        "size += apart * (kernel - 1); apart *= stride",
    ),
    praise="kernels, strides and paddings tell where a unit looks.",
)
