"""What only the model has, or only the checkpoint, and whether the rest is still what was trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from ..text import few
from .findings import Finding, some
from .places import Blocks, Where, at, is_computed, layers_in_order, module_name
from .remedies import Situation
from .renames import UNMATCHED


def only_here(keys: list[str], side: str, situation: Situation, where: Where) -> Iterator[Finding]:
    """What one side has alone."""
    is_model = side == "the model"
    counters = {key for key in keys if key.endswith("num_batches_tracked")}
    norms = {module_name(key) for key in keys if key.endswith(("running_var", "running_mean"))}
    counted = bool(norms)
    if not is_model:  # in a branch of its own a norm is like any other layer there
        norms = {name for name in norms if _is_amid(name, situation.in_model)}
    others = [key for key in keys if key not in counters and module_name(key) not in norms]
    computed = {key for key in others if (where.is_computed(key) if is_model else is_computed(key))}
    others = [key for key in others if key not in computed]
    yield from _norms(keys, norms, side, situation)
    if counters and not counted:
        yield Finding(f"Only {side} counts batches in its BatchNorms, which does no harm.", counters)
    if computed:
        fate = "it keeps its own" if is_model else "they are not used"
        yield Finding(f"Only {side} has {some(computed)}, computed from sizes and not trained; {fate}.", computed)
    if others:
        yield from _only_in_model(others, situation) if is_model else _only_in_checkpoint(others, situation, where)


def _norms(keys: list[str], norms: set[str], side: str, situation: Situation) -> Iterator[Finding]:
    """Layers that keep running statistics on one side only."""
    is_model = side == "the model"
    of_norms = {key for key in keys if module_name(key) in norms}
    with_weights = {name for name in norms if f"{name}.weight".removeprefix(".") in keys}
    alone = norms - with_weights
    other_side = situation.tensors if is_model else situation.in_model
    of_other_kind = {name for name in alone if f"{name}.weight".removeprefix(".") in other_side}
    if not is_model:
        of_other_kind = {name for name in of_other_kind if situation.in_model[f"{name}.weight"].ndim == 1}
        of_other_kind = {name for name in of_other_kind if not hasattr(at(situation.model, name), "running_mean")}
    if with_weights and is_model:
        yield Finding(
            f"Only the model has BatchNorm: {some(with_weights)}; they stay as they are. Train them.", of_norms
        )
    elif with_weights:
        way_out = "what it did to the layers before it would be lost. Build the model with it."
        yield Finding(f"Only the checkpoint has BatchNorm: {some(with_weights)}; {way_out}", of_norms, is_fatal=True)
    if of_other_kind and is_model:
        yield Finding(
            f"Only the model has the running statistics of {some(of_other_kind)}. Either the checkpoint's norms are of "
            "another kind, such as GroupNorm, whose weights have the same shapes, or its statistics were left out: "
            "look for the whole state_dict. With those of a new model it does not compute what was trained.",
            of_norms,
            is_fatal=True,
        )
    elif of_other_kind:
        kinds = {type(at(situation.model, name)).__name__ for name in of_other_kind}
        yield Finding(
            f"Another kind of norm: BatchNorm in the checkpoint, {few(sorted(kinds))} in the model "
            f"({some(of_other_kind)}). Their weights have the same shapes and mean something else: build the model "
            "with BatchNorm.",
            of_norms,
            is_fatal=True,
        )
    if alone - of_other_kind:
        fate = "they stay as they are" if is_model else "they are not used"
        yield Finding(f"Only {side} has the running statistics of {some(alone - of_other_kind)}; {fate}.", of_norms)


def _only_in_model(keys: list[str], situation: Situation) -> Iterator[Finding]:
    layers = layers_in_order(situation.model)
    are_layers = any(module_name(key) in layers for key in keys)
    is_fatal = situation.guessed and not situation.ambiguous and are_layers and not _is_branch(keys, situation)
    way_out = "they stay as they are; they are random in a new model. Train them"
    if is_fatal:
        way_out = "they stay as they are; and the other names were guessed. Look for a checkpoint of the same network"
    yield Finding(f"Only the model has {some(keys)}; {way_out}.", set(keys), is_fatal)


def _is_branch(keys: list[str], situation: Situation) -> bool:
    """Whether what only the model has ends beside the rest: the layer behind it does not take what it gives."""
    layers = layers_in_order(situation.model)
    names = [name for name in layers if any(module_name(key) == name for key in keys)]
    behind = list(layers)[list(layers).index(names[-1]) + 1 :] if names else []
    return bool(behind) and layers[behind[0]][0] != layers[names[-1]][1]


def _only_in_checkpoint(keys: list[str], situation: Situation, where: Where) -> Iterator[Finding]:
    neutral = {key for key in keys if _does_nothing(key, situation)}
    if neutral:
        yield Finding(
            f"Only the checkpoint has {some(neutral)}, which do nothing: zeros added, or ones multiplied.", neutral
        )
    others = [key for key in keys if key not in neutral and not key.startswith(UNMATCHED)]  # those were named before
    halves = {
        key for key in others if module_name(key) in where.fitting and f"{module_name(key)}.weight" in where.in_model
    }
    blocks = Blocks(situation.tensors)
    amid = halves | {key for key in others if blocks.has(key, where.loaded)} | _links(others, situation, where)
    if amid:
        beside = f" (and beside them {some(set(others) - amid)})" if set(others) - amid else ""
        yield Finding(
            f"Only the checkpoint has {some(amid)}{beside}, trained amid layers that the model has: without them "
            "it is another network. Build the model with them.",
            set(others),
            is_fatal=True,
        )
    elif others:
        between = {key for key in others if _is_before_others(key, situation)}
        more = (
            " They stand between layers that are: if they were trained, build the model with them." if between else ""
        )
        yield Finding(f"Only the checkpoint has {some(others)}; they are not used.{more}", set(others))


def _is_before_others(key: str, situation: Situation) -> bool:
    """Whether the model has layers that come behind it, in the same part of the network."""
    part = module_name(module_name(key))
    if not part or not _is_amid(module_name(key), situation.in_model):
        return False
    keys = list(situation.tensors)
    behind = keys[keys.index(key) + 1 :]
    return any(other.startswith(f"{part}.") and other in situation.in_model for other in behind)


def _links(keys: list[str], situation: Situation, where: Where) -> set[str]:
    """Layers of the checkpoint in a row between two that are loaded: they take what one gives, and give what one takes.

    The order is that of the file; there is none if its names were sorted.
    """
    if list(situation.tensors) == sorted(situation.tensors):
        return set()
    found: set[str] = set()
    row: list[str] = []
    before: Tensor | None = None
    for key, tensor in situation.tensors.items():
        if tensor.ndim < 2 or not key.endswith("weight"):
            continue
        if key in keys:
            row.append(key)
            continue
        fits = module_name(key) in where.fitting
        if row and before is not None:
            first, last = situation.tensors[row[0]], situation.tensors[row[-1]]
            if first.shape[1] == before.shape[0] and fits and last.shape[0] == tensor.shape[1]:
                found |= set(row)
        row, before = [], tensor if fits else None
    return found


def _does_nothing(key: str, situation: Situation) -> bool:
    """Whether it adds nothing to a layer that the model has, or multiplies by one; a norm does more than that."""
    tensor, own = situation.tensors[key], module_name(key)
    if not tensor.is_floating_point() or tensor.ndim > 1 or not tensor.numel() or tensor.is_meta:
        return False
    if key.endswith("bias"):
        return f"{own}.weight" in situation.in_model and bool((tensor == 0).all())
    beside = [other for other in situation.tensors if other != key and module_name(other) == own]
    return not beside and bool((tensor == 1).all())


def _is_amid(name: str, in_model: Iterable[str]) -> bool:
    """Whether a module stands where the model has others, and not in a branch of its own or in place of a layer."""
    parent = module_name(name)
    behind = [key.removeprefix(f"{parent}.") for key in in_model if key.startswith(f"{parent}.")]
    return not parent or any("." in rest for rest in behind)
