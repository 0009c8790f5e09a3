"""The checks of lesson 02 on stubs, right answers and named mistakes."""

import copy

import pytest
import torch
from lesson import outcome
from torch import nn


@pytest.mark.parametrize("exercise", ["2.1", "2.2", "2.3"])
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def filled(target: nn.Module, source: nn.Module) -> nn.Module:
    target.load_state_dict(source.state_dict())
    return target


def copied_one_by_one(target: nn.Module, source: nn.Module) -> nn.Module:
    with torch.no_grad():
        for mine, theirs in zip(target.state_dict().values(), source.state_dict().values(), strict=True):
            mine.copy_(theirs)
    return target


def named_tensors(model: nn.Module, **options: bool) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters(**options)) | dict(model.named_buffers())


RIGHT = [
    ("2.1", lambda model: copy.deepcopy(model.state_dict())),
    ("2.1", lambda model: {key: tensor.clone() for key, tensor in model.state_dict().items()}),
    ("2.1", lambda model: {k: t.detach().clone() for k, t in named_tensors(model, remove_duplicate=False).items()}),
    ("2.2", lambda c: {key.removeprefix("module."): t for key, t in c.get("state_dict", c).items()}),
    ("2.2", lambda c: {k[7:] if k.startswith("module.") else k: t for k, t in c.get("state_dict", c).items()}),
    ("2.3", filled),
    ("2.3", copied_one_by_one),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_right_answers_pass(exercise, answer) -> None:
    assert outcome(exercise, answer)[0] == "passed"


def shares_data(target: nn.Module, source: nn.Module) -> nn.Module:
    filled(target, source)
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        mine.data = theirs.data
    return target


def assigns(target: nn.Module, source: nn.Module) -> nn.Module:
    target.load_state_dict(source.state_dict(), assign=True)
    return target


def makes_parameters(target: nn.Module, source: nn.Module) -> nn.Module:
    filled(target, source)
    target[2].weight = nn.Parameter(source[2].weight.detach().clone())
    return target


def only_parameters(target: nn.Module, source: nn.Module) -> nn.Module:
    with torch.no_grad():
        for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
            mine.copy_(theirs)
    return target


def puts_into_the_dictionary(target: nn.Module, source: nn.Module) -> nn.Module:
    for key, tensor in source.state_dict().items():
        target.state_dict()[key] = tensor
    return target


def assigns_data_of_the_dictionary(target: nn.Module, source: nn.Module) -> nn.Module:
    for key, tensor in target.state_dict().items():
        tensor.data = source.state_dict()[key]
    return target


def backwards(target: nn.Module, source: nn.Module) -> nn.Module:
    source.load_state_dict(target.state_dict())
    return target


WRONG = [
    ("2.1", lambda model: model.state_dict(), "hands out the model's own memory"),
    ("2.1", lambda model: dict(model.state_dict()), "hands out the model's own memory"),
    ("2.1", lambda model: copy.copy(model.state_dict()), "hands out the model's own memory"),
    ("2.1", lambda model: {k: p.detach().clone() for k, p in model.named_parameters()}, "buffers are missing"),
    ("2.1", lambda model: list(model.state_dict().values()), "should be a dictionary, but is a list"),
    ("2.1", lambda model: {k: t * 0 for k, t in model.state_dict().items()}, "other numbers in '0.weight'"),
    ("2.2", lambda c: c, "one level deeper"),
    ("2.2", lambda c: c["state_dict"], "the prefix is still there"),
    ("2.2", lambda c: c.get("state_dict", c), "the prefix is still there"),
    (
        "2.2",
        lambda c: {k.replace("module.", ""): t for k, t in c.get("state_dict", c).items()},
        "removeprefix() does not",
    ),
    ("2.2", lambda c: {k[7:]: t for k, t in c.get("state_dict", c).items()}, "key[7:] cuts off seven letters"),
    (
        "2.2",
        lambda c: {k.removeprefix("module."): t for k, t in c["state_dict"].items()},
        "not every checkpoint is nested",
    ),
    ("2.3", shares_data, "`.data =` and assign=True"),
    ("2.3", assigns, "`.data =` and assign=True"),
    ("2.3", makes_parameters, "new parameters, which an optimizer"),
    ("2.3", only_parameters, "buffers are missing"),
    ("2.3", backwards, "source and target are exchanged"),
    ("2.3", lambda target, source: filled(copy.deepcopy(target), source), "not the target that was given"),
    ("2.3", lambda target, source: target.load_state_dict(source.state_dict()), "returns a report, not the model"),
    (
        "2.3",
        lambda target, source: [p.copy_(q) for p, q in zip(target.parameters(), source.parameters(), strict=True)],
        "no_grad",
    ),
    ("2.2", lambda c: {k.lstrip("module."): t for k, t in c.get("state_dict", c).items()}, "take away letters"),
    ("2.2", lambda c: {k.split("module.")[-1]: t for k, t in c.get("state_dict", c).items()}, "took the last part"),
    ("2.2", lambda c: {k.removeprefix("module"): t for k, t in c.get("state_dict", c).items()}, "the dot belongs"),
    ("2.2", lambda c: {k[7:]: t for k, t in c["state_dict"].items()} if "epoch" in c else None, "seven letters"),
    ("2.1", lambda model: {k: t.clone().numpy() for k, t in model.state_dict().items()}, "a ndarray under '0.weight'"),
    ("2.1", lambda model: copy.deepcopy(model), "take its state_dict()"),
    ("2.3", lambda target, source: copy.deepcopy(source), "not the target that was given"),
    ("2.3", lambda target, source: source.state_dict(), "return the target, not a"),
    ("2.3", lambda target, source: target, "other numbers in '0.weight'"),
    ("2.3", lambda target, source: target, "nothing has reached the target"),
    ("2.3", puts_into_the_dictionary, "makes a new dictionary: what is put into it"),
    ("2.3", assigns_data_of_the_dictionary, "or assigned to the `.data` of its tensors, stays there"),
    ("2.3", lambda target, source: source, "this is the source, not the target"),
    ("2.1", lambda model: {k: t.detach().clone() for k, t in named_tensors(model).items()}, "lacks '3.weight'"),
    ("2.1", lambda model: {k: t.clone() for k, t in named_tensors(model).items()}, "has it once"),
    (
        "2.1",
        lambda model: {k: t.clone() for k, t in named_tensors(model, remove_duplicate=False).items()},
        "'0.weight' in the snapshot requires a gradient",
    ),
    ("2.1", lambda model: copy.deepcopy(model.state_dict(keep_vars=True)), "hands out detached tensors"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), WRONG)
def test_wrong_answers_are_told_why(exercise, answer, cause) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not yet"
    assert cause in text
