"""Other names for the same tensors: of other frameworks, behind prefixes and wrappers, or altogether."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import StateDictError
from ...text import few
from ..converting import add_tied_names, rename_leaves
from ..fitting import Fit, component_pattern, cut, fits, prefixes_by_fit, without
from ..numbering import family, renumbered_families
from ..renames import ORDER, modules_of, suggest_renames
from ..words import contradict
from .situation import Situation, are

LEAVES = {  # of Keras and TensorFlow, of old Transformers, of Flax -> PyTorch's
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "moving_var": "running_var",
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "embeddings": "weight",
    "embedding": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
PAIRS = (("gamma", "beta"), ("scale", "bias"), ("mean", "var"), ("var", "mean"))
SHOWN = 4  # names that are written out
LEAST = 8  # a prefix says something if it places one of so many names
WRAPPERS = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod", "module")


def separators(situation: Situation) -> None:
    """Names of TensorFlow, `conv/kernel:0`, as PyTorch writes them."""
    if not any("/" in key for key in situation.tensors) or any("/" in key for key in situation.in_model):
        return
    tensors = {key.replace("/", ".").removesuffix(":0"): tensor for key, tensor in situation.tensors.items()}
    if len(tensors) < len(situation.tensors):
        return
    situation.apply(
        "Names are separated by '/', as in TensorFlow.",
        "state_dict = {key.replace('/', '.').removesuffix(':0'): t for key, t in state_dict.items()}",
        tensors,
    )


def leaves(situation: Situation) -> None:
    """What other frameworks call weight, bias and the running statistics; kernels of theirs are turned, too."""
    in_checkpoint = {key.rpartition(".")[2] for key in situation.tensors}
    in_model = {key.rpartition(".")[2] for key in situation.in_model}
    names = {}
    for old, new in LEAVES.items():
        if old in in_checkpoint and old not in in_model and new in in_model:
            names[old] = new
    for one, other in PAIRS:  # alone they are something else, such as the scale of a layer
        if not {one, other} <= in_checkpoint:
            names.pop(one, None)
    if not names:
        return
    kernels = [key for key in situation.tensors if key.rpartition(".")[2] == "kernel"] if "kernel" in names else []
    turned = {key: turn(tensor) if key in kernels else tensor for key, tensor in situation.tensors.items()}
    try:
        tensors = rename_leaves(turned, names)
    except StateDictError:
        return
    pairs = ", ".join(f"{old} for {new}" for old, new in names.items())
    cause = f"Names end as in another framework: {pairs}."
    lines = ""
    if kernels:
        cause += (
            " Its kernels are in the order (height, width, in, out), its matrices (in, out); a Linear behind a flatten "
            "may count pixels before channels there: compare outputs."
        )
        moved = "t.permute(3, 2, 0, 1) if t.ndim == 4 else t.T if t.ndim == 2 else t"
        lines = f"turned = {{k: {moved} for k, t in state_dict.items() if k.endswith('kernel')}}\n"
        lines += "state_dict = {**state_dict, **turned}\n"
    lines += f"from helpers.state_dict import rename_leaves\n\nstate_dict = rename_leaves(state_dict, {names!r})"
    situation.apply(cause, lines, tensors)


def turn(tensor: Tensor) -> Tensor:
    """A kernel (height, width, in, out) or a matrix (in, out) in PyTorch's order."""
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor


def prefixes(situation: Situation) -> None:
    """What stands in front of all names of one side; or several copies of the model, each with its own."""
    if not situation.fits():
        _other_prefix(situation)
    for _ in range(3):  # a prefix before a wrapper before a prefix
        before = situation.fits()
        _prefix(situation)
        if not situation.hopeless:
            _wrappers(situation)
        if situation.hopeless or situation.fits() == before:
            return


