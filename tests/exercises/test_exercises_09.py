"""Lesson 09: right answers in unusual styles, wrong ones in foreign spellings, and what judges a training."""

import copy

import pytest
from answers import expect_not_yet, expect_passed, named
from torch import nn, no_grad

from helpers.first_conv import adapt_first_conv
from helpers.heads import replace_head
from workbook.exercises.lesson_09 import training
from workbook.exercises.lesson_09.exercise_9_1 import from_mat
from workbook.exercises.lesson_09.exercise_9_2 import right as adapted
from workbook.exercises.lesson_09.exercise_9_4 import why_few_hits
from workbook.exercises.lesson_09.networks import pretrained, unlike_wren
from workbook.exercises.lesson_09.pictures import few_pictures, few_scenes, unseen_pictures, unseen_scenes
from workbook.wren import BLOCKS, MaskWren, Wren


def by_hand(wren: Wren, scale: float = 1.0) -> Wren:
    new, old = copy.deepcopy(wren), wren.stem.conv.weight
    new.stem.conv = nn.Conv2d(4, 32, 5, stride=2, padding=2, bias=False)
    with no_grad():
        new.stem.conv.weight[:, :3] = old * scale
        new.stem.conv.weight[:, 3] = old.mean(1)
    new.score = nn.Conv2d(160, 6, 1)
    return new


def without_depth(wren: Wren) -> Wren:
    new = by_hand(wren)
    with no_grad():
        new.stem.conv.weight[:, 3] = 0
    return new


def by_helpers(wren: Wren) -> Wren:
    new = copy.deepcopy(wren)
    adapt_first_conv(new, 4, "mean_extra")
    replace_head(new, 6)
    return new


RIGHT = [
    ("9.1", lambda: from_mat(scale=255 * 0.25)),
    ("9.2", lambda wren: by_hand(wren)),
    ("9.2", without_depth),
    ("9.2", by_helpers),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def moves_blocks(wren: Wren) -> Wren:
    new, kept = Wren(6, in_channels=4), by_hand(wren)
    new.stem, new.score = kept.stem, kept.score
    for name in BLOCKS[1:]:
        setattr(new, name, wren.get_submodule(name))
    return new


WRONG = [
    ("9.1", pretrained(), "hand in the function that makes it"),
    ("9.2", lambda wren: by_hand(wren, scale=0.75), "scaled by 3/4"),
    ("9.2", lambda wren: by_hand(wren, scale=0.1), "are to stay as they are"),
    ("9.2", moves_blocks, "shares memory"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)


def from_wren() -> MaskWren:
    model = MaskWren(7, in_channels=4)
    model.stem = adapted(pretrained()).stem
    return model


def test_what_learned_its_scenes_and_fails_is_told_what_to_do() -> None:
    assert "began with random weights" in why_few_hits(MaskWren(7, in_channels=4), known=0.7)
    assert "move row i of that head to row i + 1" in why_few_hits(from_wren(), known=0.7)


@pytest.mark.parametrize("stem", [nn.Linear(4, 2), nn.Sequential()])
def test_a_network_with_another_stem_is_not_compared_with_wren(stem) -> None:
    network = nn.Sequential()
    network.stem = stem
    assert not unlike_wren(network)


def test_the_pictures_that_judge_are_not_those_that_are_shown() -> None:
    shown, judged = few_pictures()[0], unseen_pictures()[0]
    assert not any((picture == judged).flatten(1).all(1).any() for picture in shown)
    assert (len(shown), len(judged)) == (60, 600)
    assert (len(few_scenes()[0]), len(unseen_scenes()[0])) == (24, 60)


def test_who_takes_too_long_is_told(monkeypatch) -> None:
    monkeypatch.setattr(training, "SECONDS", 0)
    expect_not_yet("9.3", lambda pictures, kinds: adapted(pretrained()), "it took more than 0 s")
