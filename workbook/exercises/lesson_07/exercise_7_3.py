"""Exercise 7.3: two groups for an optimizer, one with weight decay and one without."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotAttempted, NotYet, because, case
from .state import (
    BATCH_NORMS,
    MODE,
    OTHER_GRADIENTS,
    call_on,
    expect_gradients_left,
    expect_nothing_else,
    expect_same_numbers,
    expect_same_requires_grad,
    leave_gradients_,
)

Groups = list[dict[str, Any]]


def right(model: nn.Module, weight_decay: float) -> Groups:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def groups_of(decayed: Iterable[Any], others: Iterable[Any], weight_decay: float) -> Groups:
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def sorting(decays: Callable[[str, Tensor], bool]) -> Any:
    """An answer that decides in its own way, by name and parameter, what gets the decay."""

    def answer(model: nn.Module, weight_decay: float) -> Groups:
        trained = [(key, p) for key, p in model.named_parameters() if p.requires_grad]
        decayed = [p for key, p in trained if decays(key, p)]
        others = [p for key, p in trained if not decays(key, p)]
        return groups_of(decayed, others, weight_decay)

    return answer


def sorting_those_with_a_gradient(model: nn.Module, weight_decay: float) -> Groups:
    trained = [p for p in model.parameters() if p.grad is not None]
    return groups_of([p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2], weight_decay)


def frozen_ones_too(model: nn.Module, weight_decay: float) -> Groups:
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return groups_of(decayed, others, weight_decay)


def with_duplicates(model: nn.Module, weight_decay: float) -> Groups:
    trained = [p for _, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    return groups_of([p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2], weight_decay)


def of_known_layers(model: nn.Module, weight_decay: float) -> Groups:
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.weight.requires_grad:
            decayed.append(module.weight)
            if module.bias is not None:
                others.append(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            others += [module.weight, module.bias]
    return groups_of(decayed, others, weight_decay)


def of_known_layers_and_the_model(model: nn.Module, weight_decay: float) -> Groups:
    decayed, others = of_known_layers(model, weight_decay)
    for parameter in model.parameters(recurse=False):
        group = decayed if parameter.ndim >= 2 else others
        group["params"].append(parameter)
    return [decayed, others]


def of_a_used_up_generator(model: nn.Module, weight_decay: float) -> Groups:
    trained = (p for p in model.parameters() if p.requires_grad)
    return groups_of([p for p in trained if p.ndim >= 2], (p for p in trained if p.ndim < 2), weight_decay)


def of_names(model: nn.Module, weight_decay: float) -> Groups:
    named = dict(model.named_parameters())
    return groups_of([key for key in named if "weight" in key], [key for key in named if "bias" in key], weight_decay)


def by_value(model: nn.Module, weight_decay: float) -> Groups:
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    return groups_of(decayed, [p for p in model.parameters() if p not in decayed], weight_decay)


def of_pairs(model: Any, weight_decay: float) -> Groups:
    decayed = [p for p in model.named_parameters() if p.ndim >= 2]
    return groups_of(decayed, [p for p in model.named_parameters() if p.ndim < 2], weight_decay)


def by_weight_and_bias(model: Any, weight_decay: float) -> Groups:
    modules = list(model.modules())
    return groups_of([module.weight for module in modules], [module.bias for module in modules], weight_decay)


def asks_each_bias(model: Any, weight_decay: float) -> Groups:
    biases = [module.bias for module in model.modules() if hasattr(module, "bias")]
    narrow = {id(bias) for bias in biases if bias.requires_grad and bias.ndim < 2}
    return sorting(lambda key, p: p.ndim >= 2 and id(p) not in narrow)(model, weight_decay)


def with_decays(model: nn.Module, first: float, second: float) -> Groups:
    """The right parameters, with these decays."""
    groups = right(model, first)
    groups[1]["weight_decay"] = second
    return groups


def without_a_second_decay(model: nn.Module, weight_decay: float) -> Groups:
    groups = right(model, weight_decay)
    del groups[1]["weight_decay"]
    return groups


def only_groups_that_hold_something(model: nn.Module, weight_decay: float) -> Groups:
    return [group for group in right(model, weight_decay) if group["params"]]


def without_axes_of_length_one(model: nn.Module, weight_decay: float) -> Groups:
    return sorting(lambda key, p: p.squeeze().ndim > 1)(model, weight_decay)


def each_number_once(model: nn.Module, weight_decay: float) -> Groups:
    known: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.requires_grad and not any(torch.equal(parameter, other) for other in known):
            known.append(parameter)
    return groups_of([p for p in known if p.ndim >= 2], [p for p in known if p.ndim < 2], weight_decay)


def only_those_with_one_axis(model: nn.Module, weight_decay: float) -> Groups:
    trained = [p for p in model.parameters() if p.requires_grad]
    return groups_of([p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim == 1], weight_decay)


def clears_gradients(model: nn.Module, weight_decay: float) -> Groups:
    model.zero_grad()
    return right(model, weight_decay)


def puts_in_train_mode(model: nn.Module, weight_decay: float) -> Groups:
    return right(model.train(), weight_decay)


def with_a_rate(model: nn.Module, weight_decay: float) -> Groups:
    return [{**group, "lr": -1.0} for group in right(model, weight_decay)]


def with_one_beta(model: nn.Module, weight_decay: float) -> Groups:
    return [{**group, "betas": 1} for group in right(model, weight_decay)]


def unfreezes_all(model: nn.Module, weight_decay: float) -> Groups:
    groups = right(model, weight_decay)
    model.requires_grad_(True)
    return groups


def of_every_module(model: nn.Module, weight_decay: float) -> Groups:
    parameters = [p for module in model.modules() for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


MAY_BE_EMPTY = "a group may be empty; two are wanted all the same."
DEFAULT = "without it the optimizer's own value holds, and AdamW's is 0.01 by default."
NO_PARAMETER = "no copies, no names."
WRONG_ORDER = "the groups are in the wrong order: first what is decayed, then the others."
FROZEN = "it is frozen; look at requires_grad."
TWO_OR_MORE = "two or more get the decay: p.ndim >= 2."
NAMED_BIAS = "its name has 'bias' in it, but it has"
BIAS = "a bias has one axis: p.ndim < 2."
NORM = "it is the scale of a norm: it is called weight, and need not have 'bn' in its name; ask p.ndim."
WHATEVER = "whatever its name or layer, it has"
TWO_NAMES = (
    "it stands in the model under two names, or was met in a module and in the one around it; named_parameters() of "
    "the model gives it once."
)
SETS = "optimizers refuse sets, whose order is another in each run; take a list."
USED_UP = "this is an iterator that was read already, and has nothing more to give; make a list."
OF_THE_MODEL = "it belongs to the model itself, not to a layer inside; model.named_parameters() has all."
OTHER_TYPE = "it belongs to a layer of another type than you asked for; model.named_parameters() has all."
NO_DECAY = "biases and norms get none."
EXCHANGED = "the two are exchanged."
MORE = "the groups set more than their decay:"
LEAVE = "leave requires_grad as it is."
BY_VALUE = "`in` compares tensors by value; ask p.ndim, or compare id()."
PAIRS = "named_parameters() gives pairs: for name, p in model.named_parameters()."
NO_AXIS = "it has no axis at all: its ndim is 0, neither 1 nor two or more; ask p.ndim < 2."
EQUAL = "another parameter has the same numbers, and is another one all the same; compare by id()."
ZERO = "`or` takes 0 for nothing given."
NO_GRADIENT_YET = "before the first backward() no parameter has a gradient; ask p.requires_grad."
NO_WEIGHT = "not every module has a weight; walk through model.parameters()."
NO_BIAS = "not every layer has a bias; walk through model.parameters()."

MISTAKES = (
    Mistake(NORM, sorting(lambda key, p: not key.endswith("bias"))),
    Mistake(f"{NAMED_BIAS} 2 axes; {TWO_OR_MORE}", sorting(lambda key, p: p.ndim >= 2 and "bias" not in key)),
    Mistake(TWO_OR_MORE, sorting(lambda key, p: p.ndim > 2)),
    Mistake(BIAS, sorting(lambda key, p: p.ndim >= 1)),
    Mistake(f"{WHATEVER} no axis; ask p.ndim.", sorting(lambda key, p: p.ndim != 1)),
    Mistake(FROZEN, frozen_ones_too),
    Mistake(TWO_NAMES, with_duplicates),
    Mistake(OF_THE_MODEL, of_known_layers),
    Mistake(OTHER_TYPE, of_known_layers_and_the_model),
    Mistake(USED_UP, of_a_used_up_generator),
    Mistake(NO_PARAMETER, of_names),
    Mistake(NO_PARAMETER, lambda model, weight_decay: right(copy.deepcopy(model), weight_decay)),
    Mistake(SETS, lambda model, weight_decay: [g | {"params": set(g["params"])} for g in right(model, weight_decay)]),
    Mistake(TWO_NAMES, of_every_module),
    Mistake(WRONG_ORDER, lambda model, weight_decay: right(model, weight_decay)[::-1]),
    Mistake(EXCHANGED, lambda model, weight_decay: with_decays(model, 0.0, weight_decay)),
    Mistake(NO_DECAY, lambda model, weight_decay: with_decays(model, weight_decay, weight_decay)),
    Mistake("should be 0.125 and 0.0, but are 0.5 and 0.0", lambda model, weight_decay: with_decays(model, 0.5, 0.0)),
    Mistake(DEFAULT, without_a_second_decay),
    Mistake("the second group has no 'params'", lambda model, weight_decay: [right(model, weight_decay)[0], {}]),
    Mistake("a list of two dictionaries is wanted", lambda model, weight_decay: right(model, weight_decay)[:1]),
    Mistake(MAY_BE_EMPTY, only_groups_that_hold_something),
    Mistake(MORE, with_a_rate),
    Mistake("AdamW does not take the groups", with_one_beta),
    Mistake(LEAVE, unfreezes_all),
    Mistake(f"it has 2 axes; {TWO_OR_MORE}", without_axes_of_length_one),
    Mistake(EQUAL, each_number_once),
    Mistake(NO_AXIS, only_those_with_one_axis),
    Mistake(ZERO, lambda model, weight_decay: right(model, weight_decay or 0.01)),
    Mistake(NO_GRADIENT_YET, sorting_those_with_a_gradient),
    Mistake(OTHER_GRADIENTS, clears_gradients),
    Mistake(MODE, puts_in_train_mode),
    Mistake(BY_VALUE, by_value),
    Mistake(PAIRS, of_pairs),
    Mistake(NO_WEIGHT, by_weight_and_bias),
    Mistake(NO_BIAS, asks_each_bias),
)
CRASHES = (
    ("Boolean value of Tensor", BY_VALUE),
    ("The size of tensor", BY_VALUE),
    ("'tuple' object has no attribute", PAIRS),
    ("'str' object has no attribute", PAIRS),
    ("'weight'", NO_WEIGHT),
    ("'NoneType'", NO_BIAS),
)


class Sorts(nn.Module):
    """Parameters with zero to four axes, whose names tell little; some are frozen, one stands under two names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.temperature = nn.Parameter(torch.ones(5)), nn.Parameter(torch.tensor(2.0))
        self.bias_table, self.position = nn.Parameter(torch.rand(3, 5)), nn.Parameter(torch.rand(1, 5, 6))
        self.equal = nn.Parameter(torch.ones(5))
        self.words, self.gate, self.field = nn.Embedding(11, 6), nn.Linear(6, 1), nn.LayerNorm((4, 5))
        self.conv, self.norm = nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(nn.Linear(6, 7), nn.LayerNorm(7), nn.PReLU(7))
        self.old = nn.Sequential(nn.Linear(7, 8), nn.BatchNorm1d(8)).requires_grad_(False)
        self.partly = nn.Linear(8, 9)
        self.partly.weight.requires_grad_(False)
        self.out = nn.Linear(6, 11)
        self.out.weight = self.words.weight


