"""Lesson 03: the exercises that pair layers and compare what they put out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import nn

from .feedback import NotYet, because, call, must_refuse


def verify_pair_layers(answer: Any) -> None:
    """3.3 `pair_layers(model, state_dict) -> names`."""
    plain = nn.ModuleDict(
        {
            "stem": nn.Conv2d(3, 4, (2, 5)),
            "body": nn.Conv2d(4, 4, 3, bias=False),
            "tail": nn.Conv2d(4, 4, 3, bias=False),
            "head": nn.Linear(6, 7),
        }
    )
    stem, body, tail, head = (copy.deepcopy(part) for part in plain.values())
    model = nn.Sequential(stem, nn.BatchNorm2d(4), body, nn.BatchNorm2d(4), tail, head)
    state_dict = dict(plain.state_dict())
    expected = {"stem.weight": "0.weight", "stem.bias": "0.bias", "body.weight": "2.weight", "tail.weight": "4.weight"}
    expected |= {"head.weight": "5.weight", "head.bias": "5.bias"}
    case = "for a checkpoint without BatchNorms and a model with them"
    got = call(answer, model, state_dict, case=case, crashes=PAIR_CRASHES)
    if not isinstance(got, Mapping):
        raise NotYet(f"{case}, the result should be a dictionary, but is a {type(got).__name__}.")
    if dict(got) == {new: old for old, new in expected.items()}:
        raise NotYet(f"{case}, the pairs are turned round: the checkpoint's names come first.")
    for old, new in got.items():
        if old not in state_dict:
            why = "not every layer has a bias." if str(old).endswith("bias") else None
            raise NotYet(f"{case}, {old!r} is paired, but the checkpoint has no such name.{because(why)}")
        if expected[old] != new:
            why = "a weight with one dimension is a BatchNorm's; it does not count." if "1." in str(new) else None
            why = "the first layer of the shape is not the next one in order." if old == "tail.weight" else why
            raise NotYet(f"{case}, {old!r} belongs to {expected[old]!r}, not {new!r}.{because(why)}")
    for old in expected:
        if old not in got:
            why = "a layer's bias has the name of its weight, with another ending." if "bias" in old else None
            raise NotYet(f"{case}, {old!r} is not paired.{because(why)}")
    fewer = {key: tensor for key, tensor in state_dict.items() if "head" not in key}
    ends = "zip ends with the shorter list and says nothing; zip(..., strict=True) raises a ValueError."
    must_refuse(answer, model, fewer, case="if the checkpoint has fewer layers", cause=ends)
    must_refuse(answer, model[:5], state_dict, case="if the model has fewer layers", cause=ends)
    shapes = "the shapes of each pair were not compared (as many numbers are not the same shape)."
    for other in (torch.rand(4, 4, 3, 2), torch.rand(4, 3, 4, 3), torch.rand(4, 3, 3, 3), torch.rand(5, 4, 3, 3)):
        changed = state_dict | {"body.weight": other}
        must_refuse(answer, model, changed, case="if a pair of weights has different shapes", cause=shapes)
    late = {key: state_dict[key] for key in ("body.weight", "stem.weight", "stem.bias", *list(state_dict)[3:])}
    must_refuse(answer, model, late, case="if two layers of different shapes have changed places", cause=shapes)
    biases = "the biases of a pair were not compared; is the name on both sides, or on neither?"
    one_more = state_dict | {"tail.bias": torch.rand(4)}
    must_refuse(answer, model, one_more, case="if only the checkpoint has a bias", cause=biases)
    one_less = {key: tensor for key, tensor in state_dict.items() if key != "stem.bias"}
    must_refuse(answer, model, one_less, case="if only the model has a bias", cause=biases)


PAIR_CRASHES = [
    ("KeyError", "not every layer has a bias; ask before you take it."),
    ("zip()", "the BatchNorms of the model count as layers, or its biases do."),
    (
        "ValueError",
        "the conv and Linear layers do pair, four on either side. If every name in `.weight` counts, the BatchNorms' "
        "are among them: their weight has one dimension.",
    ),
]


def verify_first_difference(answer: Any) -> None:
    """3.4 `first_difference(ours, theirs, x) -> number of a layer`."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(30, 7))
    x = torch.rand(2, 3, 5, 6)
    other_weight, other_layer, other_type = (copy.deepcopy(ours) for _ in range(3))
    forgetful, forgotten = copy.deepcopy(ours), copy.deepcopy(ours)
    with torch.no_grad():
        other_weight[2].weight[0, 1, 2, 0] += 0.01
        other_weight[5].bias += 1
        forgotten[0].bias -= 1
        for model in (forgetful, forgotten):
            model[5].weight.zero_()
    other_layer[3] = nn.Sigmoid()
    other_type[1] = nn.Threshold(0, 0)  # which a ReLU is
    cases = {
        "if layers 2 and 5 have other weights": (ours, other_weight, 2),
        "if the two are equal": (ours, copy.deepcopy(ours), -1),
        "if layer 3 is a Sigmoid in one and a Tanh in the other": (ours, other_layer, 3),
        "if layer 0 differs, but the last layer forgets it": (forgetful, forgotten, 0),
        "if layer 1 has another type and computes the same": (ours, other_type, -1),
    }
    for case, (a, b, expected) in cases.items():
        got = call(answer, a, b, x, case=case, crashes=LAYER_CRASHES)
        if isinstance(got, bool) or not isinstance(got, Integral):
            raise NotYet(f"{case}, a number is wanted, but got a {type(got).__name__}.")
        if got != expected:
            raise NotYet(
                f"{case}, the answer should be {expected}, but is {got}.{because(_layer_cause(expected, got))}"
            )


def _layer_cause(expected: int, got: int) -> str | None:
    if expected == -1:
        return {1: "types were compared, not outputs.", 0: NONE_DIFFERS, 5: NONE_DIFFERS, 6: NONE_DIFFERS}.get(got)
    if got == expected + 1:
        return "layers are numbered from 0."
    if got == 5:
        return "return at the first difference, not the last."
    if expected == 3:
        return "weights were compared; compare what the layers put out."
    if expected == 0:
        return "only the last outputs were compared."
    return "return as soon as the two differ, and -1 only behind the loop." if got == -1 else None


NONE_DIFFERS = "where no layer differs, the answer is -1."
LAYER_CRASHES = [
    ("expected input", "each layer takes what the layer before it put out, not x."),
    ("mat1 and mat2", "each layer takes what the layer before it put out, not x."),
    ("Boolean value of Tensor", "`==` compares number by number; torch.equal compares two tensors."),
]
