"""Freeze parts of a network by name: their parameters, and the mode of their layers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from ..errors import FreezingError
from ..modes import keep_in_eval_, release_, stays_in_eval


def freeze(model: nn.Module, *names: str) -> list[str]:
    """Freeze modules with all that is inside them, in place.

    Their parameters take no gradient (and lose the one they have, for an optimizer that still holds them would go on
    with it), and they stay in eval mode whatever `model.train()` says, so that BatchNorm keeps its statistics and
    Dropout drops nothing. A deepcopy is frozen, too. What is not named stays as it is.

    Args:
        model: any network.
        names: modules such as "layer1" or "features.0", or patterns such as "layer*", "features.[0-9]" or "*.bn?".
            None at all: the whole model.

    Returns:
        The names of the modules that were named, in the model's order; those inside them are not listed.

    Raises:
        FreezingError: a name is that of no module. Nothing is frozen then.
    """
    found = modules_named(model, names)
    for module in found.values():
        for parameter in module.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        for inner in module.modules():
            if not (isinstance(inner, nn.RNNBase) and not inner.dropout):  # cuDNN's have no backward pass in eval mode
                keep_in_eval_(inner)
    return list(found)


def unfreeze(model: nn.Module, *names: str) -> list[str]:
    """Let modules be trained again, with all that is inside them, in place.

    Parameters that took no gradient before they were frozen do so now, too. The modules take the mode of the model at
    once; if all of it is frozen, they follow its next `train()`.

    Args:
        model: any network.
        names: as `freeze` takes them.

    Returns:
        The names of the modules that were named, in the model's order.

    Raises:
        FreezingError: a name is that of no module. Nothing is changed then.
    """
    found = modules_named(model, names)
    for module in found.values():
        for parameter in module.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_()
        for inner in module.modules():
            release_(inner)
        if not stays_in_eval(model):
            module.train(model.training)
    return list(found)


def modules_named(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Modules by name that `freeze` means by `names`; those inside others that are meant are left out.

    Raises:
        FreezingError: a name is that of no module.
    """
    have = dict(model.named_modules(remove_duplicate=False))
    if not names:
        return {"": model}
    meant: set[str] = set()
    for name in names:
        matches = {other for other in have if other and fnmatchcase(other, str(name))}
        if not matches:
            raise FreezingError(_unknown(model, name, list(have)))
        meant |= matches
    return {name: module for name, module in have.items() if name in meant and not _is_inside(name, meant)}


def _is_inside(name: str, others: Iterable[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in others)


def _unknown(model: nn.Module, name: str, have: list[str]) -> str:
    if not isinstance(name, str):
        return f"name modules by their names, not by {name!r}"
    if name in dict(model.named_parameters()):
        module = name.rpartition(".")[0]
        way_out = "set requires_grad_ of this parameter by hand"
        if module:
            way_out = f"name its module {module!r}, or {way_out}"
        return f"{name} is a parameter; {way_out}"
    close = difflib.get_close_matches(name, have, n=3) or [name for name, _ in model.named_children()][:8]
    return f"{type(model).__name__} has no module {name!r}; there are {', '.join(map(repr, close))}"


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that take a gradient, each once: what an optimizer should get."""
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
        FreezingError: a name is that of no module. Nothing is changed then.
    """
    wanted = {epoch: (names,) if isinstance(names, str) else tuple(names) for epoch, names in stages.items()}
    for names in wanted.values():
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