def verify(answer: Any) -> None:
    """`decay_groups(model, weight_decay) -> two groups`."""
    plain = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.Linear(5, 7))
    plain[3].requires_grad_(False)
    cases: dict[str, tuple[nn.Module, float]] = {
        "for a conv, a norm, a frozen conv and a Linear": (plain, 0.5),
        "for a model with many sorts of parameters": (Sorts(), 0.125),
        "for another weight decay": (Sorts(), 0.03125),
        "for a Linear without bias": (nn.Linear(4, 3, bias=False), 0.25),
        "for a weight decay of 0": (Sorts(), 0.0),
    }
    for name, (model, weight_decay) in cases.items():
        with case(name):
            model.eval()
            before = copy.deepcopy(model)
            if weight_decay == 0.125:
                leave_gradients_(model)
            got = call_on(answer, model, weight_decay, crashes=CRASHES)
            if isinstance(got, (list, tuple)) and any(map(has_dots, got)):
                raise NotAttempted
            expect_same_requires_grad(model, before, LEAVE)
            expect_groups(got, model, weight_decay)
            expect_same_numbers(model, before)
            expect_nothing_else(model, before)
            if weight_decay == 0.125:
                expect_gradients_left(model)


def has_dots(group: Any) -> bool:
    return isinstance(group, dict) and any(value is ... for value in group.values())


