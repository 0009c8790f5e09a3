"""Lesson 05: right answers in unusual styles, and wrong ones in foreign spellings."""

import copy

import pytest
import torch
import torch.nn.functional as F
from answers import expect_not_yet, expect_passed, named
from torch import nn

from workbook.exercises.lesson_05.exercise_5_1 import right as new_head
from workbook.exercises.lesson_05.exercise_5_2 import right as make_heads
from workbook.exercises.lesson_05.exercise_5_4 import right as parameter_groups


def new_head_by_stacking(head, old, new):
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    state_dict = {}
    for key, fresh in made.state_dict().items():
        kept = head.state_dict()[key]
        rows = [kept[old.index(name)] if name in old else fresh[i] for i, name in enumerate(new)]
        state_dict[key] = torch.stack(rows)
    made.load_state_dict(state_dict)
    return made


class Head(nn.Module):
    def __init__(self, block, features, classes) -> None:
        super().__init__()
        self.block, self.fc = copy.deepcopy(block), nn.Linear(features, classes)

    def forward(self, x):
        return self.fc(self.block(x).mean((2, 3)))


def two_losses_with_modules(outputs, kinds, tags):
    return nn.CrossEntropyLoss()(outputs["kind"], kinds) + nn.BCEWithLogitsLoss()(outputs["tags"], tags.double())


def groups_by_identity(model, head, lr):
    inside = {id(p) for p in model.get_submodule(head).parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    body, top = [p for p in trained if id(p) not in inside], [p for p in trained if id(p) in inside]
    return [{"params": body, "lr": lr}, {"params": top, "lr": 10 * lr}]


def groups_with_iterators(model, head, lr):
    return [{**group, "params": iter(group["params"])} for group in parameter_groups(model, head, lr)]


RIGHT = [
    ("5.1", new_head_by_stacking),
    ("5.2", lambda block, n, tasks: nn.ModuleDict({task: Head(block, n, classes) for task, classes in tasks.items()})),
    ("5.3", two_losses_with_modules),
    ("5.4", groups_by_identity),
    ("5.4", groups_with_iterators),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


@torch.no_grad()
def one_bias_of_the_old_head(head, old, new):
    made = nn.Linear(head.in_features, len(new))
    made.bias[0] = head.bias[0]
    return made


@torch.no_grad()
def one_old_row_among_the_new(head, old, new):
    made = new_head(head, old, new)
    made.weight[1] = head.weight[1]
    return made


def linears_by_size(block, features, tasks):
    linears = {classes: nn.Linear(features, classes) for classes in tasks.values()}
    heads = make_heads(block, features, tasks)
    for task, classes in tasks.items():
        heads[task][3] = linears[classes]
    return heads


def frozen_copies(block, features, tasks):
    return make_heads(copy.deepcopy(block).requires_grad_(False), features, tasks)


def asks_for_the_attribute(model, head, lr):
    getattr(model, head)
    return parameter_groups(model, head, lr)


WRONG = [
    ("5.1", one_bias_of_the_old_head, "this row still has the numbers that a new Linear begins with"),
    ("5.1", one_old_row_among_the_new, "the weight of 'glove' should be new"),
    ("5.1", lambda h, old, new: new_head(h, old, new) if h.bias is not None else h.bias + 1, "not every head has"),
    ("5.1", lambda h, old, new: new_head(h, old, new) if h.bias is not None else nn.Linear(7, 6), "no bias"),
    ("5.2", linears_by_size, "and a Linear for each"),
    ("5.2", frozen_copies, "they are to be trained"),
    ("5.2", lambda block, n, tasks: nn.Sequential(copy.deepcopy(block), torch.flatten), "nn.Flatten(), not flatten"),
    ("5.3", lambda o, k, t: F.binary_cross_entropy_with_logits(o["tags"], t), "tags.float()"),
    ("5.3", lambda o, k, t: F.binary_cross_entropy(o["tags"], t.float()), "take ..._with_logits"),
    ("5.4", asks_for_the_attribute, "getattr knows no dots"),
    ("5.4", lambda model, head, lr: [{"params": ["fc.0.weight"], "lr": 1}] * 2, "no copies, no names"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)
