"""Exercise 7.1: freeze modules by their names, so that no optimizer moves them."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, case
from .networks import NAME_CRASHES, NO_DOTS, STRINGS, Nested
from .state import HOOK, MODE, SETTING, call_on, expect_nothing_else, expect_same_numbers, inside


def right(model: nn.Module, names: list[str]) -> list[str]:
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise ValueError(f"there is no module {name!r}")
    chosen = {parameter for name in names for parameter in known[name].parameters()}
    for parameter in chosen:
        parameter.requires_grad_(False)
        parameter.grad = None
    return [name for name, parameter in model.named_parameters() if parameter in chosen]


def names_inside(model: nn.Module, names: list[str]) -> list[str]:
    """What an answer should return."""
    return [key for key, _ in model.named_parameters() if inside(key, names)]


def freezing(belongs: Callable[[str, str], bool]) -> Any:
    """An answer that looks in its own way whether a parameter belongs to a module; of unknown names it says nothing."""

    def answer(model: nn.Module, names: list[str]) -> list[str]:
        found = []
        for key, parameter in model.named_parameters():
            if any(belongs(key, name) for name in names):
                parameter.requires_grad = False
                parameter.grad = None
                found.append(key)
        return found

    return answer


def on_each(change: Callable[[Any], Any]) -> Any:
    """An answer that does something else to each of the modules."""

    def answer(model: nn.Module, names: list[str]) -> list[str]:
        for name in names:
            change(model.get_submodule(name))
        return names_inside(model, names)

    return answer


def returning(what: Callable[[nn.Module, list[str]], Any]) -> Any:
    """An answer that freezes what it should, and returns something else."""

    def answer(model: nn.Module, names: list[str]) -> Any:
        right(model, names)
        return what(model, names)

    return answer


def sets_its_attribute(module: Any) -> None:
    module.requires_grad = False


def sets_its_weight(module: Any) -> None:
    module.weight.requires_grad = False


def sets_all_weights(module: Any) -> None:
    for part in module.modules():
        if hasattr(part, "weight"):
            part.weight.requires_grad = False


def sets_its_direct_parameters(module: Any) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad = False


def zeroes_without_asking(module: Any) -> None:
    for parameter in module.parameters():
        parameter.grad.zero_()


def sets_it_on_the_state_dict(model: nn.Module, names: list[str]) -> list[str]:
    for key, tensor in model.state_dict().items():
        if inside(key, names):
            tensor.requires_grad = False
    return names_inside(model, names)


def freezes_all(model: nn.Module, names: list[str]) -> list[str]:
    model.requires_grad_(False)
    return right(model, names)


def sets_it_for_all(model: nn.Module, names: list[str]) -> list[str]:
    for key, parameter in model.named_parameters():
        parameter.requires_grad = not inside(key, names)
    return right(model, names)


def in_outer_modules(model: nn.Module, names: list[str]) -> list[str]:
    for name, module in model.named_children():
        if name in names:
            module.requires_grad_(False)
    return names_inside(model, names)


def clears_all_gradients(model: nn.Module, names: list[str]) -> list[str]:
    model.zero_grad()
    return right(model, names)


def clears_what_is_frozen(model: nn.Module, names: list[str]) -> list[str]:
    found = right(model, names)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.grad = None
    return found


def knows_patterns(model: nn.Module, names: list[str]) -> list[str]:
    known = list(dict(model.named_modules()))
    found = [fnmatch.filter(known, name) for name in names]
    if not all(found):
        raise ValueError("there is no such module")
    return right(model, [name for some in found for name in some])


def puts_in_eval_mode(model: nn.Module, names: list[str]) -> list[str]:
    for name in right(model, names) and names:
        model.get_submodule(name).eval()
    return names_inside(model, names)


def stops_statistics(model: nn.Module, names: list[str]) -> list[str]:
    found = right(model, names)
    for name in names:
        for module in model.get_submodule(name).modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0
    return found


def hangs_hooks(model: nn.Module, names: list[str]) -> list[str]:
    found = right(model, names)
    for name in names:
        model.get_submodule(name).register_forward_pre_hook(lambda module, given: None)
    return found


def makes_new_parameters(model: nn.Module, names: list[str]) -> list[str]:
    found = right(model, names)
    for key in found:
        module, _, last = key.rpartition(".")
        frozen = nn.Parameter(model.get_parameter(key).data, requires_grad=False)
        setattr(model.get_submodule(module), last, frozen)
    return found


def zeroes_numbers(model: nn.Module, names: list[str]) -> list[str]:
    found = right(model, names)
    for key in found:
        model.get_parameter(key).zero_()
    return found


def names_within_modules(model: nn.Module, names: list[str]) -> list[str]:
    return [key for name in names for key, _ in model.get_submodule(name).named_parameters()]


def newly_frozen(model: nn.Module, names: list[str]) -> list[str]:
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    return [key for key in right(model, names) if key not in frozen]


def in_the_order_given(model: nn.Module, names: list[str]) -> list[str]:
    found = []
    for name in names:
        found += right(model, [name])
    return found


def once_for_each_name(model: nn.Module, names: list[str]) -> list[str]:
    found = []
    for key in right(model, names):
        for name in names:
            if inside(key, [name]):
                found.append(key)
    return found


def getattr_of_each(model: nn.Module, names: list[str]) -> None:
    for name in names:
        getattr(model, name).requires_grad_(False)


def refuses_modules_without_parameters(model: nn.Module, names: list[str]) -> list[str]:
    for name in names:
        if not names_inside(model, [name]):
            raise ValueError(f"there is no module {name!r}")
    return right(model, names)


def looks_up_without_asking(model: nn.Module, names: list[str]) -> list[str]:
    modules = [model.get_submodule(name) for name in names]
    for module in modules:
        for parameter in module.parameters():
            parameter.requires_grad = False
            parameter.grad = None
    return names_inside(model, names)


def freezes_in_the_loop_that_asks(model: nn.Module, names: list[str]) -> list[str]:
    for name in names:
        right(model, [name])  # raises a ValueError if there is none
    return names_inside(model, names)


def knows_a_name_by_its_beginning(model: nn.Module, names: list[str]) -> list[str]:
    for name in names:
        if not any(key.startswith(name) for key, _ in model.named_modules()):
            raise ValueError(f"there is no module {name!r}")
    return freezing(lambda key, name: key.startswith(f"{name}."))(model, names)


def knows_parameters_too(model: nn.Module, names: list[str]) -> list[str]:
    known = [*dict(model.named_modules()), *dict(model.named_parameters())]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no {name!r}")
    return freezing(lambda key, name: key.startswith(f"{name}."))(model, names)


def by_the_names_of_parameters(model: nn.Module, names: list[str]) -> list[str]:
    known = dict(model.named_modules())
    if any(name not in known for name in names):
        raise ValueError("there is no such module")
    return freezing(lambda key, name: key.startswith(f"{name}."))(model, names)


def knows_no_empty_name(model: nn.Module, names: list[str]) -> list[str]:
    if any(not name for name in names):
        raise ValueError("a name is empty")
    return right(model, names)


def all_that_is_frozen(model: nn.Module, names: list[str]) -> list[str]:
    return [key for key, parameter in model.named_parameters() if not parameter.requires_grad]


def asserts_that_there_is_one(model: nn.Module, names: list[str]) -> list[str]:
    assert all(name in dict(model.named_modules()) for name in names), "no such module"
    return right(model, names)


ON_THE_MODULE = "on a module, requires_grad is an attribute that nobody reads; its method is requires_grad_(False)."
ELSEWHERE = "it was set on something else: state_dict() and deepcopy() give other tensors. Take the parameters."
BIASES = "biases are parameters, too."
ONLY_THE_FIRST = "only the first of the names was taken; is the `return` inside of the loop?"
DOTS = "a name may have dots, for a module in a module; get_submodule and named_modules know them."
PARTS = "parameters of modules inside count, at any depth; module.parameters() has them all."
WHOLE_MODEL = "the whole model is frozen; only the named modules should be."
BEGINS = "what is inside goes on with a dot: startswith(name + '.')."
OCCURS = "occurs inside its name; it must stand at its beginning."
FOR_ALL = "requires_grad is set for all; set it to False for the named ones, and nothing for the others."
GRADIENT_LEFT = "an optimizer moves all that has a gradient, frozen or not, with decay and momentum; p.grad = None."
ZEROS = "zeros are a gradient, too, and weight decay and momentum go on with it; p.grad = None."
ALL_GRADIENTS = "that is for the named modules alone; zero_grad() of the model is for all."
FROZEN_TOO = "it was frozen before, and is in none of the named modules; clear what is inside of those."
PATTERN = "patterns are for `freeze`; here a name must be in dict(model.named_modules())."
NEW_PARAMETERS = "a new nn.Parameter; an optimizer goes on with the old one. Set requires_grad of what is there."
TIED = (
    "a shared parameter has several names, and named_parameters() has it under the first: look for the tensors of "
    "module.parameters() there, by `is` or id()."
)
ITSELF = "named_modules() has the model itself, too, under the empty name."
OF_ALL_FROZEN = "it was frozen before, and is in none of the named modules; list what is inside."
GENERATOR = "a generator can be read once; make a list of it."
ASSERTS = "`assert` raises an AssertionError; write `raise ValueError(...)`."
A_SET = "a set has no order."
MODULES = "it is a module; the names of its parameters are wanted, such as 'fc.weight'."
BUFFERS = "it is a buffer, not a parameter; state_dict() has both, named_parameters() only parameters."
SHORT_NAMES = "this is its name within its module; the model's named_parameters() gives the whole name."
NESTED_NAMES = "one of the modules is inside another one."
FROZEN_BEFORE = "it was frozen before, but is one of these parameters all the same."
ORDER = "the order is the model's, not that of `names`: walk through model.named_parameters()."
NOT_ASKED = "ask whether each name is in dict(model.named_modules())."
ONLY_BEGINS = "a name only begins with it; ask whether it is in dict(model.named_modules())."
OF_A_PARAMETER = "it is the name of a parameter, not of a module; ask whether it is in dict(model.named_modules())."
RAISES_ITSELF = "looking up an unknown name raises this by itself; ask whether there is such a module first."
TOO_EARLY = "look up all names first, and freeze in a second loop."
NO_GRADIENT = "not every parameter has a gradient; p.grad = None needs none."
HOLDS_OTHERS = "a module may only hold others; module.parameters() walks through them."
TWO_LISTS = "modules stand in model.named_modules(), parameters in model.named_parameters()."
REFUSED = "these are modules: those in other modules count, and those without parameters, such as a ReLU."

MISTAKES = (
    Mistake(ON_THE_MODULE, on_each(sets_its_attribute)),
    Mistake(ELSEWHERE, sets_it_on_the_state_dict),
    Mistake(ELSEWHERE, lambda model, names: right(copy.deepcopy(model), names)),
    Mistake(BIASES, on_each(sets_all_weights)),
    Mistake(ONLY_THE_FIRST, lambda model, names: right(model, names[:1])),
    Mistake(DOTS, in_outer_modules),
    Mistake(PARTS, on_each(sets_its_direct_parameters)),
    Mistake(WHOLE_MODEL, freezes_all),
    Mistake(BEGINS, freezing(lambda key, name: key.startswith(name))),
    Mistake(OCCURS, freezing(lambda key, name: f"{name}." in key)),
    Mistake(FOR_ALL, sets_it_for_all),
    Mistake(GRADIENT_LEFT, on_each(lambda module: module.requires_grad_(False))),
    Mistake(ZEROS, on_each(lambda module: module.requires_grad_(False).zero_grad(set_to_none=False))),
    Mistake(NO_GRADIENT, on_each(zeroes_without_asking)),
    Mistake(ALL_GRADIENTS, clears_all_gradients),
    Mistake(FROZEN_TOO, clears_what_is_frozen),
    Mistake(PATTERN, knows_patterns),
    Mistake(MODE, puts_in_eval_mode),
    Mistake(SETTING, stops_statistics),
    Mistake(HOOK, hangs_hooks),
    Mistake(NEW_PARAMETERS, makes_new_parameters),
    Mistake("has other numbers now than before", zeroes_numbers),
    Mistake(TIED, by_the_names_of_parameters),
    Mistake(ITSELF, knows_no_empty_name),
    Mistake(OF_ALL_FROZEN, returning(all_that_is_frozen)),
    Mistake(GENERATOR, returning(lambda model, names: (name for name in names_inside(model, names)))),
    Mistake(ASSERTS, asserts_that_there_is_one),
    Mistake(A_SET, returning(lambda model, names: set(names_inside(model, names)))),
    Mistake(MODULES, returning(lambda model, names: names)),
    Mistake(BUFFERS, returning(lambda model, names: [key for key in model.state_dict() if inside(key, names)])),
    Mistake(SHORT_NAMES, returning(names_within_modules)),
    Mistake(NESTED_NAMES, once_for_each_name),
    Mistake(FROZEN_BEFORE, newly_frozen),
    Mistake(ORDER, in_the_order_given),
    Mistake(NO_DOTS, getattr_of_each),
    Mistake(STRINGS, lambda model, names: [name.requires_grad_(False) for name in names]),
    Mistake(HOLDS_OTHERS, on_each(sets_its_weight)),
    Mistake(TWO_LISTS, lambda model, names: [dict(model.named_parameters())[name] for name in names]),
    Mistake(REFUSED, refuses_modules_without_parameters),
    Mistake(NOT_ASKED, freezing(lambda key, name: key.startswith(f"{name}."))),
    Mistake(ONLY_BEGINS, knows_a_name_by_its_beginning),
    Mistake(OF_A_PARAMETER, knows_parameters_too),
    Mistake(RAISES_ITSELF, looks_up_without_asking),
    Mistake(TOO_EARLY, freezes_in_the_loop_that_asks),
)
CRASHES = (
    *NAME_CRASHES,
    ("'NoneType' object has no attribute", NO_GRADIENT),
    ("has no attribute 'weight'", HOLDS_OTHERS),
    ("has no attribute 'bias'", HOLDS_OTHERS),
    ("KeyError", TWO_LISTS),
    ("ValueError", REFUSED),
)
UNKNOWN = {"features.99": NOT_ASKED, "layer*": PATTERN, "layer": ONLY_BEGINS, "fc.weight": OF_A_PARAMETER}


def verify(answer: Any) -> None:
    """`freeze_modules(model, names) -> names of parameters`."""
    for names in (["layer1", "features.1", "fc"], ["layer1.1", "layer1", "fc"], ["stem", "features.2"], []):
        with case(f"for {names}" if names else "for no names"):
            model, before = with_gradients(), with_gradients()
            parameters = list(model.parameters())
            got = call_on(answer, model, names, crashes=CRASHES)
            if any(now is not then for now, then in zip(model.parameters(), parameters, strict=True)):
                raise NotYet(f"the model has other parameters now than before.{because(NEW_PARAMETERS)}")
            expect_frozen(model, before, names)
            expect_gradients(model, before, names)
            expect_names(got, before, names)
            expect_same_numbers(model, before)
            expect_nothing_else(model, before)
    for unknown, cause in UNKNOWN.items():
        with case(f"for ['features.1', {unknown!r}]"):
            expect_refused(answer, unknown, cause)
    with case("for ['out'], whose weight is that of an Embedding, too"):
        expect_all_inside(answer, Tied(), ["out"], TIED)
    with case("for [''], which is the model itself"):
        expect_all_inside(answer, with_gradients(), [""], ITSELF)


def with_gradients() -> Nested:
    """All parameters have a gradient left, frozen ones too, except one."""
    model = Nested()
    for key, parameter in model.named_parameters():
        if key != "layer1.1.rest.0.bias":
            parameter.grad = torch.full_like(parameter, 0.5)
    return model


def expect_frozen(model: nn.Module, before: nn.Module, names: list[str]) -> None:
    now = dict(model.named_parameters())
    for key, then in before.named_parameters():
        takes_gradient = now[key].requires_grad
        if inside(key, names):
            if takes_gradient:
                raise NotYet(f"{key!r} still takes a gradient.{because(why_not_frozen(key, model, before, names))}")
        elif then.requires_grad and not takes_gradient:
            raise NotYet(f"{key!r} is frozen, but should not be.{because(why_frozen(key, model, names))}")
        elif takes_gradient and not then.requires_grad:
            raise NotYet(f"{key!r} was frozen before, and takes a gradient now.{because(FOR_ALL)}")


def why_not_frozen(key: str, model: nn.Module, before: nn.Module, names: list[str]) -> str:
    if any("requires_grad" in vars(module) for module in model.modules()):
        return ON_THE_MODULE
    pairs = zip(model.parameters(), before.parameters(), strict=True)
    if all(now.requires_grad == then.requires_grad for now, then in pairs):
        return ELSEWHERE
    if key.endswith(".bias") and not model.get_parameter(key.removesuffix("bias") + "weight").requires_grad:
        return BIASES
    if all(model.get_parameter(other).requires_grad for other in names_inside(model, names[1:])):
        return ONLY_THE_FIRST
    if inside(key, [name for name in names if "." in name]):
        return DOTS
    return PARTS


def why_frozen(key: str, model: nn.Module, names: list[str]) -> str | None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return WHOLE_MODEL
    for name in names:
        if key.startswith(name):
            return f"it only begins like {name!r}; {BEGINS}"
        if name in key:
            return f"{name!r} {OCCURS}"
    return None


class Tied(nn.Module):
    """Two layers that share a weight, which has the first one's name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.out = nn.Embedding(7, 3), nn.Linear(3, 7)
        self.out.weight = self.words.weight


