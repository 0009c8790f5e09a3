"""Lesson 07: what the exercises ask, and the mistakes that they know."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .feedback import Exercise, NotAttempted, NotYet, because
from .lesson_07_features import verify_features
from .lesson_07_modes import BATCH_NORMS, expect_same_requires_grad, verify_train_except
from .lesson_07_names import call_on, expect_numbers, verify_freeze


class Sorts(nn.Module):
    """Parameters with zero to four axes, whose names tell little; some are frozen, one stands under two names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.temperature = nn.Parameter(torch.ones(5)), nn.Parameter(torch.tensor(2.0))
        self.bias_table, self.position = nn.Parameter(torch.rand(3, 5)), nn.Parameter(torch.rand(1, 5, 6))
        self.words = nn.Embedding(11, 6)
        self.conv, self.norm = nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(nn.Linear(6, 7), nn.LayerNorm(7), nn.PReLU(7))
        self.old = nn.Sequential(nn.Linear(7, 8), nn.BatchNorm1d(8)).requires_grad_(False)
        self.partly = nn.Linear(8, 9)
        self.partly.weight.requires_grad_(False)
        self.out = nn.Linear(6, 11)
        self.out.weight = self.words.weight


def verify_decay_groups(answer: Any) -> None:
    """7.3 `decay_groups(model, weight_decay) -> two groups`."""
    plain = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.Linear(5, 7))
    plain[3].requires_grad_(False)
    cases = {
        "for a conv, a norm, a frozen conv and a Linear": (plain, 0.5),
        "for a model with many sorts of parameters": (Sorts(), 0.125),
        "for another weight decay": (Sorts(), 0.03125),
        "for a Linear without bias": (nn.Linear(4, 3, bias=False), 0.25),
    }
    for case, (model, weight_decay) in cases.items():
        before = copy.deepcopy(model)
        got = call_on(answer, model, weight_decay, case=case, crashes=GROUP_CRASHES)
        if isinstance(got, (list, tuple)) and any(map(_has_dots, got)):
            raise NotAttempted
        expect_same_requires_grad(model, before, case, "leave requires_grad as it is.")
        expect_groups(got, model, weight_decay, case)
        expect_numbers(model, before, case)


def _has_dots(group: Any) -> bool:
    return isinstance(group, dict) and any(value is ... for value in group.values())


def expect_groups(got: Any, model: nn.Module, weight_decay: float, case: str) -> None:
    """Two groups that share out what is trained; AdamW can be made from them."""
    if not isinstance(got, (list, tuple)) or len(got) != 2 or not all(isinstance(group, dict) for group in got):
        empty = "a group may be empty; two are wanted all the same." if isinstance(model, nn.Linear) else None
        raise NotYet(f"{case}, a list of two dictionaries is wanted.{because(empty)}")
    for which, group in zip(("first", "second"), got, strict=True):
        if "params" not in group:
            raise NotYet(f"{case}, the {which} group has no 'params', but {list(group)}.")
        if "weight_decay" not in group:
            why = because("without it the optimizer's own value holds, and AdamW's is 0.01 by default.")
            raise NotYet(f"{case}, the {which} group has no 'weight_decay'.{why}")
    listed = [_listed(group["params"]) for group in got]
    known = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = [[known.get(id(parameter)) for parameter in group] for group in listed]
    expect_places(groups, got, model, case)
    decays = [group["weight_decay"] for group in got]
    if decays != [weight_decay, 0]:
        exchanged = "the two are exchanged." if decays == [0, weight_decay] else None
        why = because("biases and norms get none." if decays == [weight_decay] * 2 else exchanged)
        wanted = f"should be {weight_decay} and 0.0, but are {decays[0]} and {decays[1]}"
        raise NotYet(f"{case}, with weight_decay={weight_decay} those of the groups {wanted}.{why}")
    expect_decay(got, listed, case)


def expect_decay(got: Any, listed: list[list[Tensor]], case: str) -> None:
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
        raise NotYet(f"{case}, AdamW does not take the groups: {type(error).__name__}: {error}") from None
    for group, parameters in zip(groups, listed, strict=True):
        for now, then in zip(group["params"], parameters, strict=True):
            if not torch.allclose(now, then * (1 - 0.5 * group["weight_decay"])):
                more = sorted({*got[0], *got[1]} - {"params", "weight_decay"})
                why = because(f"the groups set more than their decay: {', '.join(map(repr, more))}.")
                raise NotYet(f"{case}, AdamW with lr=0.5 does something else with the groups.{why}")


def _listed(params: Any) -> list[Any]:
    return [params] if isinstance(params, Tensor) else list(params)


