"""Exercise 5.4: two groups of parameters with two learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case

Groups = list[dict[str, Any]]


def right(model: nn.Module, head: str, lr: float) -> Groups:
    groups: Groups = [{"params": [], "lr": lr}, {"params": [], "lr": 10 * lr}]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith(f"{head}.")]["params"].append(parameter)
    return groups


def is_inside(name: str, head: str) -> bool:
    return name.startswith(f"{head}.")


def divided(belongs: Any = is_inside, frozen: bool = False, second_names: bool = False) -> Any:
    """The right answer, but for one thing.

    Args:
        belongs: what belongs to the head: a function of a parameter's name and the head's.
        frozen: take frozen parameters, too.
        second_names: take a parameter once under each of its names.
    """

    def answer(model: nn.Module, head: str, lr: float) -> Groups:
        groups: Groups = [{"params": [], "lr": lr}, {"params": [], "lr": 10 * lr}]
        for name, parameter in model.named_parameters(remove_duplicate=not second_names):
            if parameter.requires_grad or frozen:
                groups[belongs(name, head)]["params"].append(parameter)
        return groups

    return answer


def with_rates(rates: Any) -> Any:
    """The right answer, but for the two rates: a function of lr."""

    def answer(model: nn.Module, head: str, lr: float) -> Groups:
        body, top = right(model, head, lr)
        body["lr"], top["lr"] = rates(lr)
        return [body, top]

    return answer


def unfreezes(model: nn.Module, head: str, lr: float) -> Groups:
    model.requires_grad_(True)
    return right(model, head, lr)


def head_in_both(model: nn.Module, head: str, lr: float) -> Groups:
    body, top = right(model, head, lr)
    return [{"params": body["params"] + top["params"], "lr": lr}, top]


def without_the_head(model: nn.Module, head: str, lr: float) -> Groups:
    body, _ = right(model, head, lr)
    return [body, {"params": [], "lr": 10 * lr}]


def by_attribute(model: nn.Module, head: str, lr: float) -> Groups:
    top = [p for p in getattr(model, head).parameters() if p.requires_grad]
    places = {id(p) for p in top}
    body = [p for p in model.parameters() if p.requires_grad and id(p) not in places]
    return [{"params": body, "lr": lr}, {"params": top, "lr": 10 * lr}]


def by_value(model: nn.Module, head: str, lr: float) -> Groups:
    top = list(model.get_submodule(head).parameters())
    body = [p for p in model.parameters() if p not in top]
    return [{"params": body, "lr": lr}, {"params": top, "lr": 10 * lr}]


def names_for_parameters(model: nn.Module, head: str, lr: float) -> Groups:
    names = [name for name, _ in model.named_parameters()]
    return [{"params": names, "lr": lr}, {"params": names, "lr": 10 * lr}]


def in_sets(model: nn.Module, head: str, lr: float) -> Groups:
    return [group | {"params": set(group["params"])} for group in right(model, head, lr)]


def last_two(model: nn.Module, head: str, lr: float) -> Groups:
    trained = [p for p in model.parameters() if p.requires_grad]
    return [{"params": trained[:-2], "lr": lr}, {"params": trained[-2:], "lr": 10 * lr}]


FROZEN = "it is frozen; look at requires_grad."
ONLY_BEGINS = "its name only begins like the head's; the head's go on with a dot: startswith(head + '.')."
INSIDE = "the head's name occurs inside this one; it must stand at its beginning."
OTHER_GROUP = "it belongs to the other group."
SETS = "optimizers refuse sets, whose order is another in each run; take a list."
LAST_TWO = "the last two parameters are those of what was defined last; the names say what belongs to the head."
IN_NONE = "it is in none."
TWO_NAMES = "a layer that has two names was counted twice; named_parameters() does not do so by itself."
TEN_TIMES = "the head gets ten times the rate."
NO_PARAMETER = "no copies, no names."
DOTS = "getattr knows no dots; model.get_submodule(head) does."
BY_VALUE = "`in` compares tensors by value; compare names, or id()."
WRONG_ORDER = "the groups are in the wrong order: first all the rest, then the head."
OTHERS_FROZEN = "other parameters are frozen now than before; leave requires_grad as it is."

MAY_BE_EMPTY = "a group may be empty; two are wanted all the same."
EQUAL = "parameters with the same numbers are different ones; compare by name or id()."
OF_THE_MODEL = "it lies in the model itself, in no layer; model.named_parameters() has all."


def of_layers_without_children(model: nn.Module, head: str, lr: float) -> Groups:
    groups = right(model, head, lr)
    loose = {id(parameter) for parameter in model.parameters(recurse=False)}
    groups[0]["params"] = [p for p in groups[0]["params"] if id(p) not in loose]
    return groups


def each_number_once(model: nn.Module, head: str, lr: float) -> Groups:
    groups = right(model, head, lr)
    known: list[Tensor] = []
    for parameter in groups[0]["params"]:
        if not any(torch.equal(parameter, other) for other in known):
            known.append(parameter)
    groups[0]["params"] = known
    return groups


def only_groups_that_hold_something(model: nn.Module, head: str, lr: float) -> Groups:
    return [group for group in right(model, head, lr) if group["params"]]


MISTAKES = (
    Mistake(OF_THE_MODEL, of_layers_without_children),
    Mistake(EQUAL, each_number_once),
    Mistake(MAY_BE_EMPTY, only_groups_that_hold_something),
    Mistake(ONLY_BEGINS, divided(lambda name, head: name.startswith(head))),
    Mistake(INSIDE, divided(lambda name, head: f"{head}." in name)),
    Mistake(WRONG_ORDER, divided(lambda name, head: not is_inside(name, head))),
    Mistake(FROZEN, divided(frozen=True)),
    Mistake("requires_grad_(...) acts on the model", unfreezes),
    Mistake(TWO_NAMES, divided(second_names=True)),
    Mistake(OTHER_GROUP, head_in_both),
    Mistake(IN_NONE, without_the_head),
    Mistake(SETS, in_sets),
    Mistake(LAST_TWO, last_two),
    Mistake(TEN_TIMES, with_rates(lambda lr: (lr, lr))),
    Mistake("should be 0.5 and 5.0, but are 5.0 and 0.5", with_rates(lambda lr: (10 * lr, lr))),
    Mistake("with lr=0.03125 the rates should be", with_rates(lambda lr: (0.5, 5))),
    Mistake(DOTS, by_attribute),
    Mistake(BY_VALUE, by_value),
    Mistake(NO_PARAMETER, names_for_parameters),
    Mistake("return a list of two dictionaries", lambda model, head, lr: [{"params": list(model.parameters())}]),
    Mistake("each group needs 'params' and 'lr'", lambda model, head, lr: [{"params": []}, {"params": []}]),
)

CRASHES = [
    ("has no attribute 'fc.2'", DOTS),
    ("Boolean value of Tensor", BY_VALUE),
    ("The size of tensor", BY_VALUE),
]


class Tricky(nn.Module):
    """Names that begin like the head's and do not belong to it, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_old, self.body = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.fc = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6))
        self.inner = nn.ModuleDict({"fc": nn.Linear(6, 7)})
        self.again = self.fc_old  # one layer under two names
        self.token, self.scale = nn.Parameter(torch.zeros(1, 2)), nn.Parameter(torch.zeros(1, 2))  # equal, and two
        self.body[0].requires_grad_(False)


