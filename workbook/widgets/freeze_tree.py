"""Lesson 07: tick what to freeze; see what backward still has to walk through, and what a step costs."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from statistics import median

import ipywidgets
import torch
from torch import Tensor, nn

from helpers.freezing import freeze, measured_step, step_costs
from helpers.random_states import random_states_kept

from .interactive import Interactive, bar, table

__all__ = ["FreezeTree"]

ROUNDS = 5


class FreezeTree(Interactive):
    """Tick modules to freeze them; see parameters, the way of the gradients, operations, memory and time of a step."""

    name = "freeze tree"

    def __init__(self, model: nn.Module, modules: Sequence[str], x: Tensor) -> None:
        """
        Args:
            model: it stays as it is; steps are taken by copies in train mode.
            modules: names that can be ticked, from the input to the output; all parameters are in one of them.
            x: a batch of its input.

        Raises:
            AttributeError: a name is that of no module.
        """
        self.model, self.x, self.modules = model, x, tuple(modules)
        self.sizes = {name: _size(model.get_submodule(name)) for name in modules}
        self.whole = measured_step(self._frozen(()), x)
        ticks = {name: ipywidgets.Checkbox(description=name, indent=False) for name in modules}
        for tick in ticks.values():
            tick.layout.width = "auto"
        super().__init__(**ticks)
        self.add_button("Measure the time").on_click(self.measure)

    def draw(self, **ticked: bool) -> str:
        """A row for each module, and what a step costs beside what was measured."""
        chosen = [name for name in self.modules if ticked[name]]
        if len(chosen) == len(self.modules):
            return "<p>All is frozen: there is nothing to train, and no backward pass.</p>"
        model = self._frozen(chosen)
        costs = step_costs(model, self.x)
        passed = self._passed(model)
        rows = []
        for name in self.modules:
            own = [cost for cost in costs if self._ticked(cost.name) == name]
            way = _way(trained=not ticked[name], passed=name in passed)
            kept = sum(cost.kept for cost in own)
            rows.append((name, f"{self.sizes[name]:,}", "frozen" if ticked[name] else "trained", way, _megabytes(kept)))
        between = sum(cost.kept for cost in costs) - sum(cost.kept for cost in costs if self._ticked(cost.name))
        rows.append(("(between them)", "", "", "", _megabytes(between)))
        head = ("module", "parameters", "state", "gradients are computed", "kept for backward")
        return table(head, rows) + self._said(chosen, sum(c.step for c in costs), sum(c.kept for c in costs), model)

    def _ticked(self, layer: str) -> str | None:
        """The module that can be ticked in which a layer is, if any."""
        return next((name for name in self.modules if f"{layer}.".startswith(f"{name}.")), None)

    def _passed(self, model: nn.Module) -> set[str]:
        """The modules whose input takes a gradient, so that backward passes through them to what is before."""
        found: set[str] = set()
        hooks = []
        for name in self.modules:

            def note(_module: nn.Module, given: tuple[object, ...], name: str = name) -> None:
                if any(isinstance(part, Tensor) and part.requires_grad for part in given):
                    found.add(name)

            hooks.append(model.get_submodule(name).register_forward_pre_hook(note))
        with torch.enable_grad(), random_states_kept():
            model(self.x)
        for hook in hooks:
            hook.remove()
        return found

    def measure(self, _button: object = None) -> None:
        """Add to what is shown how long a step takes now, and how long if all is trained."""
        with self._one_at_a_time:
            try:
                state = {key: control.value for key, control in self.controls.items()}
                chosen = [name for name in self.modules if state[name]]
                said = self.draw(**state)
                if len(chosen) < len(self.modules):
                    now, all_trained = self._milliseconds(chosen)
                    share = f"{now / all_trained:.0%} of the {all_trained:.0f} ms if all is trained"
                    said += f"<p>Measured just now: {now:.0f} ms for a step, {share}.</p>"
                self.view.value = self._framed(said)
            except Exception as error:
                self.show_error(error)

    def _frozen(self, chosen: Sequence[str]) -> nn.Module:
        twin = copy.deepcopy(self.model).requires_grad_()
        if chosen:
            freeze(twin, *chosen)
        return twin.train()

    def _milliseconds(self, chosen: Sequence[str]) -> tuple[float, float]:
        """Median time of a step as chosen, and with all trained, taken in turns."""
        models = self._frozen(chosen), self._frozen(())
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for model, times in zip(models, taken, strict=True):
                start = time.perf_counter()
                model(self.x).sum().backward()
                times.append(1000 * (time.perf_counter() - start))
        return median(taken[0]), median(taken[1])

    def _said(self, chosen: Sequence[str], operations: int, kept: int, model: nn.Module) -> str:
        counted, held = measured_step(model, self.x)
        trained = sum(self.sizes[name] for name in self.modules if name not in chosen)
        share = operations / self.whole[0]
        return (
            f"<p>{trained:,} of {sum(self.sizes.values()):,} parameters are trained. A step needs {share:.0%} of the "
            f"operations of training all (counted by PyTorch: {counted / self.whole[0]:.0%}), and keeps "
            f"{_megabytes(kept)} for the backward pass (measured: {_megabytes(held)}).</p>{bar(min(share, 1))}"
        )


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _way(trained: bool, passed: bool) -> str:
    """How far gradients come: to what is trained, and through it if something before it is."""
    if trained:
        return "for its weights and on to what is before" if passed else "for its weights"
    return "only passed through" if passed else "not reached"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"
