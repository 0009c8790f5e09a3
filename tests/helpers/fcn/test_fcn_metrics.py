"""Pixel accuracy and mean IoU against loops over pixels."""

import torch
from torch import Tensor, nn

from helpers.fcn import confusion_matrix, mean_iou, pixel_accuracy


class Guesses(nn.Module):
    """Answers with scores for the guesses that it gets as inputs, and notes its mode."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.seen = classes, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.training, len(x)))
        return nn.functional.one_hot(x, self.classes).movedim(-1, 1).float()


def example(classes: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return tuple(torch.randint(0, classes, (45, 7, 9), generator=random) for _ in range(2))


def test_scores_by_loops() -> None:
    guesses, masks = example(4)
    masks[:2, 0] = -1  # not counted
    model = Guesses(4).train()
    confusion = confusion_matrix(model, guesses, masks)
    assert model.training
    assert model.seen == [(False, 20), (False, 20), (False, 5)]
    pairs = [(t, g) for t, g in zip(masks.flatten().tolist(), guesses.flatten().tolist(), strict=True) if t >= 0]
    assert confusion.tolist() == [[pairs.count((t, g)) for g in range(4)] for t in range(4)]
    assert abs(pixel_accuracy(confusion) - sum(t == g for t, g in pairs) / len(pairs)) < 1e-6
    ious = [
        sum(t == g == c for t, g in pairs) / sum(c in (t, g) for t, g in pairs)
        for c in range(4)
    ]  # fmt: skip
    assert abs(mean_iou(confusion) - sum(ious) / 4) < 1e-6


def test_a_class_that_nobody_speaks_of_does_not_count() -> None:
    guesses, masks = (tensor.clamp(max=2) for tensor in example(4))
    confusion = confusion_matrix(Guesses(4), guesses, masks)
    without = confusion_matrix(Guesses(3), guesses, masks)
    assert mean_iou(confusion) == mean_iou(without)
    only_guessed = confusion_matrix(Guesses(4), torch.where(guesses == 1, 3, guesses), masks)
    assert mean_iou(only_guessed) < mean_iou(confusion)


def test_all_right_is_one() -> None:
    _, masks = example(4)
    confusion = confusion_matrix(Guesses(4), masks, masks)
    assert pixel_accuracy(confusion) == mean_iou(confusion) == 1
