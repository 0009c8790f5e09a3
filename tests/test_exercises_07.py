"""The checks of lesson 07 on stubs, right answers and named mistakes."""

import copy

import pytest
import torch
from lesson import expect_not_yet, expect_passed, mistakes, outcome
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.checks.lesson_07 import EXERCISES

BATCH_NORM, DROPOUT = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd


def written_as_a_stub(model, names):
    """a torch.nn.Module, names -> names"""


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def test_stubs_as_the_lesson_gives_them_are_not_attempted() -> None:
    assert outcome("7.1", written_as_a_stub)[0] == "not attempted"
    assert outcome("7.2", written_as_a_stub)[0] == "not attempted"
    assert outcome("7.3", lambda model, weight_decay: [{"params": ..., "weight_decay": weight_decay}, {}])[0] == (
        "not attempted"
    )
    assert outcome("7.4", lambda backbone, images, batch_size: torch.cat(...))[0] == "not attempted"


def dotted(name, key):
    return key.startswith(f"{name}.")


def known(model, names):
    if not all(name in dict(model.named_modules()) for name in names):
        raise ValueError("no such module")


def freeze_modules(model, names):
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise ValueError(f"there is no module {name!r}")
    inside = {id(p) for name in names for p in modules[name].parameters()}
    frozen = []
    for key, p in model.named_parameters():
        if id(p) in inside:
            p.requires_grad, p.grad = False, None
            frozen.append(key)
    return frozen


def freeze_by_name(belongs=dotted, freeze=lambda p: p.requires_grad_(False), clear=True):
    def answer(model, names):
        known(model, names)
        found = {key: p for key, p in model.named_parameters() if any(belongs(name, key) for name in names)}
        for p in found.values():
            freeze(p)
            if clear:
                p.grad = None
        return list(found)

    return answer


def freeze_by_lookup(model, names):
    try:
        modules = [model.get_submodule(name) for name in names]
    except AttributeError as error:
        raise ValueError(str(error)) from error
    for module in modules:
        module.eval().requires_grad_(False).zero_grad()
    return tuple(key for key, _ in model.named_parameters() if any(dotted(name, key) for name in names))


def freeze_in_turn(model, names):
    for name in names:
        if name not in dict(model.named_modules()):
            raise ValueError(f"there is no module {name!r}")
        freeze_modules(model, [name])
    return [key for key, _ in model.named_parameters() if any(dotted(name, key) for name in names)]


def in_the_order_given(model, names):
    freeze_modules(model, names)
    keys = [key for key, _ in model.named_parameters()]
    return list(dict.fromkeys(key for name in names for key in keys if dotted(name, key)))


def with_doubles(model, names):
    freeze_modules(model, names)
    return [key for key, _ in model.named_parameters() for name in names if dotted(name, key)]


def sets_it_on_the_module(model, names):
    known(model, names)
    for name in names:
        model.get_submodule(name).requires_grad = False
    return freeze_modules(copy.deepcopy(model), names)


def sets_it_on_the_state_dict(model, names):
    known(model, names)
    found = [key for key in model.state_dict() if any(dotted(name, key) for name in names)]
    for key in found:
        model.state_dict()[key].requires_grad = False
    return found


def for_all(model, names):
    found = freeze_modules(model, names)
    for key, p in model.named_parameters():
        p.requires_grad = key not in found
    return found


def clears_all_gradients(model, names):
    found = freeze_modules(model, names)
    model.zero_grad()
    return found


def keeps_frozen_gradients(model, names):
    frozen = {key: p.grad for key, p in model.named_parameters() if not p.requires_grad}
    found = freeze_modules(model, names)
    for key, grad in frozen.items():
        model.get_parameter(key).grad = grad
    return found


def zeros_gradients(model, names):
    known(model, names)
    found = [key for key, _ in model.named_parameters() if any(dotted(name, key) for name in names)]
    for key in found:
        p = model.get_parameter(key).requires_grad_(False)
        if p.grad is not None:
            p.grad.zero_()
    return found


def expects_gradients(model, names):
    for p in model.get_submodule(names[0]).parameters():
        p.grad.zero_()


