"""What is frozen, and whether the optimizer knows."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from ..errors import FreezingError
from ..modes import stays_in_eval
from ..text import few, text_table

MODE_MATTERS = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
"""Layers that work otherwise in train mode than in eval mode."""


@dataclass(frozen=True)
class Row:
    """What a report says of a module, with all that is inside it.

    Attributes:
        name: as in `named_modules`.
        parameters: numbers in them.
        trainable: those that take a gradient.
        mode: "train" or "eval", "eval for good" if it is frozen, "both" if its layers differ.
        held: parameters (numbers in them) that the optimizer has; None if no optimizer was given.
        drifts: whether BatchNorm in it is in train mode, though its scale and shift are frozen.
    """

    name: str
    parameters: int
    trainable: int
    mode: str
    held: int | None
    drifts: bool


@dataclass(frozen=True)
class FreezeReport:
    """A table of what is frozen; `str` shows it."""

    rows: list[Row] = field(default_factory=list)

    @property
    def drifting(self) -> list[str]:
        """Modules whose BatchNorm statistics move though its scale and shift are frozen."""
        return [row.name for row in self.rows if row.drifts]

    def __str__(self) -> str:
        head = ("module", "parameters", "trainable", "mode", "in optimizer")
        rows = [(r.name, f"{r.parameters:,}", f"{r.trainable:,}", r.mode, _share(r)) for r in self.rows]
        parameters, trainable = sum(r.parameters for r in self.rows), sum(r.trainable for r in self.rows)
        text = text_table([head, *rows, ("in all", f"{parameters:,}", f"{trainable:,}", "", "")], right=(1, 2))
        if self.drifting:
            text.append(f"BatchNorm statistics move though scale and shift are frozen: {', '.join(self.drifting)}")
        return "\n".join(text)

    __repr__ = __str__


def _share(row: Row) -> str:
    if row.held is None:
        return ""
    return "yes" if row.held == row.parameters else "some" if row.held else "no" if row.parameters else ""


def freeze_report(
    model: nn.Module, optimizer: torch.optim.Optimizer | None = None, *, depth: int | None = None
) -> FreezeReport:
    """Module by module: parameters, how many of them are trained, mode, and whether the optimizer has them.

    Args:
        model: any network.
        optimizer: to compare with.
        depth: put together what is further inside: with 1, "layer1.0.conv1" belongs to the row "layer1".

    Returns:
        A row for each module with parameters of its own, and for each BatchNorm and Dropout. A parameter that two
        modules share counts in the first.

    Raises:
        FreezingError: that is no model, no optimizer, or no depth.
    """
    _check_kinds(model, optimizer)
    if depth is not None and (type(depth) is not int or depth < 1):
        raise FreezingError(f"depth is {depth!r}: give a whole number from 1, or None for all")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]} if optimizer is not None else None
    together: dict[str, list[nn.Module]] = {}
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)) or isinstance(module, MODE_MATTERS):
            together.setdefault(".".join(name.split(".")[:depth]), []).append(module)
    seen: set[int] = set()
    rows = []
    for name, modules in together.items():
        own = [p for module in modules for p in module.parameters(recurse=False) if id(p) not in seen]
        seen |= set(map(id, own))
        rows.append(_row(name, modules, list({id(p): p for p in own}.values()), held))
    return FreezeReport(rows)


def _check_kinds(model: object, optimizer: object) -> None:
    if not isinstance(model, nn.Module):
        raise FreezingError(f"the model is a {type(model).__name__}: give a torch.nn.Module")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise FreezingError(f"the optimizer is a {type(optimizer).__name__}: give a torch optimizer")


def _row(name: str, modules: list[nn.Module], own: list[nn.Parameter], held: set[int] | None) -> Row:
    modes = {"train" if m.training else "eval for good" if stays_in_eval(m) else "eval" for m in modules}
    norms = (m for m in modules if isinstance(m, nn.modules.batchnorm._NormBase) and m.training)
    drifts = any(m.track_running_stats and m.affine and not m.weight.requires_grad for m in norms)
    return Row(
        name,
        sum(p.numel() for p in own),
        sum(p.numel() for p in own if p.requires_grad),
        modes.pop() if len(modes) == 1 else "both",
        None if held is None else sum(p.numel() for p in own if id(p) in held),
        drifts,
    )


@dataclass(frozen=True)
class OptimizerCheck:
    """Where an optimizer and a model differ; `ok` if they do not, `str` says it in sentences.

    Attributes:
        held: names of frozen parameters that the optimizer holds.
        moving: those of them that have a gradient left, by which a step moves them unless it is set to None before.
        left_out: names of trainable parameters that it does not hold.
        strangers: how many parameters it holds that are none of the model's.
    """

    held: list[str]
    moving: list[str]
    left_out: list[str]
    strangers: int

    @property
    def ok(self) -> bool:
        """Whether they do not differ."""
        return not (self.held or self.left_out or self.strangers)

    def __str__(self) -> str:
        said = []
        if self.held:
            frozen = f"frozen, but held by the optimizer: {few(self.held, 4)}"
            if self.moving:
                frozen += f"; with gradients left, of which even zeros let a step move them: {few(self.moving, 4)}"
            said.append(frozen)
        if self.left_out:
            said.append(f"trainable, but not in the optimizer, so never trained: {few(self.left_out, 4)}")
        if self.strangers:
            said.append(f"{self.strangers} parameters of the optimizer are not the model's: make it after loading")
        return "\n".join(said) or "the optimizer holds what is trainable, and nothing else"

    __repr__ = __str__


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> OptimizerCheck:
    """Compare what an optimizer holds with what a model wants to have trained. Nothing is changed.

    A frozen parameter in an optimizer does no harm as long as its `grad` is None, as `freeze` leaves it; with a
    gradient of zeros, as `zero_grad(set_to_none=False)` makes it, weight decay and momentum go on moving it.

    Raises:
        FreezingError: that is no model, or no optimizer.
    """
    _check_kinds(model, optimizer)
    if optimizer is None:
        raise FreezingError("there is no optimizer to compare with")
    named = {id(p): (name, p) for name, p in model.named_parameters()}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    frozen = [(name, p) for key, (name, p) in named.items() if key in held and not p.requires_grad]
    return OptimizerCheck(
        held=[name for name, _ in frozen],
        moving=[name for name, p in frozen if p.grad is not None],
        left_out=[name for key, (name, p) in named.items() if key not in held and p.requires_grad],
        strangers=len(held - named.keys()),
    )
