"""Lesson 03: the exercises on loading the part that fits."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from .feedback import Exercise, NotYet, because, call, compare_dicts, must_refuse


def verify_fitting(answer: Any) -> None:
    """3.1 `fitting(model, state_dict) -> what fits`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7))
    mine = model.state_dict()
    expected = {key: tensor + 1 for key, tensor in mine.items() if not key.startswith("2.")}
    others = {
        "2.weight": torch.rand(6, 7),  # as many numbers as in the model
        "2.bias": torch.rand(1),  # could be broadcast
        "3.weight": torch.rand(4),  # a shape that the model has, but under other names
    }
    got = call(answer, model, {**others, **expected}, crashes=[("'3.weight'", "the model does not have every name.")])
    if isinstance(got, Mapping) and got and all(_equal(value, mine.get(key)) for key, value in got.items()):
        raise NotYet("the numbers are the model's own.\nLikely cause: take the tensors of the state_dict.")
    shapes_ignored = "its shape was not compared with that in the model."
    counted = isinstance(got, Mapping) and "2.bias" not in got
    extra = {
        "2.weight": "as many numbers are not the same shape." if counted else shapes_ignored,
        "2.bias": shapes_ignored,
        "3.weight": "its shape occurs in the model, but its name does not.",
    }
    no_buffers = "buffers are missing: named_parameters() has none of them, state_dict() has."
    compare_dicts(got, expected, "what fits", {"running": no_buffers, "num_batches": no_buffers}, extra)


def verify_rename(answer: Any) -> None:
    """3.2 `rename(state_dict, new_names) -> renamed`."""
    old = [f"a.{i}.weight" for i in (2, 24, 26, 28)]
    state_dict = {key: torch.full((i + 2,), float(i)) for i, key in enumerate([*old, "head.bias"])}
    new_names = {"a.24.weight": "a.26.weight", "a.26.weight": "a.28.weight", "a.28.weight": "a.30.weight"}
    expected = {new_names.get(key, key): tensor for key, tensor in state_dict.items()}
    got = call(answer, state_dict, new_names, crashes=RENAME_CRASHES)
    if isinstance(got, Mapping) and "a.30.weight" in got and "a.26.weight" not in got:
        raise NotYet(
            "nothing is called 'a.26.weight' any more.\nLikely cause: the names were changed one after the other, so "
            "that 24 became 26, then 28, then 30; look up each old name once."
        )
    dropped = "names that are not in `new_names` stay as they are."
    missing = {"a.2.": dropped, "head": dropped}
    compare_dicts(got, expected, "the result", missing, {"a.24.weight": "the old name is still there."})
    two = {"x": torch.ones(2), "y": torch.zeros(3)}
    overwritten = "the later tensor overwrote the earlier one; compare the number of names before and after."
    must_refuse(answer, two, {"x": "z", "y": "z"}, case="if two names become one", cause=overwritten)
    stays = "look also at the names that stay, not only at those in `new_names`."
    must_refuse(answer, two, {"x": "y"}, case="if a new name is that of a tensor which stays", cause=stays)


RENAME_CRASHES = [
    ("a.2.weight", "not every name is in `new_names`; dict.get has a default."),
    ("head.bias", "not every name is in `new_names`; dict.get has a default."),
    ("changed size", "a dictionary cannot grow while it is walked through; fill a new one."),
    ("keys changed", "a dictionary cannot change while it is walked through; fill a new one."),
]


