"""Lesson 07: the exercise on train mode and eval mode."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from .feedback import NotYet, because
from .lesson_07_names import Nested, call_on, expect_numbers, inside

BATCH_NORMS, DROPOUTS = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd
Modes = dict[str, bool]

EXCEPT_CASES = {  # names, and what is in eval mode before
    "for ['features.1', 'layer1']": (["features.1", "layer1"], ["layer1.0.rest", "layer10", "features.5", "fc"]),
    "for ['layer1.0', 'layer1']": (["layer1.0", "layer1"], []),
    "for ['features', 'features.3'], a model in eval mode": (["features", "features.3"], [""]),
    "for no names": ([], ["layer1", "features.3"]),
}


def verify_train_except(answer: Any) -> None:
    """7.2 `train_except(model, names) -> the same model`."""
    for case, (names, resting) in EXCEPT_CASES.items():
        model = set_modes(Nested(), resting)
        before = copy.deepcopy(model)
        got = call_on(answer, model, names, case=case, crashes=EXCEPT_CRASHES)
        if got is not model:
            copied = because("change the model that was handed in.") if isinstance(got, Nested) else ""
            found = "a copy" if copied else f"a {type(got).__name__}"
            raise NotYet(f"{case}, return the model itself, not {found}.{copied}")
        expect_modes(model, before, names, case)
        expect_same_requires_grad(model, before, case, "modes and gradients are two things; only modes are asked for.")
        why = "BatchNorm's statistics move when the model is run; a mode is set without that."
        expect_numbers(model, before, case, why)


def set_modes(model: nn.Module, resting: Sequence[str]) -> nn.Module:
    """All in train mode but the named modules, and what is inside them; "" is all."""
    for key, module in model.named_modules():
        module.training = not ("" in resting or inside(key, resting))
    return model


def modes_of(model: nn.Module) -> Modes:
    return {key: module.training for key, module in model.named_modules()}


def expect_modes(model: nn.Module, before: nn.Module, names: Sequence[str], case: str) -> None:
    got = modes_of(model)
    for key, module in model.named_modules():
        should = not inside(key, names)
        if got[key] != should:
            cause = next((text for text, wrong in EXCEPT_CAUSES if got == wrong(before, names)), None)
            what = f"{key!r} ({type(module).__name__})" if key else "the model itself"
            raise NotYet(
                f"{case}, {what} should be in {mode_name(should)}, but is in {mode_name(got[key])}.{because(cause)}"
            )


def mode_name(training: bool) -> str:
    return "train mode" if training else "eval mode"


def rests(where: Callable[[str, nn.Module, Sequence[str]], bool]) -> Callable[[nn.Module, Sequence[str]], Modes]:
    """The modes after a mistake that puts into eval mode what `where` says, and all else into train mode."""

    def wrong(before: nn.Module, names: Sequence[str]) -> Modes:
        return {key: not where(key, module, names) for key, module in before.named_modules()}

    return wrong


def rest_only(before: nn.Module, names: Sequence[str]) -> Modes:
    """The modes if nothing is put into train mode."""
    return {key: was and not inside(key, names) for key, was in modes_of(before).items()}


EXCEPT_CAUSES = [
    (
        "a train() that comes after eval() undoes it: first model.train(), then eval() of the named ones.",
        rests(lambda key, module, names: False),
    ),
    ("the whole model is in eval mode; model.train() first, then eval() of the named ones.", rests(lambda *_: True)),
    ("the others are to be trained, even if they were in eval mode: model.train() first.", rest_only),
    ("nothing has changed; were the modes set on a copy?", lambda before, names: modes_of(before)),
    ("it is the wrong way round: the named modules are in train mode.", rests(lambda k, m, n: not inside(k, n))),
    (
        "`training = False`, or a train() that comes later, leaves what is inside in train mode; module.eval() reaches "
        "it all.",
        rests(lambda key, module, names: key in names),
    ),
    (
        "the named module has a mode of its own, too.",
        rests(lambda key, module, names: inside(key, names) and key not in names),
    ),
    (
        "only the first of the names was taken; is the `return` inside of the loop?",
        rests(lambda key, module, names: inside(key, names[:1])),
    ),
    (
        "only BatchNorm is in eval mode; Dropout is to rest, too: eval() of the whole module.",
        rests(lambda key, module, names: inside(key, names) and isinstance(module, BATCH_NORMS)),
    ),
    (
        "only Dropout is in eval mode; BatchNorm is to rest, too: eval() of the whole module.",
        rests(lambda key, module, names: inside(key, names) and isinstance(module, DROPOUTS)),
    ),
    (
        "all that is inside has a mode, not only BatchNorm and Dropout: eval() of the whole module.",
        rests(lambda key, module, names: inside(key, names) and isinstance(module, (BATCH_NORMS, DROPOUTS))),
    ),
    (
        "modules that hold others have a mode, too.",
        rests(lambda key, module, names: inside(key, names) and not any(True for _ in module.children())),
    ),
    (
        "it only begins like one of the names; what is inside goes on with a dot.",
        rests(lambda key, module, names: key.startswith(tuple(names))),
    ),
    (
        "one of the names occurs inside its name; it must stand at its beginning.",
        rests(lambda key, module, names: any(name in key for name in names)),
    ),
]

EXCEPT_CRASHES = [
    ("has no attribute 'features.1'", "getattr knows no dots; model.get_submodule(name) does."),
    ("'str' object has no attribute", "names are strings; model.get_submodule(name) is the module."),
    ("KeyError", "named_children() has the outer modules alone; model.get_submodule(name) finds all."),
]


def expect_same_requires_grad(model: nn.Module, before: nn.Module, case: str, cause: str) -> None:
    for (key, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
        if now.requires_grad != then.requires_grad:
            changed = "takes a gradient" if now.requires_grad else "is frozen"
            raise NotYet(f"{case}, {key!r} {changed} now, unlike before.{because(cause)}")
