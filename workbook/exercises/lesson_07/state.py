"""What the checks of lesson 07 look at in a model: its names, modes, gradients and numbers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..checking import NotYet, because, call

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


def expect_same_numbers(model: nn.Module, before: nn.Module, cause: str | None = None) -> None:
    """`NotYet` if parameters or buffers have other numbers than before."""
    now = model.state_dict()
    for key, then in before.state_dict().items():
        if not torch.equal(now[key], then):
            raise NotYet(f"{key!r} has other numbers now than before.{because(cause)}")
