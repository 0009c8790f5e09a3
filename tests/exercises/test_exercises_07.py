"""Lesson 07: right answers in unusual styles, wrong ones in foreign spellings, and half-written ones."""

import copy

import pytest
import torch
from answers import expect_not_attempted, expect_not_yet, expect_passed, named, outcome
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from workbook.exercises.lesson_07.exercise_7_1 import right as freeze_modules
from workbook.exercises.lesson_07.exercise_7_2 import right as train_except
from workbook.exercises.lesson_07.exercise_7_3 import right as decay_groups
from workbook.exercises.lesson_07.exercise_7_3 import sorting
from workbook.exercises.lesson_07.exercise_7_4 import right as features_of
from workbook.exercises.lesson_07.exercise_7_4 import switches_gradients_off, variant
from workbook.exercises.lesson_07.state import inside


def freezes_by_name(model, names):
    if not set(names) <= set(dict(model.named_modules())):
        raise ValueError("no such module")
    found = {key: p for key, p in model.named_parameters() if any(key.startswith(f"{name}.") for name in names)}
    for p in found.values():
        p.requires_grad_(False).grad = None
    return list(found)


def freezes_by_lookup(model, names):
    try:
        modules = [model.get_submodule(name) for name in names]
    except AttributeError as error:
        raise ValueError(str(error)) from error
    for module in modules:
        module.requires_grad_(False).zero_grad()
    places = {id(p) for module in modules for p in module.parameters()}
    return tuple(key for key, p in model.named_parameters() if id(p) in places)


def keys_of_a_dict(model, names):
    return dict.fromkeys(freeze_modules(model, names)).keys()


def sets_each_flag(model, names):
    for key, module in model.named_modules():
        module.training = not any(key == name or key.startswith(f"{name}.") for name in names)
    return model


