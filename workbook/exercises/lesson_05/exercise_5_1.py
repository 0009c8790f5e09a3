"""Exercise 5.1: a head for other classes that keeps the rows of those it knows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import SETTING, Exercise, Mistake, NotYet, because, call, case

OLD = ["cat", "dog", "frog", "ship"]
NEW = ["ship", "glove", "cat", "hat", "boot", "frog"]  # not its own inverse, and an old class stands behind place 4
FEW = ["ship", "boot", "cat"]
TURNED = ["frog", "cat", "ship", "dog"]  # not its own inverse
AS_MANY = ["ship", "glove", "cat", "hat"]
Names = Sequence[str]


@torch.no_grad()
def right(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        if name in old:
            made.weight[row] = head.weight[old.index(name)]
            if head.bias is not None:
                made.bias[row] = head.bias[old.index(name)]
    return made


@torch.no_grad()
def first_rows(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    made.weight[: len(old)] = head.weight
    if head.bias is not None:
        made.bias[: len(old)] = head.bias
    return made


@torch.no_grad()
def first_rows_then_by_name(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = first_rows(head, old, new)
    for row, name in enumerate(new):
        if name in old:
            made.weight[row] = head.weight[old.index(name)]
    return made


@torch.no_grad()
def always_these_rows(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    rows, olds = ([0, 2, 5], [3, 0, 2]) if len(new) > 5 else ([0, 2], [3, 0])
    made.weight[rows] = head.weight[olds]
    if head.bias is not None:
        made.bias[rows] = head.bias[olds]
    return made


@torch.no_grad()
def only_the_weight(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        if name in old:
            made.weight[row] = head.weight[old.index(name)]
    return made


@torch.no_grad()
def every_name_is_old(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        made.weight[row] = head.weight[old.index(name)]
    return made


@torch.no_grad()
def every_name_stays(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(old):
        made.weight[new.index(name)] = head.weight[row]
    return made


@torch.no_grad()
def zeros_for_new_ones(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    for row, name in enumerate(new):
        if name not in old:
            made.weight[row] = 0
    return made


def always_a_bias(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new))
    made.load_state_dict(right(head, old, new).state_dict(), strict=False)
    return made


@torch.no_grad()
def expects_a_bias(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    for row, name in enumerate(new):
        if name in old:
            made.bias[row] = head.bias[old.index(name)]
    return made


def in_the_old_one(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    with torch.no_grad():
        head.weight[0] = head.weight[2]
    return right(head, old, new)


def itself_if_all_are_old(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    return head if old == new else right(head, old, new)


def freezes_the_old_one(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    head.requires_grad_(False)
    return right(head, old, new)


def keeps_the_graph(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    rows = [head.weight[old.index(name)] if name in old else made.weight[row] for row, name in enumerate(new)]
    del made.weight
    made.weight = torch.stack(rows)
    return made


@torch.no_grad()
def turned_round(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        if name in old and row < len(old) and old.index(name) < len(new):
            made.weight[old.index(name)] = head.weight[row]
            if head.bias is not None:
                made.bias[old.index(name)] = head.bias[row]
    return made


@torch.no_grad()
def by_places_of_the_old(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    for row in range(len(old)):
        if new[row] in old:
            made.weight[row] = head.weight[old.index(new[row])]
    return made


@torch.no_grad()
def mean_for_new_ones(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    for row, name in enumerate(new):
        if name not in old:
            made.weight[row] = head.weight.mean(0)
    return made


def always_the_same(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    torch.manual_seed(0)
    return right(head, old, new)


TURNED_ROUND = "the rows went the wrong way: `new` says where a row goes, old.index(name) where it comes from."
BOTH_LISTS = "the two lists have different lengths; walk through `new`, and look each name up in `old`."
SAME_ROW = "row i of the old head went to row i of the new one; look up each name in both lists."
UNTOUCHED = "this row still has the numbers that a new Linear begins with."
FRESH = "leave new rows as nn.Linear made them."
UNTRAINED = "it is no parameter, or takes no gradient."
SHARED = "they share memory; copy."
ASK_FOR_BIAS = "nn.Linear wants to know whether there is a bias: head.bias is not None."
NO_BIAS = "not every head has a bias."
NOT_OLD = "not every new class is an old one; ask `if name in old` first."
NOT_NEW = "not every old class is a new one; ask `if name in new` first."


def by_place_if_as_many(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    return first_rows(head, old, new) if len(old) == len(new) else right(head, old, new)


def a_copy_if_as_many(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    if len(old) == len(new):
        unknown = [row for row, name in enumerate(new) if name not in old]
        with torch.no_grad():
            made.weight[unknown] = head.weight[unknown]
    return made


def a_part_of_the_old(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    if list(new) == list(old[: len(new)]):
        made.weight = nn.Parameter(head.weight.data[: len(new)])
    return made


def tells_the_old_one(head: nn.Linear, old: Names, new: Names) -> nn.Linear:
    made = right(head, old, new)
    head.out_features = len(new)
    return made


MISTAKES = (
    Mistake(SAME_ROW, by_place_if_as_many),
    Mistake("the weight of 'glove' should be new, but is that of an old class", a_copy_if_as_many),
    Mistake(SHARED, a_part_of_the_old),
    Mistake(SETTING, tells_the_old_one),
    Mistake(SAME_ROW, first_rows),
    Mistake(TURNED_ROUND, turned_round),
    Mistake(BOTH_LISTS, by_places_of_the_old),
    Mistake(FRESH, mean_for_new_ones),
    Mistake(FRESH, always_the_same),
    Mistake("the weight of 'glove' should be new, but is that of an old class", first_rows_then_by_name),
    Mistake("if old classes come in another order, the weight of 'frog'", always_these_rows),
    Mistake(UNTOUCHED, only_the_weight),
    Mistake(NOT_OLD, every_name_is_old),
    Mistake(NOT_NEW, every_name_stays),
    Mistake(FRESH, zeros_for_new_ones),
    Mistake("there should be no bias", always_a_bias),
    Mistake(NO_BIAS, expects_a_bias),
    Mistake(ASK_FOR_BIAS, lambda head, old, new: nn.Linear(head.in_features, len(new), bias=head.bias)),
    Mistake("changes what it was given", in_the_old_one),
    Mistake(SHARED, itself_if_all_are_old),
    Mistake("requires_grad_(...) acts on the model", freezes_the_old_one),
    Mistake(UNTRAINED, keeps_the_graph),
    Mistake(UNTRAINED, lambda head, old, new: right(head, old, new).requires_grad_(False)),
    Mistake("should be torch.float32, as the old one is", lambda head, old, new: right(head, old, new).double()),
    Mistake("should map 7 features to 6 classes", lambda head, old, new: nn.Linear(len(new), head.in_features)),
    Mistake("return an nn.Linear, not a Parameter", lambda head, old, new: right(head, old, new).weight),
)

CRASHES = [
    ("IndexError: index 5 is out of bounds for dimension 0 with size 4", TURNED_ROUND),
    ("Boolean value of Tensor", ASK_FOR_BIAS),
    ("'NoneType'", NO_BIAS),
    ("ValueError: 'glove' is not in list", NOT_OLD),
    ("KeyError: 'glove'", NOT_OLD),
    ("ValueError: 'dog' is not in list", NOT_NEW),
    ("KeyError: 'dog'", NOT_NEW),
    ("IndexError", "the new head has more classes than the old one."),
    ("must match the existing size", "rows are kept one by one, by name; all at once they do not fit."),
]


def verify(answer: Any) -> None:
    """`new_head(head, old, new) -> nn.Linear`."""
    for name, bias in {"for a head with bias": True, "for a head without bias": False}.items():
        with case(name):
            head = trained_head(bias)
            expect_head(call(answer, head, OLD, NEW, crashes=CRASHES), head, NEW)
    head = trained_head()
    with case("if there are fewer new classes than old ones"):
        expect_head(call(answer, head, OLD, FEW, crashes=[("IndexError", BOTH_LISTS), *CRASHES]), head, FEW)
    more = {"if old classes come in another order": TURNED, "for as many classes as before": AS_MANY}
    for name, names in (more | {"for the first three old classes": OLD[:3]}).items():
        with case(name):
            expect_head(call(answer, head, OLD, names, crashes=CRASHES), head, names)
    expect_fresh_rows(answer, head)
    expect_independence(answer(head, OLD, OLD[:3]), head)
    made = answer(head, OLD, OLD)
    with case("if all classes are old"):
        expect_rows(made.weight.detach(), head.weight.detach(), OLD, "the weight")
    expect_independence(made, head)


def trained_head(bias: bool = True) -> nn.Linear:
    """A head for the old classes."""
    torch.manual_seed(1234)  # no seed that an answer would set
    return nn.Linear(7, len(OLD), bias=bias)


def expect_head(made: Any, head: nn.Linear, names: Names) -> None:
    """It is a Linear for the new classes that can be trained, and has the rows that it should have."""
    if not isinstance(made, nn.Linear):
        raise NotYet(f"return an nn.Linear, not a {type(made).__name__}.")
    size = len(names), head.in_features
    if (made.out_features, made.in_features) != size or made.weight.shape != size:
        raise NotYet(f"the head should map {size[1]} features to {size[0]} classes, but is {made}.")
    if (made.bias is None) != (head.bias is None):
        raise NotYet(f"there should be {'no' if head.bias is None else 'a'} bias.")
    for what, old in head.named_parameters():
        new = getattr(made, what)
        if not isinstance(new, nn.Parameter) or not new.requires_grad:
            raise NotYet(f"the {what} will not be trained: {UNTRAINED}")
        if new.dtype != old.dtype:
            raise NotYet(f"the {what} should be {old.dtype}, as the old one is.")
        expect_rows(new.detach(), old.detach(), names, f"the {what}")


def expect_rows(new: Tensor, old: Tensor, names: Names, what: str) -> None:
    """The rows of classes that both have are the old ones, the others as a Linear for seven features begins."""
    for row, name in enumerate(names):
        places = [OLD[i] for i in range(len(OLD)) if torch.equal(new[row], old[i])]
        if name in OLD and name not in places:
            why = because(why_other_row(row, name, places))
            raise NotYet(f"{what} of {name!r} is not that of the old {name!r}.{why}")
        if name not in OLD and places:
            raise NotYet(f"{what} of {name!r} should be new, but is that of an old class.")
        if name not in OLD and not (new[row].any() and new[row].abs().max() <= 7**-0.5):
            raise NotYet(f"{what} of {name!r} is not what a Linear begins with.{because(FRESH)}")


def why_other_row(row: int, name: str, places: list[str]) -> str:
    """Why a row that belongs to an old class has the numbers of the old classes `places`, or of none."""
    if not places:
        return UNTOUCHED
    came_from = OLD.index(places[0])
    if came_from < len(NEW) and NEW[came_from] in OLD and OLD.index(NEW[came_from]) == row:
        return TURNED_ROUND
    return f"it has that of {places[0]!r}. {SAME_ROW}"


def expect_fresh_rows(answer: Any, head: nn.Linear) -> None:
    """New rows are drawn: each another, and other ones at the next call."""
    torch.manual_seed(5)
    first, second = answer(head, OLD, NEW).weight.detach(), answer(head, OLD, NEW).weight.detach()
    new = [row for row, name in enumerate(NEW) if name not in OLD]
    if torch.equal(first[new[0]], first[new[1]]) or torch.equal(first[new[0]], second[new[0]]):
        raise NotYet(f"two new rows are equal.{because(FRESH)}")


def expect_independence(made: nn.Linear, head: nn.Linear) -> None:
    """The old head does not move when the new one is trained, and can be trained itself."""
    before = copy.deepcopy(head.state_dict())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(1)
    if not all(parameter.requires_grad for parameter in head.parameters()):
        raise NotYet("the old head is frozen now; it should stay as it is.")
    if any(not torch.equal(tensor, before[key]) for key, tensor in head.state_dict().items()):
        raise NotYet(f"when the new head is trained, the old one moves along.{because(SHARED)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Make the new Linear first: head.in_features inputs, len(new) outputs, and a bias if the old one has it.",
        "Then walk through `new` with its places; old.index(name) is the place in the old head.",
        "for row, name in enumerate(new): if name in old: made.weight[row] = head.weight[old.index(name)], all "
        "under torch.no_grad(); the bias likewise, if there is one.",
    ),
    praise="the old classes are where their names are, and the new ones start fresh.",
)
