"""Exercise 2.1: a snapshot of a model that stays what it is when training goes on."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case, compare_dicts
from .networks import Odd, tied


def right(model: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def named_tensors(model: nn.Module, remove_duplicate: bool = True) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=remove_duplicate)) | dict(model.named_buffers())


def as_floats(model: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.float().clone() for key, tensor in model.state_dict().items()}


def evaluated_first(model: nn.Module) -> dict[str, Tensor]:
    return right(model.eval())


def frozen_first(model: nn.Module) -> dict[str, Tensor]:
    return right(model.requires_grad_(False))


OWN_MEMORY = (
    "state_dict() hands out the model's own memory; dict(), copy.copy, detach() and cpu() copy no numbers. Clone the "
    "tensors."
)
BUFFERS = "buffers are missing: parameters() has none of them, state_dict() has."
TIED = "layers 2 and 3 share this weight; named_parameters() has it once, state_dict() under both names."
GRADIENTS = (
    "a clone of a parameter keeps its tie to the model, and a deep copy of one is a parameter; state_dict() hands out "
    "detached tensors."
)

ALL = "take all of state_dict(), as it is: whatever its type, trained or frozen."
NOT_STORED = "a buffer with persistent=False is in no state_dict(), and loading it would fail."
AS_IT_WAS = "the model stays as it is: mode, gradients, parameters."
EACH_ITS_OWN = "clone every tensor, frozen ones and buffers, too, into a dictionary that is new in each call."


def all_but_frozen(model: nn.Module) -> dict[str, Tensor]:
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
    return {key: t if key in frozen else t.clone() for key, t in model.state_dict().items()}


def into_one_dictionary() -> Any:
    best: dict[str, Tensor] = {}

    def snapshot(model: nn.Module) -> dict[str, Tensor]:
        best.clear()
        best.update(right(model))
        return best

    return snapshot


def gives_its_own_away(model: nn.Module) -> dict[str, Tensor]:
    own = model.state_dict()
    model.load_state_dict(copy.deepcopy(own), assign=True)
    return own


def clears_gradients(model: nn.Module) -> dict[str, Tensor]:
    model.zero_grad()
    return right(model)


def all_that_is_named(model: nn.Module) -> dict[str, Tensor]:
    named = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    return {key: tensor.detach().clone() for key, tensor in named.items()}


MISTAKES = (
    Mistake(EACH_ITS_OWN, all_but_frozen),
    Mistake(EACH_ITS_OWN, into_one_dictionary()),
    Mistake(AS_IT_WAS, gives_its_own_away),
    Mistake(AS_IT_WAS, clears_gradients),
    Mistake(NOT_STORED, all_that_is_named),
    Mistake(ALL, lambda model: {k: t.float() if t.is_floating_point() else t.clone() for k, t in right(model).items()}),
    Mistake(OWN_MEMORY, lambda model: model.state_dict()),
    Mistake(OWN_MEMORY, lambda model: dict(model.state_dict())),
    Mistake(BUFFERS, lambda model: {key: p.detach().clone() for key, p in model.named_parameters()}),
    Mistake(TIED, lambda model: {key: tensor.clone() for key, tensor in named_tensors(model).items()}),
    Mistake(
        GRADIENTS,
        lambda model: {key: t.clone() for key, t in named_tensors(model, remove_duplicate=False).items()},
    ),
    Mistake("under '1.num_batches_tracked', not torch.int64", as_floats),
    Mistake("eval() and train() act on the model", evaluated_first),
    Mistake("requires_grad_(...) acts on the model", frozen_first),
    Mistake("take its state_dict().", lambda model: copy.deepcopy(model)),
    Mistake("should be a dictionary, but is a list", lambda model: list(model.state_dict().values())),
    Mistake("a ndarray under '0.weight'", lambda model: {k: t.clone().numpy() for k, t in model.state_dict().items()}),
    Mistake("other numbers in '0.weight'", lambda model: {key: t * 0 for key, t in model.state_dict().items()}),
)


def verify(answer: Any) -> None:
    """`snapshot(model) -> dict of tensors`."""
    model = tied(0)
    got = call(answer, model)
    if isinstance(got, nn.Module):
        raise NotYet(f"the snapshot should be a dictionary, but is a model.{because('take its state_dict().')}")
    compare_dicts(got, model.state_dict(), "the snapshot", {"running": BUFFERS, "3.weight": TIED})
    if held := [key for key, tensor in got.items() if tensor.requires_grad]:
        raise NotYet(f"{held[0]!r} in the snapshot requires a gradient, as a parameter does.{because(GRADIENTS)}")
    moved = moves_along(answer(model), model)
    if moved:
        raise NotYet(
            f"after the model was trained, {len(moved)} of {len(got)} tensors of the snapshot have moved along, "
            f"{moved[0]!r} first.{because(OWN_MEMORY)}"
        )
    expect_any_model(answer)


def expect_any_model(answer: Any) -> None:
    """Frozen tensors, other types, buffers of all kinds; and the next snapshot leaves the last one alone."""
    model = Odd(3).eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    parameters = list(model.parameters())
    with case("for a model in eval mode, with doubles, halves, a frozen weight and a buffer that is not stored"):
        first = call(lambda given: answer(model), 0)
        compare_dicts(first, model.state_dict(), "the snapshot", {"": ALL}, {"cache": NOT_STORED})
        if model.training or not model.fc.bias.requires_grad or model.fc.weight.requires_grad:
            raise NotYet(f"the model has another mode or other frozen parameters afterwards.{because(AS_IT_WAS)}")
        if any(now is not then for now, then in zip(model.parameters(), parameters, strict=True)):
            raise NotYet(f"the model has new parameters, which its optimizer does not know.{because(AS_IT_WAS)}")
        if any(parameter.grad is None for parameter in parameters):
            raise NotYet(f"gradients are gone.{because(AS_IT_WAS)}")
        kept = {key: tensor.clone() for key, tensor in first.items()}
        moved = moves_along(first, model)
        answer(model)
        moved += [key for key, tensor in first.items() if not torch.equal(tensor, kept[key])]
        if moved:
            raise NotYet(f"{moved[0]!r} of the snapshot has moved along with the model.{because(EACH_ITS_OWN)}")


def moves_along(taken: dict[str, Tensor], model: nn.Module) -> list[str]:
    """Names of the tensors that change when those of the model do."""
    before = {key: tensor.clone() for key, tensor in taken.items()}
    for tensor in model.state_dict().values():
        tensor += 1
    return [key for key in before if not torch.equal(taken[key], before[key])]


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "model.state_dict() has all names and tensors, buffers too; but the tensors are the model's own.",
        "tensor.clone() is a copy with memory of its own.",
        "{key: tensor.clone() for key, tensor in model.state_dict().items()}",
    ),
    praise="the best weights stay the best, however long training goes on.",
)
