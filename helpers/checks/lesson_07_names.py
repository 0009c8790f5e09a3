"""Lesson 07: the exercise that freezes modules by their names, and the network with tricky names."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .feedback import NotYet, because, call


class Nested(nn.Module):
    """Names that begin alike or occur in others, layers that work otherwise in train mode, and a frozen stem."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 2, 1).requires_grad_(False)
        norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(5)]
        convs = [nn.Conv2d(2, 4, (2, 3)), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1), nn.Conv2d(6, 7, 1)]
        few = [convs[0], norms[0], nn.ReLU(), nn.Dropout2d(), convs[1], norms[1], nn.ReLU()]
        self.features = nn.Sequential(*few, nn.Dropout(), nn.Flatten(0, 0), nn.ReLU(), convs[2], nn.ReLU(), convs[3])
        self.layer1 = nn.Sequential(block(7, 8), block(8, 9))
        self.layer10 = nn.Sequential(block(9, 10))
        self.inner = nn.ModuleDict({"layer1": block(10, 11), "pool": nn.AdaptiveAvgPool2d(1)})
        self.fc = nn.Linear(11, 12)


def block(inputs: int, outputs: int) -> nn.Sequential:
    """A conv, a norm and a dropout, with a module in a module."""
    conv = nn.Conv2d(inputs, outputs, 1)
    inside = nn.Sequential(nn.BatchNorm2d(outputs), nn.Dropout(0.25))
    return nn.Sequential(OrderedDict(conv=conv, rest=inside))


def call_on(answer: Any, model: nn.Module, *inputs: Any, case: str, crashes: Sequence[tuple[str, str]] = ()) -> Any:
    """`call`, with a model that is looked at afterwards: for a copy first, so that a stub is known, then for itself."""
    call(answer, model, *inputs, case=case, crashes=crashes, may_change=[0])
    return call(functools.partial(answer, model), *inputs, case=case, crashes=crashes)


