"""The state of an optimizer out of a checkpoint: as it was, or by the names of the parameters."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import CheckpointError
from ..text import few
from .checking import Content, check_class
from .content import parameters_of

# states of torch's optimizers that have a number for each number of the parameter
LIKE_PARAMETER = {
    *("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "grad_avg"),
    *("acc_delta", "sum", "ax", "prev"),
}
OF_PLACES = ("params", "param_names")  # what a group has beside its options


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer is given.

    Attributes:
        state: as its `load_state_dict` takes it; a copy.
        new: names of its parameters that the file's optimizer did not have, and that begin without a state.
        notes: what is not as in the file.
    """

    state: dict[str, Any]
    new: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def state_for(content: Content, optimizer: Optimizer, model: nn.Module, file: str) -> OptimizerState:
    """The state that an optimizer gets: as in the file if its groups are the same, else parameter by parameter.

    Raises:
        CheckpointError: it is another kind of optimizer, parameters cannot be told by their names, or a state has
            another shape than its parameter.
    """
    saved = content["optimizer"]
    check_class(saved, optimizer, "optimizer", file)
    in_file = [[(name, tuple(shape)) for name, shape in group] for group in saved["parameters"]]
    here = parameters_of(optimizer, model)
    _check_states(saved["state"], [shape for group in in_file for _, shape in group], file)
    if in_file == here:
        return OptimizerState(copy.deepcopy(saved["state"]))
    return _by_name(saved, in_file, optimizer, here, file)


def _by_name(
    saved: Content,
    in_file: list[list[tuple[str, tuple[int, ...]]]],
    optimizer: Optimizer,
    here: list[list[tuple[str, tuple[int, ...]]]],
    file: str,
) -> OptimizerState:
    way_out = "make the optimizer as before, or load without it, and it begins anew"
    shapes = {name: shape for group in in_file for name, shape in group}
    for name, shape in [pair for group in here for pair in group]:
        if name == "" or "" in shapes:
            raise CheckpointError(
                f"the groups of the optimizer are not those in {file}, and a parameter {shape} in them is none of the "
                f"model's, so it has no name to go by; {way_out}"
            )
        if name in shapes and shapes[name] != shape:
            raise CheckpointError(
                f"{name!r} has shape {shapes[name]} in the optimizer of {file}, {shape} here; {way_out}"
            )
    if saved["class"] == "LBFGS":
        raise CheckpointError(
            f"the groups of the optimizer are not those in {file}, and LBFGS has one state for all of them; {way_out}"
        )
    numbers: dict[str, int] = {}  # of the parameters in the file, and the groups that have the same ones as here
    options: dict[frozenset[str], dict[str, Any]] = {}
    for named, group in zip(in_file, saved["state"]["param_groups"], strict=True):
        numbers.update({name: number for (name, _), number in zip(named, group["params"], strict=True)})
        options[frozenset(name for name, _ in named)] = group
    state = optimizer.state_dict()
    own: dict[int, Any] = {}
    changed = []
    for number, (named, group) in enumerate(zip(here, state["param_groups"], strict=True)):
        known = options.get(frozenset(name for name, _ in named))
        if known is None:
            changed.append(f"group {number}")
        else:
            group.update({key: copy.deepcopy(value) for key, value in known.items() if key not in OF_PLACES})
        for (name, _), place in zip(named, group["params"], strict=True):
            if name in numbers and numbers[name] in saved["state"]["state"]:
                own[place] = copy.deepcopy(saved["state"]["state"][numbers[name]])
    names = [name for group in here for name, _ in group]
    new = tuple(name for name in names if name not in shapes)
    left = [name for name in shapes if name not in names]
    notes = ["the groups of the optimizer are not those in the file, so its state went by the names of the parameters"]
    if new:
        notes.append(f"new in the optimizer, without a state: {few(map(repr, new))}")
    if left:
        notes.append(f"in the file's optimizer, and not in this one: {few(map(repr, left))}")
    if changed:
        notes.append(f"{few(changed)} of the optimizer kept the rate and the other options that it has here")
    return OptimizerState({**state, "state": own}, new, tuple(notes))


def _check_states(state: Content, shapes: list[tuple[int, ...]], file: str) -> None:
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    if sorted(numbers) != list(range(len(shapes))):
        raise CheckpointError(f"the groups of the optimizer in {file} do not number {len(shapes)} parameters")
    for number, values in state["state"].items():
        if number not in range(len(shapes)):
            raise CheckpointError(f"{file} has a state for parameter {number}, and the optimizer {len(shapes)}")
        for key, value in values.items():
            if key in LIKE_PARAMETER and isinstance(value, Tensor) and tuple(value.shape) != shapes[number]:
                raise CheckpointError(
                    f"{key} of parameter {number} has shape {tuple(value.shape)} in {file}, and the parameter "
                    f"{shapes[number]}: it was changed after it was saved"
                )
