"""Lesson 05: the exercises on losses and learning rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .feedback import NotYet, because, call, compare


def verify_two_losses(answer: Any) -> None:
    """5.3 `two_losses(outputs, kinds, tags) -> tensor`."""
    torch.manual_seed(0)
    outputs = {"kind": 2 * torch.randn(4, 3), "tags": 2 * torch.randn(4, 5)}
    kinds, tags = torch.tensor([2, 0, 1, 1]), torch.randint(0, 2, (4, 5))
    got = call(answer, outputs, kinds, tags, crashes=LOSS_CRASHES)
    if not isinstance(got, Tensor) or got.shape != ():
        shape = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        raise NotYet(f"return a tensor with one number, not {shape}.{because('take means, and add the two losses.')}")
    kind, tag = (
        F.cross_entropy(outputs["kind"], kinds),
        F.binary_cross_entropy_with_logits(outputs["tags"], tags.float()),
    )
    wrong_tags = F.cross_entropy(outputs["tags"], tags.float())
    probabilities = outputs["tags"].sigmoid()
    causes = [
        ("cross_entropy makes one question of the tags; each tag is a question of its own.", kind + wrong_tags),
        ("the kinds are missing.", tag),
        ("the tags are missing.", kind),
        ("the losses are to be added, not averaged.", (kind + tag) / 2),
        (
            "cross_entropy takes logits; it does the softmax itself.",
            F.cross_entropy(outputs["kind"].softmax(1), kinds) + tag,
        ),
        (
            "..._with_logits does the sigmoid itself, so there were two.",
            kind + F.binary_cross_entropy_with_logits(probabilities, tags.float()),
        ),
        ("the tags are summed over a picture; the mean over all tags is asked for.", kind + tag * 5),
        ("a sum over all pictures and tags; the mean is asked for.", kind + tag * 20),
    ]
    compare(got.detach(), kind + tag, "the loss", causes)
    outputs = {key: tensor.requires_grad_() for key, tensor in outputs.items()}
    again = answer(outputs, kinds, tags)
    if again.requires_grad:
        again.backward()
    silent = [key for key, tensor in outputs.items() if tensor.grad is None or not tensor.grad.any()]
    if silent:
        why = because("detach(), item(), no_grad() or torch.tensor() cut the graph.")
        raise NotYet(f"{silent[0]!r} can learn nothing from this loss: it gets no gradient.{why}")
    if not answer({key: 200 * tensor.detach() for key, tensor in outputs.items()}, kinds, tags).isfinite():
        why = because("log of a sigmoid that is 0 or 1; the ..._with_logits version is safe.")
        raise NotYet(f"for large logits the loss is not finite.{why}")


LOSS_CRASHES = [
    (
        "Expected floating point type for target with class probabilities",
        "cross_entropy makes one question of the tags; each tag is a question of its own.",
    ),
    ("RuntimeError: result type Float can't be cast", "the tags must be floats: tags.float()."),
    ("Long but found Float", "the tags must be floats: tags.float()."),
    ("Float but found Long", "the tags must be floats: tags.float()."),
    ("expected floating point type for target", "tags are integers; the loss wants floats: tags.float()."),
    ("must be the same size", "the kinds are numbers of classes; binary cross-entropy is for the tags."),
    ("all elements of input should be between 0 and 1", "these are logits: take ..._with_logits."),
]


class Tricky(nn.Module):
    """Names that begin like the head's and do not belong to it, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_old, self.body = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.fc = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6))
        self.inner = nn.ModuleDict({"fc": nn.Linear(6, 7)})
        self.again = self.fc_old  # one layer under two names
        self.body[0].requires_grad_(False)


def verify_parameter_groups(answer: Any) -> None:
    """5.4 `parameter_groups(model, head, lr) -> two groups`."""
    for head, lr, frozen in (("fc", 0.5, False), ("fc.2", 0.03125, False), ("fc", 0.25, True)):
        model = Tricky()
        if frozen:
            model.fc[0].requires_grad_(False)
        case = f"for the head {head!r}" + (", half of it frozen" if frozen else "")
        call(answer, model, head, lr, case=case, crashes=GROUP_CRASHES)
        was = [parameter.requires_grad for parameter in model.parameters()]
        got = answer(model, head, lr)
        if was != [parameter.requires_grad for parameter in model.parameters()]:
            raise NotYet(f"{case}, other parameters are frozen now than before; leave requires_grad as it is.")
        expect_groups(got, model, head, lr, case)


def expect_groups(got: Any, model: nn.Module, head: str, lr: float, case: str) -> None:
    """Two groups that share the trainable parameters out, with their rates."""
    if not isinstance(got, (list, tuple)) or len(got) != 2 or not all(isinstance(group, dict) for group in got):
        raise NotYet(f"{case}, return a list of two dictionaries.")
    if any(not {"params", "lr"} <= group.keys() for group in got):
        raise NotYet(f"{case}, each group needs 'params' and 'lr', but they have {[list(group) for group in got]}.")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[names.get(id(p)) for p in _listed(group["params"])] for group in got]
    if any(name is None for group in groups for name in group):
        raise NotYet(f"{case}, there is something that is no parameter of the model.{because('no copies, no names.')}")
    expected: list[list[str]] = [[], []]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected[name.startswith(f"{head}.")].append(name)
    if [set(group) for group in groups] == [set(group) for group in reversed(expected)]:
        raise NotYet(f"{case}, the groups are in the wrong order: first all the rest, then the head.")
    for place, what in ((1, "head"), (0, "body")):
        for name in groups[place]:
            if name not in expected[place]:
                raise NotYet(f"{case}, {name!r} should not be in the group of the {what}.{because(_why(name, model))}")
        for name in expected[place]:
            if name not in groups[place]:
                elsewhere = "it is in the other group." if name in groups[1 - place] else "it is in none."
                raise NotYet(f"{case}, {name!r} is not in the group of the {what}; {elsewhere}")
        if len(groups[place]) != len(set(groups[place])):
            why = because("a layer that has two names was counted twice; named_parameters() does not do so by itself.")
            raise NotYet(f"{case}, a parameter is twice in the group of the {what}.{why}")
    rates = [group["lr"] for group in got]
    if rates != [lr, 10 * lr]:
        why = because("the head gets ten times the rate." if rates[1] < 10 * lr else None)
        raise NotYet(
            f"{case}, with lr={lr} the rates should be {lr} and {10 * lr}, but are {rates[0]} and {rates[1]}.{why}"
        )


def _listed(params: Any) -> Iterator[Any]:
    return iter([params] if isinstance(params, Tensor) else params)


def _why(name: str, model: nn.Module) -> str:
    if not model.get_parameter(name).requires_grad:
        return "it is frozen; look at requires_grad."
    if name.startswith("fc_old"):
        return "its name only begins like the head's; the head's go on with a dot: startswith(head + '.')."
    if name.startswith("inner"):
        return "the head's name occurs inside this one; it must stand at its beginning."
    return "it belongs to the other group."


GROUP_CRASHES = [
    ("has no attribute 'fc.2'", "getattr knows no dots; model.get_submodule(head) does."),
    ("Boolean value of Tensor", "`in` compares tensors by value; compare names, or id()."),
    ("The size of tensor", "`in` compares tensors by value; compare names, or id()."),
]
