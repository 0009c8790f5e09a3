"""Lesson 04: right answers in unusual styles, and wrong ones in foreign spellings."""

import copy

import pytest
import torch
import torch.nn.functional as F
from answers import expect_not_yet, expect_passed, named
from torch import nn

from workbook.exercises.lesson_04.convs import like
from workbook.exercises.lesson_04.exercise_4_2 import right as place
from workbook.exercises.lesson_04.exercise_4_4 import all_back_to_one_mode, all_that_run, leaves_hooks
from workbook.exercises.lesson_04.exercise_4_4 import right as first_to_run


def for_grey_on_a_copy(conv):
    new = copy.deepcopy(conv)
    new.weight = nn.Parameter(conv.weight.detach().sum(1, keepdim=True))
    new.in_channels = 1
    return new


def place_in_a_loop(weight, in_channels, places):
    channels = [torch.zeros_like(weight[:, 0]) for _ in range(in_channels)]
    for colour, where in enumerate(places):
        channels[where] = weight[:, colour]
    return torch.stack(channels, 1)


@torch.no_grad()
def for_raw_grey_by_running(conv, mean, std):
    """What comes out for no light is the bias, and what one bright pixel adds is the weight."""
    dtype = conv.weight.dtype
    mean, std = (torch.tensor(values, dtype=dtype).view(1, 3, 1, 1) for values in (mean, std))
    height, width = conv.kernel_size

    def run(pixels):
        x = (pixels.expand(-1, 3, -1, -1) / 255 - mean) / std
        return F.conv2d(x, conv.weight, conv.bias)

    dark = run(torch.zeros(1, 1, height, width, dtype=dtype))
    single = torch.eye(height * width, dtype=dtype).view(-1, 1, height, width)
    new = like(conv, bias=True)
    new.weight.copy_((run(single) - dark).squeeze().T.reshape(new.weight.shape))
    new.bias.copy_(dark.flatten())
    return new


def every_mode_back(model, x):
    modes = {module: module.training for module in model.modules()}
    found = all_back_to_one_mode(model, x)
    for module, mode in modes.items():
        module.training = mode
    return found


RIGHT = [
    ("4.1", for_grey_on_a_copy),
    ("4.2", place_in_a_loop),
    ("4.3", for_raw_grey_by_running),
    ("4.4", every_mode_back),
    ("4.4", lambda model, x: all_that_run(model, x)[0]),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def assigns_a_tensor(conv):
    new = like(conv, bias=conv.bias is not None)
    new.weight = conv.weight.sum(1, keepdim=True)
    return new


def loads_the_old_weight(conv):
    new = like(conv, bias=conv.bias is not None)
    new.load_state_dict(conv.state_dict())
    return new


def by_channels(model, x):
    convs = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    return next(name for name, module in convs if module.in_channels == x.shape[1])


def first_module_that_ends(model, x):
    seen, twin = [], copy.deepcopy(model)
    for name, module in twin.named_modules():
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[0]


def once_more_in_train_mode(model, x):
    found = first_to_run(model, x)
    model.train()(x)
    return found


WRONG = [
    ("4.1", assigns_a_tensor, "a parameter is replaced by nn.Parameter(...), or its numbers are copied"),
    ("4.1", loads_the_old_weight, "the old weight has a kernel for each of three channels; add them up"),
    ("4.2", lambda w, n, p: w[:, list(p)] if n == 3 else place(w, n, p), "not where channel c comes from"),
    ("4.2", lambda w, n, p: place(w, n, p)[:, :3], "should have shape (5, 7, 2, 4)"),
    ("4.4", by_channels, "this is the first that is defined, and it never runs"),
    ("4.4", first_module_that_ends, "this is no conv; look at the type of a module"),
    ("4.4", lambda model, x: all_that_run(model, x)[1], "this is the second that runs"),
    ("4.4", once_more_in_train_mode, "in train mode BatchNorm takes notice"),
    ("4.4", lambda model, x: leaves_hooks(model.eval(), x), "your hooks are still on the model"),
    ("4.4", all_back_to_one_mode, "a model that came in train mode with a BatchNorm in eval mode has other modes now"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)