def _other_prefix(situation: Situation) -> None:
    """One prefix on all names of the checkpoint, another on those of the model."""
    tensors = situation.tensors
    for prefix, _ in cut(next(iter(tensors), "")):
        if not prefix or not all(key.startswith(prefix) for key in tensors):
            continue
        without_it = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
        found = [fit for fit in prefixes_by_fit(situation.in_model, without_it) if fit.put_in_front]
        if found and 2 * found[0].shaped > len(tensors) and [fit.shaped for fit in found].count(found[0].shaped) == 1:
            new = found[0].put_in_front
            situation.apply(
                f"The names in the checkpoint have {prefix!r} in front, those in the model {new!r}.",
                f"state_dict = {{{new!r} + key.removeprefix({prefix!r}): t for key, t in state_dict.items()}}",
                {new + key: tensor for key, tensor in without_it.items()},
            )
            return


def _prefix(situation: Situation) -> None:
    found = prefixes_by_fit(situation.in_model, situation.tensors)
    if not found or not (found[0].taken_off or found[0].put_in_front):
        return
    best = found[0]
    plain = next((fit for fit in found if not fit.taken_off and not fit.put_in_front), Fit())
    half = min(len(situation.in_model), len(situation.tensors)) / 2
    few_fit = best.shaped < 2 and len(situation.tensors) > 2
    if best.shaped <= plain.shaped or few_fit or best.named < min(half, 4) or best.named * LEAST < 2 * half:
        return
    copies = [fit.taken_off for fit in found if fit.taken_off and fit.shaped == best.shaped]
    if len(copies) > 1 and best.shaped * 2 > len(situation.in_model) and not _equal(situation.tensors, copies):
        situation.give_up(
            f"The model fits {len(copies)} times: under {few(map(repr, copies), 5)} lie other numbers of the same "
            "names and shapes. Say which you want, for instance state_dict = {key.removeprefix("
            f"{copies[0]!r}): t for key, t in state_dict.items() if key.startswith({copies[0]!r})}}."
        )
        return
    places = [fit.put_in_front for fit in found if fit.put_in_front and fit.shaped == best.shaped]
    if best.put_in_front and len(places) > 1 and best.shaped * 2 > len(situation.tensors):
        situation.give_up(
            f"The checkpoint fits {len(places)} parts of the model: {few(map(repr, places), 5)}. Say which it is for, "
            f"for instance state_dict = {{{places[0]!r} + key: t for key, t in state_dict.items()}}."
        )
        return
    if best.put_in_front:
        situation.apply(
            f"The names in the model have {best.put_in_front!r} in front.",
            f"state_dict = {{{best.put_in_front!r} + key: t for key, t in state_dict.items()}}",
            {best.put_in_front + key: tensor for key, tensor in situation.tensors.items()},
        )
        return
    prefix = best.taken_off
    others = [key for key in situation.tensors if not key.startswith(prefix)]
    cause, condition = f"The names in the checkpoint have {prefix!r} in front.", ""
    kept = situation.tensors
    if others:
        cause += f" Beside them lies {few(others)}, which is left out."
        condition = f" if key.startswith({prefix!r})"
        kept = {key: tensor for key, tensor in kept.items() if key.startswith(prefix)}
    line = f"state_dict = {{key.removeprefix({prefix!r}): t for key, t in state_dict.items(){condition}}}"
    versions: dict[str, Any] = {}
    if not others and _has_versions(situation):
        inner = {key: version for key, version in situation.versions.items() if f"{key}.".startswith(prefix)}
        versions = {key[len(prefix) :]: version for key, version in inner.items()}
        cause += " Versions of modules stand beside the names, and some modules here read them."
        consume = "consume_prefix_in_state_dict_if_present"
        line = f"import copy\nfrom torch.nn.modules.utils import {consume}\n\nstate_dict = copy.copy(state_dict)\n"
        line += f"{consume}(state_dict, {prefix!r})"
    situation.extras = {key.removeprefix(prefix): value for key, value in situation.extras.items()}
    situation.apply(cause, line, {key.removeprefix(prefix): tensor for key, tensor in kept.items()})
    situation.versions = versions


def _has_versions(situation: Situation) -> bool:
    """Whether the checkpoint says what versions of modules saved it, and a module that is not torch's may ask."""
    if not situation.versions:
        return False
    for module in situation.model.modules():
        for base in type(module).__mro__:
            if not base.__module__.startswith("torch.") and "_load_from_state_dict" in vars(base):
                return True
    return False


