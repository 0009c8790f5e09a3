"""Load the part of a checkpoint that fits, and say exactly what that was."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import StateDictError
from ..text import few
from .arguments import EXTRA_STATE, check_model, check_tensors
from .asking import Answer, ask
from .kinds import why_not_into
from .report import LoadReport, RenameSuggestion, percent

Rename = RenameSuggestion | Mapping[str, str] | Iterable[tuple[str, str]] | Callable[[str], str] | None


def load_matching(
    model: nn.Module, state_dict: Mapping[str, Tensor], *, rename: Rename = None, min_coverage: float = 0.0
) -> LoadReport:
    """Copy into `model` the tensors of `state_dict` whose name and shape it has.

    What a module converts itself when it loads, such as weight_norm's older names, counts as its own name. The model
    keeps its own memory, and `state_dict` is not changed. If an error is raised, the model is as it was.

    Args:
        model: what to fill; not on the `meta` device.
        state_dict: tensors by name.
        rename: how names of the checkpoint become names of the model: what `suggest_renames` returned, a dictionary,
            pairs of a regular expression and its replacement, applied one after the other as `re.sub` does, or a
            function.
        min_coverage: the least share of the model's numbers that must be loaded, from 0 to 1; 1 is all parameters and
            all buffers but those of whole numbers, such as counters.

    Raises:
        StateDictError: nothing matches, or less than `min_coverage`; `state_dict` holds more than tensors; two names
            become one; a name in `rename` is not there; the model is on `meta` or lazy; a tensor is of a kind that
            cannot be copied, or whole numbers or float8 that need a scale; tensors that the model shares would get
            different values.
    """
    check_model(model)
    if not isinstance(min_coverage, int | float) or not 0 <= min_coverage <= 1:
        raise StateDictError(f"min_coverage is a share from 0 to 1, not {min_coverage!r}")
    answer, report = _matched(model, state_dict, rename)
    on_meta = [key for key, target in answer.targets.items() if target.is_meta]
    if on_meta:
        raise StateDictError(
            f"{few(map(repr, on_meta), 1)} are on the meta device, where nothing can be copied to: "
            "build the model on the CPU, or use load_without_copying"
        )
    if not report.loaded:
        raise StateDictError(f"nothing matches: {_examples(renamed(state_dict, rename).values(), answer.targets)}")
    if report.coverage < min_coverage:
        raise StateDictError(
            f"only {percent(report.coverage)} of the numbers match, {min_coverage:.1%} are asked for\n{report}"
        )
    for key, tensor in answer.taken.items():
        if why := why_not_into(tensor, answer.targets[key]):
            raise StateDictError(f"{key!r} {why}")
    if why := conflict(answer):
        raise StateDictError(why)
    with torch.no_grad():
        for key, tensor in answer.taken.items():
            answer.targets[key].copy_(tensor)
    return report


def match_keys(model: nn.Module, state_dict: Mapping[str, Tensor], *, rename: Rename = None) -> LoadReport:
    """The report of `load_matching`, without loading anything."""
    return _matched(model, state_dict, rename)[1]


def _matched(model: nn.Module, state_dict: Mapping[str, Tensor], rename: Rename) -> tuple[Answer, LoadReport]:
    check_model(model)
    new_names = renamed(state_dict, rename)
    answer = ask(model, _with_names(state_dict, new_names))
    both = answer.taken.keys() | answer.mismatched.keys()
    filled = _filled(model, answer.taken)
    report = LoadReport(
        loaded=tuple(answer.taken),
        missing=tuple(key for key in answer.targets if key not in both and key not in filled),
        unexpected=(*answer.unexpected, *(new for new in new_names.values() if new.endswith(EXTRA_STATE))),
        mismatched=answer.mismatched,
        renamed={old: new for old, new in new_names.items() if old != new},
        half_loaded=_half_loaded(answer.targets, filled | answer.taken.keys()),
        coverage=_coverage(answer.targets, answer.taken),
    )
    return answer, report


def _with_names(state_dict: Mapping[str, Tensor], new_names: Mapping[str, str]) -> Mapping[str, Tensor]:
    """The tensors under their new names, and with them the versions of modules."""
    kept = {old: new for old, new in new_names.items() if not new.endswith(EXTRA_STATE)}
    result = OrderedDict((new, state_dict[old]) for old, new in kept.items())
    metadata = getattr(state_dict, "_metadata", None)
    if metadata:
        result._metadata = _versions(metadata, new_names)  # type: ignore[attr-defined]
    return result


def _versions(metadata: Mapping[str, Any], new_names: Mapping[str, str]) -> Mapping[str, Any]:
    """The version of each module under the name to which most of its tensors went."""
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for old, new in new_names.items():
        parts = old.split(".")
        for depth in range(len(parts)):
            module, rest = ".".join(parts[:depth]), ".".join(parts[depth:])
            if module in metadata and f".{new}".endswith(f".{rest}"):
                places[module][new.removesuffix(rest).removesuffix(".")] += 1
    return OrderedDict((found.most_common(1)[0][0], metadata[module]) for module, found in places.items())


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers by name, without what else some modules put into their state_dict.

    Raises:
        StateDictError: it is no model, or a lazy module does not know its shapes yet.
    """
    check_model(model)
    tensors = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    lazy = [key for key, tensor in tensors.items() if is_lazy(tensor)]
    if lazy:
        raise StateDictError(f"the lazy module of {lazy[0]!r} has no shapes yet: run the model once, then load")
    return tensors


