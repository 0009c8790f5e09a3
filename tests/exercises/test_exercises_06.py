"""Lesson 06: right answers in unusual styles, and wrong ones in foreign spellings."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from answers import expect_not_yet, expect_passed, named
from torch import nn

from workbook.exercises.lesson_06.exercise_6_1 import right as place
from workbook.exercises.lesson_06.exercise_6_1 import walk
from workbook.exercises.lesson_06.exercise_6_2 import right as upsampling
from workbook.exercises.lesson_06.exercise_6_3 import copy_pair, filling, fits
from workbook.exercises.lesson_06.exercise_6_3 import right as fill
from workbook.exercises.lesson_06.exercise_6_4 import mean_iou_of_matrix


def larger_kernel_with_zeros(channels, scale):
    conv = nn.ConvTranspose2d(channels, channels, 2 * scale + 2, scale, scale // 2 + 1, groups=channels, bias=False)
    conv.weight.data = F.pad(upsampling(channels, scale).weight.data, (1, 1, 1, 1))
    return conv


def fill_by_loading(targets, sources):
    pairs = list(zip(targets, sources, strict=True))
    if not all(fits(*pair) for pair in pairs):
        raise ValueError("these do not fit")
    for target, source in pairs:
        weight = source.weight.detach().reshape(target.weight.shape)
        target.load_state_dict({"weight": weight, "bias": source.bias.detach()})
    return targets


def mean_iou_from_a_matrix(guesses, masks, num_classes):
    pairs = masks[masks >= 0] * num_classes + guesses[masks >= 0]
    return mean_iou_of_matrix(pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes))


RIGHT = [
    ("6.1", lambda layers: torch.tensor(place(layers))),
    ("6.1", lambda layers: np.array(place(layers))),
    ("6.2", larger_kernel_with_zeros),
    ("6.3", fill_by_loading),
    ("6.4", mean_iou_from_a_matrix),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


counts_in_units = walk(
    shift=lambda apart, kernel, stride, padding: (kernel - 1) / 2 - padding,
    grow=lambda apart, kernel, stride: kernel - 1,
)


@torch.no_grad()
def fills_the_diagonal_at_once(channels, scale):
    conv = upsampling(channels, scale)
    conv.weight[range(channels), range(channels)] = conv.weight[0, 0].clone()
    return conv


def without_no_grad(channels, scale):
    conv = upsampling(channels, scale)
    conv.weight[:, 0] = conv.weight[0, 0].detach().clone()
    return conv


def boxes_of_ones_in_a_larger_kernel(channels, scale):
    conv = upsampling(channels, scale)
    middle = slice(scale // 2, scale // 2 + scale)
    conv.weight.data.zero_()
    conv.weight.data[..., middle, middle] = 1
    return conv


def assigns_data_of_the_bias(target, source):
    target.weight.copy_(source.weight.reshape(target.weight.shape))
    target.bias.data = source.bias.data


def lengths_at_the_end(targets, sources):
    for target, source in zip(targets, sources, strict=True):
        fill([target], [source])
    return targets


def shortens(targets, sources):
    count = min(len(targets), len(sources))
    fill(targets[:count], sources[:count])
    return targets


@torch.no_grad()
def counts_numbers_and_zips(targets, sources):
    pairs = list(zip(targets, sources, strict=True))
    if any(source.weight.numel() != target.weight.numel() for target, source in pairs):
        raise ValueError("these do not fit")
    for target, source in pairs:
        copy_pair(target, source)
    return targets


def recall_of_each_class(guesses, masks, num_classes):
    return sum((guesses[masks == c] == c).float().mean() for c in range(num_classes)) / num_classes


def only_the_bins(guesses, masks, num_classes):
    return (masks * num_classes + guesses).flatten().bincount(minlength=num_classes**2)


def bins_of_numpy(guesses, masks, num_classes):
    pairs = (masks * num_classes + guesses).flatten().numpy()
    matrix = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return mean_iou_of_matrix(torch.from_numpy(matrix))


def one_hot(guesses, masks, num_classes):
    guessed, true = F.one_hot(guesses, num_classes).bool(), F.one_hot(masks, num_classes).bool()
    return ((guessed & true).sum((0, 1, 2)) / (guessed | true).sum((0, 1, 2))).nanmean()


WRONG = [
    ("6.1", counts_in_units, "count in pixels of the image"),
    ("6.1", walk(shift=lambda apart, k, stride, padding: apart * (int((k - 1) / 2) - padding)), "rounding"),
    ("6.1", lambda layers: place(layers)[::-1], "the order is distance"),
    ("6.2", fills_the_diagonal_at_once, "the second place is always 0"),
    ("6.2", without_no_grad, "torch.no_grad()"),
    ("6.2", boxes_of_ones_in_a_larger_kernel, "each pixel is only repeated"),
    ("6.3", filling(assigns_data_of_the_bias), "shares its bias"),
    ("6.3", lengths_at_the_end, "was filled before the ValueError came"),
    ("6.3", shortens, "zip ends with the shorter list"),
    ("6.3", counts_numbers_and_zips, "compare the shapes of a pair"),
    ("6.4", recall_of_each_class, "those that are only called so belong below"),
    ("6.4", only_the_bins, "one number is wanted, not a Tensor"),
    ("6.4", bins_of_numpy, "take the pixels whose true class is below 0 out first"),
    ("6.4", one_hot, "take the pixels whose true class is below 0 out first"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)