def expect_groups(got: Any, model: nn.Module, weight_decay: float) -> None:
    """Two groups that share out what is trained; AdamW can be made from them."""
    if not isinstance(got, (list, tuple)) or len(got) != 2 or not all(isinstance(group, dict) for group in got):
        why = because(MAY_BE_EMPTY if isinstance(model, nn.Linear) else None)
        raise NotYet(f"a list of two dictionaries is wanted.{why}")
    for which, group in zip(("first", "second"), got, strict=True):
        if "params" not in group:
            raise NotYet(f"the {which} group has no 'params', but {list(group)}.")
        if "weight_decay" not in group:
            raise NotYet(f"the {which} group has no 'weight_decay'.{because(DEFAULT)}")
    if any(isinstance(group["params"], (set, frozenset)) for group in got):
        raise NotYet(f"'params' is a set.{because(SETS)}")
    listed = [listing(group["params"]) for group in got]
    expect_places(listed, got, model)
    decays = [group["weight_decay"] for group in got]
    if decays != [weight_decay, 0]:
        known = [(NO_DECAY, [weight_decay, weight_decay]), (EXCHANGED, [0, weight_decay])]
        known = known if weight_decay else [(ZERO, decays)]
        why = because(next((cause for cause, wrong in known if decays == wrong), None))
        wanted = f"should be {weight_decay} and 0.0, but are {decays[0]} and {decays[1]}"
        raise NotYet(f"with weight_decay={weight_decay} those of the groups {wanted}.{why}")
    expect_decay(got, listed)