def renamed(state_dict: Mapping[str, Tensor], rename: Rename) -> dict[str, str]:
    """Each name of the checkpoint -> its new name.

    Raises:
        StateDictError: something is no tensor, or has no name; two names become one, or a dictionary renames what is
            not there.
    """
    check_tensors(state_dict)
    if rename is None:
        return {old: old for old in state_dict}
    if isinstance(rename, RenameSuggestion):
        rename = rename.mapping
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
        pairs = _pairs(rename)
        new_names = {old: _substituted(old, pairs) for old in state_dict}
    olds: dict[str, str] = {}
    for old, new in new_names.items():
        if not isinstance(new, str):
            raise StateDictError(f"rename: {old!r} would become {new!r}, which is no name")
        if new in olds:
            raise StateDictError(f"rename: {olds[new]!r} and {old!r} would both become {new!r}")
        olds[new] = old
    return new_names


def _pairs(rename: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(rename)
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise StateDictError(f"rename: {pair!r} is no pair of a regular expression and its replacement")
    return pairs


def _substituted(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name


def _coverage(targets: Mapping[str, Tensor], loaded: Collection[str]) -> float:
    """Share of the numbers in parameters and floating-point buffers; what has several names counts once."""
    names: dict[Tensor, set[str]] = defaultdict(set)
    for key, tensor in targets.items():
        if isinstance(tensor, nn.Parameter) or tensor.is_floating_point():
            names[tensor].add(key)
    total = sum(tensor.numel() for tensor in names)
    found = sum(tensor.numel() for tensor, keys in names.items() if any(key in loaded for key in keys))
    return found / total if total else float(bool(loaded))


def _filled(model: nn.Module, loaded: Collection[str]) -> set[str]:
    """The names of parameters that are loaded under one of their names."""
    filled: set[str] = set()
    for keys in _names(model).values():
        if any(key in loaded for key in keys):
            filled |= keys
    return filled


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


def conflict(answer: Answer) -> str | None:
    """What is wrong if two names of one tensor would get two values; None if it is not so."""
    places: dict[tuple[object, ...], str] = {}
    for key, tensor in answer.taken.items():
        target = answer.targets[key]
        if target.is_meta or not target.numel():
            continue
        place = (target.untyped_storage().data_ptr(), target.storage_offset(), target.shape, target.stride())
        first = places.setdefault(place, key)
        if first != key and not torch.equal(answer.taken[first], tensor):
            return f"the model shares one tensor between {first!r} and {key!r}, and the checkpoint has two"
    return None


def _examples(in_checkpoint: Iterable[str], in_model: Iterable[str]) -> str:
    from_checkpoint, from_model = few(map(repr, in_checkpoint), 2), few(map(repr, in_model), 2)
    return f"the checkpoint has {from_checkpoint}; the model has {from_model} (explain(model, state_dict) says why)"