def _equal(tensors: Mapping[str, Tensor], copies: list[str]) -> bool:
    """Whether all copies hold the same numbers, so that it does not matter which is taken."""
    first = {key.removeprefix(copies[0]): t for key, t in tensors.items() if key.startswith(copies[0])}
    for copy in copies[1:]:
        for key, tensor in first.items():
            other = tensors.get(copy + key)
            if other is None or other.shape != tensor.shape or not torch.equal(other, tensor):
                return False
    return True


def _wrappers(situation: Situation) -> None:
    """Components in the middle of names of one side only, as FSDP, torch.compile and others put them there."""
    in_checkpoint, in_model = _components(situation.tensors), _components(situation.in_model)
    known = [component for component in WRAPPERS if component in in_checkpoint and component not in in_model]
    others = [component for component in in_checkpoint if component not in in_model]
    for components in (known, *([other] for other in others)):
        tensors = {_without_all(components, key): tensor for key, tensor in situation.tensors.items()}
        if len(tensors) == len(situation.tensors) and fits(situation.in_model, tensors) > situation.fits():
            pattern = "|".join(map(component_pattern, components))
            situation.apply(
                f"What wrapped the model stands in the checkpoint's names: {few(map(repr, components))}.",
                f"import re\n\nstate_dict = {{re.sub({pattern!r}, '', key): t for key, t in state_dict.items()}}",
                tensors,
            )
    known = [component for component in WRAPPERS if component in in_model and component not in in_checkpoint]
    others = [component for component in in_model if component not in in_checkpoint]
    for components in (known, *([other] for other in others)):
        names = {_without_all(components, name): name for name in situation.in_model}
        tensors = {names.get(key, key): tensor for key, tensor in situation.tensors.items()}
        if len(names) == len(situation.in_model) and fits(situation.in_model, tensors) > situation.fits():
            pattern = "|".join(map(component_pattern, components))
            situation.apply(
                f"What wraps the model stands in its names: {few(map(repr, components))}.",
                f"import re\n\nnames = {{re.sub({pattern!r}, '', name): name for name in model.state_dict()}}\n"
                "state_dict = {names.get(key, key): t for key, t in state_dict.items()}",
                tensors,
            )


def _without_all(components: Sequence[str], name: str) -> str:
    for component in components:
        name = without(component, name)
    return name


def _components(names: Mapping[str, Tensor]) -> list[str]:
    """The parts of names that are no numbers, most frequent ones first; not the last."""
    counts = Counter(part for name in names for part in set(name.split(".")[:-1]) if not part.isdigit())
    return [part for part, _ in counts.most_common(12)]


def names(situation: Situation) -> None:
    """Other names altogether, paired by shapes and order."""
    model, tensors = situation.model, situation.tensors
    before = situation.fits()
    smaller = min(len(tensors), len(situation.in_model))
    suggestion = suggest_renames(model, tensors)
    mapping = {old: new for old, new in suggestion.mapping.items() if old != new}
    pairs = {old: new for old, new in mapping.items() if old in suggestion.why}
    paired = len(suggestion.why)
    moved = renumbered_families(modules_of(tensors), modules_of(situation.in_model))
    if 2 * before >= smaller and not moved:  # most names are right, so names that both have are not doubted
        both = tensors.keys() & situation.in_model.keys()
        pairs = {old: new for old, new in pairs.items() if not both & {old, new}}
        pairs = mapping = _of_whole_families(pairs, both, situation.in_model)
        paired = before + len(pairs)
    if 2 * paired < smaller or paired <= before:
        return
    renamed = {mapping.get(key, key): tensor for key, tensor in tensors.items()}
    old, new = next(iter(pairs.items()))
    cause = f"The names differ; by shape and order {paired} of {len(tensors)} tensors can be paired, "
    cause += f"for instance {old} with {new}."
    if suggestion.ambiguous:
        in_checkpoint, in_model = suggestion.ambiguous[0]
        cause += (
            f" Nothing decides which of {few(in_checkpoint)} is which of {few(in_model)}, so they are left out; "
            "if you know, write it into `names`."
        )
    if ORDER in {suggestion.why[old] for old in pairs}:
        cause += " Order is taken on trust: compare outputs."
    situation.guessed, situation.ambiguous = True, bool(suggestion.ambiguous)
    line = "state_dict = {names.get(key, key): t for key, t in state_dict.items()}"
    if len(pairs) <= SHOWN:
        situation.apply(cause, f"names = {mapping!r}\n{line}", renamed)
    else:
        found = "names = suggest_renames(model, state_dict).mapping"
        situation.apply(cause, f"from helpers.state_dict import suggest_renames\n\n{found}\n{line}", renamed)