def expect_all_inside(answer: Any, model: nn.Module, names: list[str], cause: str) -> None:
    """What `right` freezes is frozen, and listed."""
    expected = right(copy.deepcopy(model), names)
    got = call_on(answer, model, names, crashes=[("", cause)])
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    for key in expected:
        if key not in frozen or key not in got:
            raise NotYet(f"{key!r} should be {'in the list' if key in frozen else 'frozen'}.{because(cause)}")
    if list(got) != expected:
        raise NotYet(f"the list should be {expected}, but is {list(got)}.{because(cause)}")


def expect_gradients(model: nn.Module, before: nn.Module, names: list[str]) -> None:
    now = dict(model.named_parameters())
    for key, then in before.named_parameters():
        grad = now[key].grad
        if inside(key, names):
            if grad is not None:
                raise NotYet(f"{key!r} still has a gradient.{because(GRADIENT_LEFT if grad.any() else ZEROS)}")
        elif not same_gradient(grad, then.grad):
            others = [other for other, p in before.named_parameters() if p.requires_grad and not inside(other, names)]
            kept = any(now[other].grad is not None for other in others)
            why = because(FROZEN_TOO if kept and not then.requires_grad else ALL_GRADIENTS)
            raise NotYet(f"{key!r} has lost its gradient, but should keep it.{why}")


