"""Exercise 5.3: one loss for two kinds of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checking import Exercise, Mistake, NotYet, because, call, compare, wrong_values

Outputs = Mapping[str, Tensor]


def right(outputs: Outputs, kinds: Tensor, tags: Tensor) -> Tensor:
    kind = F.cross_entropy(outputs["kind"], kinds)
    return kind + F.binary_cross_entropy_with_logits(outputs["tags"], tags.float())


def with_kind_loss(loss: Any) -> Any:
    """The right answer, but for what it makes of the kinds: a function of logits and classes."""

    def answer(outputs: Outputs, kinds: Tensor, tags: Tensor) -> Tensor:
        return loss(outputs["kind"], kinds) + F.binary_cross_entropy_with_logits(outputs["tags"], tags.float())

    return answer


def with_tag_loss(loss: Any) -> Any:
    """The right answer, but for what it makes of the tags: a function of logits and integers."""

    def answer(outputs: Outputs, kinds: Tensor, tags: Tensor) -> Tensor:
        return F.cross_entropy(outputs["kind"], kinds) + loss(outputs["tags"], tags)

    return answer


def per_picture(logits: Tensor, tags: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, tags.float(), reduction="none").sum(1).mean()


def log_of_sigmoid(logits: Tensor, tags: Tensor) -> Tensor:
    p = logits.sigmoid()
    return -(tags * p.log() + (1 - tags) * (1 - p).log()).mean()


ONE_QUESTION = "cross_entropy makes one question of the tags; each tag is a question of its own."
ONE_PLACE = "this is one number in a list; a loss has no dimension: take loss[0], or sum()."
AXIS = "the softmax runs over the classes, axis 1, not over the pictures."
EXCHANGED = "first what the network puts out, then what is right."
GUESSES = "argmax makes guesses of the logits, which have no gradient; the losses take the logits."
ONE_NUMBER = "take means, and add the two losses."
FLOATS = "the tags must be floats: tags.float()."
LOGITS = "these are logits: take ..._with_logits."
GRAPH = "detach(), item(), no_grad() or torch.tensor() cut the graph."
UNSAFE_LOG = "log of a sigmoid that is 0 or 1; the ..._with_logits version is safe."

MISTAKES = (
    Mistake(ONE_QUESTION, with_tag_loss(lambda logits, tags: F.cross_entropy(logits, tags.float()))),
    Mistake(ONE_QUESTION, with_tag_loss(F.cross_entropy)),
    Mistake(
        "the kinds are missing.",
        lambda outputs, kinds, tags: F.binary_cross_entropy_with_logits(outputs["tags"], tags.float()),
    ),
    Mistake("the tags are missing.", lambda outputs, kinds, tags: F.cross_entropy(outputs["kind"], kinds)),
    Mistake("the losses are to be added, not averaged.", lambda outputs, kinds, tags: right(outputs, kinds, tags) / 2),
    Mistake(
        "cross_entropy takes logits; it does the softmax itself.",
        with_kind_loss(lambda logits, kinds: F.cross_entropy(logits.softmax(1), kinds)),
    ),
    Mistake(
        "..._with_logits does the sigmoid itself, so there were two.",
        with_tag_loss(lambda logits, tags: F.binary_cross_entropy_with_logits(logits.sigmoid(), tags.float())),
    ),
    Mistake(
        "the tags are summed over a picture; the mean over all tags is asked for.",
        with_tag_loss(per_picture),
    ),
    Mistake(
        "a sum over all pictures and tags; the mean is asked for.",
        with_tag_loss(lambda logits, tags: F.binary_cross_entropy_with_logits(logits, tags.float(), reduction="sum")),
    ),
    Mistake(ONE_NUMBER, lambda outputs, kinds, tags: [right(outputs, kinds, tags)]),
    Mistake(GRAPH, lambda outputs, kinds, tags: right(outputs, kinds, tags).item()),
    Mistake(ONE_PLACE, lambda outputs, kinds, tags: right(outputs, kinds, tags).reshape(1)),
    Mistake(AXIS, with_kind_loss(lambda logits, kinds: F.nll_loss(logits.log_softmax(0), kinds))),
    Mistake(EXCHANGED, with_kind_loss(lambda logits, kinds: F.cross_entropy(kinds, logits))),
    Mistake(EXCHANGED, with_tag_loss(lambda logits, tags: F.binary_cross_entropy_with_logits(tags.float(), logits))),
    Mistake(GUESSES, with_kind_loss(lambda logits, kinds: F.mse_loss(logits.argmax(1).float(), kinds.float()))),
    Mistake(FLOATS, with_tag_loss(F.binary_cross_entropy_with_logits)),
    Mistake(LOGITS, with_tag_loss(lambda logits, tags: F.binary_cross_entropy(logits, tags.float()))),
    Mistake(GRAPH, lambda outputs, kinds, tags: right(outputs, kinds, tags).detach()),
    Mistake(
        "'tags' can learn nothing from this loss",
        with_tag_loss(lambda logits, tags: F.binary_cross_entropy_with_logits(logits.detach(), tags.float())),
    ),
    Mistake(UNSAFE_LOG, with_tag_loss(log_of_sigmoid)),
)

CRASHES = [
    ("not implemented for 'Long'", EXCHANGED),
    ("Expected floating point type for target with class probabilities", ONE_QUESTION),
    ("RuntimeError: result type Float can't be cast", FLOATS),
    ("Long but found Float", FLOATS),
    ("Float but found Long", FLOATS),
    ("expected floating point type for target", "tags are integers; the loss wants floats: tags.float()."),
    ("must be the same size", "the kinds are numbers of classes; binary cross-entropy is for the tags."),
    ("all elements of input should be between 0 and 1", LOGITS),
]


def verify(answer: Any) -> None:
    """`two_losses(outputs, kinds, tags) -> tensor`."""
    torch.manual_seed(0)
    outputs = {"kind": 2 * torch.randn(4, 3), "tags": 2 * torch.randn(4, 5)}
    kinds, tags = torch.tensor([2, 0, 1, 1]), torch.randint(0, 2, (4, 5))
    got = call(answer, outputs, kinds, tags, crashes=CRASHES)
    if not isinstance(got, Tensor) or got.shape != ():
        shape = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else f"a {type(got).__name__}"
        raise NotYet(f"return a tensor with one number, not {shape}.{because(why_not_one_number(got))}")
    causes = wrong_values(MISTAKES, outputs, kinds, tags)
    compare(got.detach(), right(outputs, kinds, tags), "the loss", causes)
    expect_gradients(answer, outputs, kinds, tags)
    if not answer({key: 200 * tensor for key, tensor in outputs.items()}, kinds, tags).isfinite():
        raise NotYet(f"for large logits the loss is not finite.{because(UNSAFE_LOG)}")


def why_not_one_number(got: Any) -> str:
    if isinstance(got, float):
        return GRAPH
    return ONE_PLACE if isinstance(got, Tensor) and got.numel() == 1 else ONE_NUMBER


def expect_gradients(answer: Any, outputs: Outputs, kinds: Tensor, tags: Tensor) -> None:
    """Both outputs learn from the loss."""
    outputs = {key: tensor.clone().requires_grad_() for key, tensor in outputs.items()}
    loss = answer(outputs, kinds, tags)
    if loss.requires_grad:
        loss.backward()
    for key, tensor in outputs.items():
        if tensor.grad is None or not tensor.grad.any():
            raise NotYet(f"{key!r} can learn nothing from this loss: it gets no gradient.{because(GRAPH)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "F.cross_entropy(logits, numbers of classes) is for one answer out of several.",
        "F.binary_cross_entropy_with_logits(logits, floats) is for yes or no, several times.",
        "F.cross_entropy(outputs['kind'], kinds) + F.binary_cross_entropy_with_logits(outputs['tags'], tags.float())",
    ),
    praise="one softmax per question, one sigmoid per label.",
)