def listing(params: Any) -> list[Any]:
    return [params] if isinstance(params, Tensor) else list(params)


def expect_places(listed: list[list[Any]], got: Any, model: nn.Module) -> None:
    """Each parameter that is trained stands once, in the group where it belongs."""
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    if any(id(parameter) not in names for group in listed for parameter in group):
        raise NotYet(f"there is something that is no parameter of the model.{because(NO_PARAMETER)}")
    found = [[names[id(parameter)] for parameter in group] for group in listed]
    trained = [(key, parameter) for key, parameter in model.named_parameters() if parameter.requires_grad]
    expected = [[key for key, p in trained if p.ndim >= 2], [key for key, p in trained if p.ndim < 2]]
    if set(found[0]) == set(expected[1]) and set(found[1]) == set(expected[0]):
        raise NotYet(WRONG_ORDER)
    for which, keys, wanted in zip(("first", "second"), found, expected, strict=True):
        for key in keys:
            if key not in wanted:
                raise NotYet(f"{key!r} should not be in the {which} group.{because(why_not_here(key, model))}")
        for key in keys:
            if keys.count(key) > 1:
                raise NotYet(f"{key!r} is twice in the {which} group.{because(TWO_NAMES)}")
    for which, keys, wanted, group in zip(("first", "second"), found, expected, got, strict=True):
        read = not keys and hasattr(group["params"], "__next__")
        for key in wanted:
            if key not in keys:
                why = because(USED_UP if read else why_missing(key, model, [*found[0], *found[1]]))
                raise NotYet(f"{key!r} is in neither group; it belongs to the {which}.{why}")


