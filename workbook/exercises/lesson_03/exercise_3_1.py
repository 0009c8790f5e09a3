"""Exercise 3.1: sort the names of a model and a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, cause_of


def right(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    in_model = model.state_dict()
    both = in_model.keys() & state_dict.keys()
    loaded = {key for key in both if in_model[key].shape == state_dict[key].shape}
    return loaded, both - loaded, in_model.keys() - both, state_dict.keys() - both


def comparing(fits: Callable) -> Callable:
    """An answer that compares two tensors of one name in its own way."""

    def sort_out(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
        in_model = model.state_dict()
        both = in_model.keys() & state_dict.keys()
        loaded = {key for key in both if fits(in_model[key], state_dict[key])}
        return loaded, both - loaded, in_model.keys() - both, state_dict.keys() - both

    return sort_out


def any_shape(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    shapes = [tensor.shape for tensor in model.state_dict().values()]
    return {key for key, tensor in state_dict.items() if tensor.shape in shapes}, set(), set(), set()


def only_parameters(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    in_model = dict(model.named_parameters())
    both = in_model.keys() & state_dict.keys()
    loaded = {key for key in both if in_model[key].shape == state_dict[key].shape}
    return loaded, both - loaded, in_model.keys() - both, state_dict.keys() - both


def asks_for_missing_names(model: nn.Module, state_dict: dict[str, Tensor]) -> set[str]:
    return {key for key in state_dict if state_dict[key].shape == model.state_dict()[key].shape}


def loads_at_once(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    found = right(model, state_dict)
    model.load_state_dict({key: state_dict[key] for key in found[0]}, strict=False)
    return found


def missing_if_not_loaded(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    loaded, mismatched, _, unexpected = right(model, state_dict)
    return loaded, mismatched, model.state_dict().keys() - loaded, unexpected


def exchanged(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    loaded, mismatched, missing, unexpected = right(model, state_dict)
    return loaded, mismatched, unexpected, missing


def all_named_tensors(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    in_model = dict(model.named_parameters()) | dict(model.named_buffers())
    both = in_model.keys() & state_dict.keys()
    loaded = {key for key in both if in_model[key].shape == state_dict[key].shape}
    return loaded, both - loaded, in_model.keys() - both, state_dict.keys() - both


def same_numbers(in_model: Tensor, given: Tensor) -> bool:
    return in_model.shape == given.shape and torch.equal(in_model.double(), given.double())


def takes_out(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    found = right(model, state_dict)
    for key in found[0]:
        state_dict.pop(key)
    return found


def side_by_side(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    """Walks through both dictionaries at once, as if they had the same names in the same order."""
    loaded: set[str] = set()
    mismatched: set[str] = set()
    for (key, tensor), (_, given) in zip(model.state_dict().items(), state_dict.items(), strict=False):
        (loaded if tensor.shape == given.shape else mismatched).add(key)
    return (
        loaded,
        mismatched,
        model.state_dict().keys() - state_dict.keys(),
        state_dict.keys() - model.state_dict().keys(),
    )


def by_place(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    """Compares the shapes of what stands at the same place."""
    in_model = model.state_dict()
    fits = {key for (key, tensor), given in zip(in_model.items(), state_dict.values()) if tensor.shape == given.shape}  # noqa: B905
    both = in_model.keys() & state_dict.keys()
    return both & fits, both - fits, in_model.keys() - both, state_dict.keys() - both


def without_module(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    return right(model, {key.removeprefix("module."): tensor for key, tensor in state_dict.items()})


def only_trained(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    loaded, *others = right(model, state_dict)
    return loaded - frozen, *others


def of_children(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[set[str], ...]:
    """Asks the layers one level down."""
    in_model: dict[str, Any] = {}
    for name, child in model.named_children():
        in_model |= {f"{name}.{key}": t for key, t in (*child._parameters.items(), *child._buffers.items())}
    in_model = {key: tensor for key, tensor in in_model.items() if tensor is not None}
    both = in_model.keys() & state_dict.keys()
    loaded = {key for key in both if in_model[key].shape == state_dict[key].shape}
    return loaded, both - loaded, in_model.keys() - both, state_dict.keys() - both


SIDE_BY_SIDE = "zip pairs by place; a name has to be looked up in the other dictionary."
PREFIX = "names count as they stand, with all that stands in front."
TRAINED = "whether a parameter is trained says nothing about whether it is loaded."
LEVELS = "named_children() looks one level down; state_dict() has the names of all levels."
SCALAR = "a counter has shape (), so that no dimension can be asked for; compare whole shapes."
SQUEEZED = "a dimension of 1 counts, too: (1, 4) is not (4,)."
NOT_COMPARED = "the shapes were not compared."
AS_MANY_NUMBERS = "as many numbers are not the same shape."
ALL_DIMENSIONS = "all dimensions count: compare the whole shapes."
OTHER_NAME = "its shape occurs in the model, but its name does not."
BUFFERS = "buffers are missing: named_parameters() has none of them, state_dict() has."
NOT_PERSISTENT = "this buffer is no part of a state_dict (persistent=False), so no checkpoint can have it."
OTHER_DTYPE = "only names and shapes are asked for: other numbers of another type are loaded, too."
BOTH_SIDES = "a name that both sides have is mismatched, and nothing else."
EXCHANGED = "missing is what only the model has, not the reverse."
ONE_SIDE = "a name that one side has, the other may not have."

MISTAKES = (
    Mistake(NOT_COMPARED, comparing(lambda in_model, given: True)),
    Mistake(AS_MANY_NUMBERS, comparing(lambda in_model, given: in_model.numel() == given.numel())),
    Mistake(ALL_DIMENSIONS, comparing(lambda in_model, given: in_model.shape[:1] == given.shape[:1])),
    Mistake(ALL_DIMENSIONS, comparing(lambda in_model, given: in_model.shape[-1:] == given.shape[-1:])),
    Mistake(SQUEEZED, comparing(lambda in_model, given: in_model.squeeze().shape == given.squeeze().shape)),
    Mistake(SCALAR, comparing(lambda in_model, given: in_model.shape[0] == given.shape[0])),
    Mistake(PREFIX, without_module),
    Mistake(TRAINED, only_trained),
    Mistake(LEVELS, of_children),
    Mistake(SIDE_BY_SIDE, by_place),
    Mistake(OTHER_NAME, any_shape),
    Mistake(BUFFERS, only_parameters),
    Mistake(NOT_PERSISTENT, all_named_tensors),
    Mistake(
        OTHER_DTYPE, comparing(lambda in_model, given: (in_model.shape, in_model.dtype) == (given.shape, given.dtype))
    ),
    Mistake(
        OTHER_DTYPE,
        comparing(lambda in_model, given: in_model.shape == given.shape and bool((in_model == given).all())),
    ),
    Mistake(OTHER_DTYPE, comparing(same_numbers)),
    Mistake("from the dictionary", takes_out),
    Mistake(SIDE_BY_SIDE, side_by_side),
    Mistake(BOTH_SIDES, missing_if_not_loaded),
    Mistake(EXCHANGED, exchanged),
    Mistake(ONE_SIDE, asks_for_missing_names),
    Mistake("`copy_` or `load_state_dict` on an argument", loads_at_once),
    Mistake(
        "return four sets: loaded, mismatched, missing, unexpected; not 3 values",
        lambda model, state_dict: right(model, state_dict)[:3],
    ),
    Mistake(
        "'loaded' should be a set of names, but is a int",
        lambda model, state_dict: [len(names) for names in right(model, state_dict)],
    ),
)

MISMATCHED = {
    "2.weight": torch.Size([6, 7]),  # as many numbers as in the model
    "2.bias": torch.Size([1]),  # could be broadcast
    "4.weight": torch.Size([3, 2, 2, 5]),  # equal but for the last dimension
    "5.weight": torch.Size([6, 4]),  # equal but for the first
    "6.0.bias": torch.Size([1, 6]),  # equal but for a 1
}
UNEXPECTED = {  # shapes that the model has, but under other names
    "6.weight": torch.Size([4]),
    "module.3.weight": torch.Size([2, 7]),
}
LOADED_BY_MISTAKE = {
    "2.weight": AS_MANY_NUMBERS,
    "2.bias": NOT_COMPARED,
    "4.weight": ALL_DIMENSIONS,
    "5.weight": ALL_DIMENSIONS,
    "6.0.bias": SQUEEZED,
    "6.weight": OTHER_NAME,
}


def verify(answer: Any) -> None:
    """`sort_out(model, state_dict) -> four sets of names`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Linear(6, 7), nn.Linear(7, 2, bias=False))
    model.append(nn.Conv2d(2, 3, (2, 4), bias=False)).append(nn.Linear(4, 5, bias=False))
    model.append(nn.Sequential(nn.Linear(5, 6)))
    model[0].bias.requires_grad_(False)
    state_dict = {key: torch.rand(shape) for key, shape in (MISMATCHED | UNEXPECTED).items()}
    model.register_buffer("grid", torch.zeros(3), persistent=False)
    state_dict |= {key: (tensor + 1).double() for key, tensor in model.state_dict().items() if key[0] in "01"}
    state_dict |= {key: model.state_dict()[key].clone() for key in ("1.weight", "6.0.weight")}  # equal numbers
    crashes = [("KeyError", ONE_SIDE), ("IndexError: tuple index", SCALAR)]
    got = call(answer, model, state_dict, crashes=crashes)
    if not isinstance(got, (tuple, list)) or len(got) != 4:
        found = f"{len(got)} values" if isinstance(got, (tuple, list)) else f"a {type(got).__name__}"
        raise NotYet(f"return four sets: loaded, mismatched, missing, unexpected; not {found}.")
    kinds = ("loaded", "mismatched", "missing", "unexpected")
    expected = dict(zip(kinds, right(model, state_dict), strict=True))
    are_sets = all(isinstance(names, Collection) and not isinstance(names, str) for names in got)
    known = cause_of(tuple(map(set, got)), MISTAKES, model, state_dict) if are_sets else None
    for kind, names in zip(kinds, got, strict=True):
        verify_names(kind, names, expected, known)


