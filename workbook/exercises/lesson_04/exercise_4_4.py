"""Exercise 4.4: find the conv that runs first."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import ATTRIBUTE, FROZEN, Exercise, Mistake, NotYet, because, call, case


@torch.no_grad()
def right(model: nn.Module, x: Tensor) -> str:
    seen, twin = [], copy.deepcopy(model).eval()
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[0]


def all_that_run(model: nn.Module, x: Tensor, kind: type[nn.Module] = nn.Conv2d) -> list[str]:
    """The modules of this kind in the order in which they begin to run."""
    seen: list[str] = []
    twin = copy.deepcopy(model)
    for name, module in twin.named_modules():
        if isinstance(module, kind):
            module.register_forward_pre_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen


def all_convs(model: nn.Module) -> list[str]:
    """In the order in which they are defined."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def unbound_name(model: nn.Module, x: Tensor) -> str:
    seen, twin = [], copy.deepcopy(model)
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_: seen.append(name))  # noqa: B023 - the mistake
    twin(x)
    return seen[0]


def hooks_too_late(model: nn.Module, x: Tensor) -> str:
    seen, twin = [], copy.deepcopy(model)
    twin(x)
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    return seen[0]


def leaves_hooks(model: nn.Module, x: Tensor) -> str:
    seen: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    model(x)
    return seen[0]


def in_the_mode_it_has(model: nn.Module, x: Tensor) -> str:
    seen, handles = [], []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(lambda *_, name=name: seen.append(name)))
    model(x)
    for handle in handles:
        handle.remove()
    return seen[0]


def stays_in_eval_mode(model: nn.Module, x: Tensor) -> str:
    return in_the_mode_it_has(model.eval(), x)


def all_back_to_one_mode(model: nn.Module, x: Tensor) -> str:
    training = model.training
    found = in_the_mode_it_has(model.eval(), x)
    model.train(training)
    return found


def by_name_of_the_class(model: nn.Module, x: Tensor) -> str:
    seen: list[str] = []
    twin = copy.deepcopy(model).eval()
    for name, module in twin.named_modules():
        if "conv" in type(module).__name__.lower():
            module.register_forward_pre_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[0]


def global_hook(model: nn.Module, x: Tensor) -> str:
    seen: list[nn.Module] = []
    twin = copy.deepcopy(model).eval()
    nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    twin(x)
    names = {id(module): name for name, module in twin.named_modules()}
    return next(names[id(module)] for module in seen if isinstance(module, nn.Conv2d))


def returns_the_name(model: nn.Module, x: Tensor) -> str:
    seen, twin = [], copy.deepcopy(model).eval()

    def note(name: str) -> str:
        seen.append(name)
        return name

    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: note(name))
    twin(x)
    return seen[0]


def counts_every_conv(model: nn.Module, x: Tensor) -> str:
    return all_that_run(model.eval(), x, nn.modules.conv._ConvNd)[0]


def plain_convs_only(model: nn.Module, x: Tensor) -> str:
    seen, twin = [], copy.deepcopy(model).eval()
    for name, module in twin.named_modules():
        if type(module) is nn.Conv2d:
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[0]


def freezes(model: nn.Module, x: Tensor) -> str:
    model.requires_grad_(False)
    return right(model, x)


def forgets_gradients(model: nn.Module, x: Tensor) -> str:
    model.zero_grad()
    return right(model, x)


def clears_all_hooks(model: nn.Module, x: Tensor) -> str:
    for module in model.modules():
        module._forward_hooks.clear()
    return right(model, x)


def leaves_names(model: nn.Module, x: Tensor) -> str:
    for name, module in model.named_modules():
        module.own_name = name
    return right(model, x)