def only_direct_parameters(model, names):
    known(model, names)
    for name in names:
        for p in model.get_submodule(name).parameters(recurse=False):
            p.requires_grad, p.grad = False, None
    return []


def only_weights(model, names):
    known(model, names)
    for module in (module for name in names for module in model.get_submodule(name).modules()):
        if hasattr(module, "weight"):
            module.weight.requires_grad, module.weight.grad = False, None
    return []


def only_outer_names(model, names):
    return freeze_modules(model, [name for name in names if "." not in name])


def names_that_hold_parameters(model, names):
    keys = [key for key, _ in model.named_parameters()]
    if not all(any(dotted(name, key) for key in keys) for name in names):
        raise ValueError("no such module")
    return freeze_modules(model, names)


def unknown_by_beginning(model, names):
    keys = [key for key, _ in model.named_modules()]
    if not all(any(key.startswith(name) for key in keys) for name in names):
        raise ValueError("no such module")
    return freeze_modules(model, [name for name in names if name in dict(model.named_modules())])


def ignores_unknown(model, names):
    return freeze_modules(model, [name for name in names if name in dict(model.named_modules())])


def parameters_are_fine(model, names):
    keys = dict(model.named_parameters())
    return freeze_modules(model, [name for name in names if name not in keys])


def raises_a_key_error(model, names):
    modules = dict(model.named_modules())
    return freeze_modules(model, [name for name in names if modules[name]])


def raises_an_attribute_error(model, names):
    return freeze_modules(model, [name for name in names if model.get_submodule(name)])


def makes_new_parameters(model, names):
    found = freeze_modules(model, names)
    for key in found:
        module, _, last = key.rpartition(".")
        setattr(model.get_submodule(module), last, nn.Parameter(model.get_parameter(key).data, requires_grad=False))
    return found


def zeroes_numbers(model, names):
    found = freeze_modules(model, names)
    for key in found:
        model.get_parameter(key).zero_()
    return found


def only_newly_frozen(model, names):
    before = [key for key, p in model.named_parameters() if not p.requires_grad]
    return [key for key in freeze_modules(model, names) if key not in before]


def short_names(model, names):
    freeze_modules(model, names)
    return [key for name in names for key, _ in model.get_submodule(name).named_parameters()]


def keys_of_the_state_dict(model, names):
    freeze_modules(model, names)
    return [key for key in model.state_dict() if any(dotted(name, key) for name in names)]


def returns(what):
    def answer(model, names):
        found = freeze_modules(model, names)
        return what(found, names, model)

    return answer


def by_getattr(model, names):
    for name in reversed(names):
        getattr(model, name).requires_grad_(False)


