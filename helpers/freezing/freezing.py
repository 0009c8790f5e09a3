"""Freeze parts of a network by name: their parameters, and the mode of their layers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from ..errors import FreezingError
from ..modes import keep_in_eval_, release_, stays_in_eval
from ..text import few

Types = type[nn.Module] | Sequence[type[nn.Module]]


def freeze(model: nn.Module, *names: str, types: Types = ()) -> list[str]:
    """Freeze modules with all that is inside them, in place.

    Their parameters take no gradient (and lose the one they have, for an optimizer that still holds them would go on
    with it), and they stay in eval mode whatever `model.train()` says, so that BatchNorm keeps its statistics and
    Dropout drops nothing. A deepcopy is frozen, too. What is not named stays as it is; but a parameter that a module
    shares with another is frozen in both.

    What is put into the place of a frozen module later is not frozen: convert_sync_batchnorm makes new BatchNorms, in
    train mode again. Convert first, and freeze afterwards.

    Args:
        model: any network. In names, what torch.compile and DataParallel put around a module may be left out.
        names: modules such as `layer1` or `features.0`, or patterns such as `layer*`, `features.[0-9]` or `*.bn?`.
            Neither names nor types: the whole model.
        types: classes of modules, those derived from them included, such as (nn.BatchNorm2d,), wherever they are and
            whatever their names; frozen besides those that are named.

    Returns:
        The names of the modules that were named, in the model's order; those inside them are not listed.

    Raises:
        FreezingError: a name is that of no module, or no module is of a type. Nothing is frozen then.
    """
    found = modules_named(model, names, types)
    for module in found.values():
        for parameter in module.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        for inner in module.modules():
            if not (isinstance(inner, nn.RNNBase) and not inner.dropout):  # cuDNN's have no backward pass in eval mode
                keep_in_eval_(inner)
    return list(found)


def unfreeze(model: nn.Module, *names: str, types: Types = ()) -> list[str]:
    """Let modules be trained again, with all that is inside them, in place.

    Parameters that took no gradient before they were frozen do so now, too. The modules take the mode of the model at
    once; if all of it is frozen, they follow its next `train()`.

    Args:
        model: any network.
        names: as `freeze` takes them.
        types: as `freeze` takes them.

    Returns:
        The names of the modules that were named, in the model's order.

    Raises:
        FreezingError: a name is that of no module, or no module is of a type. Nothing is changed then.
    """
    found = modules_named(model, names, types)
    for module in found.values():
        for parameter in module.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_()
        for inner in module.modules():
            release_(inner)
        if not stays_in_eval(model):
            module.train(model.training)
    return list(found)


def modules_named(model: nn.Module, names: Sequence[str], types: Types = ()) -> dict[str, nn.Module]:
    """Modules by name that `freeze` means by `names` and `types`; those inside others that are meant are left out.

    Raises:
        FreezingError: a name is that of no module, or no module is of a type.
    """
    if not isinstance(model, nn.Module):
        raise FreezingError(f"the model is a {type(model).__name__}: give a torch.nn.Module")
    have = dict(model.named_modules(remove_duplicate=False))
    kinds = (types,) if isinstance(types, type) else tuple(types)
    if not names and not kinds:
        return {"": model}
    meant: set[str] = set()
    for name in names:
        matches = {other for other in have if other and _is_meant(other, name)}
        if not matches:
            raise FreezingError(_unknown(model, name, list(have)))
        meant |= matches
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise FreezingError(f"types are classes of modules, such as nn.BatchNorm2d, not {kind!r}")
        matches = {name for name, module in have.items() if isinstance(module, kind)}
        if not matches:
            there = sorted({type(module).__name__ for module in have.values()})
            raise FreezingError(f"{type(model).__name__} has no {kind.__name__}; there are {few(there, 12)}")
        meant |= matches
    if "" in meant:
        return {"": model}
    return {name: module for name, module in have.items() if name in meant and not _is_inside(name, meant)}


def _is_meant(name: str, pattern: object) -> bool:
    """Whether a pattern is for the name of a module, with or without what is wrapped around parts of it."""
    plain = ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))
    return isinstance(pattern, str) and (fnmatchcase(name, pattern) or (plain != "" and fnmatchcase(plain, pattern)))


def _is_inside(name: str, others: Iterable[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in others)


def _unknown(model: nn.Module, name: str, have: list[str]) -> str:
    if not isinstance(name, str):
        is_type = isinstance(name, type) and issubclass(name, nn.Module)
        return f"name modules by their names, not by {name!r}" + (f": types=({name.__name__},)" if is_type else "")
    if name in dict(model.named_parameters()):
        module = name.rpartition(".")[0]
        way_out = "set requires_grad_ of this parameter by hand"
        if module:
            way_out = f"name its module {module!r}, or {way_out}"
        return f"{name} is a parameter; {way_out}"
    close = difflib.get_close_matches(name, have, n=3) or [name for name, _ in model.named_children()][:8]
    return f"{type(model).__name__} has no module {name!r}; there are {', '.join(map(repr, close))}"


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that take a gradient, each once: what an optimizer should get.

    Raises:
        FreezingError: it is no model.
    """
    if not isinstance(model, nn.Module):
        raise FreezingError(f"parameters are those of an nn.Module, not of a {type(model).__name__}")
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gradual_unfreeze(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stages: Mapping[int, str | Sequence[str]],
    lr: float | None = None,
) -> Callable[[int], None]:
    """Unfreeze more of a network as its training goes on: what to call after each epoch.

    Args:
        model: partly frozen by `freeze`.
        optimizer: gets a new group for what is unfrozen and not in it, with its own options otherwise. A scheduler
            that works from the current rates goes on with it (StepLR, LinearLR, CosineAnnealingLR); one that knew the
            number of groups at its start does not (LambdaLR, OneCycleLR, CosineAnnealingWarmRestarts, SequentialLR).
        stages: number of an epoch -> what to unfreeze when it is over; names as `freeze` takes them.
        lr: of the new group; by default that of the optimizer's first group at that time.

    Returns:
        A function of the number of the epoch that is over, such as `workbook.training.fit` takes as `after_epoch`.

    Raises:
        FreezingError: a name is that of no module, an epoch is no whole number or has nothing to unfreeze, or `lr` is
            no rate. Nothing is changed then.
    """
    if not isinstance(stages, Mapping) or not stages:
        raise FreezingError(f"stages are {stages!r}: give names by number of an epoch, such as {{1: 'layer4'}}")
    if lr is not None:
        check_number(lr, "lr")
    wanted = {epoch: (names,) if isinstance(names, str) else tuple(names) for epoch, names in stages.items()}
    for epoch, names in wanted.items():
        if type(epoch) is not int or epoch < 0:
            raise FreezingError(f"the stage {epoch!r} is no number of an epoch: give whole numbers from 0")
        if not names:
            raise FreezingError(f"stage {epoch} names nothing; leave it out, or name what to unfreeze after it")
        modules_named(model, names)

    def after_epoch(epoch: int) -> None:
        if epoch not in wanted:
            return
        unfreeze(model, *wanted[epoch])
        first = optimizer.param_groups[0]
        held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        meant = {p for module in modules_named(model, wanted[epoch]).values() for p in module.parameters()}
        new = [(name, p) for name, p in model.named_parameters() if p in meant and p.requires_grad and p not in held]
        if new:
            parameters = new if "param_names" in first else [p for _, p in new]
            optimizer.add_param_group({"params": parameters, "lr": first["lr"] if lr is None else lr})

    return after_epoch


def check_number(value: object, what: str) -> None:
    """See to it that a rate or a decay is a number from 0 on.

    Raises:
        FreezingError: it is not.
    """
    try:
        fits = not isinstance(value, (bool, str)) and 0 <= float(value) < math.inf  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # tensors of several numbers among them
        fits = False
    if not fits:
        raise FreezingError(f"{what} is {value!r}: give a number from 0 on")