def why_not_here(key: str, model: nn.Module) -> str:
    parameter = model.get_parameter(key)
    if not parameter.requires_grad:
        return FROZEN
    if parameter.ndim >= 2:
        return f"{NAMED_BIAS if 'bias' in key else 'it has'} {parameter.ndim} axes; {TWO_OR_MORE}"
    if key.endswith("bias"):
        return BIAS
    if isinstance(model.get_submodule(key.rpartition(".")[0]), (BATCH_NORMS, nn.LayerNorm)):
        return NORM
    return f"{WHATEVER} {('no axis', 'one axis')[parameter.ndim]}; ask p.ndim."


def why_missing(key: str, model: nn.Module, found: list[str]) -> str | None:
    parameter = model.get_parameter(key)
    if not found:
        return NO_GRADIENT_YET if all(p.grad is None for p in model.parameters()) else None
    if key == "equal" and "scale" in found:
        return EQUAL
    if parameter.ndim == 0 and "scale" in found:
        return NO_AXIS
    if "." not in key:
        return OF_THE_MODEL
    if key.startswith(("words", "blocks.1", "blocks.2", "field")):
        return OTHER_TYPE
    return None


def expect_decay(got: Any, listed: list[list[Tensor]]) -> None:
    """AdamW, made from copies of the groups, shrinks the first one's parameters alone, where gradients are zero."""
    groups = [
        {**group, "params": [parameter.detach().clone().requires_grad_() for parameter in parameters]}
        for group, parameters in zip(got, listed, strict=True)
    ]
    try:
        optimizer = torch.optim.AdamW(groups, lr=0.5)
        for group in groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    except Exception as error:
        raise NotYet(f"AdamW does not take the groups: {type(error).__name__}: {error}") from None
    for group, parameters in zip(groups, listed, strict=True):
        for now, then in zip(group["params"], parameters, strict=True):
            if not torch.allclose(now, then * (1 - 0.5 * group["weight_decay"])):
                more = sorted({*got[0], *got[1]} - {"params", "weight_decay"})
                why = because(f"{MORE} {', '.join(map(repr, more))}.")
                raise NotYet(f"AdamW with lr=0.5 does something else with the groups.{why}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Neither the name nor the type of a layer tells for sure; the number of axes does: p.ndim.",
        "model.parameters() gives each parameter once, even one that two layers share; p.requires_grad tells "
        "whether it is trained.",
        "trained = [p for p in model.parameters() if p.requires_grad]; the first group has those with p.ndim >= 2, "
        "the second those with p.ndim < 2 and 'weight_decay': 0.0.",
    ),
    praise="every parameter that is trained is in one group, and no norm is pulled to zero.",
)
