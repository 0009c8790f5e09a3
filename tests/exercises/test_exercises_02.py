"""Lesson 02: right answers in unusual styles, and wrong ones in foreign spellings."""

import copy

import pytest
import torch
from answers import expect_not_yet, expect_passed, named
from torch import nn

from workbook.exercises.lesson_02.exercise_2_1 import named_tensors
from workbook.exercises.lesson_02.exercise_2_3 import right as filled


def copied_one_by_one(target: nn.Module, source: nn.Module) -> nn.Module:
    with torch.no_grad():
        for into, tensor in zip(target.state_dict().values(), source.state_dict().values(), strict=True):
            into.copy_(tensor)
    return target


RIGHT = [
    ("2.1", lambda model: copy.deepcopy(model.state_dict())),
    ("2.2", lambda c: {k[7:] if k.startswith("module.") else k: t for k, t in c.get("state_dict", c).items()}),
    ("2.3", copied_one_by_one),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def assigns_data_of_the_dictionary(target: nn.Module, source: nn.Module) -> nn.Module:
    for key, tensor in target.state_dict().items():
        tensor.data = source.state_dict()[key]
    return target


WRONG = [
    ("2.1", lambda model: copy.copy(model.state_dict()), "hands out the model's own memory"),
    ("2.1", lambda model: {k: t.detach().clone() for k, t in named_tensors(model).items()}, "lacks '3.weight'"),
    ("2.1", lambda model: copy.deepcopy(model.state_dict(keep_vars=True)), "detached tensors"),
    ("2.2", lambda c: {k[7:]: t for k, t in c["state_dict"].items()} if "epoch" in c else None, "seven letters"),
    ("2.3", assigns_data_of_the_dictionary, "or assigned to the `.data` of its tensors, stays there"),
    ("2.3", lambda target, source: filled(copy.deepcopy(target), source), "not the target that was given"),
    ("2.3", lambda target, source: target, "other numbers in '0.weight'"),
    (
        "2.3",
        lambda target, source: [p.copy_(q) for p, q in zip(target.parameters(), source.parameters(), strict=True)],
        "no_grad",
    ),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)