def groups_by_module(model, weight_decay):
    seen, groups = set(), ({"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0})
    for module in model.modules():
        for p in module.parameters(recurse=False):
            if p.requires_grad and id(p) not in seen:
                seen.add(id(p))
                groups[len(p.shape) <= 1]["params"].append(p)
    return groups


def groups_of_generators(model, weight_decay):
    parameters = list(model.parameters())
    return [
        {"params": (p for p in parameters if p.requires_grad and p.ndim > 1), "weight_decay": weight_decay},
        {"params": filter(lambda p: p.requires_grad and p.ndim < 2, parameters), "weight_decay": 0.0, "name": "rest"},
    ]


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


RIGHT = [
    ("7.1", freezes_by_lookup),
    ("7.1", keys_of_a_dict),
    ("7.2", sets_each_flag),
    ("7.3", groups_by_module),
    ("7.3", groups_of_generators),
    ("7.4", variant()),
    ("7.4", features_with_a_loader),
    ("7.4", features_of_a_copy),
    ("7.4", features_by_data),
    ("7.4", in_inference_mode_but_joined_outside),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def keeps_gradients_of_what_was_frozen(model, names):
    gradients = {key: p.grad for key, p in model.named_parameters() if not p.requires_grad}
    found = freeze_modules(model, names)
    for key, grad in gradients.items():
        model.get_parameter(key).grad = grad
    return found


def ignores_unknown(model, names):
    return freeze_modules(model, [name for name in names if name in dict(model.named_modules())])


def looks_up_in_a_dict(model, names):
    modules = dict(model.named_modules())
    return freeze_modules(model, [name for name in names if modules[name]])


def freezes_a_copy_and_sets_the_module(model, names):
    for name in names:
        model.get_submodule(name).requires_grad = False
    return freeze_modules(copy.deepcopy(model), names)


def changes_the_names(model, names):
    found = freeze_modules(model, names)
    names.append("fc")
    return found


def returns_the_model(model, names):
    freeze_modules(model, names)
    return model


def returns_nothing(model, names):
    freeze_modules(model, names)


def trains_each_but_the_named(model, names):
    for key, module in model.named_modules():
        module.train(key not in names)
    return model


def keeps_the_named_in_train_mode(model, names):
    model.train()
    for key, module in model.named_modules():
        if inside(key, names) and key not in names:
            module.training = False
    return model


def evals_the_children_and_trains_the_named(model, names):
    model.train()
    for name in names:
        for module in model.get_submodule(name).children():
            module.eval()
    for name in names:
        model.get_submodule(name).training = True
    return model


def unfreezes_too(model, names):
    return train_except(model.requires_grad_(True), names)


def trains_and_returns_nothing(model, names):
    train_except(model, names)


def knows_only_some_norms(model, weight_decay):
    groups = [{"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
    own = {id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    for key, p in model.named_parameters():
        if p.requires_grad:
            groups[id(p) in own or key.endswith("bias") or "." not in key]["params"].append(p)
    return groups


def forgets_a_scale(model, weight_decay):
    groups = decay_groups(model, weight_decay)
    if hasattr(model, "scale"):
        groups[1]["params"] = [p for p in groups[1]["params"] if p is not model.scale]
    return groups


def in_both_groups(model, weight_decay):
    groups = decay_groups(model, weight_decay)
    groups[0]["params"] += groups[1]["params"]
    return groups


def without_a_first_decay(model, weight_decay):
    first, second = decay_groups(model, weight_decay)
    return [{"params": first["params"]}, second]


def without_second_params(model, weight_decay):
    return [decay_groups(model, weight_decay)[0], {"weight_decay": 0.0}]


def names_in_both_groups(model, weight_decay):
    return [{"params": [key for key, _ in model.named_parameters()], "weight_decay": weight_decay}] * 2


def only_its_flag(backbone):
    backbone.training = False


def set_back_in_reverse(backbone, modes):
    for module, mode in reversed(modes.items()):
        module.train(mode)


def runs_before(backbone, images, batch_size):
    backbone(images[:batch_size])
    return features_of(backbone, images, batch_size)


def normalizes_in_place(backbone, images, batch_size):
    images -= images.mean()
    return features_of(backbone, images, batch_size)


WRONG = [
    ("7.1", freezes_by_name, "a shared parameter has several names"),
    ("7.1", keeps_gradients_of_what_was_frozen, "'stem.weight' still has a gradient"),
    ("7.1", ignores_unknown, "dict(model.named_modules())"),
    ("7.1", looks_up_in_a_dict, "a ValueError is wanted, not KeyError"),
    ("7.1", freezes_a_copy_and_sets_the_module, "on a module, requires_grad is an attribute that nobody reads"),
    ("7.1", lambda model, names: sorted(freeze_modules(model, names)), "the order is the model's"),
    ("7.1", changes_the_names, "changes what it was given"),
    ("7.1", returns_the_model, "a list of names is wanted, not Nested"),
    ("7.1", returns_nothing, "returns None"),
    ("7.2", trains_each_but_the_named, "or a train() that comes later"),
    ("7.2", keeps_the_named_in_train_mode, "has a mode of its own"),
    ("7.2", evals_the_children_and_trains_the_named, "should be in eval mode"),
    ("7.2", unfreezes_too, "'stem.weight' takes a gradient now"),
    ("7.2", trains_and_returns_nothing, "returns None"),
    ("7.3", sorting(lambda key, p: "." in key and not key.endswith("bias") and "bn" not in key), "need not have 'bn'"),
    ("7.3", knows_only_some_norms, "'blocks.1.weight' should not be in the first group"),
    ("7.3", sorting(lambda key, p: p.ndim == 2), "it has 4 axes; two or more get the decay"),
    ("7.3", sorting(lambda key, p: p.ndim > 1 or key == "conv.bias"), "a bias has one axis"),
    ("7.3", forgets_a_scale, "'scale' is in neither group"),
    ("7.3", in_both_groups, "should not be in the first group"),
    ("7.3", without_a_first_decay, "the first group has no 'weight_decay'"),
    ("7.3", without_second_params, "the second group has no 'params'"),
    ("7.3", names_in_both_groups, "no copies, no names"),
    ("7.4", variant(prepare=lambda backbone: backbone.train()), "BatchNorm and Dropout ran in train mode"),
    ("7.4", variant(prepare=only_its_flag), "backbone.eval() before reaches all"),
    ("7.4", runs_before, "BatchNorm and Dropout ran in train mode"),
    ("7.4", variant(batches=lambda images, n: DataLoader(images, n, drop_last=True)), "smaller, and was left out"),
    (
        "7.4",
        variant(join=lambda parts: torch.stack(parts) if len(parts) == 1 else torch.cat(parts)),
        "torch.stack adds an axis",
    ),
    (
        "7.4",
        variant(restore=lambda backbone, modes: backbone.train(modes[backbone])),
        "train() is for all modules at once",
    ),
    ("7.4", variant(restore=set_back_in_reverse), "afterwards, and was in eval mode"),
    ("7.4", lambda backbone, images, n: features_of(backbone, images, n).double(), "keeps the type of what"),
    ("7.1", lambda model, names: [freeze_modules(model, [names.pop()]) for _ in list(names)], "whoever calls"),
    ("7.4", normalizes_in_place, "changes what it was given"),
    ("7.4", variant(join=lambda parts: None), "returns None"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)


HALF_WRITTEN = [
    ("7.3", lambda model, weight_decay: [{"params": ..., "weight_decay": weight_decay}, {}]),
    ("7.4", lambda backbone, images, batch_size: torch.cat(...)),
]


@pytest.mark.parametrize(("exercise", "answer"), named(HALF_WRITTEN))
def test_an_answer_with_dots_left_in_it_is_not_attempted(exercise, answer) -> None:
    expect_not_attempted(exercise, answer)


def repeats_the_first_batch(backbone, images, batch_size):
    count = len(images.split(batch_size))
    return features_of(backbone, images[:batch_size].repeat(count, 1, 1, 1)[: len(images)], batch_size)


def test_rows_that_come_twice_are_not_said_to_be_shuffled() -> None:
    kind, text = outcome("7.4", repeats_the_first_batch)
    assert kind == "not yet"
    assert "shuffle" not in text


def test_a_check_leaves_gradients_switched_on() -> None:
    outcome("7.4", switches_gradients_off)
    assert torch.is_grad_enabled()