def _of_whole_families(pairs: Mapping[str, str], both: set[str], in_model: Mapping[str, Tensor]) -> dict[str, str]:
    """Without pairs of which the model has more with other numbers that would stay empty, as norm0 and norm1."""
    filled = both | set(pairs.values())
    empty = {family(name) for name in in_model if name not in filled}
    return {old: new for old, new in pairs.items() if family(new) not in empty or family(new) == family(old)}


def leftovers(situation: Situation) -> None:
    """What is left on both sides if names were guessed: single tensors, such as a class token, and a head."""
    if not situation.guessed:
        return
    missing = {key: t for key, t in situation.in_model.items() if key not in situation.tensors}
    unexpected = {key: t for key, t in situation.tensors.items() if key not in situation.in_model}
    names = _of_one_shape(unexpected, missing)
    still_unexpected = {key: tensor for key, tensor in unexpected.items() if key not in names}
    still_missing = {key: tensor for key, tensor in missing.items() if key not in names.values()}
    names |= _of_one_layer(still_unexpected, still_missing)
    if not names:
        return
    old, new = next(iter(names.items()))
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    situation.apply(
        f"What is left on both sides is paired, too: {old} with {new}{more}.",
        f"names = {names!r}\nstate_dict = {{names.get(key, key): t for key, t in state_dict.items()}}",
        {names.get(key, key): tensor for key, tensor in situation.tensors.items()},
    )


def _of_one_shape(unexpected: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, str]:
    """Pairs, if shapes follow one another alike on both sides, or each of a pair is the only one of its shape."""
    shapes = [_without_ones(tensor) for tensor in missing.values()]
    others = [_without_ones(tensor) for tensor in unexpected.values()]
    if shapes == others and not any(map(contradict, unexpected, missing)):
        return dict(zip(unexpected, missing, strict=True))
    pairs = {}
    for key, shape in zip(unexpected, others, strict=True):
        if others.count(shape) == shapes.count(shape) == 1:
            name = list(missing)[shapes.index(shape)]
            if not contradict(key, name):
                pairs[key] = name
    return pairs


def _of_one_layer(unexpected: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, str]:
    """Pairs of one layer that is left on each side and takes as many inputs: a head of other classes."""
    layers = {key.rpartition(".")[0] for key in unexpected}, {key.rpartition(".")[0] for key in missing}
    if len(layers[0]) != 1 or len(layers[1]) != 1 or len(unexpected) != len(missing):
        return {}
    old, new = layers[0].pop(), layers[1].pop()
    pairs = {key: new + key.removeprefix(old) for key in unexpected}
    for key, name in pairs.items():
        if name not in missing or missing[name].shape[1:] != unexpected[key].shape[1:]:
            return {}
    return pairs


def _without_ones(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if size != 1)


def tied(situation: Situation) -> None:
    """One tensor of the model with two names, of which the file has one."""
    tensors = add_tied_names(situation.tensors, situation.model)
    added = tensors.keys() - situation.tensors.keys()
    if not added or tensors.keys() - situation.in_model.keys():  # load_matching fills both names in any case
        return
    situation.convert(
        f"The model has one tensor under several names; {few(sorted(added))} {are(added)} not in the checkpoint, its "
        "other name is. Nothing is lost.",
        "add_tied_names",
        tensors,
        ", model",
    )
