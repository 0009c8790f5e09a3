"""The state of a scheduler out of a checkpoint: where it is, and the plan that it follows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import CheckpointError
from ..text import few
from .checking import Content, check_class

Plan = Literal["file", "here"]

# what torch's schedulers are given when they are made; all else in their states is how far they are
PLAN = (
    *("total_steps", "_schedule_phases", "_anneal_func_type", "cycle_momentum"),  # OneCycleLR
    *("T_max", "eta_min", "T_0", "T_mult"),  # cosines
    *("milestones", "_milestones", "gamma", "step_size"),  # steps, SequentialLR
    *("total_iters", "start_factor", "end_factor", "factor", "power"),  # linear, constant, polynomial
    *(
        "patience",
        "cooldown",
        "threshold",
        "threshold_mode",
        "mode",
        "mode_worse",
        "min_lrs",
        "eps",
    ),  # ReduceLROnPlateau
    *("total_size", "step_ratio", "_scale_mode", "max_lrs", "base_momentums", "max_momentums"),  # CyclicLR
    *("anneal_epochs", "swa_lrs"),  # SWALR
)
RATES = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")  # of the plan, kept in the groups


def scheduler_state_for(content: Content, scheduler: Any, plan: Plan | None, file: str) -> tuple[Any, tuple[str, ...]]:
    """The state that a scheduler gets, and notes on what is not in the file.

    Raises:
        CheckpointError: it is another kind of scheduler, of other groups, or its plan is another one, and nobody has
            said which to follow.
    """
    saved = content["scheduler"]
    check_class(saved, scheduler, "scheduler", file)
    in_file, here = saved["state"], scheduler.state_dict()
    counts = [len(state["base_lrs"]) for state in (in_file, here) if state.get("base_lrs") is not None]
    if len(set(counts)) > 1:
        raise CheckpointError(
            f"the scheduler has {counts[0]} groups in {file} and {counts[1]} here; make it as before or load without it"
        )
    notes = []
    if any(key == "lr_lambdas" for key, _ in _entries(here)):
        notes.append(f"the functions of {saved['class']} are not in the file: it goes on with those given here")
    differences = _differences(in_file, here)
    if differences and plan is None:
        raise CheckpointError(
            f"{saved['class']} has {few(differences, 2)}; say which to follow: schedule='file' goes on as planned "
            f"then, schedule='here' goes to the same step of the plan of this one, longer or shorter"
        )
    if differences:
        notes.append(f"{saved['class']} has {few(differences, 2)}: it follows the plan of schedule={plan!r}")
    state = copy.deepcopy(in_file)
    return (_with_plan_of(here, state) if plan == "here" else state), tuple(notes)


def keep_rates_here(state: Content, groups: list[Content]) -> Content:
    """The state of an optimizer, with the rates between which a scheduler made here is to move."""
    pairs = zip(state["param_groups"], groups, strict=True)
    renewed = [{**saved, **{key: group[key] for key in RATES if key in group}} for saved, group in pairs]
    return {**state, "param_groups": renewed}


def _differences(in_file: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for key in PLAN:
        if key == "_schedule_phases" and found:
            continue  # they follow from the number of steps
        if key in in_file and key in here and in_file[key] != here[key]:
            name = key.lstrip("_")
            found.append(f"{name}={_short(in_file[key])} in the file and {name}={_short(here[key])} here")
    for own, other in zip(_parts(in_file), _parts(here), strict=False):
        found += _differences(own, other)
    if len(_parts(in_file)) != len(_parts(here)):
        found.append(f"{len(_parts(in_file))} schedulers in it in the file and {len(_parts(here))} here")
    return found


def _short(value: object) -> str:
    return str(sorted(value.elements())) if hasattr(value, "elements") else str(value)


def _parts(state: Mapping[str, Any]) -> list[Any]:
    """States of the schedulers in a SequentialLR or ChainedScheduler."""
    inner = state.get("_schedulers")
    return inner if isinstance(inner, list) and all(isinstance(part, Mapping) for part in inner) else []


def _entries(state: Mapping[str, Any]) -> list[tuple[str, Any]]:
    entries = list(state.items())
    for part in _parts(state):
        entries += _entries(part)
    return entries


def _with_plan_of(here: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    for key in (*PLAN, "base_lrs"):
        if key in here and key in state:
            state[key] = copy.deepcopy(here[key])
    if len(_parts(here)) != len(_parts(state)):
        raise CheckpointError("the scheduler has other schedulers in it than in the file; load without it")
    for own, other in zip(_parts(here), _parts(state), strict=True):
        _with_plan_of(own, other)
    return state
