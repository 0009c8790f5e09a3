"""Exercise 6.4: the mean IoU of guesses, for masks in which some pixels do not count."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, case, wrong_values


def right(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    guesses, masks = guesses[masks >= 0], masks[masks >= 0]
    ious = []
    for c in range(num_classes):
        guessed, true = guesses == c, masks == c
        if either := (guessed | true).sum().item():
            ious.append((guessed & true).sum().item() / either)
    return sum(ious) / len(ious)


def iou_of(guessed: Tensor, true: Tensor, absent: float | None = None) -> float | None:
    """The IoU of a class from where it is guessed and where it is true, or `absent` if it is neither anywhere."""
    either = (guessed | true).sum().item()
    return (guessed & true).sum().item() / either if either else absent


def averaging(
    score: Callable[[Tensor, Tensor], float | None] = iou_of,
    lowest: int = 0,
    first_class: int = 0,
    but: int | None = None,
) -> Callable[[Tensor, Tensor, int], float]:
    """An answer like `right`, with another score of a class (None is left out), or without other pixels or classes."""

    def answer(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
        counts = masks >= lowest if but is None else masks != but
        guesses, masks = guesses[counts], masks[counts]
        scores = [score(guesses == c, masks == c) for c in range(first_class, num_classes)]
        counted = [number for number in scores if number is not None]
        return sum(counted) / len(counted)

    return answer


def if_true_somewhere(guessed: Tensor, true: Tensor) -> float | None:
    return iou_of(guessed, true) if true.any() else None


def if_guessed_somewhere(guessed: Tensor, true: Tensor) -> float | None:
    return iou_of(guessed, true) if guessed.any() else None


def recall(guessed: Tensor, true: Tensor) -> float | None:
    return (guessed & true).sum().item() / true.sum().item() if true.any() else None


def dice(guessed: Tensor, true: Tensor) -> float | None:
    both, total = (guessed & true).sum().item(), (guessed.sum() + true.sum()).item()
    return 2 * both / total if total else None


def sum_for_the_union(guessed: Tensor, true: Tensor) -> float | None:
    both, total = (guessed & true).sum().item(), (guessed.sum() + true.sum()).item()
    return both / total if total else None


def share_of_right_pixels(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    return (guesses == masks)[masks >= 0].float().mean().item()


def each_image(guesses: Tensor, masks: Tensor, num_classes: int) -> float:
    means = [right(guess, mask, num_classes) for guess, mask in zip(guesses, masks, strict=True)]
    return sum(means) / len(means)


def all_ious(guesses: Tensor, masks: Tensor, num_classes: int) -> list[Tensor]:
    """Of each class, nan where it occurs nowhere."""
    guesses, masks = guesses[masks >= 0], masks[masks >= 0]
    ious = []
    for c in range(num_classes):
        guessed, true = guesses == c, masks == c
        ious.append((guessed & true).sum() / (guessed | true).sum())
    return ious


def mean_iou_of_matrix(matrix: Tensor) -> Tensor:
    """From how often each true class (row) was called each class (column)."""
    either = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return (matrix.diagonal() / either).nanmean()


def too_few_bins(guesses: Tensor, masks: Tensor, num_classes: int) -> Tensor:
    pairs = masks[masks >= 0] * num_classes + guesses[masks >= 0]
    return mean_iou_of_matrix(pairs.bincount().reshape(num_classes, num_classes))


def bins_below_zero(guesses: Tensor, masks: Tensor, num_classes: int) -> Tensor:
    pairs = (masks * num_classes + guesses).flatten()
    return mean_iou_of_matrix(pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes))


NAN = "0 / 0: leave out the classes that occur nowhere."
LEAVE_OUT = "a class may occur nowhere; leave it out."
BINS_BELOW_ZERO = "bincount takes no numbers below 0; take those pixels out first."
BELOW_ZERO = "take the pixels whose true class is below 0 out first."
ROUNDED = "the number was rounded; give it as it is."
MINLENGTH = "bincount leaves out the last classes if they do not occur; minlength=num_classes**2."

MEANS = (  # known by their value
    Mistake("pixels below 0 still count for the union.", averaging(lowest=-9)),
    Mistake("every number below 0 says that a pixel does not count, not -1 alone.", averaging(lowest=-1, but=-1)),
    Mistake("a class that occurs nowhere counts as 0.", averaging(lambda guessed, true: iou_of(guessed, true, 0))),
    Mistake("a class that occurs nowhere counts as 1.", averaging(lambda guessed, true: iou_of(guessed, true, 1))),
    Mistake(
        "a class that is guessed and never true is wrong each time: its IoU is 0, and it counts.",
        averaging(if_true_somewhere),
    ),
    Mistake(
        "a class that is true and never guessed is wrong each time: its IoU is 0, and it counts.",
        averaging(if_guessed_somewhere),
    ),
    Mistake("this is the share of right pixels.", share_of_right_pixels),
    Mistake(
        "these are the right pixels by those of the class; those that are only called so belong below, too.",
        averaging(recall),
    ),
    Mistake("the overlap was counted twice: it is the Dice score.", averaging(dice)),
    Mistake("each image has its own mean here; count all of them together.", each_image),
    Mistake("0 is a class like the others; only what is below does not count.", averaging(lowest=1)),
    Mistake("the background is a class like the others.", averaging(first_class=1)),
    Mistake("the union counts the overlap twice; take it away once.", averaging(sum_for_the_union)),
)
MISTAKES = (
    *MEANS,
    Mistake(NAN, lambda guesses, masks, num_classes: sum(all_ious(guesses, masks, num_classes)) / num_classes),
    Mistake("one number is wanted, not a list", all_ious),
    Mistake(
        LEAVE_OUT,
        averaging(lambda guessed, true: (guessed & true).sum().item() / (guessed | true).sum().item()),
    ),
    Mistake(BINS_BELOW_ZERO, bins_below_zero),
    Mistake(ROUNDED, lambda *given: round(right(*given), 3)),
    Mistake(MINLENGTH, too_few_bins),
)
CRASHES = (
    ("ZeroDivisionError", LEAVE_OUT),
    ("bincount only supports", BINS_BELOW_ZERO),
    ("negative", BELOW_ZERO),
    ("shape", MINLENGTH),
)


def cases() -> dict[str, tuple[Tensor, Tensor, int]]:
    """Guesses, masks and the number of classes, by what is special about them."""
    random = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 4, (3, 5, 7), generator=random)
    guesses = torch.where(torch.rand(3, 5, 7, generator=random) < 0.6, masks, (masks + 1) % 4)
    guesses[0], masks[0] = guesses[0].clamp(max=1), masks[0].clamp(max=1)
    holes = torch.where(torch.rand(3, 5, 7, generator=random) < 0.3, -1, masks)
    holes = torch.where((holes < 0) & (torch.rand(3, 5, 7, generator=random) < 0.5), -2, holes)
    unclear = holes.clone()
    unclear[guesses == 3] = -1
    many = torch.randint(0, 3, (2, 24, 30), generator=random)
    return {
        "for four classes": (guesses, masks, 4),
        "if a class is true, and guessed nowhere": (guesses.clamp(max=2), masks, 4),
        "for larger masks": (many, many.flip(2), 3),
        "if some true classes are below 0": (guesses, holes, 4),
        "if a fifth class occurs nowhere": (guesses, masks, 5),
        "if a class is guessed, and true nowhere": (guesses, masks.clamp(max=2), 4),
        "if a class is guessed only where the truth is below 0": (guesses, torch.where(unclear == 3, 2, unclear), 4),
    }


def verify(answer: Any) -> None:
    """`mean_iou_of(guesses, masks, num_classes) -> number`."""
    for name, given in cases().items():
        with case(name):
            got = call(answer, *given, crashes=CRASHES)
            try:
                number = float(got)
            except (TypeError, ValueError, RuntimeError):
                raise NotYet(f"one number is wanted, not a {type(got).__name__}.") from None
            expected = right(*given)
            if not abs(number - expected) < 1e-5:
                cause = because(likely_cause(number, *given))
                raise NotYet(f"the mean IoU should be {expected:.4f}, but is {number:.4f}.{cause}")


def likely_cause(number: float, *given: Any) -> str | None:
    if math.isnan(number):
        return NAN
    known = next((cause for cause, mean in wrong_values(MEANS, *given) if abs(mean - number) < 1e-5), None)
    return known or (ROUNDED if abs(number - right(*given)) < 5e-3 else None)


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Take out the pixels that do not count, of both tensors, before anything else.",
        "For a class c: guessed = guesses == c and true = masks == c; then (guessed & true) and (guessed | true).",
        "ious = [(...).sum() / (...).sum() for each class whose union is not empty]; their mean is the answer.",
    ),
    praise="every class counts as much as any other, however small it is.",
)
