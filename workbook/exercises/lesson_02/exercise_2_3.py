"""Exercise 2.3: copy a network's numbers into another one, which keeps its own memory."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..checking import FROZEN, OTHER_MODE, Exercise, Mistake, NotYet, because, call, compare_dicts
from .networks import small


def right(target: nn.Module, source: nn.Module) -> nn.Module:
    target.load_state_dict(source.state_dict())
    return target


def shares_data(target: nn.Module, source: nn.Module) -> nn.Module:
    right(target, source)
    for into, parameter in zip(target.parameters(), source.parameters(), strict=True):
        into.data = parameter.data
    return target


def assigns(target: nn.Module, source: nn.Module) -> nn.Module:
    target.load_state_dict(source.state_dict(), assign=True)
    return target


def makes_a_parameter(target: Any, source: Any) -> nn.Module:
    right(target, source)
    target[2].weight = nn.Parameter(source[2].weight.detach().clone())
    return target


def only_parameters(target: nn.Module, source: nn.Module) -> nn.Module:
    with torch.no_grad():
        for into, parameter in zip(target.parameters(), source.parameters(), strict=True):
            into.copy_(parameter)
    return target


def into_the_dictionary(target: nn.Module, source: nn.Module) -> nn.Module:
    for key, tensor in source.state_dict().items():
        target.state_dict()[key] = tensor
    return target


def without_no_grad(target: nn.Module, source: nn.Module) -> nn.Module:
    for into, parameter in zip(target.parameters(), source.parameters(), strict=True):
        into.copy_(parameter)
    return target


def backwards(target: nn.Module, source: nn.Module) -> nn.Module:
    source.load_state_dict(target.state_dict())
    return target


SHARED = "`.data =` and assign=True make both share one memory; copy_ and load_state_dict copy."
NEW_PARAMETERS = "nn.Parameter(...) or assign=True; copy into those it has."
BUFFERS = "buffers are missing: parameters() has none of them, state_dict() has."
UNREACHED = (
    "nothing has reached the target. Each call of state_dict() makes a new dictionary: what is put into it, or assigned"
    " to the `.data` of its tensors, stays there. Load it with load_state_dict, or write into its tensors with copy_."
)
REPORT = "load_state_dict returns a report, not the model."
SECOND_NAME = "`target = source` gives the source a second name and copies nothing; fill the target itself."
COPIED = "deepcopy; fill the target itself."

COUNTERS = "BatchNorm's counter is a buffer as well, of whole numbers."
MISSING = {"running": BUFFERS, "num_batches": COUNTERS}


def floating_ones(target: nn.Module, source: nn.Module) -> nn.Module:
    tensors = {key: tensor for key, tensor in source.state_dict().items() if tensor.is_floating_point()}
    target.load_state_dict(tensors, strict=False)
    return target


MISTAKES = (
    Mistake(COUNTERS, floating_ones),
    Mistake(OTHER_MODE, lambda target, source: right(target, source).eval()),
    Mistake(FROZEN, lambda target, source: right(target, source).requires_grad_(False)),
    Mistake(SHARED, shares_data),
    Mistake(SHARED, assigns),
    Mistake(NEW_PARAMETERS, makes_a_parameter),
    Mistake(BUFFERS, only_parameters),
    Mistake("source and target are exchanged.", backwards),
    Mistake(REPORT, lambda target, source: target.load_state_dict(source.state_dict())),
    Mistake(UNREACHED, into_the_dictionary),
    Mistake(UNREACHED, lambda target, source: target),
    Mistake(SECOND_NAME, lambda target, source: source),
    Mistake(COPIED, lambda target, source: copy.deepcopy(source)),
    Mistake("no_grad", without_no_grad),
    Mistake("return the target, not a", lambda target, source: source.state_dict()),
)


def verify(answer: Any) -> None:
    """`copied(target, source) -> target`."""
    source, target = small(1), small(2)
    call(answer, target, source, may_change=[0, 1])
    before, parameters = copy.deepcopy(source.state_dict()), list(target.parameters())
    untouched = copy.deepcopy(target.state_dict())
    got = answer(target, source)
    if any(not torch.equal(before[key], tensor) for key, tensor in source.state_dict().items()):
        raise NotYet(f"the source has changed.{because('source and target are exchanged.')}")
    if not isinstance(got, nn.Module):
        why = because(REPORT if "Keys" in type(got).__name__ else None)
        raise NotYet(f"return the target, not a {type(got).__name__}.{why}")
    if got is source:
        raise NotYet(f"this is the source, not the target that was given.{because(SECOND_NAME)}")
    if got is not target:
        raise NotYet(f"this is not the target that was given.{because(COPIED)}")
    unreached = all(torch.equal(untouched[key], tensor) for key, tensor in target.state_dict().items())
    compare_dicts(target.state_dict(), before, "the target", {"": UNREACHED} if unreached else MISSING)
    if not all(module.training for module in target.modules()):
        raise NotYet(f"the target came in train mode.{because(OTHER_MODE)}")
    if not all(parameter.requires_grad for parameter in target.parameters()):
        raise NotYet(f"parameters of the target are frozen now.{because(FROZEN)}")
    with torch.no_grad():
        for tensor in target.state_dict().values():
            tensor += 1
    moved = [key for key, tensor in source.state_dict().items() if not torch.equal(tensor, before[key])]
    if moved:
        raise NotYet(
            f"when the target was trained, {len(moved)} tensors of the source moved along, {moved[0]!r} first."
            f"{because(SHARED)}"
        )
    if not all(a is b for a, b in zip(parameters, target.parameters(), strict=True)):
        raise NotYet(
            "the target has new parameters, which an optimizer that was made before does not know."
            f"{because(NEW_PARAMETERS)}"
        )


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Which methods of a module give and take all its tensors by name?",
        "load_state_dict copies into the tensors that are there; `.data =` replaces their memory.",
        "target.load_state_dict(source.state_dict()), then return target.",
    ),
    praise="two networks with equal numbers and separate memories.",
)
