"""Pixel accuracy and mean IoU against loops over pixels."""

import pytest
import torch
from torch import Tensor, nn

from helpers.fcn import FCNError, confusion_matrix, mean_iou, pixel_accuracy


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


class Says(nn.Module):
    """Puts out what it is told, whatever it sees."""

    def __init__(self, scores: object) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, images: Tensor) -> object:
        return self.scores


def scores_of(masks: Tensor, classes: int) -> Tensor:
    return nn.functional.one_hot(masks.long(), classes).movedim(-1, 1).float()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_masks_of_any_whole_type_are_counted_alike(dtype) -> None:
    torch.manual_seed(0)
    truth, said = torch.randint(0, 21, (2, 2, 7, 9))
    confusion = confusion_matrix(Says(scores_of(said, 21)), torch.ones(2, 3, 7, 9), truth.to(dtype))
    by_hand = torch.zeros(21, 21, dtype=torch.int64)
    for right, called in zip(truth.flatten().tolist(), said.flatten().tolist(), strict=True):
        by_hand[right, called] += 1
    assert torch.equal(confusion, by_hand)


def test_labels_that_are_none_are_left_out_on_request() -> None:
    truth = torch.tensor([[[0, 1, 255], [2, 255, 2]]], dtype=torch.uint8)
    said = scores_of(torch.tensor([[[0, 1, 1], [2, 0, 1]]]), 3)
    images = torch.ones(1, 3, 2, 3)
    with pytest.raises(
        FCNError, match="a mask has the label 255, the model tells 3 classes apart: give ignore_index=255"
    ):
        confusion_matrix(Says(said), images, truth)
    confusion = confusion_matrix(Says({"out": said, "aux": said * 0}), images, truth, ignore_index=255)
    assert confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("scores", "masks", "message"),
    [
        (torch.full((1, 3, 2, 3), torch.nan), torch.zeros(1, 2, 3).long(), "scores are NaN"),
        (torch.ones(1, 3, 4, 6), torch.zeros(1, 2, 3).long(), r"scores are \(1, 3, 4, 6\), masks \(1, 2, 3\)"),
        (torch.ones(1, 3), torch.zeros(1, 2, 3).long(), r"puts out \(1, 3\), not"),
        ({"logits": torch.ones(1, 3, 2, 3)}, torch.zeros(1, 2, 3).long(), "puts out a NoneType"),
        (
            torch.ones(1, 3, 2, 3),
            torch.zeros(1, 2, 3),
            r"masks are \(N, H, W\) whole numbers, not \(1, 2, 3\) torch.float32",
        ),
        (torch.ones(1, 3, 2, 3), torch.zeros(1, 1, 2, 3).long(), r"not \(1, 1, 2, 3\)"),
        (torch.ones(1, 3, 2, 3), torch.zeros(2, 2, 3).long(), "1 inputs have 2 masks"),
        (torch.ones(1, 3, 2, 3), None, "not NoneType"),
    ],
)
def test_what_cannot_be_counted_is_named(scores, masks, message) -> None:
    with pytest.raises(FCNError, match=message):
        confusion_matrix(Says(scores), torch.ones(1, 3, 2, 3), masks)


def test_a_matrix_that_counts_nothing_has_no_accuracy() -> None:
    for score in (pixel_accuracy, mean_iou):
        with pytest.raises(FCNError, match="no pixel was counted"):
            score(torch.zeros(3, 3))
        with pytest.raises(FCNError, match=r"not \(3, 4\)"):
            score(torch.ones(3, 4))
