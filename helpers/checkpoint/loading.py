"""Go on from a checkpoint: all of it, or nothing."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..errors import CheckpointError
from ..modes import keep_in_eval_, release_
from ..random_states import check_generator_state, check_random_state, set_random_state
from .batches import ResumableBatches
from .checking import Content, check_model, read
from .content import check_parts
from .names import in_names_of
from .optimizers import OptimizerState, state_for
from .schedulers import Plan, keep_rates_here, scheduler_state_for
from .undoing import undone_on_error


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says besides the states that it restored.

    Attributes:
        path: the file.
        epoch: epochs that are done, which is also the number of the one to go on with.
        extra: what was given to `save_checkpoint` beyond its own arguments, by name.
        score: the one given as `best`, if there was one.
        notes: one sentence for everything in the file that was not restored, or not as it was.
        new: names of the parameters that only the optimizer here has, if its groups are not those in the file; they
            begin without a state.
    """

    path: Path
    epoch: int
    extra: dict[str, Any]
    score: float | None = None
    notes: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def load_checkpoint(
    path: str | Path,
    *,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    scheduler: Any | None = None,
    batches: ResumableBatches | None = None,
    generator: torch.Generator | None = None,
    restore_random: bool = True,
    verify: bool = True,
    schedule: Plan | None = None,
) -> Checkpoint:
    """Restore what `save_checkpoint` wrote, in place, so that training goes on bit by bit as if it had never stopped.

    First everything is verified, the checksums of the file among it, which `torch.load` does not look at. If something
    fails all the same while it is restored, all is put back. Nothing in the file is executed. Values are copied into
    the parameters that are there, on the device where they are, so an optimizer keeps its hold on them, and the file
    may be overwritten afterwards.

    The names in the file and in the model may differ by what is wrapped around it or a part of it (torch.compile,
    DataParallel, activation checkpointing).

    Args:
        path: the file.
        model: gets weights, buffers, what takes gradients, the modes of its modules, and which stay in eval mode.
        optimizer: of the same class. With the same parameters in the same groups, all is as it was, the rates too. If
            the groups are others, each parameter gets the state that it had by its name, a group with just the
            parameters of one in the file gets its options, others keep theirs, and `notes` and `new` say so. What the
            file has, and is not asked for here, is left out and noted.
        scheduler: of the same class. The functions of a LambdaLR are not in the file.
        batches: will continue in the middle of the epoch.
        generator: the one that was given to `save_checkpoint`.
        restore_random: False leaves all random states as they are.
        verify: compare the file's checksums. False if it was saved with checksums switched off.
        schedule: whose plan to follow if the scheduler here is made with another one (`total_steps`, `T_max`,
            `milestones`, ...): "file" for the one in the file, as torch does, "here" for the one of `scheduler`, at the
            step where the file is; a scheduler that works from the current rate goes on from that. None refuses.

    Returns:
        The epoch and all else that there was.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged or something else, or does not fit; names the layer and both shapes, and
            the way out. Everything is as it was.
    """
    check_parts(model, optimizer, scheduler, batches, generator)
    if schedule not in (None, "file", "here"):
        raise CheckpointError(f"schedule is {schedule!r}: give 'file', 'here' or None")
    if not isinstance(path, (str, Path)) or not str(path):
        raise CheckpointError(f"{path!r} names no file: give a path as text or as a pathlib.Path")
    path = Path(path)
    content = read(path, verify)
    file, epoch = path.name, content["epoch"]
    asked = {"optimizer": optimizer, "scheduler": scheduler, "batches": batches, "generator": generator}
    fitted, scheduler_state = OptimizerState({}), None
    scheduler_notes: tuple[str, ...] = ()
    try:
        content = in_names_of(model, content)
        check_model(content, model, file)
        if optimizer is not None:
            fitted = state_for(content, optimizer, model, file)
        if scheduler is not None:
            scheduler_state, scheduler_notes = scheduler_state_for(content, scheduler, schedule, file)
        _check_random(content, batches, generator, restore_random, file)
        notes = (*_notes(content, asked, model), *fitted.notes, *scheduler_notes)
    except CheckpointError:
        raise
    except Exception as error:  # a file that was made by hand may have anything anywhere
        raise CheckpointError(f"{file} is not what save_checkpoint writes ({error!r}): it was changed") from error
    with undone_on_error(model, optimizer, scheduler, batches, generator, file):
        _restore_model(content, model)
        # the states are copies, for an optimizer keeps the tensors that it is given, and the file's are its memory
        if optimizer is not None:
            state = fitted.state
            optimizer.load_state_dict(
                keep_rates_here(state, optimizer.param_groups)
                if scheduler is not None and schedule == "here"
                else state
            )
            if content["optimizer"]["stepped"]:  # torch warns if a scheduler steps first, and would do so falsely
                vars(optimizer)["_opt_called"] = True
        if scheduler is not None:
            scheduler.load_state_dict(scheduler_state)
        if batches is not None:
            batches.load_state_dict(copy.deepcopy(content["batches"]), restore_random=restore_random)
        extra = copy.deepcopy(content["extra"])
        if restore_random:
            if generator is not None:
                generator.set_state(content["generator"].clone())
            set_random_state(content["random"])
    return Checkpoint(path, epoch, extra, content["score"], notes, fitted.new)


def _check_random(
    content: Content,
    batches: ResumableBatches | None,
    generator: torch.Generator | None,
    restore_random: bool,
    file: str,
) -> None:
    if batches is not None and content["batches"] is None:
        raise CheckpointError(f"{file} has no batches; load it without, and the epoch begins with its first batch")
    if batches is not None:
        batches.check_state_dict(content["batches"], file)
    if generator is not None and content["generator"] is None:
        raise CheckpointError(f"{file} has no generator; load it without, and seed the generator yourself")
    if restore_random:
        check_random_state(content["random"], file)
        if generator is not None:
            check_generator_state(generator, content["generator"], file)


def _restore_model(content: Content, model: nn.Module) -> None:
    model.load_state_dict(content["model"])
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(content["requires_grad"].get(name, parameter.requires_grad))
    for name, module in model.named_modules():
        if name in content["modes"]:
            if name in content["in_eval"]:
                keep_in_eval_(module)
            else:
                release_(module)
            module.training = content["modes"][name]


def _notes(content: Content, asked: dict[str, Any], model: nn.Module) -> tuple[str, ...]:
    notes = [
        f"the {what} in the file was not asked for"
        for what, given in asked.items()
        if given is None and content[what] is not None
    ]
    in_file, in_model = content["modes"], dict(model.named_modules())
    if only := [name for name in in_file if name not in in_model]:
        notes.append(f"only the file has the module {only[0]!r}, whose mode was left alone")
    if only := [name for name in in_model if name not in in_file]:
        notes.append(f"only the model has the module {only[0]!r}, whose mode was left alone")
    devices, saved = torch.cuda.device_count(), len(content["random"]["cuda"])
    if saved > devices:
        notes.append(f"the file has random states of {saved} CUDA devices, and {devices} are here")
    return tuple(notes)