def expect_places(groups: list[list[str | None]], got: Any, model: nn.Module, case: str) -> None:
    if any(key is None for group in groups for key in group):
        raise NotYet(f"{case}, there is something that is no parameter of the model.{because('no copies, no names.')}")
    trained = [(key, parameter) for key, parameter in model.named_parameters() if parameter.requires_grad]
    expected = [[key for key, p in trained if p.ndim >= 2], [key for key, p in trained if p.ndim < 2]]
    if set(groups[0]) == set(expected[1]) and set(groups[1]) == set(expected[0]):
        raise NotYet(f"{case}, the groups are in the wrong order: first what is decayed, then the others.")
    for place, which in enumerate(("first", "second")):
        for key in groups[place]:
            if key not in expected[place]:
                why = because(_why_not_here(key, model))
                raise NotYet(f"{case}, {key!r} should not be in the {which} group.{why}")
        if len(groups[place]) != len(set(groups[place])):
            twice = next(key for key in groups[place] if groups[place].count(key) > 1)
            why = because("it stands in the model under two names; named_parameters() of the model gives it once.")
            raise NotYet(f"{case}, {twice!r} is twice in the {which} group.{why}")
    for place, which in enumerate(("first", "second")):
        used_up = "this is an iterator that was read already, and has nothing more to give; make a list."
        for key in expected[place]:
            if key not in groups[place]:
                read = not groups[place] and hasattr(got[place]["params"], "__next__")
                why = because(used_up if read else _why_missing(key))
                raise NotYet(f"{case}, {key!r} is in neither group; it belongs to the {which}.{why}")


def _why_not_here(key: str, model: nn.Module) -> str:
    parameter = model.get_parameter(key)
    if not parameter.requires_grad:
        return "it is frozen; look at requires_grad."
    if parameter.ndim >= 2:
        named = "its name has 'bias' in it, but " if "bias" in key else ""
        return f"{named}it has {parameter.ndim} axes; two or more get the decay: p.ndim >= 2."
    if key.endswith("bias"):
        return "a bias has one axis: p.ndim < 2."
    if isinstance(model.get_submodule(key.rpartition(".")[0]), (BATCH_NORMS, nn.LayerNorm)):
        return "it is the scale of a norm: it is called weight, and need not have 'bn' in its name; ask p.ndim."
    axes = ("no axis", "one axis")[parameter.ndim]
    return f"whatever its name or layer, it has {axes}; ask p.ndim."


def _why_missing(key: str) -> str | None:
    if "." not in key:
        return "it belongs to the model itself, not to a layer inside; model.named_parameters() has all."
    if key.startswith(("words", "blocks.1", "blocks.2")):
        return "it belongs to a layer of another type than you asked for; model.named_parameters() has all."
    return None


GROUP_CRASHES = [
    ("Boolean value of Tensor", "`in` compares tensors by value; ask p.ndim, or compare id()."),
    ("The size of tensor", "`in` compares tensors by value; ask p.ndim, or compare id()."),
    ("'tuple' object has no attribute", "named_parameters() gives pairs: for name, p in model.named_parameters()."),
    ("'str' object has no attribute", "named_parameters() gives pairs: for name, p in model.named_parameters()."),
    ("'weight'", "not every module has a weight; walk through model.parameters()."),
    ("'NoneType'", "not every layer has a bias; walk through model.parameters()."),
]


EXERCISES = {
    "7.1": Exercise(
        verify_freeze,
        (
            "dict(model.named_modules()) has every module by its name, however deep it is; look all names up first.",
            "module.parameters() has all parameters of a module; set requires_grad = False and grad = None for each.",
            "frozen = {id(p) for name in names for p in modules[name].parameters()}; then, for key, p in "
            "model.named_parameters(): if id(p) in frozen, freeze it and keep key.",
        ),
        "frozen is what was named, and an optimizer has nothing left to move it by.",
    ),
    "7.2": Exercise(
        verify_train_except,
        (
            "train() and eval() reach all that is inside a module, so their order matters.",
            "model.train() first; then model.get_submodule(name).eval() for each name; return model.",
        ),
        "the kept part rests while the rest is trained, until somebody calls train() again.",
    ),
    "7.3": Exercise(
        verify_decay_groups,
        (
            "Neither the name nor the type of a layer tells for sure; the number of axes does: p.ndim.",
            "model.parameters() gives each parameter once, even one that two layers share; p.requires_grad tells "
            "whether it is trained.",
            "trained = [p for p in model.parameters() if p.requires_grad]; the first group has those with p.ndim >= 2, "
            "the second those with p.ndim < 2 and 'weight_decay': 0.0.",
        ),
        "every parameter that is trained is in one group, and no norm is pulled to zero.",
    ),
    "7.4": Exercise(
        verify_features,
        (
            "Remember the modes first: {module: module.training for module in backbone.modules()}; then eval().",
            "with torch.no_grad(): run each part of images.split(batch_size), and join what comes out by torch.cat.",
            "modes = {...}; backbone.eval(); with torch.no_grad(): features = torch.cat([backbone(batch) for batch in "
            "images.split(batch_size)]); for module, mode in modes.items(): module.training = mode; return features",
        ),
        "one pass through the backbone, and it is as it was.",
    ),
}
