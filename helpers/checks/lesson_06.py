"""Lesson 06: what the exercises ask, and the mistakes that they know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .feedback import Exercise, NotYet, because, call
from .lesson_06_layers import verify_fill, verify_upsampling

Layers = Sequence[tuple[int, int, int]]

STACKS: dict[str, Layers] = {
    "for a single conv (3, 2, 1)": [(3, 2, 1)],
    "for [(2, 2, 0), (5, 1, 1)]": [(2, 2, 0), (5, 1, 1)],
    "for [(7, 2, 3), (3, 2, 0), (4, 3, 1)]": [(7, 2, 3), (3, 2, 0), (4, 3, 1)],
    "for [(3, 1, 100), (2, 2, 0), (2, 2, 0), (7, 1, 0)]": [(3, 1, 100), (2, 2, 0), (2, 2, 0), (7, 1, 0)],
    "for no layers at all": [],
}
PARTS = ("the distance of the units", "the centre of the first unit", "the size of the receptive field")


def verify_place(answer: Any) -> None:
    """6.1 `place(layers) -> (stride, start, size)`."""
    for case, layers in STACKS.items():
        got = call(answer, layers, case=case, crashes=PLACE_CRASHES)
        if not isinstance(got, (tuple, list, Tensor)) or len(got) != 3:
            raise NotYet(f"{case}, three numbers are wanted: stride, start, size; not {got!r}.")
        found, expected = tuple(float(number) for number in got), by_following_two_units(layers)
        for i, (number, right) in enumerate(zip(found, expected, strict=True)):
            if number != right:
                cause = next((text for text, wrong in PLACE_CAUSES if wrong(layers)[i] == number), None)
                raise NotYet(f"{case}, {PARTS[i]} should be {right:g}, but is {number:g}.{because(cause)}")


def by_following_two_units(layers: Layers) -> tuple[float, float, float]:
    """Stride, start and size, from the first and last pixel that units 0 and 1 see."""
    seen = []
    for unit in (0, 1):
        first = last = unit
        for kernel, stride, padding in reversed(layers):
            first, last = first * stride - padding, last * stride - padding + kernel - 1
        seen.append((first, last))
    (first, last), (next_first, _) = seen
    return next_first - first, (first + last) / 2, last - first + 1


def mistaken(
    shift: Callable[[float, int, int, int], float] = lambda apart, k, s, p: apart * ((k - 1) / 2 - p),
    grow: Callable[[float, int, int], float] = lambda apart, k, s: apart * (k - 1),
    widen: Callable[[float, int], float] = lambda apart, s: apart * s,
) -> Callable[[Layers], tuple[float, float, float]]:
    """The walk through the layers with a part of it exchanged for a mistake."""

    def walk(layers: Layers) -> tuple[float, float, float]:
        apart, start, size = 1.0, 0.0, 1.0
        for kernel, stride, padding in layers:
            start, size = start + shift(apart, kernel, stride, padding), size + grow(apart, kernel, stride)
            apart = widen(apart, stride)
        return apart, start, size

    return walk


PLACE_CAUSES = [
    ("the order is distance, start, size.", lambda layers: _turned(mistaken()(layers))),
    (
        "the kernel moves the first unit on, and the padding back.",
        mistaken(shift=lambda a, k, s, p: a * (p - (k - 1) / 2)),
    ),
    ("strides multiply; they do not add up.", mistaken(widen=lambda apart, s: apart + s)),
    ("the last layer's stride alone; they multiply.", mistaken(widen=lambda apart, s: s)),
    ("the padding moves the first unit back.", mistaken(shift=lambda apart, k, s, p: apart * (k - 1) / 2)),
    ("the padding moves the first unit back, not on.", mistaken(shift=lambda a, k, s, p: a * ((k - 1) / 2 + p))),
    (
        "the centre of k pixels is (k - 1) / 2 behind the first one's, and that of the first pixel is 0.",
        mistaken(shift=lambda a, k, s, p: a * (k / 2 - p)),
    ),
    (
        "rounding, or `//`, loses half a pixel where a kernel is even.",
        mistaken(shift=lambda a, k, s, p: a * ((k - 1) // 2 - p)),
    ),
    (
        "count in pixels of the image: times the distance of the units that the layer reads.",
        mistaken(shift=lambda a, k, s, p: (k - 1) / 2 - p, grow=lambda a, k, s: k - 1),
    ),
    (
        "a layer reads units that its own stride has not moved apart yet; multiply by its stride last.",
        mistaken(shift=lambda a, k, s, p: a * s * ((k - 1) / 2 - p), grow=lambda a, k, s: a * s * (k - 1)),
    ),
    ("a kernel of k adds k - 1 pixels, since one is there already.", mistaken(grow=lambda apart, k, s: apart * k)),
    ("one unit alone sees one pixel, so the size begins with 1.", lambda layers: (0, 0, mistaken()(layers)[2] - 1)),
]


def _turned(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    _, start, size = numbers
    return start, float("nan"), size  # the start alone is told from other mistakes


PLACE_CRASHES = [
    ("unpack", "each layer is a tuple (kernel, stride, padding); `for kernel, stride, padding in layers`."),
    ("UnboundLocalError", "what is set in the loop alone does not exist if there are no layers; begin with 1, 0, 1."),
]


def verify_mean_iou(answer: Any) -> None:
    """6.4 `mean_iou_of(guesses, masks, num_classes) -> number`."""
    random = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 4, (3, 5, 7), generator=random)
    guesses = torch.where(torch.rand(3, 5, 7, generator=random) < 0.6, masks, (masks + 1) % 4)
    guesses[0], masks[0] = guesses[0].clamp(max=1), masks[0].clamp(max=1)
    holes = torch.where(torch.rand(3, 5, 7, generator=random) < 0.3, -1, masks)
    unclear = holes.clone()
    unclear[guesses == 3] = -1
    cases = {
        "for four classes": (guesses, masks, 4),
        "if some true classes are below 0": (guesses, holes, 4),
        "if a fifth class occurs nowhere": (guesses, masks, 5),
        "if a class is guessed, and true nowhere": (guesses, masks.clamp(max=2), 4),
        "if a class is guessed only where the truth is below 0": (guesses, torch.where(unclear == 3, 2, unclear), 4),
    }
    for case, given in cases.items():
        got = call(answer, *given, case=case, crashes=IOU_CRASHES)
        try:
            number = float(got)
        except (TypeError, ValueError, RuntimeError):
            raise NotYet(f"{case}, one number is wanted, not a {type(got).__name__}.") from None
        expected = sum(ious := by_counting(*given)) / len(ious)
        if not abs(number - expected) < 1e-5:
            cause = next((text for text, wrong in IOU_CAUSES if abs(wrong(*given) - number) < 1e-5), None)
            cause = "0 / 0: leave out the classes that occur nowhere." if number != number else cause
            raise NotYet(f"{case}, the mean IoU should be {expected:.4f}, but is {number:.4f}.{because(cause)}")


def by_counting(guesses: Tensor, masks: Tensor, num_classes: int, only: int = -1) -> list[float]:
    """The IoU of each class that occurs, pixel by pixel."""
    pairs = list(zip(guesses.flatten().tolist(), masks.flatten().tolist(), strict=True))
    pairs = [(guess, true) for guess, true in pairs if true > only]
    counts = [(sum(g == t == c for g, t in pairs), sum(c in pair for pair in pairs)) for c in range(num_classes)]
    return [both / either for both, either in counts if either]


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _dice(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    return _mean([2 * iou / (1 + iou) for iou in by_counting(guesses, masks, num_classes)])


def _recall(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    true = [masks == c for c in range(num_classes)]
    return _mean([(guesses[pixels] == c).float().mean().item() for c, pixels in enumerate(true) if pixels.any()])


def _pixel_accuracy(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    return (guesses == masks)[masks >= 0].float().mean().item()


def _each_image(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    return _mean([_mean(by_counting(*pair, num_classes)) for pair in zip(guesses, masks, strict=True)])


def _only_true_ones(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    present = sum(bool((masks == c).any()) for c in range(num_classes))
    return sum(by_counting(guesses, masks, num_classes)) / present


IOU_CAUSES = [
    ("pixels below 0 still count for the union.", lambda g, m, n: _mean(by_counting(g, m, n, only=-9))),
    ("a class that occurs nowhere counts as 0.", lambda g, m, n: sum(by_counting(g, m, n)) / n),
    (
        "a class that occurs nowhere counts as 1.",
        lambda g, m, n: (sum(ious := by_counting(g, m, n)) + n - len(ious)) / n,
    ),
    ("a class that is guessed and never true is wrong each time: its IoU is 0, and it counts.", _only_true_ones),
    ("this is the share of right pixels.", _pixel_accuracy),
    ("these are the right pixels by those of the class; those that are only called so belong below, too.", _recall),
    ("the overlap was counted twice: it is the Dice score.", _dice),
    ("each image has its own mean here; count all of them together.", _each_image),
    (
        "0 is a class like the others; only what is below does not count.",
        lambda g, m, n: _mean(by_counting(g, m, n, 0)),
    ),
    ("the background is a class like the others.", lambda g, m, n: _mean(by_counting(g, m, n)[1:])),
    (
        "the union counts the overlap twice; take it away once.",
        lambda g, m, n: _mean([iou / (1 + iou) for iou in by_counting(g, m, n)]),
    ),
]

IOU_CRASHES = [
    ("ZeroDivisionError", "a class may occur nowhere; leave it out."),
    ("non-negative", "bincount takes no numbers below 0; take those pixels out first."),
    ("negative", "take the pixels whose true class is below 0 out first."),
    ("shape", "bincount leaves out the last classes if they do not occur; minlength=num_classes**2."),
]


EXERCISES = {
    "6.1": Exercise(
        verify_place,
        (
            "Begin with one pixel: units 1 pixel apart, the first at 0, each seeing 1.",
            "The text above has the three rules; S is the distance before the layer, so change it last.",
            "for kernel, stride, padding in layers: start += apart * ((kernel - 1) / 2 - padding); "
            "size += apart * (kernel - 1); apart *= stride",
        ),
        "kernels, strides and paddings tell where a unit looks.",
    ),
    "6.2": Exercise(
        verify_upsampling,
        (
            "Kernel size 2 * scale, stride scale, groups=channels, bias=False; the padding takes off what is too much.",
            "The output has (H - 1) * scale + 2 * scale - 2 * padding rows, which is to be scale * H.",
            "conv.weight has the shape (channels, 1, 2 * scale, 2 * scale): under torch.no_grad(), "
            "conv.weight[:, 0] = the outer product of 1 - |i - centre| / scale with itself.",
        ),
        "it interpolates, until it is trained.",
    ),
    "6.3": Exercise(
        verify_fill,
        (
            "Look at all pairs before you write: the lengths of the lists, then the shapes.",
            "A conv fits if its shape is the same; a Linear if out_features is out_channels and numel() the same.",
            "with torch.no_grad(): target.weight.copy_(source.weight.reshape(target.weight.shape)); the bias likewise.",
        ),
        "all of it copied, nothing shared.",
    ),
    "6.4": Exercise(
        verify_mean_iou,
        (
            "Take out the pixels that do not count, of both tensors, before anything else.",
            "For a class c: guessed = guesses == c and true = masks == c; then (guessed & true) and (guessed | true).",
            "ious = [(...).sum() / (...).sum() for each class whose union is not empty]; their mean is the answer.",
        ),
        "every class counts as much as any other, however small it is.",
    ),
}
