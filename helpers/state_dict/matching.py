"""Load the part of a checkpoint that fits, and say exactly what that was."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import StateDictError
from ..text import few
from .report import LoadReport

Rename = Mapping[str, str] | Iterable[tuple[str, str]] | Callable[[str], str] | None


def load_matching(
    model: nn.Module, state_dict: Mapping[str, Tensor], *, rename: Rename = None, min_coverage: float = 0.0
) -> LoadReport:
    """Copy into `model` the tensors of `state_dict` whose name and shape it has.

    The model keeps its own memory, and `state_dict` is not changed. If an error is raised, the model is as it was.

    Args:
        model: what to fill; not on the `meta` device.
        state_dict: tensors by name.
        rename: how names of the checkpoint become names of the model: a dictionary, pairs of a regular expression
            and its replacement, applied one after the other as `re.sub` does, or a function.
        min_coverage: the least share of the model's parameters that must be loaded.

    Raises:
        StateDictError: nothing matches, or less than `min_coverage`; two names become one; a name in `rename` is not
            there; the model is on `meta` or lazy; a tensor is of a kind that cannot be copied; tensors that the model
            shares would get different values.
    """
    in_model = tensors_of(model)
    on_meta = [key for key, tensor in in_model.items() if tensor.is_meta]
    if on_meta:
        raise StateDictError(
            f"{few(map(repr, on_meta), 1)} are on the meta device, where nothing can be copied to: "
            "build the model on the CPU, or use load_without_copying"
        )
    new_names = renamed(state_dict, rename)
    report = match_keys(model, state_dict, rename=new_names)
    if not report.loaded:
        raise StateDictError(f"nothing matches: {_examples(new_names.values(), in_model)}")
    if report.coverage < min_coverage:
        raise StateDictError(
            f"only {report.coverage:.1%} of the parameters match, {min_coverage:.1%} are asked for\n{report}"
        )
    loaded = set(report.loaded)
    chosen = OrderedDict((new, state_dict[old]) for old, new in new_names.items() if new in loaded)
    _refuse_what_cannot_be_copied(in_model, chosen)
    _refuse_conflicts(in_model, chosen)
    with torch.no_grad():
        model.load_state_dict(chosen, strict=False)
    return report


def match_keys(model: nn.Module, state_dict: Mapping[str, Tensor], *, rename: Rename = None) -> LoadReport:
    """The report of `load_matching`, without loading anything."""
    in_model = {key: tuple(tensor.shape) for key, tensor in tensors_of(model).items()}
    new_names = renamed(state_dict, rename)
    in_checkpoint = {new: tuple(state_dict[old].shape) for old, new in new_names.items()}
    both = [key for key in in_model if key in in_checkpoint]
    loaded = tuple(key for key in both if in_checkpoint[key] == in_model[key])
    filled = {key for keys in _names(model).values() if not keys.isdisjoint(loaded) for key in keys}
    return LoadReport(
        loaded=loaded,
        missing=tuple(key for key in in_model if key not in in_checkpoint and key not in filled),
        unexpected=tuple(new for new in in_checkpoint if new not in in_model),
        mismatched={key: (in_checkpoint[key], in_model[key]) for key in both if key not in loaded},
        renamed={old: new for old, new in new_names.items() if old != new},
        half_loaded=_half_loaded(in_model, filled | set(loaded)),
        coverage=_coverage(model, loaded),
    )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers by name, without what else some modules put into their state_dict.

    Raises:
        StateDictError: a lazy module does not know its shapes yet.
    """
    tensors = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    lazy = [key for key, tensor in tensors.items() if is_lazy(tensor)]
    if lazy:
        raise StateDictError(f"the lazy module of {lazy[0]!r} has no shapes yet: run the model once, then load")
    return tensors


def renamed(state_dict: Mapping[str, Tensor], rename: Rename) -> dict[str, str]:
    """Each name of the checkpoint -> its new name.

    Raises:
        StateDictError: two names become one, or a dictionary renames what is not there.
    """
    if rename is None:
        rename = {}
    if isinstance(rename, Mapping):
        unknown = [old for old in rename if old not in state_dict]
        if unknown:
            raise StateDictError(
                f"rename: the checkpoint has no {unknown[0]!r}; it has {few(map(repr, state_dict), 2)}"
            )
        new_names = {old: rename.get(old, old) for old in state_dict}
    elif callable(rename):
        new_names = {old: rename(old) for old in state_dict}
    else:
        pairs = tuple(rename)
        new_names = {old: _substituted(old, pairs) for old in state_dict}
    for new, count in Counter(new_names.values()).items():
        if count > 1:
            olds = [old for old, name in new_names.items() if name == new]
            raise StateDictError(f"rename: {' and '.join(map(repr, olds))} would both become {new!r}")
    return new_names


def _substituted(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name


def _coverage(model: nn.Module, loaded: Collection[str]) -> float:
    """Share of the numbers in the parameters; one that has two names counts once."""
    names = _names(model)
    total = sum(parameter.numel() for parameter in names)
    found = sum(parameter.numel() for parameter, keys in names.items() if not keys.isdisjoint(loaded))
    return found / total if total else float(bool(loaded))


def _names(model: nn.Module) -> dict[Tensor, set[str]]:
    """Each parameter -> its names, of which it has several if modules share it."""
    names: dict[Tensor, set[str]] = defaultdict(set)
    for key, parameter in model.named_parameters(remove_duplicate=False):
        names[parameter].add(key)
    return names


def _half_loaded(in_model: Iterable[str], loaded: set[str]) -> tuple[str, ...]:
    """Modules of which some parameters or buffers are loaded and others are not; a counter of batches is no matter."""
    fates: dict[str, set[bool]] = defaultdict(set)
    for key in in_model:
        module, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            fates[module].add(key in loaded)
    return tuple(module for module, found in fates.items() if len(found) == 2)


def _refuse_what_cannot_be_copied(in_model: Mapping[str, Tensor], chosen: Mapping[str, Tensor]) -> None:
    """Before anything is copied, so that the model stays whole."""
    for key, tensor in chosen.items():
        filled = in_model[key]
        if any(stride == 0 and size > 1 for size, stride in zip(filled.shape, filled.stride(), strict=True)):
            raise StateDictError(f"{key!r} of the model is expanded, several numbers in one place: clone it first")
        plain = tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized)
        if not plain or (tensor.is_complex() and not filled.is_complex()):
            kind = "complex" if plain else "sparse, quantized or on meta"
            raise StateDictError(f"{key!r} is {kind} in the checkpoint, and cannot be copied into the model's tensor")


def _refuse_conflicts(in_model: Mapping[str, Tensor], chosen: Mapping[str, Tensor]) -> None:
    """Two names of one tensor cannot get two values."""
    places: dict[tuple, str] = {}
    for key, tensor in chosen.items():
        filled = in_model[key]
        place = (filled.untyped_storage().data_ptr(), filled.storage_offset(), filled.shape, filled.stride())
        first = places.setdefault(place, key)
        if filled.numel() and first != key and not torch.equal(chosen[first], tensor):
            raise StateDictError(
                f"the model shares one tensor between {first!r} and {key!r}, and the checkpoint has two"
            )


def _examples(in_checkpoint: Iterable[str], in_model: Iterable[str]) -> str:
    from_checkpoint, from_model = few(map(repr, in_checkpoint), 2), few(map(repr, in_model), 2)
    return f"the checkpoint has {from_checkpoint}; the model has {from_model} (explain(model, state_dict) says why)"
