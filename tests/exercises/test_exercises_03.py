"""Lesson 03: right answers in unusual styles, and wrong ones in foreign spellings."""

import numpy as np
import pytest
import torch
from answers import expect_not_yet, expect_passed, named

from workbook.exercises.lesson_03.exercise_3_1 import right as sort_out
from workbook.exercises.lesson_03.exercise_3_3 import comparing
from workbook.exercises.lesson_03.exercise_3_4 import right as first_difference


def sort_out_in_a_loop(model, state_dict):
    loaded, mismatched, missing = [], [], []
    for key, tensor in model.state_dict().items():
        if key not in state_dict:
            missing.append(key)
        elif state_dict[key].shape == tensor.shape:
            loaded.append(key)
        else:
            mismatched.append(key)
    return loaded, mismatched, missing, [key for key in state_dict if key not in model.state_dict()]


def rename_in_a_loop(state_dict, new_names):
    renamed = {}
    for key, tensor in state_dict.items():
        new = new_names[key] if key in new_names else key  # noqa: SIM401
        if new in renamed:
            raise ValueError(new)
        renamed[new] = tensor
    return renamed


def pair_whole_names(model, state_dict):
    """Weights and biases in one list; of these, kind and shape must agree."""

    def countable(tensors):
        layers = [key.removesuffix("weight") for key, t in tensors.items() if key.endswith(".weight") and t.ndim > 1]
        return [layer + leaf for layer in layers for leaf in ("weight", "bias") if layer + leaf in tensors]

    names = dict(zip(countable(state_dict), countable(model.state_dict()), strict=True))
    for old, new in names.items():
        if old[-4:] != new[-4:] or state_dict[old].shape != model.state_dict()[new].shape:
            raise ValueError(f"{old} and {new} do not agree")
    return names


def first_difference_of_slices(first, second, x):
    differ = [i for i in range(len(first)) if not torch.equal(first[: i + 1](x), second[: i + 1](x))]
    return min(differ, default=-1)


RIGHT = [
    ("3.1", sort_out_in_a_loop),
    ("3.2", rename_in_a_loop),
    ("3.3", pair_whole_names),
    ("3.4", first_difference_of_slices),
    ("3.4", lambda first, second, x: np.int64(first_difference(first, second, x))),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def some_mismatched_are_missing(model, state_dict):
    loaded, mismatched, missing, unexpected = sort_out(model, state_dict)
    return loaded, mismatched, missing | {key for key in mismatched if key[0] in "45"}, unexpected


def by_replace(state_dict, new_names):
    renamed = {}
    for key, tensor in state_dict.items():
        for old, new in new_names.items():
            key = key.replace(old, new)
        renamed[key] = tensor
    return renamed


def every_weight_with_its_bias(model, state_dict, strict):
    in_model = model.state_dict()
    layers = [[key.removesuffix(".weight") for key in t if key.endswith(".weight")] for t in (state_dict, in_model)]
    names = {}
    for old, new in zip(*layers, strict=strict):
        names |= {f"{old}.{leaf}": f"{new}.{leaf}" for leaf in ("weight", "bias") if f"{old}.{leaf}" in state_dict}
    return names


def asks_only_the_checkpoint_for_biases(model, state_dict):
    names = comparing(lambda weight: weight.shape)(model, state_dict)
    if any(new not in model.state_dict() for new in names.values()):
        raise ValueError("the model has no such bias")
    return names


def gives_up_inside_the_loop(first, second, x):
    y = x
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        x, y = a(x), b(y)
        return i if not torch.equal(x, y) else -1
    return -1


WRONG = [
    (
        "3.1",
        lambda m, s: ({*m.state_dict()} & {*s}, set(), {*m.state_dict()} - {*s}, {*s} - {*m.state_dict()}),
        "'loaded' should not have '2.bias'.\nLikely cause: the shapes were not compared",
    ),
    ("3.1", some_mismatched_are_missing, "a name that both sides have is mismatched"),
    ("3.1", lambda m, s: ([0], [1], [2], [3]), "'loaded' should not have 0"),
    ("3.2", by_replace, "one after the other"),
    ("3.3", lambda m, s: dict(zip(s, m.state_dict(), strict=False)), "'body.weight' belongs to '2.weight', not"),
    ("3.3", lambda m, s: dict(zip(s, m.state_dict(), strict=True)), "the BatchNorms of the model count as layers"),
    ("3.3", lambda m, s: every_weight_with_its_bias(m, s, strict=True), "the BatchNorms of the model count as layers"),
    ("3.3", lambda m, s: every_weight_with_its_bias(m, s, strict=False), "a BatchNorm's"),
    ("3.3", comparing(torch.Tensor.size), "if only the checkpoint has a bias, a ValueError is wanted"),
    ("3.3", asks_only_the_checkpoint_for_biases, "if only the model has a bias, a ValueError is wanted"),
    ("3.4", gives_up_inside_the_loop, "-1 only behind the loop"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)
