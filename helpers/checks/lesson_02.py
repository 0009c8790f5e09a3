"""Lesson 02: the exercises on state_dicts."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .feedback import Exercise, NotYet, because, call, compare_dicts


def small(seed: int) -> nn.Sequential:
    """Every dimension another, with buffers that have moved."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7))
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(1, 2)
    return model


def tied(seed: int) -> nn.Sequential:
    """`small`, and one more layer that shares the weight of the last one."""
    model = small(seed).append(nn.Linear(6, 7))
    model[3].weight = model[2].weight
    return model


def verify_snapshot(answer: Any) -> None:
    """2.1 `snapshot(model) -> dict of tensors`."""
    model = tied(0)
    got = call(answer, model)
    expected = model.state_dict()
    if isinstance(got, nn.Module):
        raise NotYet("the snapshot should be a dictionary, but is a model.\nLikely cause: take its state_dict().")
    compare_dicts(got, expected, "the snapshot", BUFFERS | TIED)
    if held := [key for key, tensor in got.items() if tensor.requires_grad]:
        raise NotYet(
            f"{held[0]!r} in the snapshot requires a gradient, as a parameter does.\nLikely cause: a clone of a "
            "parameter does so, too, and keeps its tie to the model; state_dict() hands out detached tensors."
        )

    def take_and_train(trained: nn.Module) -> tuple[Any, list[str]]:
        taken = answer(trained)
        before = {key: tensor.clone() for key, tensor in taken.items()}
        tensors = trained.state_dict()
        for tensor in tensors.values():
            tensor += 1
        return [key for key in before if not torch.equal(taken[key], before[key])]

    moved = take_and_train(model)
    if moved:
        raise NotYet(
            f"after the model was trained, {len(moved)} of {len(expected)} tensors of the snapshot have moved along, "
            f"{moved[0]!r} first.\nLikely cause: state_dict() hands out the model's own memory; dict(), copy.copy, "
            "detach() and cpu() copy no numbers. Clone the tensors."
        )


def verify_unwrap(answer: Any) -> None:
    """2.2 `unwrap(checkpoint) -> flat dict`."""
    tensors = {"layer1.weight": torch.ones(2, 3), "encoder.module.bias": torch.zeros(4), "modules.bias": torch.ones(5)}
    prefixed = {f"module.{key}": tensor for key, tensor in tensors.items()}
    mixed = {f"module.{key}" if "1" in key else key: tensor for key, tensor in tensors.items()}
    cases = {
        "nested and prefixed": {"epoch": 5, "state_dict": prefixed},
        "nested only": {"state_dict": tensors, "epoch": 5},
        "prefixed only": prefixed,
        "flat already": tensors,
        "prefixed in part": mixed,
    }
    stripped = "strip() and lstrip() take away letters, not a word; use removeprefix()."
    causes = {
        "state_dict": "the tensors lie one level deeper.",
        "epoch": "the tensors lie one level deeper, and what lies beside them is none.",
        "module.layer1.weight": "the prefix is still there, on this name at least.",
        "encoder.bias": "replace() takes away `module.` in the middle, too; removeprefix() does not.",
        "weight": "key[7:] cuts off seven letters even where there is no prefix; use removeprefix().",
        "ayer1.weight": stripped,
        "ncoder.module.bias": stripped,
        ".layer1.weight": "the dot belongs to the prefix.",
        "bias": "split() cuts at every `module.`, and you took the last part; use removeprefix().",
        "encoder.": "split() cuts at every `module.`; use removeprefix().",
    }
    for case, checkpoint in cases.items():
        got = call(answer, checkpoint, case=f"for a checkpoint that is {case}", crashes=CRASHES)
        compare_dicts(got, tensors, f"for a checkpoint that is {case}, the result", {}, causes)


CRASHES = [
    ("'state_dict'", "not every checkpoint is nested; look whether the key is there."),
    ("'int' object", "beside the tensors lies `epoch`; take what is under 'state_dict' first."),
]


def verify_copy(answer: Any) -> None:
    """2.3 `copied(target, source) -> target`."""
    source, target = small(1), small(2)
    call(answer, target, source, crashes=IN_PLACE, may_change=[0, 1])
    before, parameters = copy.deepcopy(source.state_dict()), list(target.parameters())
    untouched = copy.deepcopy(target.state_dict())
    got = answer(target, source)
    if any(not torch.equal(before[key], tensor) for key, tensor in source.state_dict().items()):
        raise NotYet("the source has changed.\nLikely cause: source and target are exchanged.")
    if not isinstance(got, nn.Module):
        why = because("load_state_dict returns a report, not the model." if "Keys" in type(got).__name__ else None)
        raise NotYet(f"return the target, not a {type(got).__name__}.{why}")
    if got is source:
        raise NotYet(
            "this is the source, not the target that was given.\nLikely cause: `target = source` gives the source a "
            "second name and copies nothing; fill the target itself."
        )
    if got is not target:
        raise NotYet("this is not the target that was given.\nLikely cause: deepcopy; fill the target itself.")
    unreached = all(torch.equal(untouched[key], tensor) for key, tensor in target.state_dict().items())
    compare_dicts(target.state_dict(), before, "the target", {"": UNREACHED} if unreached else BUFFERS)
    with torch.no_grad():
        for tensor in target.state_dict().values():
            tensor += 1
    moved = [key for key, tensor in source.state_dict().items() if not torch.equal(tensor, before[key])]
    if moved:
        raise NotYet(
            f"when the target was trained, {len(moved)} tensors of the source moved along, {moved[0]!r} first.\n"
            "Likely cause: `.data =` and assign=True make both share one memory; copy_ and load_state_dict copy."
        )
    if not all(a is b for a, b in zip(parameters, target.parameters(), strict=True)):
        raise NotYet(
            "the target has new parameters, which an optimizer that was made before does not know.\n"
            "Likely cause: nn.Parameter(...) or assign=True; copy into those it has."
        )


BUFFERS = {"running": "buffers are missing: parameters() has none of them, state_dict() has."}
TIED = {"3.weight": "layers 2 and 3 share this weight; named_parameters() has it once, state_dict() under both names."}
UNREACHED = (
    "nothing has reached the target. Each call of state_dict() makes a new dictionary: what is put into it, or assigned"
    " to the `.data` of its tensors, stays there. Load it with load_state_dict, or write into its tensors with copy_."
)
IN_PLACE = [("leaf Variable", "PyTorch guards what is trained; write inside `with torch.no_grad():`.")]


EXERCISES = {
    "2.1": Exercise(
        verify_snapshot,
        (
            "model.state_dict() has all names and tensors, buffers too; but the tensors are the model's own.",
            "tensor.clone() is a copy with memory of its own.",
            "{key: tensor.clone() for key, tensor in model.state_dict().items()}",
        ),
        "the best weights stay the best, however long training goes on.",
    ),
    "2.2": Exercise(
        verify_unwrap,
        (
            "Two steps: take what lies under 'state_dict' if that key is there, then take the prefix off each name.",
            "checkpoint.get('state_dict', checkpoint) is the checkpoint itself if the key is missing.",
            "'module.a'.removeprefix('module.') is 'a', and 'a'.removeprefix('module.') is 'a'.",
        ),
        "it takes off what is there, and leaves alone what is not.",
    ),
    "2.3": Exercise(
        verify_copy,
        (
            "Which methods of a module give and take all its tensors by name?",
            "load_state_dict copies into the tensors that are there; `.data =` replaces their memory.",
            "target.load_state_dict(source.state_dict()), then return target.",
        ),
        "two networks with equal numbers and separate memories.",
    ),
}
