"""Train and eval mode: kept for a while, or eval for good, whatever `model.train()` says."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards each module is in the mode, train or eval, in which it was before."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


class StaysInEval:
    """Stands in for the method `train` of one module, and sets nothing but eval mode.

    It is an object, not a function, so that `copy.deepcopy` and pickle take it along with its module: the copy's one
    belongs to the copy. A shallow `copy.copy` shares it with the original; and what puts other modules into the place
    of these (SyncBatchNorm, quantization) does not know it, so freeze afterwards.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)  # a circle would keep a model in memory after its last use

    @property
    def module(self) -> nn.Module:
        """The module that it belongs to."""
        module = self._module()
        assert module is not None
        return module

    def __call__(self, mode: bool = True) -> nn.Module:
        self.module.training = False
        for child in self.module.children():
            child.train(mode)  # it decides for itself: it may have been unfrozen
        return self.module

    def __deepcopy__(self, memo: dict[int, Any]) -> StaysInEval:
        return StaysInEval(copy.deepcopy(self.module, memo))

    def __reduce__(self) -> tuple[type[StaysInEval], tuple[nn.Module]]:
        return StaysInEval, (self.module,)


def stays_in_eval(module: nn.Module) -> bool:
    """Whether this module itself stays in eval mode."""
    return isinstance(vars(module).get("train"), StaysInEval)


def keep_in_eval_(module: nn.Module) -> None:
    """Put one module, without those inside it, into eval mode for good."""
    module.train = StaysInEval(module)  # type: ignore[method-assign]  # of this one instance, on purpose
    module.training = False


def release_(module: nn.Module) -> None:
    """Let one module follow `model.train()` again, from the next call on."""
    if stays_in_eval(module):
        del module.train


def names_in_eval(model: nn.Module) -> list[str]:
    """Names of all modules that stay in eval mode; "" is the model itself."""
    return [name for name, module in model.named_modules() if stays_in_eval(module)]