def same_gradient(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def expect_names(got: Any, before: nn.Module, names: list[str]) -> None:
    if not isinstance(got, (list, tuple, type({}.keys()))) or not all(isinstance(name, str) for name in got):
        why = because(A_SET if isinstance(got, (set, frozenset)) else GENERATOR if hasattr(got, "__next__") else None)
        raise NotYet(f"a list of names is wanted, not {type(got).__name__}.{why}")
    found, expected = list(got), names_inside(before, names)
    for name in found:
        if name not in expected:
            raise NotYet(f"{name!r} should not be in the list.{because(why_listed(name, before))}")
        if found.count(name) > 1:
            raise NotYet(f"{name!r} is in the list {found.count(name)} times.{because(NESTED_NAMES)}")
    for name in expected:
        if name not in found:
            why = because(None if before.get_parameter(name).requires_grad else FROZEN_BEFORE)
            raise NotYet(f"{name!r} is not in the list.{why}")
    for place, (name, wanted) in enumerate(zip(found, expected, strict=True)):
        if name != wanted:
            raise NotYet(f"name {place} should be {wanted!r}, but is {name!r}.{because(ORDER)}")


def why_listed(name: str, before: nn.Module) -> str | None:
    if name in dict(before.named_modules()):
        return MODULES
    if name in dict(before.named_buffers()):
        return BUFFERS
    if any(key.endswith(f".{name}") for key, _ in before.named_parameters()):
        return SHORT_NAMES
    if name in dict(before.named_parameters()) and not before.get_parameter(name).requires_grad:
        return OF_ALL_FROZEN
    return None


def expect_refused(answer: Any, unknown: str, cause: str) -> None:
    """A ValueError, and nothing frozen before it."""
    model, before = with_gradients(), with_gradients()
    try:
        got = answer(model, ["features.1", unknown])
    except ValueError:
        pass
    except Exception as error:
        why = because(RAISES_ITSELF if isinstance(error, (AttributeError, KeyError)) else None)
        why = because(ASSERTS) if isinstance(error, AssertionError) else why
        raise NotYet(f"a ValueError is wanted, not {type(error).__name__}: {error}{why}") from None
    else:
        raise NotYet(f"a ValueError is wanted, but your function returns {got!r}.{because(cause)}")
    for (key, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
        if now.requires_grad != then.requires_grad or not same_gradient(now.grad, then.grad):
            raise NotYet(f"{key!r} was changed before the ValueError came.{because(TOO_EARLY)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "dict(model.named_modules()) has every module by its name, however deep it is; look all names up first.",
        "module.parameters() has all parameters of a module; set requires_grad = False and grad = None for each.",
        "frozen = {id(p) for name in names for p in modules[name].parameters()}; then, for key, p in "
        "model.named_parameters(): if id(p) in frozen, freeze it and keep key.",
    ),
    praise="frozen is what was named, and an optimizer has nothing left to move it by.",
)