def verify_names(kind: str, names: Any, expected: dict[str, set[str]], known: str | None) -> None:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise NotYet(f"{kind!r} should be a set of names, but is a {type(names).__name__}.")
    opposite = {"missing": "unexpected", "unexpected": "missing"}.get(kind)
    if opposite and set(names) == expected[opposite]:
        raise NotYet(f"{kind!r} has {names}.{because(EXCHANGED)}")
    for name in sorted(set(names) ^ expected[kind], key=str):
        verb = "lacks" if name in expected[kind] else "should not have"
        raise NotYet(f"{kind!r} {verb} {name!r}.{because(known or cause_of_name(kind, str(name)))}")


def cause_of_name(kind: str, name: str) -> str | None:
    """Why a name is of this kind in the answer and should not be, or the reverse."""
    if name == "grid":
        return NOT_PERSISTENT
    if name.startswith("0."):
        return OTHER_DTYPE
    if "running" in name or "num_batches" in name:
        return BUFFERS
    if kind == "loaded":
        return LOADED_BY_MISTAKE.get(name)
    return BOTH_SIDES if kind in ("missing", "unexpected") and name in MISMATCHED else None


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "model.state_dict() has all names and shapes of the model, buffers too.",
        "Names can be taken from one another: set(state_dict) - set(model.state_dict()) are the unexpected ones.",
        "both = model.state_dict().keys() & state_dict.keys(); those of `both` with equal shapes are loaded, the rest "
        "of `both` is mismatched.",
    ),
    praise="four questions, and every name has one answer.",
)