def verify(answer: Any) -> None:
    """`parameter_groups(model, head, lr) -> two groups`."""
    half_frozen = Tricky()
    half_frozen.fc[0].requires_grad_(False)
    frozen = Tricky()
    frozen.fc.requires_grad_(False)
    cases = {
        "for the head 'fc'": (Tricky(), "fc", 0.5),
        "for the head 'fc.2'": (Tricky(), "fc.2", 0.03125),
        "for the head 'fc', half of it frozen": (half_frozen, "fc", 0.25),
        "for the head 'fc', all of it frozen": (frozen, "fc", 0.125),
    }
    for name, (model, head, lr) in cases.items():
        with case(name):
            call(answer, model, head, lr, crashes=CRASHES)
            before = [parameter.requires_grad for parameter in model.parameters()]
            got = answer(model, head, lr)
            if before != [parameter.requires_grad for parameter in model.parameters()]:
                raise NotYet(OTHERS_FROZEN)
            expect_groups(got, model, head, lr)


def expect_groups(got: Any, model: nn.Module, head: str, lr: float) -> None:
    """Two groups that share the trainable parameters out, with their rates."""
    if not isinstance(got, (list, tuple)) or len(got) != 2 or not all(isinstance(group, dict) for group in got):
        raise NotYet(f"return a list of two dictionaries.{because(MAY_BE_EMPTY)}")
    if any(not {"params", "lr"} <= group.keys() for group in got):
        raise NotYet(f"each group needs 'params' and 'lr', but they have {[list(group) for group in got]}.")
    if any(isinstance(group["params"], (set, frozenset)) for group in got):
        raise NotYet(f"'params' is a set.{because(SETS)}")
    body, top = (names_of(group["params"], model) for group in got)
    if None in body + top:
        raise NotYet(f"there is something that is no parameter of the model.{because(NO_PARAMETER)}")
    expected_body, expected_top = (names_of(group["params"], model) for group in right(model, head, lr))
    if expected_top and (set(body), set(top)) == (set(expected_top), set(expected_body)):
        raise NotYet(WRONG_ORDER)
    if set(top) == last_two_names(model):
        raise NotYet(f"the group of the head has {', '.join(top)}.{because(LAST_TWO)}")
    expect_names(top, expected_top, body, "head", model)
    expect_names(body, expected_body, top, "body", model)
    rates = [group["lr"] for group in got]
    if rates != [lr, 10 * lr]:
        why = because(TEN_TIMES if rates[1] < 10 * lr else None)
        raise NotYet(f"with lr={lr} the rates should be {lr} and {10 * lr}, but are {rates[0]} and {rates[1]}.{why}")


