"""Modules that stay in eval mode, whatever `model.train()` says: what freezing and checkpoints both need to know."""

from __future__ import annotations

import copy
import weakref
from typing import Any

from torch import nn


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
    module.train = StaysInEval(module)
    module.training = False


def release_(module: nn.Module) -> None:
    """Let one module follow `model.train()` again, from the next call on."""
    if stays_in_eval(module):
        del module.train


def names_in_eval(model: nn.Module) -> list[str]:
    """Names of all modules that stay in eval mode; "" is the model itself."""
    return [name for name, module in model.named_modules() if stays_in_eval(module)]