def verify_pair_layers(answer: Any) -> None:
    """3.3 `pair_layers(model, state_dict) -> names`."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(6, 7)
    )
    plain = nn.ModuleDict(
        {"stem": nn.Conv2d(3, 4, (2, 5)), "body": nn.Conv2d(4, 4, 3, bias=False), "head": nn.Linear(6, 7)}
    )
    state_dict = plain.state_dict()
    expected = {"stem.weight": "0.weight", "stem.bias": "0.bias", "body.weight": "2.weight"}
    expected |= {"head.weight": "4.weight", "head.bias": "4.bias"}
    case = "for a checkpoint without BatchNorms and a model with them"
    got = call(answer, model, state_dict, case=case, crashes=PAIR_CRASHES)
    if not isinstance(got, Mapping):
        raise NotYet(f"{case}, the result should be a dictionary, but is a {type(got).__name__}.")
    if dict(got) == {new: old for old, new in expected.items()}:
        raise NotYet(f"{case}, the pairs are turned round: the checkpoint's names come first.")
    for old, new in got.items():
        if expected.get(old) != new:
            wanted = f"belongs to {expected[old]!r}" if old in expected else "should not be paired"
            why = "a weight with one dimension is a BatchNorm's; it does not count." if "1." in str(new) else None
            raise NotYet(f"{case}, {old!r} {wanted}, not {new!r}.{because(why)}")
    for old in expected:
        if old not in got:
            why = "a layer's bias has the name of its weight, with another ending." if "bias" in old else None
            raise NotYet(f"{case}, {old!r} is not paired.{because(why)}")
    fewer = {key: tensor for key, tensor in state_dict.items() if "head" not in key}
    ends = "zip ends with the shorter list and says nothing; zip(..., strict=True) raises a ValueError."
    must_refuse(answer, model, fewer, case="if the checkpoint has fewer layers", cause=ends)
    must_refuse(answer, model[:3], state_dict, case="if the model has fewer layers", cause=ends)
    wide = state_dict | {"body.weight": torch.rand(4, 4, 3, 2)}
    must_refuse(answer, model, wide, case="if a pair has different shapes", cause="the shapes were not compared.")


PAIR_CRASHES = [
    (".bias'", "not every layer has a bias; ask before you take it."),
    ("zip()", "the BatchNorms of the model count as layers, or its biases do."),
]


def verify_first_difference(answer: Any) -> None:
    """3.4 `first_difference(ours, theirs, x) -> number of a layer`."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(30, 7))
    x = torch.rand(2, 3, 5, 6)
    same = copy.deepcopy(ours)
    other_weight, other_layer, forgotten = copy.deepcopy(ours), copy.deepcopy(ours), copy.deepcopy(ours)
    with torch.no_grad():
        other_weight[2].weight[0, 1, 2, 0] += 1
        other_weight[5].bias += 1
        forgotten[0].bias -= 1
        ours_forgetful = copy.deepcopy(ours)
        for model in (forgotten, ours_forgetful):
            model[5].weight.zero_()
    other_layer[3] = nn.Sigmoid()
    cases = {
        "if layers 2 and 5 have other weights": (ours, other_weight, 2),
        "if the two are equal": (ours, same, -1),
        "if layer 3 is a Sigmoid in one and a Tanh in the other": (ours, other_layer, 3),
        "if layer 0 differs, but the last layer forgets it": (ours_forgetful, forgotten, 0),
    }
    for case, (a, b, expected) in cases.items():
        got = call(answer, a, b, x, case=case, crashes=LAYER_CRASHES, may_change=[])
        if isinstance(got, bool) or not isinstance(got, Integral):
            raise NotYet(f"{case}, a number is wanted, but got a {type(got).__name__}.")
        if got != expected:
            raise NotYet(
                f"{case}, the answer should be {expected}, but is {got}.{because(_layer_cause(expected, got))}"
            )


def _layer_cause(expected: int, got: int) -> str | None:
    if expected == -1:
        return "where no layer differs, the answer is -1." if got in (0, 5, 6) else None
    if got == expected + 1:
        return "layers are numbered from 0."
    if got == 5:
        return "return at the first difference, not the last."
    if expected == 3:
        return "weights were compared, or the types of layers with weights; compare what the layers put out."
    if expected == 0:
        return "only the last outputs were compared."
    return "return as soon as the two differ, and -1 only behind the loop." if got == -1 else None


LAYER_CRASHES = [
    ("expected input", "each layer takes what the layer before it put out, not x."),
    ("mat1 and mat2", "each layer takes what the layer before it put out, not x."),
    ("Boolean value of Tensor", "`==` compares number by number; torch.equal compares two tensors."),
]


def _equal(a: Any, b: Any) -> bool:
    return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)


EXERCISES = {
    "3.1": Exercise(
        verify_fitting,
        (
            "Ask two things of each entry: does the model have this name, and if so, the same shape there?",
            "model.state_dict() has all names and shapes, buffers too; `and` looks at its right side only if the left "
            "one is true.",
            "{key: t for key, t in state_dict.items() if key in mine and t.shape == mine[key].shape}",
        ),
        "names and shapes, buffers too, and nothing else.",
    ),
    "3.2": Exercise(
        verify_rename,
        (
            "Fill a new dictionary, and look up each old name once.",
            "new_names.get(key, key) is the new name, or the old one if there is no new one.",
            "renamed = {new_names.get(key, key): t for key, t in state_dict.items()}; if it is shorter than "
            "state_dict, two names became one.",
        ),
        "all at once, nothing lost, and no two under one name.",
    ),
    "3.3": Exercise(
        verify_pair_layers,
        (
            "First make a list of layers for either side: names that end in `.weight` and whose tensor has ndim >= 2.",
            "zip(ours, theirs, strict=True) raises a ValueError if one list is longer.",
            "For each pair compare the shapes of the weights, then pair weight with weight, and bias with bias if "
            "there is one; key.removesuffix('.weight') is the name of the layer.",
        ),
        "order, with everything counted that can be counted.",
    ),
    "3.4": Exercise(
        verify_first_difference,
        (
            "Keep two tensors, both x at first, and send each through its own network, one layer at a time.",
            "enumerate(zip(ours, theirs, strict=True)) gives number and layers; torch.equal compares two tensors.",
            "for i, (a, b) in enumerate(zip(ours, theirs, strict=True)): ours_out, theirs_out = a(ours_out), "
            "b(theirs_out); return i if they are not equal; behind the loop return -1.",
        ),
        "now you can say not only that a transfer went wrong, but where.",
    ),
}