WRONG_FREEZES = {
    "prefix": (freeze_by_name(lambda name, key: key.startswith(name)), "startswith(name + '.')"),
    "in the name": (freeze_by_name(lambda name, key: f"{name}." in key), "occurs inside its name"),
    "on the module": (sets_it_on_the_module, "on a module, requires_grad is an attribute that nobody reads"),
    "on the state_dict": (sets_it_on_the_state_dict, "state_dict() and deepcopy() give other tensors"),
    "on a copy": (lambda m, n: freeze_modules(copy.deepcopy(m), n), "state_dict() and deepcopy() give other tensors"),
    "the whole model": (lambda m, n: [freeze_modules(m, n), m.requires_grad_(False)][0], "the whole model is frozen"),
    "set for all": (for_all, "was frozen before, and takes a gradient now"),
    "gradients left": (freeze_by_name(clear=False), "with decay and momentum; p.grad = None"),
    "gradients of zeros": (zeros_gradients, "zeros are a gradient, too"),
    "gradients left where it was frozen": (keeps_frozen_gradients, "'stem.weight' still has a gradient"),
    "no gradient": (expects_gradients, "p.grad = None needs none"),
    "all gradients": (clears_all_gradients, "zero_grad() of the model is for all"),
    "only the first": (lambda m, n: freeze_modules(m, n[:1]), "is the `return` inside of the loop"),
    "direct parameters": (only_direct_parameters, "module.parameters() has them all"),
    "only weights": (only_weights, "biases are parameters, too"),
    "only outer names": (only_outer_names, "a name may have dots"),
    "getattr": (by_getattr, "getattr knows no dots"),
    "weights by attribute": (lambda m, n: m.get_submodule(n[0]).weight, "a module may only hold others"),
    "names": (lambda m, n: n[0].requires_grad_(False), "names are strings"),
    "parameters by module name": (lambda m, n: dict(m.named_parameters())[n[0]], "modules stand in"),
    "no ReLU": (names_that_hold_parameters, "those without parameters, such as a ReLU"),
    "unknown by beginning": (unknown_by_beginning, "a name only begins with it"),
    "unknown ignored": (ignores_unknown, "dict(model.named_modules())"),
    "a parameter's name": (parameters_are_fine, "the name of a parameter, not of a module"),
    "KeyError": (raises_a_key_error, "a ValueError is wanted, not KeyError"),
    "AttributeError": (raises_an_attribute_error, "looking up an unknown name raises this by itself"),
    "in turn": (freeze_in_turn, "freeze in a second loop"),
    "new parameters": (makes_new_parameters, "an optimizer goes on with the old one"),
    "other numbers": (zeroes_numbers, "other numbers now than before"),
    "modules' names": (returns(lambda found, names, model: names), "the names of its parameters are wanted"),
    "order given": (in_the_order_given, "the order is the model's"),
    "sorted": (returns(lambda found, names, model: sorted(found)), "the order is the model's"),
    "twice": (with_doubles, "one of the modules is inside another one"),
    "short names": (short_names, "gives the whole name"),
    "buffers": (keys_of_the_state_dict, "it is a buffer, not a parameter"),
    "newly frozen": (only_newly_frozen, "it was frozen before, but is one of these"),
    "a set": (returns(lambda found, names, model: set(found)), "a set has no order"),
    "the model": (returns(lambda found, names, model: model), "a list of names is wanted, not Nested"),
    "names changed": (returns(lambda found, names, model: (names.append("fc"), found)[1]), "changes what it was given"),
    "nothing": (returns(lambda found, names, model: None), "returns None"),
}


def train_except(model, names):
    model.train()
    for name in names:
        model.get_submodule(name).eval()
    return model


def train_except_by_flags(model, names):
    for key, module in model.named_modules():
        module.training = not any(key == name or dotted(name, key) for name in names)
    return model


def evals_where(where, change=None):
    def answer(model, names):
        model.train()
        for key, module in model.named_modules():
            if where(key, module, names):
                module.training = False
        return change(model) if change else model

    return answer


def within(key, names):
    return any(key == name or dotted(name, key) for name in names)


def eval_first(model, names):
    for name in names:
        model.get_submodule(name).eval()
    return model.train()


def eval_alone(model, names):
    for name in names:
        model.get_submodule(name).eval()
    return model


def train_with_a_flag(model, names):
    for key, module in model.named_modules():
        module.train(key not in names)
    return model


def evals_children(model, names):
    model.train()
    for name in names:
        for module in model.get_submodule(name).children():
            module.eval()
    for name in names:
        model.get_submodule(name).training = True
    return model


def freezes_too(model, names):
    for name in names:
        model.get_submodule(name).requires_grad_(False)
    return train_except(model, names)


def unfreezes_too(model, names):
    return train_except(model.requires_grad_(True), names)


def runs_a_norm(model, names):
    model.features[5](torch.randn(2, 5, 3, 3))
    return train_except(model, names)


def returns_the_module(model, names):
    train_except(model, names)
    return model.get_submodule(names[0])


