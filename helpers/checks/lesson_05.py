"""Lesson 05: the exercises on heads."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .feedback import Exercise, NotYet, because, call, compare
from .lesson_05_training import verify_parameter_groups, verify_two_losses

OLD, NEW = ["cat", "dog", "frog", "ship"], ["frog", "glove", "cat", "hat", "boot"]


def verify_new_head(answer: Any) -> None:
    """5.1 `new_head(head, old, new) -> nn.Linear`."""
    for case, bias in {"for a head with bias": True, "for a head without bias": False}.items():
        torch.manual_seed(0)
        head = nn.Linear(6, 4, bias=bias)
        got = call(answer, head, OLD, NEW, case=case, crashes=HEAD_CRASHES)
        if not isinstance(got, nn.Linear):
            raise NotYet(f"{case}, return an nn.Linear, not a {type(got).__name__}.")
        if (got.in_features, got.out_features, tuple(got.weight.shape)) != (6, 5, (5, 6)):
            raise NotYet(f"{case}, the head should map 6 features to 5 classes, but is {got}.")
        if (got.bias is None) == bias:
            raise NotYet(f"{case}, there should be {'a' if bias else 'no'} bias.")
        for what in ("weight", "bias")[: 1 + bias]:
            tensor = getattr(got, what)
            if not isinstance(tensor, nn.Parameter) or not tensor.requires_grad:
                raise NotYet(f"{case}, the {what} will not be trained: it is no parameter, or takes no gradient.")
            if tensor.dtype != head.weight.dtype:
                raise NotYet(f"{case}, the {what} should be {head.weight.dtype}, as the old one is.")
            _expect_rows(getattr(head, what).detach(), getattr(got, what).detach(), NEW, f"{case}, the {what}")
    torch.manual_seed(0)
    head = nn.Linear(6, 4)
    again = answer(head, OLD, OLD)
    _expect_rows(head.weight.detach(), again.weight.detach(), OLD, "if all classes are old, the weight")
    kept = copy.deepcopy(head.state_dict())
    with torch.no_grad():
        for parameter in again.parameters():
            parameter += 1
    if not all(parameter.requires_grad for parameter in head.parameters()):
        raise NotYet("the old head is frozen now; it should stay as it is.")
    if any(not torch.equal(tensor, kept[key]) for key, tensor in head.state_dict().items()):
        raise NotYet(f"when the new head is trained, the old one moves along.{because('they share memory; copy.')}")


def _expect_rows(old: Tensor, new: Tensor, names: list[str], what: str) -> None:
    """The rows of classes that both have are the old ones, the others as a Linear for six features begins."""
    for row, name in enumerate(names):
        if name in OLD and not torch.equal(new[row], old[OLD.index(name)]):
            places = [i for i in range(len(OLD)) if torch.equal(new[row], old[i])]
            why = "row i of the old head went to row i of the new one; look up each name in both lists."
            untouched = "this row still has the numbers that a new Linear begins with."
            mistake = f"it has that of {OLD[places[0]]!r}. " + why if places else untouched
            raise NotYet(f"{what} of {name!r} is not that of the old {name!r}.{because(mistake)}")
        if name not in OLD and any(torch.equal(new[row], other) for other in old):
            raise NotYet(f"{what} of {name!r} should be new, but is that of an old class.")
        if name not in OLD and not (new[row].any() and new[row].abs().max() <= 6**-0.5):
            why = because("leave new rows as nn.Linear made them.")
            raise NotYet(f"{what} of {name!r} is not what a Linear begins with.{why}")


HEAD_CRASHES = [
    ("Boolean value of Tensor", "nn.Linear wants to know whether there is a bias: head.bias is not None."),
    ("'NoneType'", "not every head has a bias."),
    ("ValueError: 'glove' is not in list", "not every new class is an old one; ask `if name in old` first."),
    ("KeyError: 'glove'", "not every new class is an old one; ask `if name in old` first."),
    ("IndexError", "the new head has more classes than the old one."),
    ("leaf Variable", "PyTorch guards what is trained; write inside `with torch.no_grad():`."),
    ("must match the existing size", "rows are kept one by one, by name; all at once they do not fit."),
]
TASKS = {"kind": 2, "colour": 5, "size": 2}


def verify_make_heads(answer: Any) -> None:
    """5.2 `make_heads(block, features, tasks) -> nn.ModuleDict`."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 4, (2, 3)), nn.BatchNorm2d(4), nn.ReLU())
    x = torch.rand(6, 3, 5, 8)
    heads = call(answer, block, 4, TASKS, crashes=BLOCK_CRASHES)
    if not isinstance(heads, nn.Module) or not hasattr(heads, "keys"):
        raise NotYet(f"return an nn.ModuleDict, not a {type(heads).__name__}.{_dict_cause(heads)}")
    if list(heads.keys()) != list(TASKS):
        raise NotYet(f"there should be heads for {list(TASKS)}, but there are {list(heads.keys())}.")
    for task, classes in TASKS.items():
        expect_head(heads[task], block, x, task, classes)
    expect_independence(answer(block, 4, TASKS), block, x)