RETURNS = "what a forward hook returns takes the place of the output; let it return None, as list.append does."
FIRST_DEFINED = "this is the first that is defined, and it never runs."
LAST = "this is the last one; keep the first that runs."
OWN_NAME = "keep the first that runs; a hook made in a loop needs its own name: lambda *_, name=name: ..."
MODEL = "this is the model itself; hang hooks into convs alone."
NO_NAME = "a name is wanted, as a string."
HANDLE = "register_forward_hook returns a handle; call its remove() when you are done."
BATCHNORM = "in train mode BatchNorm takes notice of every batch; run it in eval mode."
MODES = "model.train(...) sets the mode of every module inside, too; run a copy, and nothing changes."
PRE_HOOK = "what a pre-hook returns takes the place of the input; let it return None, as list.append does."
WHOLE_NAME = 'the name is that of named_modules(), with all that stands before it, as "layer1.0.conv1".'
OTHER_CONVS = "a Conv1d is a conv of another kind: isinstance(module, nn.Conv2d)."
SUBCLASS = "a class derived from nn.Conv2d is one, too: isinstance(module, nn.Conv2d)."
GRADIENTS = "nothing is trained here: neither backward() nor zero_grad() is needed."
HOOK_GONE = "take away your own hooks alone, each by its handle."
NOT_CONV1 = "the name differs from network to network."
TOO_LATE = "nothing was noted down: hang the hooks in before you run the model."

MISTAKES = (
    Mistake(FIRST_DEFINED, lambda model, x: all_convs(model)[0]),
    Mistake(OWN_NAME, lambda model, x: all_convs(model)[-1]),
    Mistake(OWN_NAME, unbound_name),
    Mistake(LAST, lambda model, x: all_that_run(model, x)[-1]),
    Mistake(MODEL, lambda model, x: all_that_run(model, x, nn.Module)[0]),
    Mistake(NO_NAME, lambda model, x: model.get_submodule(right(model, x))),
    Mistake(HANDLE, leaves_hooks),
    Mistake(BATCHNORM, in_the_mode_it_has),
    Mistake(MODES, stays_in_eval_mode),
    Mistake(MODES, all_back_to_one_mode),
    Mistake("this is a module with convs inside", by_name_of_the_class),
    Mistake("a hook on all modules of this kernel is left behind", global_hook),
    Mistake(RETURNS, returns_the_name),
    Mistake(TOO_LATE, hooks_too_late),
    Mistake(OTHER_CONVS, counts_every_conv),
    Mistake(SUBCLASS, plain_convs_only),
    Mistake(FROZEN, freezes),
    Mistake(GRADIENTS, forgets_gradients),
    Mistake(HOOK_GONE, clears_all_hooks),
    Mistake(ATTRIBUTE, leaves_names),
    Mistake(WHOLE_NAME, lambda model, x: right(model, x).split(".")[-1]),
    Mistake("this is the name of its weight.", lambda model, x: f"{right(model, x)}.weight"),
    Mistake(NOT_CONV1, lambda model, x: "conv1" if isinstance(model.conv1, nn.Conv2d) else ""),
)

NOT_THIS_ONE = {  # a name in one of the networks below -> why it is not the one
    "aside": FIRST_DEFINED,
    "last": LAST,
    "second": "this is the second that runs; the first stands inside other modules: named_modules() finds it.",
    "line": OTHER_CONVS,
    "after": SUBCLASS,
    "end": OWN_NAME,
    "stem.inner.1.weight": "this is the name of its weight.",
    "inner.1": WHOLE_NAME,
    "1": WHOLE_NAME,
    "2": OWN_NAME,
    "": MODEL,
    "stem": "this is no conv; hang hooks into convs alone.",
    "block": "this is a module with convs inside, whose class is called so; look at the type, nn.Conv2d.",
    "stem.pool": "this is no conv; look at the type of a module.",
}
CRASHES = [
    ("conv2d() received an invalid combination", PRE_HOOK),
    ("'str' object", RETURNS),
    ("not str", RETURNS),
    ("must be Tensor", RETURNS),
    ("found str", RETURNS),
    ("AttributeError: 'Unordered' object has no attribute 'conv1'", NOT_CONV1),
    ("StopIteration", TOO_LATE),
    ("IndexError: list index", TOO_LATE),
]


