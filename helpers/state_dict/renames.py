"""Which tensor of a checkpoint is which tensor of a model, if the names do not say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from .arguments import check_tensors
from .fitting import cut
from .matching import tensors_of
from .numbering import (
    Module,
    Modules,
    Signature,
    doubtful_numbers,
    family,
    order_can_be_trusted,
    renumbered_families,
    signature,
)
from .report import RenameSuggestion
from .words import by_words, contradict, disagree

UNMATCHED = "unmatched."  # in front of a name that nothing must be loaded under
MOST_PAIRS = 4_000_000  # of modules that are compared; above that, order is not looked at where the sides differ
SAME_NAME = "same name and shapes"
NUMBERED = "same name and shapes, unless layers were inserted and the numbers have moved"
PREFIX = "same name and shapes but for a prefix"
ONLY_ONE = "the only one of these shapes"
WORDS = "by words in the names, among others of these shapes"
ORDER = "by order, among others of these shapes"


def suggest_renames(model: nn.Module, state_dict: Mapping[str, Tensor]) -> RenameSuggestion:
    """Pair the modules of a checkpoint with those of a model by names, shapes and order.

    A module is what shares a name up to the last dot; its shapes are those of all its tensors. Modules of the same
    name and shapes are paired, unless the numbers in such names are others on both sides; then those that differ by a
    prefix, then those whose shapes occur only once. Order decides among the rest, if it can be trusted: if all modules
    of the same kinds follow one another alike on both sides, no other pairing is as good, and the names are not
    sorted, as safetensors leaves them. Where order and name disagree, neither is followed; where words in the names
    say which is which, such as key and value, they are. What means opposites, as encoder and decoder, is not paired.

    Order and names are taken on trust. Modules of the same shapes that were exchanged and renamed cannot be noticed
    here: compare outputs after loading.
    """
    check_tensors(state_dict)
    model_tensors = tensors_of(model)
    in_checkpoint, in_model = modules_of(state_dict), modules_of(model_tensors)
    if not _leaves(in_checkpoint) & _leaves(in_model):  # names that say nothing: each tensor on its own
        in_checkpoint, in_model = _tensors(state_dict), _tensors(model_tensors)
    moved = renumbered_families(in_checkpoint, in_model)
    both = [name for name in in_checkpoint if name in in_model and _alike(in_checkpoint[name], in_model[name])]
    named = {name: name for name in both if family(name) not in moved}
    ordered = _by_order(in_checkpoint, in_model) if order_can_be_trusted(in_checkpoint, in_model) else {}
    by_name, against = _words_decide(ordered, in_checkpoint)
    ordered = {name: model_name for name, model_name in ordered.items() if name not in by_name}
    disputed = {name for name in named if ordered.get(name, name) != name} | against
    disputed |= {name for name, model_name in ordered.items() if model_name in disputed}
    pairs: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    for reason, found in (
        (SAME_NAME, named),
        (PREFIX, _behind_a_prefix(in_checkpoint, in_model)),
        (WORDS, by_name),
        (ONLY_ONE, _only_ones(in_checkpoint, in_model)),
        (ORDER, ordered),
    ):
        for name, model_name in found.items():
            is_free = name not in pairs and model_name not in taken and name not in disputed
            if is_free and not (name != model_name and contradict(name, model_name)):
                pairs[name] = model_name, reason
                taken.add(model_name)
    pairs = _with_doubts(pairs, in_checkpoint, in_model)
    mapping: dict[str, str] = {}
    why: dict[str, str] = {}
    for name, (model_name, reason) in pairs.items():
        for leaf in in_model[model_name]:
            key = _key(name, leaf)
            if key in state_dict:
                mapping[key], why[key] = _key(model_name, leaf), reason
    ambiguous, unmatched = _left_over(in_checkpoint, in_model, pairs.keys(), taken)
    in_the_way = set(mapping.values()) & (state_dict.keys() - mapping.keys())
    undecided = {name for names, _ in ambiguous for name in names}
    in_the_way |= {_key(name, leaf) for name in undecided for leaf in in_checkpoint[name]} & model_tensors.keys()
    return RenameSuggestion(
        mapping=mapping | {key: f"{UNMATCHED}{key}" for key in in_the_way},
        why=why,
        ambiguous=ambiguous,
        unmatched=unmatched,
    )


def _words_decide(ordered: Mapping[str, str], in_checkpoint: Modules) -> tuple[dict[str, str], set[str]]:
    """(pairs in another order, for which the words in their names speak, names whose words and order contradict)."""
    groups: dict[tuple[Signature, str, str], list[str]] = defaultdict(list)
    for name, model_name in ordered.items():
        place = name.rpartition(".")[0], model_name.rpartition(".")[0]
        groups[signature(in_checkpoint[name]), *place].append(name)
    by_name: dict[str, str] = {}
    against: set[str] = set()
    for names in groups.values():
        others = [ordered[name] for name in names]
        if len(names) > 1 and disagree(names, others):
            decided = by_words(names, others)
            by_name |= decided or {}
            against |= set() if decided else set(names)
    return by_name, against


def _with_doubts(
    pairs: Mapping[str, tuple[str, str]], in_checkpoint: Modules, in_model: Modules
) -> dict[str, tuple[str, str]]:
    """The pairs; where a layer that was inserted may have moved the number in a name, that is the evidence."""
    renamed = {name: module for name, module in in_checkpoint.items() if name not in pairs}
    renamed |= {model_name: in_checkpoint[name] for name, (model_name, _) in pairs.items()}
    doubtful = doubtful_numbers(renamed, in_model)
    others = [(name, model_name) for name, (model_name, _) in pairs.items() if name != model_name]
    moved = {family(name) for name, model_name in others if family(name) == family(model_name)}
    found = {}
    for name, (model_name, reason) in pairs.items():
        in_doubt = model_name in doubtful or family(name) in moved
        if in_doubt and reason in (SAME_NAME, PREFIX):
            found[name] = model_name, NUMBERED
        else:
            found[name] = model_name, reason
    return found


def modules_of(tensors: Mapping[str, Tensor]) -> Modules:
    """Modules by name: what shares a name up to the last dot."""
    found: Modules = defaultdict(dict)
    for key, tensor in tensors.items():
        module, _, leaf = key.rpartition(".")
        found[module][leaf] = tuple(tensor.shape)
    return dict(found)


def _tensors(tensors: Mapping[str, Tensor]) -> Modules:
    return {key: {"": tuple(tensor.shape)} for key, tensor in tensors.items()}


def _key(module: str, leaf: str) -> str:
    return ".".join(filter(None, (module, leaf)))


def _leaves(modules: Modules) -> set[str]:
    return {leaf for module in modules.values() for leaf in module}


def _alike(a: Module, b: Module) -> bool:
    return signature(a) == signature(b)


def _prefix(in_checkpoint: Modules, in_model: Modules) -> tuple[str, str]:
    """The prefix by which most pairs of modules of the same shapes differ, if it is that of two pairs or more."""
    found: Counter[tuple[str, str]] = Counter()
    for name, module in in_checkpoint.items():
        for prefix, rest in cut(name):
            if prefix and rest in in_model and _alike(module, in_model[rest]):
                found[prefix, ""] += 1
    for name, module in in_model.items():
        for prefix, rest in cut(name):
            if prefix and rest in in_checkpoint and _alike(module, in_checkpoint[rest]):
                found["", prefix] += 1
    best, count = found.most_common(1)[0] if found else (("", ""), 0)
    return best if count > 1 or len(in_checkpoint) == 1 else ("", "")


def _behind_a_prefix(in_checkpoint: Modules, in_model: Modules) -> dict[str, str]:
    """Pairs whose names differ by the prefix; none if the shapes of a pair contradict it."""
    of_checkpoint, of_model = _prefix(in_checkpoint, in_model)
    pairs = {}
    for name, module in in_checkpoint.items():
        model_name = of_model + name.removeprefix(of_checkpoint)
        if name.startswith(of_checkpoint) and model_name != name and model_name in in_model:
            if not _alike(module, in_model[model_name]):
                return {}
            pairs[name] = model_name
    return pairs


def _only_ones(in_checkpoint: Modules, in_model: Modules) -> dict[str, str]:
    """Pairs of modules whose shapes nothing else has on either side."""
    of_checkpoint, of_model = _by_shapes(in_checkpoint), _by_shapes(in_model)
    pairs = {}
    for shapes, names in of_checkpoint.items():
        model_names = of_model.get(shapes, [])
        if len(names) == len(model_names) == 1:
            pairs[names[0]] = model_names[0]
    return pairs


def _by_order(in_checkpoint: Modules, in_model: Modules) -> dict[str, str]:
    """Pairs that are in every longest common subsequence of the two lists of shapes; none if it is too short.

    It is long enough if it has as many modules of each kind as the side with fewer of them: then nothing is out of
    order.
    """
    of_checkpoint = [signature(module) for module in in_checkpoint.values()]
    of_model = [signature(module) for module in in_model.values()]
    if of_checkpoint == of_model:
        return dict(zip(in_checkpoint, in_model, strict=True))
    if len(of_checkpoint) * len(of_model) > MOST_PAIRS:
        return {}
    number = {shapes: i for i, shapes in enumerate({*of_checkpoint, *of_model})}
    a = np.array([number[shapes] for shapes in of_checkpoint], dtype=int)
    b = np.array([number[shapes] for shapes in of_model], dtype=int)
    ahead, behind = _common(a, b), _common(a[::-1], b[::-1])[::-1, ::-1]
    best = ahead[-1, -1]
    if best < sum((Counter(a.tolist()) & Counter(b.tolist())).values()):
        return {}
    # the pairs of some longest subsequence, by their place in it; where there is one, all longest ones have it
    on_a_best = (a[:, None] == b) & (ahead[:-1, :-1] + 1 + behind[1:, 1:] == best)
    names, model_names = list(in_checkpoint), list(in_model)
    candidates: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for i, j in np.argwhere(on_a_best):
        candidates[int(ahead[i, j])].append((names[i], model_names[j]))
    return dict(pairs[0] for pairs in candidates.values() if len(pairs) == 1)


def _common(a: NDArray[np.int_], b: NDArray[np.int_]) -> NDArray[np.int_]:
    """Length of the longest common subsequence of the first i of `a` and the first j of `b`, at [i, j]."""
    lengths = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, kind in enumerate(a):
        longer = np.maximum(lengths[i, 1:], lengths[i, :-1] + (kind == b))
        lengths[i + 1, 1:] = np.maximum.accumulate(longer)
    return lengths


def _left_over(
    in_checkpoint: Modules, in_model: Modules, paired: Collection[str], taken: Collection[str]
) -> tuple[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...], tuple[str, ...]]:
    """(groups of the same shapes on both sides, modules of the checkpoint that fit nothing)."""
    left_in_checkpoint = _by_shapes({name: module for name, module in in_checkpoint.items() if name not in paired})
    left_in_model = _by_shapes({name: module for name, module in in_model.items() if name not in taken})
    ambiguous, unmatched = [], []
    for shapes, names in left_in_checkpoint.items():
        if shapes in left_in_model:
            ambiguous.append((tuple(names), tuple(left_in_model[shapes])))
        else:
            unmatched += names
    return tuple(ambiguous), tuple(unmatched)


def _by_shapes(modules: Modules) -> dict[Signature, list[str]]:
    """The names of modules that have the same shapes."""
    found: dict[Signature, list[str]] = {}
    for name, module in modules.items():
        found.setdefault(signature(module), []).append(name)
    return found