def names_of(params: Any, model: nn.Module) -> list[Any]:
    """The names that these parameters have in the model; None for what is none of its parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names.get(id(p)) for p in ([params] if isinstance(params, Tensor) else params)]


def last_two_names(model: nn.Module) -> set[str]:
    return set([name for name, parameter in model.named_parameters() if parameter.requires_grad][-2:])


def expect_names(group: Sequence[str], expected: Sequence[str], other: Sequence[str], what: str, model: Any) -> None:
    """A group has the parameters that it should have, each once; `other` is the other group."""
    for name in group:
        if name not in expected:
            raise NotYet(f"{name!r} should not be in the group of the {what}.{because(why_not(name, model))}")
    for name in expected:
        if name not in group:
            elsewhere = "it is in the other group." if name in other else IN_NONE
            if name in ("token", "scale") and name not in other:
                elsewhere += because(EQUAL if "token" in group else OF_THE_MODEL)
            raise NotYet(f"{name!r} is not in the group of the {what}; {elsewhere}")
    if len(group) != len(set(group)):
        raise NotYet(f"a parameter is twice in the group of the {what}.{because(TWO_NAMES)}")


def why_not(name: str, model: nn.Module) -> str:
    """Why a parameter of this name does not belong to a group."""
    if not model.get_parameter(name).requires_grad:
        return FROZEN
    if name.startswith("fc_old"):
        return ONLY_BEGINS
    if name.startswith("inner"):
        return INSIDE
    return OTHER_GROUP


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Walk through model.named_parameters(): the name tells where a parameter is, requires_grad whether it is "
        "trained.",
        "The names inside the head begin with its own and a dot: 'fc.weight' does, 'fc_old.weight' does not.",
        "body = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith(head + '.')]",
    ),
    praise="every parameter once, the head's ten times as fast.",
)