WRONG_MODES = {
    "eval first": (eval_first, "a train() that comes after eval() undoes it"),
    "no train": (eval_alone, "even if they were in eval mode"),
    "all in eval": (lambda m, n: m.eval(), "the whole model is in eval mode"),
    "own flag": (evals_where(lambda k, m, n: k in n), "leaves what is inside in train mode"),
    "train of each": (train_with_a_flag, "or a train() that comes later"),
    "only BatchNorm": (
        evals_where(lambda k, m, n: within(k, n) and isinstance(m, BATCH_NORM)),
        "only BatchNorm is in eval mode",
    ),
    "only Dropout": (
        evals_where(lambda k, m, n: within(k, n) and isinstance(m, DROPOUT)),
        "only Dropout is in eval mode",
    ),
    "both kinds": (
        evals_where(lambda k, m, n: within(k, n) and isinstance(m, (BATCH_NORM, DROPOUT))),
        "not only BatchNorm and Dropout",
    ),
    "leaves": (evals_where(lambda k, m, n: within(k, n) and not list(m.children())), "hold others have a mode"),
    "children": (evals_children, "should be in eval mode"),
    "not itself": (evals_where(lambda k, m, n: within(k, n) and k not in n), "has a mode of its own"),
    "prefix": (evals_where(lambda k, m, n: any(k.startswith(name) for name in n)), "only begins like one of the names"),
    "in the name": (evals_where(lambda k, m, n: any(name in k for name in n)), "occurs inside its name"),
    "exchanged": (evals_where(lambda k, m, n: not within(k, n)), "the wrong way round"),
    "only the first": (lambda m, n: train_except(m, n[:1]), "is the `return` inside of the loop"),
    "a copy": (lambda m, n: train_except(copy.deepcopy(m), n), "change the model that was handed in"),
    "a copy, and the model": (lambda m, n: (train_except(copy.deepcopy(m), n), m)[1], "were the modes set on a copy"),
    "the module": (returns_the_module, "return the model itself, not a BatchNorm2d"),
    "nothing": (lambda m, n: [train_except(m, n), None][1], "returns None"),
    "freezes": (freezes_too, "modes and gradients are two things"),
    "unfreezes": (unfreezes_too, "'stem.weight' takes a gradient now"),
    "runs it": (runs_a_norm, "a mode is set without that"),
    "getattr": (lambda m, n: [getattr(m, name).eval() for name in n], "getattr knows no dots"),
    "names": (lambda m, n: [name.eval() for name in n], "names are strings"),
    "children by name": (lambda m, n: [dict(m.named_children())[name].eval() for name in n], "finds all"),
}


