"""What the checks of lesson 07 look at in a model: its names, modes, gradients and numbers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..checking import SETTING, NotYet, because, call, settings_of

BATCH_NORMS, DROPOUTS = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd


def call_on(answer: Any, model: nn.Module, *inputs: Any, crashes: Sequence[tuple[str, str]] = ()) -> Any:
    """`call`, with a model that is looked at afterwards: for a copy first, so that a stub is known, then for itself."""
    call(answer, model, *inputs, crashes=crashes, may_change=[0])
    return call(functools.partial(answer, model), *inputs, crashes=crashes)


def inside(key: str, names: Sequence[str]) -> bool:
    """Whether a module or a parameter is one of these modules, or inside one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def modes_of(model: nn.Module) -> dict[str, bool]:
    return {key: module.training for key, module in model.named_modules()}


def mode_name(training: bool) -> str:
    return "train mode" if training else "eval mode"


def expect_same_requires_grad(model: nn.Module, before: nn.Module, cause: str) -> None:
    for (key, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
        if now.requires_grad != then.requires_grad:
            changed = "takes a gradient" if now.requires_grad else "is frozen"
            raise NotYet(f"{key!r} {changed} now, unlike before.{because(cause)}")


HOOK = "a hook stays until its handle's remove() is called; nothing needs one here."
MODE = "gradients and modes are two things; only the first is asked for."
OTHER_GRADIENTS = "zero_grad() and backward() change what optimizers find; nothing needs them here."


def expect_nothing_else(model: nn.Module, before: nn.Module, *, modes: bool = True) -> None:
    """`NotYet` if a module has other hooks or settings (momentum, p, ...) than before, or with `modes` another mode."""
    for (key, now), then in zip(model.named_modules(), before.modules(), strict=True):
        where = repr(key) if key else "the model itself"
        if _hooks(now) != _hooks(then):
            raise NotYet(f"{where} has other hooks now than before.{because(HOOK)}")
        was = settings_of(then)
        for name, value in settings_of(now).items():
            if name not in was or was[name] != value:
                raise NotYet(f"{name!r} of {where} is {value!r} now, unlike before.{because(SETTING)}")
        if modes and now.training != then.training:
            raise NotYet(f"{where} is in {mode_name(now.training)} now, unlike before.{because(MODE)}")


def _hooks(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)


def leave_gradients_(model: nn.Module) -> None:
    """Give each parameter a gradient, as the last backward() did."""
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)


def expect_gradients_left(model: nn.Module) -> None:
    """`NotYet` if one of them has another gradient now."""
    for key, parameter in model.named_parameters():
        if parameter.grad is None or not (parameter.grad == 0.5).all():
            raise NotYet(f"{key!r} has lost its gradient, or has another one.{because(OTHER_GRADIENTS)}")


def expect_same_numbers(model: nn.Module, before: nn.Module, cause: str | None = None) -> None:
    """`NotYet` if parameters or buffers have other numbers than before."""
    now = model.state_dict()
    for key, then in before.state_dict().items():
        if not torch.equal(now[key], then):
            raise NotYet(f"{key!r} has other numbers now than before.{because(cause)}")
