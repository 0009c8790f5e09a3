"""Exercise 3.3: pair the layers of a model and a checkpoint by their order."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, case, cause_of, must_refuse


def right(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    in_model = model.state_dict()
    pairs = list(zip(layers_of(state_dict), layers_of(in_model), strict=True))
    for old, new in pairs:
        if state_dict[f"{old}.weight"].shape != in_model[f"{new}.weight"].shape:
            raise ValueError(f"{old} and {new} have different shapes")
        if (f"{old}.bias" in state_dict) != (f"{new}.bias" in in_model):
            raise ValueError(f"only one of {old} and {new} has a bias")
    return names_of(pairs, state_dict)


def layers_of(state_dict: dict[str, Tensor]) -> list[str]:
    """The names of its conv and Linear layers."""
    return [key.removesuffix(".weight") for key, t in state_dict.items() if key.endswith(".weight") and t.ndim >= 2]


def names_of(pairs: list[tuple[str, str]], state_dict: dict[str, Tensor]) -> dict[str, str]:
    """The names of their weights and, where there are any, of their biases."""
    names = {}
    for old, new in pairs:
        names[f"{old}.weight"] = f"{new}.weight"
        if f"{old}.bias" in state_dict:
            names[f"{old}.bias"] = f"{new}.bias"
    return names


def unchecked(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    pairs = list(zip(layers_of(state_dict), layers_of(model.state_dict()), strict=True))
    return names_of(pairs, state_dict)


def up_to_the_shorter(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    pairs = list(zip(layers_of(state_dict), layers_of(model.state_dict()), strict=False))
    return names_of(pairs, state_dict)


def comparing(part: Callable) -> Callable:
    """An answer that compares only a part of what two weights are."""

    def pair_layers(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
        in_model = model.state_dict()
        names = unchecked(model, state_dict)
        for old, new in names.items():
            if old.endswith(".weight") and part(state_dict[old]) != part(in_model[new]):
                raise ValueError(f"{old} and {new} differ")
        return names

    return pair_layers


def every_weight(model: nn.Module, state_dict: dict[str, Tensor], strict: bool) -> dict[str, str]:
    """Pairs BatchNorms, too."""
    in_checkpoint = [key for key in state_dict if key.endswith(".weight")]
    in_model = [key for key in model.state_dict() if key.endswith(".weight")]
    return dict(zip(in_checkpoint, in_model, strict=strict))


def first_of_the_shape(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    in_model = model.state_dict()
    pairs = []
    for old in layers_of(state_dict):
        shape = state_dict[f"{old}.weight"].shape
        new = next(name for name in layers_of(in_model) if in_model[f"{name}.weight"].shape == shape)
        pairs.append((old, new))
    return names_of(pairs, state_dict)


def a_bias_for_each(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    names: dict[str, str] = {}
    for old, new in zip(layers_of(state_dict), layers_of(model.state_dict()), strict=True):
        names |= {f"{old}.weight": f"{new}.weight", f"{old}.bias": f"{new}.bias"}
    return names


NO_BIAS = "not every layer has a bias."
BATCH_NORMS = "a weight with one dimension is a BatchNorm's; it does not count."
NOT_THE_NEXT = "the first layer of the shape is not the next one in order."
BIAS_NAME = "a layer's bias has the name of its weight, with another ending."
ENDS = "zip ends with the shorter list and says nothing; zip(..., strict=True) raises a ValueError."
SHAPES = "the shapes of each pair were not compared (as many numbers are not the same shape)."
BIASES = "the biases of a pair were not compared; is the name on both sides, or on neither?"
TURNED_ROUND = "the pairs are turned round: the checkpoint's names come first."
ASK = "not every layer has a bias; ask before you take it."
COUNTED = "the BatchNorms of the model count as layers, or its biases do."

LEVELS = (
    "a layer's name is all that stands before `.weight` or `.bias` at the end, however many dots it has; "
    "removesuffix('.weight') takes just that away."
)
DIMENSIONS = "every `.weight` of two dimensions or more counts: that of a Conv1d has three, that of a Conv3d five."
ITS_NAME = "what counts is how many dimensions a `.weight` has, not how its layer is called."
FROZEN = "whether a parameter is trained says nothing about whether it is paired."
OTHER_LENGTHS = (
    "the two lists are not equally long: one side counts what the other does not. Every `.weight` of two dimensions or "
    "more counts, that of an Embedding, too, at any level (named_children() looks one level down, and a layer goes "
    "by what stands before `.weight`); nothing else counts."
)
TABLE = "a parameter of its own, such as a table, is no layer: its name does not end in `.weight`."


def by_layer_names(layer_of: Callable[[str], str], counts: Callable[[str, Tensor], bool]) -> Callable:
    """An answer that has its own way to a layer's name, and to what counts as a weight."""

    def pair_layers(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
        in_model = model.state_dict()
        lists = [[layer_of(key) for key, t in tensors.items() if counts(key, t)] for tensors in (state_dict, in_model)]
        pairs = list(zip(*lists, strict=True))
        for old, new in pairs:
            a, b = state_dict.get(f"{old}.weight"), in_model.get(f"{new}.weight")
            if a is None or b is None or a.shape != b.shape:
                raise ValueError(f"{old} and {new} have different shapes")
            if (f"{old}.bias" in state_dict) != (f"{new}.bias" in in_model):
                raise ValueError(f"only one of {old} and {new} has a bias")
        return names_of(pairs, state_dict)

    return pair_layers


def is_weight(key: str, tensor: Tensor) -> bool:
    return key.endswith(".weight") and tensor.ndim >= 2


def of_weight(key: str) -> str:
    return key.removesuffix(".weight")


def without_frozen(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {old: new for old, new in right(model, state_dict).items() if new in trained}


def of_children(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    weights = {name: getattr(child, "weight", None) for name, child in model.named_children()}
    in_model = [name for name, weight in weights.items() if isinstance(weight, Tensor) and weight.ndim >= 2]
    pairs = list(zip(layers_of(state_dict), in_model, strict=True))
    for old, new in pairs:
        if state_dict[f"{old}.weight"].shape != model.state_dict()[f"{new}.weight"].shape:
            raise ValueError(f"{old} and {new} have different shapes")
        if (f"{old}.bias" in state_dict) != (f"{new}.bias" in model.state_dict()):
            raise ValueError(f"only one of {old} and {new} has a bias")
    return names_of(pairs, state_dict)


def at_the_first_dot(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    names = {}
    layers = [
        dict.fromkeys(key.split(".")[0] for key in t if t[key].ndim >= 2) for t in (state_dict, model.state_dict())
    ]
    for old, new in zip(*layers, strict=True):
        a, b = state_dict.get(f"{old}.weight"), model.state_dict().get(f"{new}.weight")
        if a is not None and b is not None:
            if a.shape != b.shape:
                raise ValueError(f"{old} and {new} have different shapes")
            names[f"{old}.weight"] = f"{new}.weight"
            if (f"{old}.bias" in state_dict) != (f"{new}.bias" in model.state_dict()):
                raise ValueError(f"only one of {old} and {new} has a bias")
            if f"{old}.bias" in state_dict:
                names[f"{old}.bias"] = f"{new}.bias"
    return names


def of_convs_and_linears(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    """Asks the model for the types of its layers."""
    kinds = nn.Conv2d, nn.Linear
    in_model = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    pairs = list(zip(layers_of(state_dict), in_model, strict=True))
    for old, new in pairs:
        if state_dict[f"{old}.weight"].shape != model.state_dict()[f"{new}.weight"].shape:
            raise ValueError(f"{old} and {new} have different shapes")
        if (f"{old}.bias" in state_dict) != (f"{new}.bias" in model.state_dict()):
            raise ValueError(f"only one of {old} and {new} has a bias")
    return names_of(pairs, state_dict)


def weights_by_kind_of_name(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    """Takes every tensor of two dimensions or more for a weight."""
    names = right(model, state_dict)
    lists = [[key for key, t in tensors.items() if t.ndim >= 2] for tensors in (state_dict, model.state_dict())]
    return dict(zip(*lists, strict=True)) | names


def biases_in_a_list_of_their_own(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    in_model = model.state_dict()
    names: dict[str, str] = {}
    for leaf in ("weight", "bias"):
        lists = [[f"{k}.{leaf}" for k in layers_of(t) if f"{k}.{leaf}" in t] for t in (state_dict, in_model)]
        names |= dict(zip(*lists, strict=True))
    if any(state_dict[old].shape != in_model[new].shape for old, new in names.items()):
        raise ValueError("two have different shapes")
    return {key: names[key] for key in names_of([(k, k) for k in layers_of(state_dict)], state_dict)}


def pairs_sorted_names(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    in_model = model.state_dict()
    pairs = list(zip(sorted(layers_of(state_dict)), sorted(layers_of(in_model)), strict=True))
    if any(state_dict[f"{old}.weight"].shape != in_model[f"{new}.weight"].shape for old, new in pairs):
        raise ValueError("two have different shapes")
    return names_of(pairs, state_dict)


def loads_on_the_way(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    names = right(model, state_dict)
    with torch.no_grad():
        for old, new in names.items():
            model.state_dict()[new].copy_(state_dict[old])
    return names


NESTED_MISTAKES = (
    Mistake(TABLE, weights_by_kind_of_name),
    Mistake(DIMENSIONS, by_layer_names(of_weight, lambda key, t: is_weight(key, t) and t.ndim in (2, 4))),
    Mistake(ITS_NAME, by_layer_names(of_weight, lambda key, t: is_weight(key, t) and "bn" not in key)),
    Mistake(ITS_NAME, by_layer_names(of_weight, lambda key, t: is_weight(key, t) and "downsample" not in key)),
    Mistake(FROZEN, without_frozen),
)

MISTAKES = (
    *NESTED_MISTAKES,
    Mistake(OTHER_LENGTHS, of_children),
    Mistake(OTHER_LENGTHS, of_convs_and_linears),
    Mistake(OTHER_LENGTHS, at_the_first_dot),
    Mistake(LEVELS, by_layer_names(lambda key: key.rstrip(".weight"), is_weight)),
    Mistake(LEVELS, by_layer_names(lambda key: key.replace(".weight", ""), is_weight)),
    Mistake(LEVELS, by_layer_names(lambda key: key.split(".weight")[0], is_weight)),
    Mistake("in the order in which they stand, not sorted", pairs_sorted_names),
    Mistake(BIASES, biases_in_a_list_of_their_own),
    Mistake("an in-place operation", loads_on_the_way),
    Mistake(COUNTED, lambda model, state_dict: every_weight(model, state_dict, strict=True)),
    Mistake(BATCH_NORMS, lambda model, state_dict: every_weight(model, state_dict, strict=False)),
    Mistake(NOT_THE_NEXT, first_of_the_shape),
    Mistake(
        BIAS_NAME,
        lambda model, state_dict: {a: b for a, b in right(model, state_dict).items() if a.endswith(".weight")},
    ),
    Mistake(NO_BIAS, a_bias_for_each),
    Mistake(ASK, lambda model, state_dict: {f"{a}.bias": state_dict[f"{a}.bias"] for a in layers_of(state_dict)}),
    Mistake(ENDS, up_to_the_shorter),
    Mistake(SHAPES, unchecked),
    Mistake(SHAPES, comparing(lambda weight: weight.numel())),
    Mistake(SHAPES, comparing(lambda weight: weight.shape[0])),
    Mistake(SHAPES, comparing(lambda weight: weight.shape[1:])),
    Mistake(SHAPES, comparing(lambda weight: weight.shape[2:])),
    Mistake(BIASES, comparing(lambda weight: weight.shape)),
    Mistake(TURNED_ROUND, lambda model, state_dict: {new: old for old, new in right(model, state_dict).items()}),
    Mistake("should be a dictionary, but is a list", lambda model, state_dict: list(right(model, state_dict))),
)

CRASHES = [
    ("KeyError", ASK),
    ("zip()", COUNTED),
    (
        "ValueError",
        "the conv and Linear layers do pair, in the order in which they stand, not sorted; four on either side. "
        "If every name in `.weight` counts, the BatchNorms' "
        "are among them: their weight has one dimension.",
    ),
]


def verify(answer: Any) -> None:
    """`pair_layers(model, state_dict) -> names`."""
    model, state_dict = model_and_checkpoint()
    with case("for a checkpoint without BatchNorms and a model with them"):
        got = call(answer, model, state_dict, crashes=CRASHES)
        verify_names(got, right(model, state_dict), state_dict)
    verify_refusals(answer, model, state_dict)
    other, state_dict = nested()
    with case("for a network whose layers lie at several levels, with an Embedding"):
        got = call(answer, other, state_dict, crashes=[("zip()", OTHER_LENGTHS), ("", LEVELS)])
        expected = right(other, state_dict)
        if not isinstance(got, Mapping) or dict(got) != expected:
            raise NotYet(f"{first_other_pair(got, expected)}{because(why_other_pairs(got, other, state_dict))}")


def first_other_pair(got: Any, expected: Mapping[str, str]) -> str:
    if not isinstance(got, Mapping):
        return f"the result should be a dictionary, but is a {type(got).__name__}."
    for old, new in expected.items():
        if got.get(old) != new:
            found = f"with {got[old]!r}" if old in got else "not at all"
            return f"{old!r} belongs to {new!r}, and is paired {found}."
    extra = next(old for old in got if old not in expected)
    return f"{extra!r} is paired with {got[extra]!r}, and is no weight or bias of a layer."


def why_other_pairs(got: Any, model: nn.Module, state_dict: dict[str, Tensor]) -> str:
    return cause_of(dict(got), NESTED_MISTAKES, model, state_dict) or LEVELS


def model_and_checkpoint() -> tuple[nn.Sequential, dict[str, Tensor]]:
    """The checkpoint is that of a network without BatchNorms."""
    torch.manual_seed(0)
    parts: list[Any] = [
        nn.Conv2d(3, 4, (2, 5)),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Linear(6, 7),
    ]
    plain = nn.ModuleDict(dict(zip(("stem", "body", "tail", "head"), parts, strict=True)))
    stem, body, tail, head = copy.deepcopy(parts)
    for part in (stem, body, tail, head):
        part.reset_parameters()  # other numbers than the checkpoint's
    return nn.Sequential(stem, nn.BatchNorm2d(4), body, nn.BatchNorm2d(4), tail, head), dict(plain.state_dict())


class Nested(nn.Module):
    """Layers at several levels, of names that hold others, and a table and an Embedding beside them."""

    def __init__(self, stem: str, eight: str) -> None:
        super().__init__()
        inner = {stem: nn.Conv2d(3, 4, (2, 5)), "norm": nn.BatchNorm2d(4), "weight_net": nn.Conv2d(4, 5, 3)}
        self.net = nn.ModuleDict(inner | {eight: nn.Conv2d(5, 4, 3)})
        self.bn_proj, self.downsample = nn.Conv1d(4, 3, 2), nn.Conv3d(2, 3, (2, 1, 3), bias=False)
        self.in_proj_weight = nn.Parameter(torch.randn(5, 2))
        self.table, self.words = nn.Parameter(torch.randn(4, 3)), nn.Embedding(9, 4)
        self.bias_net = nn.ModuleList([nn.Linear(4, 6, bias=False), nn.Linear(6, 7)])


def nested() -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(1)
    checkpoint = {f"backbone.{key}": tensor for key, tensor in Nested("first", "height").state_dict().items()}
    model = Nested("stem", "right")
    model.bias_net[0].weight.requires_grad_(False)
    return model, {key: tensor for key, tensor in checkpoint.items() if ".norm." not in key}


def verify_names(got: Any, expected: dict[str, str], state_dict: dict[str, Tensor]) -> None:
    if not isinstance(got, Mapping):
        raise NotYet(f"the result should be a dictionary, but is a {type(got).__name__}.")
    if dict(got) == {new: old for old, new in expected.items()}:
        raise NotYet(TURNED_ROUND)
    for old, new in got.items():
        if old not in state_dict:
            why = NO_BIAS if str(old).endswith("bias") else None
            raise NotYet(f"{old!r} is paired, but the checkpoint has no such name.{because(why)}")
        if expected[old] != new:
            why = BATCH_NORMS if "1." in str(new) else None
            why = NOT_THE_NEXT if old == "tail.weight" else why
            raise NotYet(f"{old!r} belongs to {expected[old]!r}, not {new!r}.{because(why)}")
    for old in expected:
        if old not in got:
            raise NotYet(f"{old!r} is not paired.{because(BIAS_NAME if 'bias' in old else None)}")


def verify_refusals(answer: Any, model: nn.Sequential, state_dict: dict[str, Tensor]) -> None:
    fewer = {key: tensor for key, tensor in state_dict.items() if "head" not in key}
    must_refuse(answer, model, fewer, case="if the checkpoint has fewer layers", cause=ENDS)
    must_refuse(answer, model[:5], state_dict, case="if the model has fewer layers", cause=ENDS)
    for shape in ((4, 4, 3, 2), (4, 3, 4, 3), (4, 3, 3, 3), (5, 4, 3, 3)):
        changed = state_dict | {"body.weight": torch.rand(shape)}
        must_refuse(answer, model, changed, case="if a pair of weights has different shapes", cause=SHAPES)
    late = {key: state_dict[key] for key in ("body.weight", "stem.weight", "stem.bias", *list(state_dict)[3:])}
    must_refuse(answer, model, late, case="if two layers of different shapes have changed places", cause=SHAPES)
    one_more = state_dict | {"tail.bias": torch.rand(4)}
    must_refuse(answer, model, one_more, case="if only the checkpoint has a bias", cause=BIASES)
    crossed = {key: tensor for key, tensor in state_dict.items() if key != "stem.bias"} | {"body.bias": torch.rand(4)}
    must_refuse(
        answer, model, crossed, case="if one layer has a bias on one side, and another on the other", cause=BIASES
    )
    one_less = {key: tensor for key, tensor in state_dict.items() if key != "stem.bias"}
    must_refuse(answer, model, one_less, case="if only the model has a bias", cause=BIASES)


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "First make a list of layers for either side: names that end in `.weight` and whose tensor has ndim >= 2.",
        "zip(in_checkpoint, in_model, strict=True) raises a ValueError if one list is longer.",
        "For each pair compare the shapes of the weights, and whether both or none have a bias; then pair weight "
        "with weight and bias with bias. key.removesuffix('.weight') is the name of the layer.",
    ),
    praise="order, with everything counted that can be counted.",
)