def decay_groups(model, weight_decay):
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def decay_groups_by_module(model, weight_decay):
    seen, groups = set(), ({"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0})
    for module in model.modules():
        for p in module.parameters(recurse=False):
            if p.requires_grad and id(p) not in seen:
                seen.add(id(p))
                groups[len(p.shape) <= 1]["params"].append(p)
    return groups


def decay_groups_of_generators(model, weight_decay):
    parameters = list(model.parameters())
    return [
        {"params": (p for p in parameters if p.requires_grad and p.ndim > 1), "weight_decay": weight_decay},
        {"params": filter(lambda p: p.requires_grad and p.ndim < 2, parameters), "weight_decay": 0.0, "name": "rest"},
    ]


def sorted_by(decayed, trained=lambda p: p.requires_grad, **options):
    def answer(model, weight_decay):
        found = [(key, p) for key, p in model.named_parameters(**options) if trained(p)]
        return [
            {"params": [p for key, p in found if decayed(key, p)], "weight_decay": weight_decay},
            {"params": [p for key, p in found if not decayed(key, p)], "weight_decay": 0.0},
        ]

    return answer


def walks_through_types(model, weight_decay):
    decayed, others = [], []
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            decayed.append(module.weight)
            others += [module.bias] if module.bias is not None else []
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            others += [module.weight, module.bias]
    decayed, others = [[p for p in dict.fromkeys(group) if p.requires_grad] for group in (decayed, others)]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def knows_only_some_norms(model, weight_decay):
    groups = [{"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
    own = {id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    for key, p in model.named_parameters():
        if p.requires_grad:
            groups[id(p) in own or key.endswith("bias") or "." not in key]["params"].append(p)
    return groups


def layers_only(model, weight_decay):
    groups = decay_groups(model, weight_decay)
    if "scale" in dict(model.named_parameters()):
        groups[1]["params"] = [p for p in groups[1]["params"] if p is not model.scale]
    return groups


def of_a_used_up_generator(model, weight_decay):
    trained = (p for p in model.parameters() if p.requires_grad)
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": (p for p in trained if p.ndim < 2), "weight_decay": 0.0},
    ]


def without(key, place):
    def answer(model, weight_decay):
        groups = decay_groups(model, weight_decay)
        del groups[place][key]
        return groups

    return answer


def with_decays(first, second):
    def answer(model, weight_decay):
        groups = decay_groups(model, weight_decay)
        groups[0]["weight_decay"], groups[1]["weight_decay"] = first(weight_decay), second(weight_decay)
        return groups

    return answer


def in_both(model, weight_decay):
    groups = decay_groups(model, weight_decay)
    groups[0]["params"] = groups[0]["params"] + groups[1]["params"]
    return groups


def leaves_out_empty_groups(model, weight_decay):
    return [group for group in decay_groups(model, weight_decay) if group["params"]]


def by_value(model, weight_decay):
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    return [{"params": decayed, "weight_decay": 1}, {"params": [p for p in model.parameters() if p not in decayed]}]


def pairs(model, weight_decay):
    return [{"params": [p for p in model.named_parameters() if p.ndim >= 2], "weight_decay": weight_decay}]


def sets_requires_grad(model, weight_decay):
    groups = decay_groups(model, weight_decay)
    for p in model.parameters():
        p.requires_grad = True
    return groups


WRONG_GROUPS = {
    "by the name bias": (sorted_by(lambda key, p: not key.endswith("bias")), "it is the scale of a norm"),
    "by the name bn": (
        sorted_by(lambda key, p: "." in key and not key.endswith("bias") and "bn" not in key),
        "need not have 'bn' in its name",
    ),
    "bias anywhere in the name": (
        sorted_by(lambda key, p: p.ndim > 1 and "bias" not in key),
        "its name has 'bias' in it, but it has 2 axes",
    ),
    "some norms": (knows_only_some_norms, "'blocks.1.weight' should not be in the first group"),
    "more than two axes": (sorted_by(lambda key, p: p.ndim > 2), "it has 2 axes; two or more get the decay"),
    "two axes exactly": (sorted_by(lambda key, p: p.ndim == 2), "it has 4 axes; two or more get the decay"),
    "one axis, too": (sorted_by(lambda key, p: p.ndim >= 1), "should not be in the first group"),
    "one axis exactly": (sorted_by(lambda key, p: p.ndim != 1), "whatever its name or layer, it has no axis"),
    "biases are decayed": (sorted_by(lambda key, p: p.ndim > 1 or key == "conv.bias"), "a bias has one axis"),
    "frozen ones": (sorted_by(lambda key, p: p.ndim > 1, trained=lambda p: True), "it is frozen"),
    "twice": (sorted_by(lambda key, p: p.ndim > 1, remove_duplicate=False), "under two names"),
    "types": (walks_through_types, "not to a layer inside"),
    "no scale": (layers_only, "'scale' is in neither group"),
    "used up": (of_a_used_up_generator, "an iterator that was read already"),
    "exchanged": (lambda m, d: decay_groups(m, d)[::-1], "the groups are in the wrong order"),
    "decays exchanged": (with_decays(lambda d: 0.0, lambda d: d), "the two are exchanged"),
    "decays alike": (with_decays(lambda d: d, lambda d: d), "biases and norms get none"),
    "always the same decay": (
        with_decays(lambda d: 0.5, lambda d: 0.0),
        "should be 0.125 and 0.0, but are 0.5 and 0.0",
    ),
    "no decay in the second": (without("weight_decay", 1), "AdamW's is 0.01 by default"),
    "no decay in the first": (without("weight_decay", 0), "the first group has no 'weight_decay'"),
    "no params": (without("params", 1), "the second group has no 'params'"),
    "in both": (in_both, "should not be in the first group"),
    "no empty group": (leaves_out_empty_groups, "a group may be empty"),
    "one group": (lambda m, d: decay_groups(m, d)[:1], "a list of two dictionaries is wanted"),
    "names": (
        lambda m, d: [{"params": [key for key, _ in m.named_parameters()], "weight_decay": d}] * 2,
        "no copies, no names",
    ),
    "of a copy": (lambda m, d: decay_groups(copy.deepcopy(m), d), "no copies, no names"),
    "by value": (by_value, "or compare id()"),
    "pairs": (pairs, "for name, p in model.named_parameters()"),
    "unfreezes": (sets_requires_grad, "leave requires_grad as it is"),
    "a wrong rate": (lambda m, d: [{**group, "lr": -1.0} for group in decay_groups(m, d)], "set more than their decay"),
    "a wrong state": (lambda m, d: [{**group, "betas": 1} for group in decay_groups(m, d)], "AdamW does not take"),
}


def features_of(backbone, images, batch_size):
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    with torch.no_grad():
        features = torch.cat([backbone(batch) for batch in images.split(batch_size)])
    for module, mode in modes.items():
        module.training = mode
    return features


@torch.no_grad()
def features_with_a_loader(backbone, images, batch_size):
    modes = [(module, module.training) for module in backbone.modules()]
    features = []
    try:
        backbone.train(False)
        for (batch,) in DataLoader(TensorDataset(images), batch_size):
            features.extend(backbone(batch))
    finally:
        for module, mode in modes:
            module.train(mode)
    return torch.stack(features)


def features_of_a_copy(backbone, images, batch_size):
    resting = copy.deepcopy(backbone).eval()
    return torch.cat([resting(batch).detach() for batch in images.split(batch_size)])


def features_by_data(backbone, images, batch_size):
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    features = torch.cat([backbone(images[i : i + batch_size]).data for i in range(0, len(images), batch_size)])
    for module, mode in modes.items():
        module.training = mode
    return features


def in_inference_mode_but_joined_outside(backbone, images, batch_size):
    resting = copy.deepcopy(backbone).eval()
    with torch.inference_mode():
        batches = [resting(batch) for batch in images.split(batch_size)]
    return torch.cat(batches)


def features_variant(
    prepare=lambda b: b.eval(), batches=lambda x, n: x.split(n), join=torch.cat, guard=torch.no_grad, restore=None
):
    """An answer like `features_of`, with a mistake in it."""

    def answer(backbone, images, batch_size):
        modes = {module: module.training for module in backbone.modules()}
        prepare(backbone)
        with guard():
            features = join([backbone(batch) for batch in batches(images, batch_size)])
        if restore:
            restore(backbone, modes)
        else:
            for module, mode in modes.items():
                module.training = mode
        return features

    return answer


def rests_only(*kinds):
    def prepare(backbone):
        for module in backbone.modules():
            if isinstance(module, kinds):
                module.eval()

    return prepare


def only_its_flag(backbone):
    backbone.training = False


def switches_off_for_good(backbone, images, batch_size):
    torch.set_grad_enabled(False)
    return features_of(backbone, images, batch_size)


def freezes_the_backbone(backbone, images, batch_size):
    backbone.requires_grad_(False)
    return features_variant(guard=torch.enable_grad)(backbone, images, batch_size)


def warms_up(backbone, images, batch_size):
    backbone(images[:batch_size])
    return features_of(backbone, images, batch_size)


def cools_down(backbone, images, batch_size):
    features = features_of(backbone, images, batch_size)
    backbone(images[:batch_size])
    return features


def normalizes_in_place(backbone, images, batch_size):
    images -= images.mean()
    return features_of(backbone, images, batch_size)


def shuffles(backbone, images, batch_size):
    return features_of(backbone, images.flip(0), batch_size)


def turned_round(backbone, modes):
    for module, mode in reversed(modes.items()):
        module.train(mode)


def fills_whole_batches(backbone, images, batch_size):
    features = torch.empty(len(images), 5)
    with torch.no_grad():
        for i in range(0, len(images), batch_size):
            features[i : i + batch_size] = backbone(images[:batch_size])
    return features


def of_lists(backbone, images, batch_size):
    return torch.cat([backbone(batch) for batch in DataLoader(TensorDataset(images), batch_size)])


WRONG_FEATURES = {
    "train mode": (features_variant(lambda b: None), "BatchNorm and Dropout ran in train mode"),
    "set to train mode": (features_variant(lambda b: b.train()), "BatchNorm and Dropout ran in train mode"),
    "only BatchNorm rests": (features_variant(rests_only(BATCH_NORM)), "cause: Dropout ran in train mode"),
    "only Dropout rests": (features_variant(rests_only(DROPOUT)), "cause: BatchNorm ran in train mode"),
    "only layers rest": (features_variant(rests_only(BATCH_NORM, DROPOUT)), "F.dropout asks the mode"),
    "only its flag": (features_variant(only_its_flag), "backbone.eval() before reaches all"),
    "with a graph": (features_variant(guard=torch.enable_grad), "the features take a gradient"),
    "inference_mode": (features_variant(guard=torch.inference_mode), "Inference tensors cannot be saved"),
    "for good": (switches_off_for_good, "gradients are switched off after your function"),
    "frozen": (freezes_the_backbone, "torch.no_grad() is enough"),
    "last batch": (
        features_variant(batches=lambda x, n: x[: len(x) // n * n].split(n)),
        "the last batch is smaller, and was left out",
    ),
    "dropped by a loader": (
        features_variant(batches=lambda x, n: DataLoader(x, n, drop_last=True)),
        "the last batch is smaller, and was left out",
    ),
    "first batch": (features_variant(join=lambda parts: parts[0]), "only the first batch came out"),
    "last batch alone": (features_variant(join=lambda parts: parts[-1]), "only the last batch came out"),
    "at once": (features_variant(batches=lambda x, n: [x]), "images.split(batch_size)"),
    "chunk": (features_variant(batches=lambda x, n: x.chunk(n)), "chunk takes the number of parts"),
    "one by one": (features_variant(batches=lambda x, n: x.split(1)), "take batch_size of them at once"),
    "stack": (features_variant(join=torch.stack), "torch.cat joins batches of any length"),
    "stack where it works": (
        features_variant(join=lambda parts: torch.stack(parts) if len(parts) == 1 else torch.cat(parts)),
        "torch.stack adds an axis",
    ),
    "a list": (features_variant(join=list), "one tensor is wanted, not a list"),
    "numpy": (features_variant(join=lambda parts: torch.cat(parts).numpy()), "should be a torch.Tensor"),
    "numpy with a graph": (
        features_variant(join=lambda parts: torch.cat(parts).numpy(), guard=torch.enable_grad),
        "run the backbone inside `with torch.no_grad():`",
    ),
    "another order": (lambda b, x, n: features_of(b, x.flip(0), n), "do not shuffle"),
    "in eval mode afterwards": (features_variant(restore=lambda b, modes: None), "eval() stays"),
    "in train mode afterwards": (features_variant(restore=lambda b, modes: b.train()), "train() is for all modules"),
    "in one mode afterwards": (
        features_variant(restore=lambda b, modes: b.train(modes[b])),
        "train() is for all modules at once",
    ),
    "modes in reverse": (features_variant(restore=turned_round), "afterwards, and was in eval mode"),
    "run before": (warms_up, "BatchNorm and Dropout ran in train mode"),
    "run afterwards": (cools_down, "BatchNorm has moved its statistics"),
    "images changed": (normalizes_in_place, "changes what it was given"),
    "lists of a loader": (of_lists, "for (batch,) in loader"),
    "a full last batch": (fills_whole_batches, "the last batch may be smaller"),
    "nothing": (features_variant(join=lambda parts: None), "returns None"),
}


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("7.1", freeze_modules),
        ("7.1", freeze_by_name()),
        ("7.1", freeze_by_lookup),
        ("7.1", returns(lambda found, names, model: dict.fromkeys(found).keys())),
        ("7.2", train_except),
        ("7.2", train_except_by_flags),
        ("7.3", decay_groups),
        ("7.3", decay_groups_by_module),
        ("7.3", decay_groups_of_generators),
        ("7.4", features_of),
        ("7.4", features_with_a_loader),
        ("7.4", features_of_a_copy),
        ("7.4", features_by_data),
        ("7.4", in_inference_mode_but_joined_outside),
    ],
)
def test_right_answers_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


@pytest.mark.parametrize(
    ("exercise", "answer", "cause"),
    mistakes({"7.1": WRONG_FREEZES, "7.2": WRONG_MODES, "7.3": WRONG_GROUPS, "7.4": WRONG_FEATURES}),
)
def test_mistakes_are_not_passed_and_their_cause_is_named(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)


def test_a_check_leaves_gradients_switched_on() -> None:
    outcome("7.4", switches_off_for_good)
    assert torch.is_grad_enabled()