class Unordered(nn.Module):
    """The order in which its convs are defined is not that in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv2d(4, 6, 1)  # takes the input's channels, and never runs
        self.second = nn.Conv2d(6, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.stem = nn.ModuleDict({"pool": nn.AvgPool2d(2), "inner": nn.Sequential(nn.ReLU(), nn.Conv2d(4, 6, 1))})

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem["inner"](self.stem["pool"](x)))
        return self.last(self.second(x).relu())


class Padded(nn.Conv2d):
    """As networks have it that pad for themselves."""


class Several(nn.Module):
    """A Conv1d runs before the first Conv2d, whose class is derived from it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(4, 4, 1)
        self.padded = Padded(4, 3, 1)
        self.after = nn.Conv2d(3, 2, 1)
        self.end = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.after(self.padded(self.line(x.flatten(2)).view_as(x))))


class ConvBlock(nn.Module):
    """No conv itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def verify(answer: Any) -> None:
    """`first_to_run(model, x) -> name`."""
    cases = {
        "for convs that run in another order than they are defined": (Unordered(), "stem.inner.1"),
        "for a block with a conv inside": (nn.Sequential(OrderedDict(block=ConvBlock())), "block.inner.1"),
        "for a Conv1d before two Conv2d": (Several(), "padded"),
        "for a Sequential": (nn.Sequential(nn.Identity(), nn.Conv2d(4, 3, 1), nn.Conv2d(3, 2, 1)), "1"),
    }
    x = torch.rand(2, 4, 6, 8)
    for name, (model, expected) in cases.items():
        with case(name):
            got = call(answer, model, x, may_change=[0], crashes=CRASHES)
            if got != expected:
                why = because(NOT_THIS_ONE.get(got) if isinstance(got, str) else NO_NAME)
                raise NotYet(f"the answer should be {expected!r}, but is {got!r}.{why}")
    expect_untouched(answer, Unordered(), x)
    expect_modes_kept(answer, Unordered(), x)


def expect_untouched(answer: Any, model: Unordered, x: Tensor) -> None:
    """No hooks are left or gone, and no buffers, gradients and attributes are others."""
    model.second.register_forward_hook(somebodys_own)
    model.second.weight.grad = torch.ones_like(model.second.weight)
    before = copy.deepcopy(model.state_dict())
    attributes = [set(vars(module)) for module in model.modules()]
    answer(model, x)
    hooks = [hook for m in model.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    if somebodys_own not in hooks:
        raise NotYet(f"a hook that the model had is gone.{because(HOOK_GONE)}")
    if len(hooks) > 1:
        raise NotYet(f"your hooks are still on the model.{because(HANDLE)}")
    if any(not torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items()):
        raise NotYet(f"the model's buffers have moved.{because(BATCHNORM)}")
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise NotYet(f"the model is frozen now.{because(FROZEN)}")
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if len(gradients) != 1 or not torch.equal(gradients[0], torch.ones_like(gradients[0])):
        raise NotYet(f"the model has other gradients than before.{because(GRADIENTS)}")
    if [set(vars(module)) for module in model.modules()] != attributes:
        raise NotYet(f"modules of the model have other attributes than before.{because(ATTRIBUTE)}")


def somebodys_own(*_: Any) -> None:
    """A hook that is on the model before the answer is called."""


def expect_modes_kept(answer: Any, model: Unordered, x: Tensor) -> None:
    """Every module is in the mode in which it came."""
    for whole, norm in ((True, False), (False, True)):
        model.train(whole)
        model.norm.train(norm)
        answer(model, x)
        if (model.training, model.norm.training) != (whole, norm):
            came = f"in {'train' if whole else 'eval'} mode with a BatchNorm in {'train' if norm else 'eval'} mode"
            raise NotYet(f"a model that came {came} has other modes now.{because(MODES)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "A hook on each conv can note the name of its conv in a list when it runs: module.register_forward_hook.",
        "A function made in a loop sees the loop's last name; bind it: lambda *_, name=name: seen.append(name).",
        "Run a copy, and nothing has to be tidied up: twin = copy.deepcopy(model).eval() has the same names.",
    ),
    praise="the order of definition is an order of habit; what runs first is a fact.",
)
