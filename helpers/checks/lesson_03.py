"""Lesson 03: the exercises on loading the part that fits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from .feedback import Exercise, NotYet, because, call, compare_dicts, must_refuse
from .lesson_03_layers import verify_first_difference, verify_pair_layers


def verify_sort_out(answer: Any) -> None:
    """3.1 `sort_out(model, state_dict) -> four sets of names`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7), nn.Linear(7, 2, bias=False))
    model.append(nn.Conv2d(2, 3, (2, 4), bias=False)).append(nn.Linear(4, 5, bias=False))
    loaded = {key for key in model.state_dict() if key[0] in "01"}
    others = {
        "2.weight": torch.rand(6, 7),  # as many numbers as in the model
        "2.bias": torch.rand(1),  # could be broadcast
        "4.weight": torch.rand(3, 2, 2, 5),  # equal but for the last dimension
        "5.weight": torch.rand(6, 4),  # equal but for the first
        "6.weight": torch.rand(4),  # a shape that the model has, but under other names
    }
    state_dict = others | {key: model.state_dict()[key] + 1 for key in sorted(loaded)}
    got = call(answer, model, state_dict, crashes=[("KeyError", "a name that one side has, the other may not have.")])
    if not isinstance(got, (tuple, list)) or len(got) != 4:
        found = f"{len(got)} values" if isinstance(got, (tuple, list)) else f"a {type(got).__name__}"
        raise NotYet(f"return four sets: loaded, mismatched, missing, unexpected; not {found}.")
    expected = {"loaded": loaded, "mismatched": {*others} - {"6.weight"}, "missing": {"3.weight"}}
    expected |= {"unexpected": {"6.weight"}}
    exchanged = {"missing": {"6.weight"}, "unexpected": {"3.weight"}}
    for (kind, right), names in zip(expected.items(), got, strict=True):
        if isinstance(names, str) or not isinstance(names, Collection):
            raise NotYet(f"{kind!r} should be a set of names, but is a {type(names).__name__}.")
        if set(names) == exchanged.get(kind):
            raise NotYet(f"{kind!r} has {names}.\nLikely cause: missing is what only the model has, not the reverse.")
        for name in sorted(set(names) ^ right, key=str):
            verb = "lacks" if name in right else "should not have"
            raise NotYet(f"{kind!r} {verb} {name!r}.{because(_sorting_cause(kind, name))}")


def _sorting_cause(kind: str, name: str) -> str | None:
    if "running" in name or "num_batches" in name:
        return "buffers are missing: named_parameters() has none of them, state_dict() has."
    if kind == "loaded" and name == "2.weight":
        return "as many numbers are not the same shape."
    if kind == "loaded" and name in ("4.weight", "5.weight"):
        return "all dimensions count: compare the whole shapes."
    if kind == "loaded" and name == "6.weight":
        return "its shape occurs in the model, but its name does not."
    if kind == "loaded" and name == "2.bias":
        return "the shapes were not compared."
    both = kind in ("missing", "unexpected") and name in ("2.weight", "2.bias")
    return "a name that both sides have is mismatched, and nothing else." if both else None


def verify_rename(answer: Any) -> None:
    """3.2 `rename(state_dict, new_names) -> renamed`."""
    old = [f"a.{i}.weight" for i in (2, 24, 26, 28)]
    state_dict = {key: torch.full((i + 2,), float(i)) for i, key in enumerate([*old, "head.bias"])}
    onwards = {"a.24.weight": "a.26.weight", "a.26.weight": "a.28.weight", "a.28.weight": "a.30.weight"}
    cases = {
        "for 24 to 26, 26 to 28 and 28 to 30": onwards,
        "for 28 to 30, 26 to 28 and 24 to 26": dict(reversed(onwards.items())),
        "if 24 and 28 change places": {"a.24.weight": "a.28.weight", "a.28.weight": "a.24.weight"},
    }
    for case, new_names in cases.items():
        got = call(answer, state_dict, new_names, case=case, crashes=RENAME_CRASHES)
        expected = {new_names.get(key, key): tensor for key, tensor in state_dict.items()}
        if isinstance(got, Mapping) and "a.30.weight" in got and "a.26.weight" not in got:
            raise NotYet(
                f"{case}, nothing is called 'a.26.weight' any more.\nLikely cause: the names were changed one after "
                "the other, so that 24 became 26, then 28, then 30; look up each old name once."
            )
        dropped = "names that are not in `new_names` stay as they are."
        lost = "the names were changed one after the other; look up each old name once."
        missing = {"a.2.": dropped, "head": dropped, "a.26": lost, "a.28": lost, "a.24": lost}
        compare_dicts(got, expected, f"{case}, the result", missing, {"a.24.weight": "the old name is still there."})
    two = {"x": torch.ones(2), "w": torch.ones(4), "y": torch.zeros(2)}
    overwritten = "the later tensor overwrote the earlier one; compare the number of names before and after."
    must_refuse(answer, two, {"x": "z", "y": "z"}, case="if two names become one", cause=overwritten)
    stays = "look also at the names that stay, not only at those in `new_names`."
    must_refuse(answer, two, {"x": "y"}, case="if a new name is that of a tensor which stays", cause=stays)


RENAME_CRASHES = [
    ("KeyError: 'a.2.weight'", "not every name is in `new_names`; dict.get has a default."),
    ("KeyError: 'head.bias'", "not every name is in `new_names`; dict.get has a default."),
    ("changed size", "a dictionary cannot grow while it is walked through; fill a new one."),
    ("keys changed", "a dictionary cannot change while it is walked through; fill a new one."),
    (
        "ValueError",
        "here each tensor ends under a name of its own, so nothing is lost. Look up each old name once, fill a new "
        "dictionary, and look for names that meet in that.",
    ),
]


EXERCISES = {
    "3.1": Exercise(
        verify_sort_out,
        (
            "model.state_dict() has all names and shapes of the model, buffers too.",
            "Names can be taken from one another: set(state_dict) - set(mine) are the unexpected ones.",
            "both = mine.keys() & state_dict.keys(); those of `both` with equal shapes are loaded, the rest of `both` "
            "is mismatched.",
        ),
        "four questions, and every name has one answer.",
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
            "For each pair compare the shapes of the weights, and whether both or none have a bias; then pair weight "
            "with weight and bias with bias. key.removesuffix('.weight') is the name of the layer.",
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
