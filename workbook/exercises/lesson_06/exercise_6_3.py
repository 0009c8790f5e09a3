"""Exercise 6.3: copy the weights of a list of layers into another one, all or nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import FROZEN as GIVEN_FROZEN
from ..checking import Exercise, Mistake, NotYet, because, call, case, compare, must_refuse, wrong_values

Layer = Any  # an nn.Conv2d or an nn.Linear
Layers = list[Layer]


def right(targets: Layers, sources: Layers) -> Layers:
    if len(targets) != len(sources):
        raise ValueError(f"{len(sources)} layers for {len(targets)}")
    for target, source in zip(targets, sources, strict=True):
        if not fits(target, source):
            raise ValueError(f"{tuple(source.weight.shape)} does not fit {tuple(target.weight.shape)}")
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            copy_pair(target, source)
    return targets


def fits(target: Layer, source: Layer) -> bool:
    if isinstance(source, nn.Linear):
        return source.out_features == target.out_channels and source.weight.numel() == target.weight.numel()
    return source.weight.shape == target.weight.shape


def copy_pair(target: Layer, source: Layer) -> None:
    target.weight.copy_(source.weight.reshape(target.weight.shape))
    target.bias.copy_(source.bias)


def filling(
    copies: Callable[[Layer, Layer], None] = copy_pair, fit: Callable[[Layer, Layer], bool] = fits
) -> Callable[[Layers, Layers], Layers]:
    """An answer like `right` that copies a pair, or tells which pairs fit, in another way."""

    def answer(targets: Layers, sources: Layers) -> Layers:
        if len(targets) != len(sources) or not all(map(fit, targets, sources)):
            raise ValueError("these do not fit")
        with torch.no_grad():
            for target, source in zip(targets, sources, strict=True):
                copies(target, source)
        return targets

    return answer


def exchanges_height_and_width(target: Layer, source: Layer) -> None:
    outputs, inputs, height, width = target.weight.shape
    target.weight.copy_(source.weight.reshape(outputs, inputs, width, height).transpose(2, 3))
    target.bias.copy_(source.bias)


def forgets_the_bias(target: Layer, source: Layer) -> None:
    target.weight.copy_(source.weight.reshape(target.weight.shape))


def zeroes_the_bias(target: Layer, source: Layer) -> None:
    forgets_the_bias(target, source)
    target.bias.zero_()


def skips_linears(target: Layer, source: Layer) -> None:
    if isinstance(source, nn.Conv2d):
        copy_pair(target, source)


def assigns_data(target: Layer, source: Layer) -> None:
    target.weight.data = source.weight.data.view(target.weight.size())
    target.bias.data = source.bias.data


def assigns_clones(target: Layer, source: Layer) -> None:
    target.weight.data = source.weight.data.reshape(target.weight.shape).clone()
    target.bias.data = source.bias.data.clone()


def freezes(target: Layer, source: Layer) -> None:
    copy_pair(target, source)
    target.requires_grad_(False)


def makes_new_parameters(target: Layer, source: Layer) -> None:
    target.weight = nn.Parameter(
        source.weight.detach().reshape(target.weight.shape).clone(), target.weight.requires_grad
    )
    target.bias = nn.Parameter(source.bias.detach().clone(), target.bias.requires_grad)


def takes_the_padding(target: Layer, source: Layer) -> None:
    copy_pair(target, source)
    if isinstance(source, nn.Conv2d):
        target.stride, target.padding = source.stride, source.padding


def thaws(target: Layer, source: Layer) -> None:
    copy_pair(target, source)
    target.requires_grad_(True)


def freezes_the_source(target: Layer, source: Layer) -> None:
    copy_pair(target, source)
    source.requires_grad_(False)


def forgets_the_sources_gradients(target: Layer, source: Layer) -> None:
    copy_pair(target, source)
    source.zero_grad()


def without_reshape(target: Layer, source: Layer) -> None:
    target.weight.copy_(source.weight)
    target.bias.copy_(source.bias)


def loads(target: Layer, source: Layer) -> None:
    target.load_state_dict(source.state_dict())


def same_shape(target: Layer, source: Layer) -> bool:
    return source.weight.shape == target.weight.shape


def as_many_numbers(target: Layer, source: Layer) -> bool:
    return source.weight.numel() == target.weight.numel()


def any_outputs(target: Layer, source: Layer) -> bool:
    if isinstance(source, nn.Linear):
        return as_many_numbers(target, source)
    return same_shape(target, source)


def one_after_the_other(targets: Layers, sources: Layers) -> Layers:
    if len(targets) != len(sources):
        raise ValueError("other lengths")
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            if not fits(target, source):
                raise ValueError("this does not fit")
            copy_pair(target, source)
    return targets


def ends_with_the_shorter(targets: Layers, sources: Layers) -> Layers:
    with torch.no_grad():
        for target, source in zip(targets, sources):  # noqa: B905 - this is the mistake
            copy_pair(target, source)
    return targets


def leaves_out_the_last(targets: Layers, sources: Layers) -> Layers:
    with torch.no_grad():
        for target, source in zip(targets, sources[:-1], strict=True):
            copy_pair(target, source)
    return targets


def asserts(targets: Layers, sources: Layers) -> Layers:
    assert len(targets) == len(sources), "other lengths"
    return right(targets, sources)


def turned_after_the_reshape(target: Layer, source: Layer) -> None:
    target.weight.copy_(source.weight.reshape(target.weight.shape).transpose(2, 3))
    target.bias.copy_(source.bias)


SOURCES = "a source is only read: no requires_grad_, eval or zero_grad on it."
TARGETS = "copy_ changes numbers alone: keep the parameters, their gradients, what is frozen, stride and padding."
SHARED = "`.data = ...data` and nn.Parameter(...data) hand on memory; copy_ copies numbers."
FROZEN = "leave requires_grad as it is."
ALL_PAIRS = "look at all pairs first, and copy in a second loop."
ENDS = "zip ends with the shorter list and says nothing; zip(..., strict=True) says it, but only at the end."
SHAPES = "compare the shapes of a pair; copy_ and load_state_dict raise no ValueError, and copy_ even broadcasts."
OUTPUTS = "a Linear must have the conv's number of outputs, too; its rows are one each."
RESHAPE = (
    "a Linear's weight needs the conv's shape, in the order that it has: reshape(target.weight.shape), no permute."
)
COPIES_FILLED = "the targets themselves are to be filled, not copies of them."
LOADING = "load_state_dict does not reshape: reshape the Linear's weight first."
ZIPPED = "the two lists are equally long here; what did you zip?"
DO_FIT = "these lists do fit: a Linear fits a conv with as many numbers, whatever their shapes."

COPIES = (  # known by the numbers that are in the targets afterwards
    Mistake("height and width are exchanged.", filling(exchanges_height_and_width)),
    Mistake("the bias was forgotten.", filling(forgets_the_bias)),
    Mistake("the biases are to be copied, too.", filling(zeroes_the_bias)),
    Mistake("the Linear was skipped.", filling(skips_linears)),
)
MISTAKES = (
    *COPIES,
    Mistake(SHARED, filling(assigns_data)),
    Mistake(TARGETS, filling(makes_new_parameters)),
    Mistake(TARGETS, filling(takes_the_padding)),
    Mistake(TARGETS, filling(thaws)),
    Mistake(GIVEN_FROZEN, filling(freezes_the_source)),
    Mistake(SOURCES, filling(forgets_the_sources_gradients)),
    Mistake("now return the list of targets", lambda targets, sources: bool(right(targets, sources))),
    Mistake(FROZEN, filling(freezes)),
    Mistake(ENDS, ends_with_the_shorter),
    Mistake("a ValueError is wanted, not RuntimeError", filling(fit=lambda target, source: True)),
    Mistake(SHAPES, filling(fit=as_many_numbers)),
    Mistake(OUTPUTS, filling(assigns_clones, fit=any_outputs)),
    Mistake("if a Linear has as many numbers and other outputs", filling(fit=any_outputs)),
    Mistake(ALL_PAIRS, one_after_the_other),
    Mistake("a ValueError is wanted, not AssertionError", asserts),
    Mistake(RESHAPE, filling(turned_after_the_reshape)),
    Mistake(COPIES_FILLED, lambda targets, sources: right(copy.deepcopy(targets), sources)),
    Mistake(RESHAPE, filling(without_reshape)),
    Mistake(LOADING, filling(loads)),
    Mistake(ZIPPED, leaves_out_the_last),
    Mistake(DO_FIT, filling(fit=same_shape)),
)
CRASHES = (
    ("must match the size", RESHAPE),
    ("Error(s) in loading state_dict", LOADING),
    ("zip() argument", ZIPPED),
    ("ValueError", DO_FIT),
)


def lists_of_layers() -> tuple[Layers, Layers]:
    """Three convs, and a conv and two Linears that fill them; the same ones each time."""
    torch.manual_seed(0)
    targets = [nn.Conv2d(3, 4, (3, 2)), nn.Conv2d(4, 5, (2, 3)), nn.Conv2d(5, 6, 1)]
    return targets, [nn.Conv2d(3, 4, (3, 2), stride=2, padding=1), nn.Linear(24, 5), nn.Linear(5, 6)]


def verify(answer: Any) -> None:
    """`fill(targets, sources) -> the targets`."""
    targets, sources = lists_of_layers()
    call(answer, targets, sources, crashes=CRASHES, may_change=[0])
    known = wrong_values(COPIES, targets, sources)
    before = copy.deepcopy(targets)
    targets[0].requires_grad_(False)  # as after freezing
    sources[1].weight.grad, targets[1].weight.grad = torch.ones(5, 24), torch.full((5, 4, 2, 3), 2.0)
    around = surroundings(targets), surroundings(sources)
    returned = answer(targets, sources)
    if all(
        torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(targets, before, strict=True)
    ):
        raise NotYet(f"nothing has changed in the targets.{because(COPIES_FILLED)}")
    for i, (target, source) in enumerate(zip(targets, sources, strict=True)):
        expected = {"weight": source.weight.detach().reshape(target.weight.shape), "bias": source.bias.detach()}
        for name, tensor in expected.items():
            causes = [(cause, filled[i].get_parameter(name).detach()) for cause, filled in known]
            got = target.get_parameter(name).detach()
            compare(got, tensor, f"the {name} of layer {i} (counted from 0)", causes)
        expect_own_memory(target, source, i)
    if surroundings(sources) != around[1]:
        raise NotYet(f"a source is no longer as it was, in its gradients, mode or what is frozen.{because(SOURCES)}")
    if surroundings(targets) != around[0]:
        raise NotYet(f"a target has other numbers as it should, and something else, too.{because(TARGETS)}")
    if not isinstance(returned, (list, tuple)) or [id(layer) for layer in returned] != [id(layer) for layer in targets]:
        raise NotYet("the layers are filled; now return the list of targets.")
    refuse_what_does_not_fit(answer)


def expect_own_memory(target: nn.Module, source: nn.Module, i: int) -> None:
    for name, parameter in target.named_parameters():
        if address(parameter) == address(source.get_parameter(name)):
            raise NotYet(
                f"layer {i} shares its {name} with its source: training one trains the other.{because(SHARED)}"
            )
        if i > 0 and not parameter.requires_grad:
            raise NotYet(f"the {name} of layer {i} is frozen now; {FROZEN}")


def surroundings(layers: Layers) -> list[Any]:
    """All of a list of layers but its numbers."""
    found: list[Any] = [(layer.training, getattr(layer, "stride", 0), getattr(layer, "padding", 0)) for layer in layers]
    for parameter in (parameter for layer in layers for parameter in layer.parameters()):
        gradient = None if parameter.grad is None else parameter.grad.flatten().tolist()
        found.append((id(parameter), parameter.requires_grad, gradient))
    return found


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def refuse_what_does_not_fit(answer: Any) -> None:
    """A ValueError for each, and no layer filled before it."""
    targets, sources = lists_of_layers()
    same_numbers = [nn.Conv2d(3, 4, (2, 3)), *sources[1:]]
    wide = [*sources[:2], nn.Linear(7, 6)]
    turned = [*sources[:2], nn.Linear(6, 5)]  # its weight (5, 6) for one of (6, 5, 1, 1)
    exchanged = [nn.Conv2d(4, 3, (3, 2)), *sources[1:]]
    single = [*sources[:2], nn.Conv2d(1, 1, 1)]
    for name, given, cause in (
        ("if there are fewer sources", (targets, sources[:2]), ENDS),
        ("if there are fewer targets", (targets[:2], sources), ENDS),
        ("if the last Linear is larger", (targets, wide), SHAPES),
        ("if the last conv is smaller", (targets, single), SHAPES),
        ("if a conv has as many numbers in another shape", (targets, same_numbers), SHAPES),
        ("if a conv has inputs and outputs exchanged", (targets, exchanged), SHAPES),
        ("if a Linear has as many numbers and other outputs", (targets, turned), OUTPUTS),
    ):
        must_refuse(answer, *given, case=name, cause=cause)
        with case(name):
            expect_nothing_filled(answer, *given)


def expect_nothing_filled(answer: Any, targets: Layers, sources: Layers) -> None:
    after = copy.deepcopy(targets)
    with contextlib.suppress(ValueError):
        answer(after, copy.deepcopy(sources))
    for i, (target, before) in enumerate(zip(after, targets, strict=True)):
        if not (torch.equal(target.weight, before.weight) and torch.equal(target.bias, before.bias)):
            raise NotYet(f"layer {i} was filled before the ValueError came.{because(ALL_PAIRS)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Look at all pairs before you write: the lengths of the lists, then the shapes.",
        "A conv fits if its shape is the same; a Linear if out_features is out_channels and numel() the same.",
        "with torch.no_grad(): target.weight.copy_(source.weight.reshape(target.weight.shape)); the bias likewise.",
    ),
    praise="all of it copied, nothing shared.",
)