def _dict_cause(heads: Any) -> str:
    return because("a plain dict hides its modules from parameters() and to().") if isinstance(heads, dict) else ""


def expect_head(head: nn.Module, block: nn.Module, x: Tensor, task: str, classes: int) -> None:
    """It computes the block, the mean over all places, and a Linear."""
    head = head.eval()
    try:
        with torch.no_grad():
            got = head(x)
    except Exception as error:
        flat = (
            "flatten between the pooling and the Linear, and put the block in front." if "mat1" in str(error) else None
        )
        raise NotYet(f"the head for {task!r} stops with {type(error).__name__}: {error}{because(flat)}") from None
    if not isinstance(got, Tensor) or got.shape != (len(x), classes):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise NotYet(f"the head for {task!r} should give shape {(len(x), classes)}, but gives {shape}.")
    linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if len(linears) != 1:
        raise NotYet(f"the head for {task!r} should have one Linear, but has {len(linears)}.")
    with torch.no_grad():
        features = copy.deepcopy(block).eval()(x)
        expected = linears[0](features.mean((2, 3)))
        most = linears[0](features.amax((2, 3)))
    causes = [("this is the maximum over all places; the post pools with the mean.", most)]
    compare(got, expected, f"what the head for {task!r} puts out", causes)


def expect_independence(heads: nn.ModuleDict, block: nn.Module, x: Tensor) -> None:
    """Nothing of the other heads moves when one is trained for a step."""
    first = heads["kind"].train()
    if not all(parameter.requires_grad for parameter in heads.parameters()):
        raise NotYet("a part of the heads is frozen; they are to be trained.")
    before = copy.deepcopy(heads.state_dict())
    optimizer = torch.optim.SGD(first.parameters(), lr=1.0)
    first(x).square().sum().backward()
    optimizer.step()
    others = {key: tensor for key, tensor in heads.state_dict().items() if not key.startswith("kind.")}
    moved = [key for key, tensor in others.items() if not torch.equal(tensor, before[key])]
    if moved:
        shallow = (
            "heads hold the same objects; copy.deepcopy(block) for each, and a Linear for each. copy.copy copies no "
        )
        raise NotYet(f"training 'kind' has moved {moved[0]!r}.{because(shallow + 'parameters.')}")
    for task, head in heads.items():
        mine, theirs = ({t.data_ptr() for t in module.state_dict().values()} for module in (head, block))
        if mine & theirs:
            raise NotYet(f"the head for {task!r} holds `block` itself.{because('every head needs a copy of its own.')}")


BLOCK_CRASHES = [
    ("'Sequential' object is not an iterator", "`*block` takes its layers; make a Sequential of a copy of all."),
    (
        "is not a Module subclass",
        "what goes into a ModuleDict or Sequential must be a module: nn.Flatten(), not flatten.",
    ),
    ("'int' object is not iterable", "`tasks` is a dictionary from names to numbers of classes; loop over .items()."),
]


EXERCISES = {
    "5.1": Exercise(
        verify_new_head,
        (
            "Make the new Linear first: head.in_features inputs, len(new) outputs, and a bias if the old one has it.",
            "Then walk through `new` with its places; old.index(name) is the place in the old head.",
            "for row, name in enumerate(new): if name in old: made.weight[row] = head.weight[old.index(name)], all "
            "under torch.no_grad(); the bias likewise, if there is one.",
        ),
        "the old classes are where their names are, and the new ones start fresh.",
    ),
    "5.2": Exercise(
        verify_make_heads,
        (
            "nn.Sequential(..., nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)) for each task.",
            "What stands in front must be another object each time, with other parameters.",
            "nn.ModuleDict({task: nn.Sequential(copy.deepcopy(block), ...) for task, classes in tasks.items()})",
        ),
        "what the post wanted to build.",
    ),
    "5.3": Exercise(
        verify_two_losses,
        (
            "F.cross_entropy(logits, numbers of classes) is for one answer out of several.",
            "F.binary_cross_entropy_with_logits(logits, floats) is for yes or no, several times.",
            "F.cross_entropy(outputs['kind'], kinds) + "
            "F.binary_cross_entropy_with_logits(outputs['tags'], tags.float())",
        ),
        "one softmax per question, one sigmoid per label.",
    ),
    "5.4": Exercise(
        verify_parameter_groups,
        (
            "Walk through model.named_parameters(): the name tells where a parameter is, requires_grad whether it is "
            "trained.",
            "The names inside the head begin with its own and a dot: 'fc.weight' does, 'fc_old.weight' does not.",
            "body = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith(head + '.')]",
        ),
        "every parameter once, the head's ten times as fast.",
    ),
}