def inside(key: str, names: Sequence[str]) -> bool:
    """Whether a module or a parameter is one of these modules, or inside one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def with_gradients() -> Nested:
    """All parameters have a gradient left, frozen ones too, except one."""
    model = Nested()
    for key, parameter in model.named_parameters():
        if key != "layer1.1.rest.0.bias":
            parameter.grad = torch.full_like(parameter, 0.5)
    return model


FREEZE_CASES: dict[str, list[str]] = {
    "for ['layer1', 'features.1', 'fc']": ["layer1", "features.1", "fc"],
    "for ['layer1.1', 'layer1', 'fc']": ["layer1.1", "layer1", "fc"],
    "for ['stem', 'features.2']": ["stem", "features.2"],
    "for no names": [],
}


def verify_freeze(answer: Any) -> None:
    """7.1 `freeze_modules(model, names) -> names of parameters`."""
    for case, names in FREEZE_CASES.items():
        model, before = with_gradients(), with_gradients()
        parameters = list(model.parameters())
        got = call_on(answer, model, names, case=case, crashes=FREEZE_CRASHES)
        if any(now is not then for now, then in zip(model.parameters(), parameters, strict=True)):
            why = because(
                "a new nn.Parameter; an optimizer goes on with the old one. Set requires_grad of what is there."
            )
            raise NotYet(f"{case}, the model has other parameters now than before.{why}")
        expect_frozen(model, before, names, case)
        expect_gradients(model, before, names, case)
        expect_names(got, before, names, case)
        expect_numbers(model, before, case)
    refuse_unknown(answer)


def expect_frozen(model: nn.Module, before: nn.Module, names: list[str], case: str) -> None:
    now = dict(model.named_parameters())
    for key, then in before.named_parameters():
        if inside(key, names) and now[key].requires_grad:
            why = because(_why_not_frozen(key, model, before, names))
            raise NotYet(f"{case}, {key!r} still takes a gradient.{why}")
        if not inside(key, names) and then.requires_grad and not now[key].requires_grad:
            why = because(_why_frozen(key, model, names))
            raise NotYet(f"{case}, {key!r} is frozen, but should not be.{why}")
        if not inside(key, names) and not then.requires_grad and now[key].requires_grad:
            why = because(
                "requires_grad is set for all; set it to False for the named ones, and nothing for the others."
            )
            raise NotYet(f"{case}, {key!r} was frozen before, and takes a gradient now.{why}")


def _why_not_frozen(key: str, model: nn.Module, before: nn.Module, names: list[str]) -> str | None:
    if any("requires_grad" in vars(module) for module in model.modules()):
        return "on a module, requires_grad is an attribute that nobody reads; its method is requires_grad_(False)."
    pairs = zip(model.parameters(), before.parameters(), strict=True)
    if all(now.requires_grad == then.requires_grad for now, then in pairs):
        return "it was set on something else: state_dict() and deepcopy() give other tensors. Take the parameters."
    if key.endswith(".bias") and not model.get_parameter(key.removesuffix("bias") + "weight").requires_grad:
        return "biases are parameters, too."
    if [key for key, now in model.named_parameters() if inside(key, names[1:]) and not now.requires_grad] == []:
        return "only the first of the names was taken; is the `return` inside of the loop?"
    if inside(key, [name for name in names if "." in name]):
        return "a name may have dots, for a module in a module; get_submodule and named_modules know them."
    return "parameters of modules inside count, at any depth; module.parameters() has them all."


def _why_frozen(key: str, model: nn.Module, names: list[str]) -> str | None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return "the whole model is frozen; only the named modules should be."
    for name in names:
        if key.startswith(name):
            return f"it only begins like {name!r}; what is inside goes on with a dot: startswith(name + '.')."
        if name in key:
            return f"{name!r} occurs inside its name; it must stand at its beginning."
    return None


def expect_gradients(model: nn.Module, before: nn.Module, names: list[str], case: str) -> None:
    now = dict(model.named_parameters())
    for key, then in before.named_parameters():
        grad = now[key].grad
        if inside(key, names) and grad is not None:
            zero = "zeros are a gradient, too, and weight decay and momentum go on with it; p.grad = None."
            left = "an optimizer moves all that has a gradient, frozen or not, with decay and momentum; p.grad = None."
            raise NotYet(f"{case}, {key!r} still has a gradient.{because(left if grad.any() else zero)}")
        if not inside(key, names) and not _same_gradient(grad, then.grad):
            why = because("that is for the named modules alone; zero_grad() of the model is for all.")
            raise NotYet(f"{case}, {key!r} has lost its gradient, but should keep it.{why}")


def _same_gradient(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def expect_names(got: Any, before: nn.Module, names: list[str], case: str) -> None:
    if not isinstance(got, (list, tuple, type({}.keys()))) or not all(isinstance(name, str) for name in got):
        order = "a set has no order." if isinstance(got, (set, frozenset)) else None
        raise NotYet(f"{case}, a list of names is wanted, not {type(got).__name__}.{because(order)}")
    found = list(got)
    expected = [key for key, _ in before.named_parameters() if inside(key, names)]
    for name in found:
        if name not in expected:
            raise NotYet(f"{case}, {name!r} should not be in the list.{because(_why_listed(name, before))}")
        if found.count(name) > 1:
            why = because("one of the modules is inside another one.")
            raise NotYet(f"{case}, {name!r} is in the list {found.count(name)} times.{why}")
    for name in expected:
        if name not in found:
            was = not before.get_parameter(name).requires_grad
            why = because("it was frozen before, but is one of these parameters all the same." if was else None)
            raise NotYet(f"{case}, {name!r} is not in the list.{why}")
    if found != expected:
        place = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
        why = because("the order is the model's, not that of `names`: walk through model.named_parameters().")
        raise NotYet(f"{case}, name {place} should be {expected[place]!r}, but is {found[place]!r}.{why}")


def _why_listed(name: str, before: nn.Module) -> str | None:
    if name in dict(before.named_modules()):
        return "it is a module; the names of its parameters are wanted, such as 'fc.weight'."
    if name in dict(before.named_buffers()):
        return "it is a buffer, not a parameter; state_dict() has both, named_parameters() only parameters."
    if any(key.endswith(f".{name}") for key, _ in before.named_parameters()):
        return "this is its name within its module; the model's named_parameters() gives the whole name."
    return None


def expect_numbers(model: nn.Module, before: nn.Module, case: str, cause: str | None = None) -> None:
    """`NotYet` if parameters or buffers have other numbers than before."""
    now = model.state_dict()
    for key, then in before.state_dict().items():
        if not torch.equal(now[key], then):
            raise NotYet(f"{case}, {key!r} has other numbers now than before.{because(cause)}")


UNKNOWN = {
    "features.99": "ask whether each name is in dict(model.named_modules()).",
    "layer": "a name only begins with it; ask whether it is in dict(model.named_modules()).",
    "fc.weight": "it is the name of a parameter, not of a module; ask whether it is in dict(model.named_modules()).",
}


def refuse_unknown(answer: Any) -> None:
    """A ValueError for each, and nothing frozen before it."""
    for unknown, cause in UNKNOWN.items():
        model, before = with_gradients(), with_gradients()
        case = f"for ['features.1', {unknown!r}]"
        try:
            got = answer(model, ["features.1", unknown])
        except ValueError:
            pass
        except Exception as error:
            lookup = "looking up an unknown name raises this by itself; ask whether there is such a module first."
            why = because(lookup if isinstance(error, (AttributeError, KeyError)) else None)
            raise NotYet(f"{case}, a ValueError is wanted, not {type(error).__name__}: {error}{why}") from None
        else:
            raise NotYet(f"{case}, a ValueError is wanted, but your function returns {got!r}.{because(cause)}")
        for (key, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
            if now.requires_grad != then.requires_grad or not _same_gradient(now.grad, then.grad):
                why = because("look up all names first, and freeze in a second loop.")
                raise NotYet(f"{case}, {key!r} was changed before the ValueError came.{why}")


FREEZE_CRASHES = [
    ("has no attribute 'features.1'", "getattr knows no dots; model.get_submodule(name) does."),
    ("'NoneType' object has no attribute", "not every parameter has a gradient; p.grad = None needs none."),
    ("has no attribute 'weight'", "a module may only hold others; module.parameters() walks through them."),
    ("has no attribute 'bias'", "a module may only hold others; module.parameters() walks through them."),
    ("'str' object has no attribute", "names are strings; model.get_submodule(name) is the module."),
    ("KeyError", "modules stand in model.named_modules(), parameters in model.named_parameters()."),
    ("ValueError", "these are modules: those in other modules count, and those without parameters, such as a ReLU."),
]
