"""Exercise 7.2: train a model but for some of its modules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..checking import Exercise, Mistake, NotYet, because, case, cause_of
from .networks import NAME_CRASHES, NO_DOTS, STRINGS, Nested
from .state import (
    BATCH_NORMS,
    DROPOUTS,
    HOOK,
    OTHER_GRADIENTS,
    SETTING,
    call_on,
    expect_gradients_left,
    expect_nothing_else,
    expect_same_numbers,
    expect_same_requires_grad,
    inside,
    leave_gradients_,
    mode_name,
    modes_of,
)


def right(model: nn.Module, names: list[str]) -> nn.Module:
    model.train()
    for name in names:
        model.get_submodule(name).eval()
    return model


def only_evals(model: nn.Module, names: list[str]) -> nn.Module:
    for name in names:
        model.get_submodule(name).eval()
    return model


def evals_first(model: nn.Module, names: list[str]) -> nn.Module:
    return only_evals(model, names).train()


def on_a_copy(model: nn.Module, names: list[str]) -> nn.Module:
    right(copy.deepcopy(model), names)
    return model


def exchanges_modes(model: nn.Module, names: list[str]) -> nn.Module:
    model.eval()
    for name in names:
        model.get_submodule(name).train()
    return model


def sets_the_flag(model: nn.Module, names: list[str]) -> nn.Module:
    model.train()
    for name in names:
        model.get_submodule(name).training = False
    return model


def evals_children(model: nn.Module, names: list[str]) -> nn.Module:
    model.train()
    for name in names:
        for module in model.get_submodule(name).children():
            module.eval()
    return model


def evals_parts(which: Callable[[nn.Module], bool]) -> Any:
    """An answer that puts into eval mode only which parts of the named modules it asks for."""

    def answer(model: nn.Module, names: list[str]) -> nn.Module:
        model.train()
        for name in names:
            for module in model.get_submodule(name).modules():
                if which(module):
                    module.eval()
        return model

    return answer


def evals_names(belongs: Callable[[str, str], bool]) -> Any:
    """An answer that looks in its own way whether a module belongs to a named one."""

    def answer(model: nn.Module, names: list[str]) -> nn.Module:
        model.train()
        for key, module in model.named_modules():
            if any(belongs(key, name) for name in names):
                module.training = False
        return model

    return answer


def freezes_too(model: nn.Module, names: list[str]) -> nn.Module:
    for name in names:
        model.get_submodule(name).requires_grad_(False)
    return right(model, names)


def runs_a_norm(model: Nested, names: list[str]) -> nn.Module:
    model.features[5](torch.randn(2, 5, 3, 3))
    return right(model, names)


def returns_the_module(model: nn.Module, names: list[str]) -> nn.Module:
    right(model, names)
    return model.get_submodule(names[0])


def replaces_train(model: nn.Module, names: list[str]) -> nn.Module:
    right(model, names)
    for name in names:
        module: Any = model.get_submodule(name)
        module.train = lambda mode=True, module=module: module
    return model


def clears_gradients(model: nn.Module, names: list[str]) -> nn.Module:
    model.zero_grad()
    return right(model, names)


def stops_statistics(model: nn.Module, names: list[str]) -> nn.Module:
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.track_running_stats = False
    return right(model, names)


def hangs_hooks(model: nn.Module, names: list[str]) -> nn.Module:
    for name in names:
        model.get_submodule(name).register_forward_pre_hook(lambda module, given: None)
    return right(model, names)


def one_by_one(model: nn.Module, names: list[str]) -> nn.Module:
    for name, module in model.named_modules():
        module.train(name not in names)
    return model


def children_of_these_names(model: nn.Module, names: list[str]) -> nn.Module:
    model.train()
    for name, module in model.named_children():
        if name in names:
            module.eval()
    return model


LATER = (
    "`training = False`, or a train() that comes later, leaves what is inside in train mode; module.eval() reaches it "
    "all."
)
COPIED = "change the model that was handed in."
GRADIENTS = "modes and gradients are two things; only modes are asked for."
REPLACED = "a method was replaced; the modes are to be set, and who calls train() later may change them again."
RUN = "BatchNorm's statistics move when the model is run; a mode is set without that."
ORDER = "train() and eval() reach all that is inside: first model.train(), then eval() of each named module."
OUTER_MODULES = "named_children() has the outer modules alone; model.get_submodule(name) finds all."

MISTAKES = (  # most are known by the modes they give; where two give the same, the first one counts
    Mistake(
        "a train() that comes after eval() undoes it: first model.train(), then eval() of the named ones.",
        evals_first,
    ),
    Mistake(
        "the whole model is in eval mode; model.train() first, then eval() of the named ones.",
        lambda model, names: model.eval(),
    ),
    Mistake("the others are to be trained, even if they were in eval mode: model.train() first.", only_evals),
    Mistake("nothing has changed; were the modes set on a copy?", on_a_copy),
    Mistake("it is the wrong way round: the named modules are in train mode.", exchanges_modes),
    Mistake(LATER, sets_the_flag),
    Mistake("the named module has a mode of its own, too.", evals_children),
    Mistake(
        "only the first of the names was taken; is the `return` inside of the loop?",
        lambda model, names: right(model, names[:1]),
    ),
    Mistake(
        "only BatchNorm is in eval mode; Dropout is to rest, too: eval() of the whole module.",
        evals_parts(lambda module: isinstance(module, BATCH_NORMS)),
    ),
    Mistake(
        "only Dropout is in eval mode; BatchNorm is to rest, too: eval() of the whole module.",
        evals_parts(lambda module: isinstance(module, DROPOUTS)),
    ),
    Mistake(
        "all that is inside has a mode, not only BatchNorm and Dropout: eval() of the whole module.",
        evals_parts(lambda module: isinstance(module, (BATCH_NORMS, DROPOUTS))),
    ),
    Mistake("modules that hold others have a mode, too.", evals_parts(lambda module: not list(module.children()))),
    Mistake(
        "it only begins like one of the names; what is inside goes on with a dot.",
        evals_names(lambda key, name: key.startswith(name)),
    ),
    Mistake(
        "one of the names occurs inside its name; it must stand at its beginning.",
        evals_names(lambda key, name: name in key),
    ),
    Mistake(COPIED, lambda model, names: right(copy.deepcopy(model), names)),
    Mistake("return the model itself, not a BatchNorm2d.", returns_the_module),
    Mistake(REPLACED, replaces_train),
    Mistake(LATER, one_by_one),
    Mistake(OUTER_MODULES, children_of_these_names),
    Mistake(OTHER_GRADIENTS, clears_gradients),
    Mistake(SETTING, stops_statistics),
    Mistake(HOOK, hangs_hooks),
    Mistake(GRADIENTS, freezes_too),
    Mistake(RUN, runs_a_norm),
    Mistake(NO_DOTS, lambda model, names: [getattr(model, name).eval() for name in names]),
    Mistake(STRINGS, lambda model, names: [name.eval() for name in names]),
    Mistake(OUTER_MODULES, lambda model, names: [dict(model.named_children())[name].eval() for name in names]),
)
CRASHES = (*NAME_CRASHES, ("KeyError", OUTER_MODULES))

CASES: dict[str, tuple[list[str], list[str]]] = {  # names, and what is in eval mode before
    "for ['features.1', 'layer1']": (["features.1", "layer1"], ["layer1.0.rest", "layer10", "features.5", "fc"]),
    "for ['layer1.0', 'layer1']": (["layer1.0", "layer1"], []),
    "for ['features', 'features.3'], a model in eval mode": (["features", "features.3"], [""]),
    "for no names": ([], ["layer1", "features.3"]),
}


def verify(answer: Any) -> None:
    """`train_except(model, names) -> the same model`."""
    for name, (names, resting) in CASES.items():
        with case(name):
            model = Nested()
            for key in resting:
                model.get_submodule(key).eval()
            before = copy.deepcopy(model)
            leave_gradients_(model)
            got = call_on(answer, model, names, crashes=CRASHES)
            if isinstance(got, Nested) and got is not model:
                raise NotYet(f"return the model itself, not a copy.{because(COPIED)}")
            if got is not model:
                raise NotYet(f"return the model itself, not a {type(got).__name__}.")
            expect_modes(model, before, names)
            expect_same_requires_grad(model, before, GRADIENTS)
            expect_same_numbers(model, before, RUN)
            expect_nothing_else(model, before, modes=False)
            expect_gradients_left(model)
            model.train()
            if not all(modes_of(model).values()):
                raise NotYet(f"model.train() does not reach all modules any more.{because(REPLACED)}")


def expect_modes(model: nn.Module, before: nn.Module, names: list[str]) -> None:
    got = modes_of(model)
    for key, module in model.named_modules():
        should = not inside(key, names)
        if got[key] != should:
            left = [Mistake(mistake.cause, modes_after(mistake.answer)) for mistake in MISTAKES]
            what = f"{key!r} ({type(module).__name__})" if key else "the model itself"
            raise NotYet(
                f"{what} should be in {mode_name(should)}, but is in {mode_name(got[key])}."
                f"{because(cause_of(got, left, before, names) or ORDER)}"
            )


def modes_after(answer: Any) -> Callable[[nn.Module, list[str]], dict[str, bool]]:
    """`answer`, but it returns the modes in which it leaves the model."""

    def modes(model: nn.Module, names: list[str]) -> dict[str, bool]:
        answer(model, names)
        return modes_of(model)

    return modes


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "train() and eval() reach all that is inside a module, so their order matters.",
        "model.train() first; then model.get_submodule(name).eval() for each name; return model.",
    ),
    praise="the kept part rests while the rest is trained, until somebody calls train() again.",
)
