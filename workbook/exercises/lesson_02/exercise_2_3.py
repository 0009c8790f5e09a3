"""Exercise 2.3: copy a network's numbers into another one, which keeps its own memory."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..checking import FROZEN, OTHER_MODE, Exercise, Mistake, NotYet, because, call, case, compare_dicts
from .networks import Odd, small


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

ALL = "take all of state_dict(), whatever its type or its place, trained or frozen, and nothing else."
COUNTERS = "BatchNorm's counter is a buffer as well, of whole numbers."
MISSING = {"running": BUFFERS, "num_batches": COUNTERS}


def expect_any_model(answer: Any) -> None:
    """All of a target in eval mode, of other types, with tensors of its own; and but for numbers it stays as it is."""
    target: Any = Odd(1).eval()
    source = Odd(2)
    cache, parameters = target.cache.clone(), list(target.parameters())
    expected = copy.deepcopy(source.state_dict())
    with case("for a model in eval mode, with doubles, halves, a frozen weight and tensors of its own"):
        call(lambda given: answer(target, source), 0)
        compare_dicts(target.state_dict(), expected, "the target", {"": ALL})
        if target.training or target.norm.training:
            raise NotYet(f"the target came in eval mode.{because(OTHER_MODE)}")
        if target.fc.weight.requires_grad or not target.fc.bias.requires_grad:
            raise NotYet(f"other parameters of the target are frozen than were.{because(FROZEN)}")
        if any(now is not then for now, then in zip(target.parameters(), parameters, strict=True)):
            raise NotYet(f"the target has new parameters.{because(NEW_PARAMETERS)}")
        places = {tensor.data_ptr() for tensor in source.state_dict().values()}
        if shared := [key for key, tensor in target.state_dict().items() if tensor.data_ptr() in places]:
            raise NotYet(f"{shared[0]!r} is one memory with the source's.{because(SHARED)}")
        if not source.training or not torch.equal(target.cache, cache):
            raise NotYet(f"the source has another mode, or the target another `cache`.{because(ALL)}")


def floating_ones(target: nn.Module, source: nn.Module) -> nn.Module:
    tensors = {key: tensor for key, tensor in source.state_dict().items() if tensor.is_floating_point()}
    target.load_state_dict(tensors, strict=False)
    return target


def in_train_mode(target: nn.Module, source: nn.Module) -> nn.Module:
    target.load_state_dict(source.state_dict())
    return target.train()


def of_layers_alone(target: nn.Module, source: nn.Module) -> nn.Module:
    tensors = {key: tensor for key, tensor in source.state_dict().items() if "." in key}
    target.load_state_dict(tensors, strict=False)
    return target


def puts_the_source_in_eval_mode(target: nn.Module, source: nn.Module) -> nn.Module:
    target.load_state_dict(source.eval().state_dict())
    return target


@torch.no_grad()
def those_that_are_trained(target: nn.Module, source: nn.Module) -> nn.Module:
    for key, tensor in source.state_dict(keep_vars=True).items():
        if tensor.requires_grad or not isinstance(tensor, nn.Parameter):
            target.state_dict()[key].copy_(tensor)
    return target


MISTAKES = (
    Mistake(OTHER_MODE, in_train_mode),
    Mistake(ALL, of_layers_alone),
    Mistake(ALL, puts_the_source_in_eval_mode),
    Mistake(ALL, those_that_are_trained),
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
    expect_any_model(answer)


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
