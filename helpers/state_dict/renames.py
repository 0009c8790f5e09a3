"""Which tensor of a checkpoint is which tensor of a model, if the names do not say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from .matching import tensors_of
from .numbering import (
    Module,
    Modules,
    doubtful_numbers,
    family,
    order_can_be_trusted,
    renumbered_families,
    signature,
)

SAME_NAME = "same name and shapes"
NUMBERED = "same name and shapes, unless layers were inserted and the numbers have moved"
PREFIX = "same name and shapes but for a prefix"
ONLY_ONE = "the only one of these shapes"
ORDER = "by order, among others of these shapes"


@dataclass(frozen=True)
class RenameSuggestion:
    """What is known of a checkpoint's names.

    Attributes:
        mapping: names of the checkpoint -> names of the model; for `load_matching(..., rename=...)`. A name that
            would stand in the way of another, or is ambiguous and would be loaded all the same because the model has
            it too, becomes `unmatched.<name>`.
        why: the same names of the checkpoint -> the evidence, one of five; `NUMBERED` and `ORDER` are likely, not
            certain.
        ambiguous: groups of modules of the checkpoint and of the model with the same shapes, between which nothing
            decides.
        unmatched: modules of the checkpoint for whose shapes the model has nothing left.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    ambiguous: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    unmatched: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"{count} tensors: {reason}" for reason, count in Counter(self.why.values()).items()]
        lines += [f"ambiguous: {' '.join(mine)} could be {' '.join(yours)}" for mine, yours in self.ambiguous]
        lines += [f"nothing fits: {' '.join(self.unmatched)}"] * bool(self.unmatched)
        return "\n".join(lines) or "nothing matches"


def suggest_renames(model: nn.Module, state_dict: Mapping[str, Tensor]) -> RenameSuggestion:
    """Pair the modules of a checkpoint with those of a model by names, shapes and order.

    A module is what shares a name up to the last dot; its shapes are those of all its tensors. Modules of the same
    name and shapes are paired, unless the numbers in such names are others on both sides; then those that differ by a
    prefix, then those whose shapes occur only once. Order decides among the rest, if it can be trusted: if all modules
    of the same kinds follow one another alike on both sides, no other pairing is as good, and the names are not
    sorted, as safetensors leaves them. Where order and name disagree, neither is followed.

    Order and names are taken on trust. Modules of the same shapes that were exchanged and renamed cannot be noticed
    here: compare outputs after loading.
    """
    present = tensors_of(model)
    mine, yours = _modules(state_dict), _modules(present)
    if not _leaves(mine) & _leaves(yours):  # names that say nothing: each tensor on its own
        mine, yours = _tensors(state_dict), _tensors(present)
    moved = renumbered_families(mine, yours)
    named = {name: name for name in mine if name in yours and _alike(mine[name], yours[name])}
    named = {name: name for name in named if family(name) not in moved}
    ordered = _by_order(mine, yours) if order_can_be_trusted(mine, yours) else {}
    disputed = {name for name in named if ordered.get(name, name) != name}
    disputed |= {name for name, other in ordered.items() if other in disputed}
    pairs: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    for reason, found in (
        (SAME_NAME, named),
        (PREFIX, _behind_a_prefix(mine, yours)),
        (ONLY_ONE, _only_ones(mine, yours)),
        (ORDER, ordered),
    ):
        for name, other in found.items():
            if name not in pairs and other not in taken and name not in disputed:
                pairs[name] = other, reason
                taken.add(other)
    pairs = _with_doubts(pairs, mine, yours)
    ambiguous, unmatched = _left_over(mine, yours, set(pairs), taken)
    keys = {_key(name, leaf): (_key(other, leaf), why) for name, (other, why) in pairs.items() for leaf in yours[other]}
    keys = {key: found for key, found in keys.items() if key in state_dict}
    mapping = {key: other for key, (other, _) in keys.items()}
    in_the_way = set(mapping.values()) & (state_dict.keys() - mapping.keys())
    undecided = {name for names, _ in ambiguous for name in names}
    in_the_way |= {_key(name, leaf) for name in undecided for leaf in mine[name]} & present.keys()
    return RenameSuggestion(
        mapping=mapping | {key: f"unmatched.{key}" for key in in_the_way},
        why={key: why for key, (_, why) in keys.items()},
        ambiguous=ambiguous,
        unmatched=unmatched,
    )


def _with_doubts(pairs: Mapping[str, tuple[str, str]], mine: Modules, yours: Modules) -> dict[str, tuple[str, str]]:
    """The pairs; where a layer that was inserted may have moved the number in a name, that is the evidence."""
    left = {name: module for name, module in mine.items() if name not in pairs}
    doubtful = doubtful_numbers(left | {other: mine[name] for name, (other, _) in pairs.items()}, yours)
    moved = {family(name) for name, (other, _) in pairs.items() if name != other and family(name) == family(other)}
    return {
        name: (other, NUMBERED)
        if reason in (SAME_NAME, PREFIX) and (other in doubtful or family(name) in moved)
        else (other, reason)
        for name, (other, reason) in pairs.items()
    }


def _modules(tensors: Mapping[str, Tensor]) -> Modules:
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


def _alike(mine: Module, yours: Module) -> bool:
    return signature(mine) == signature(yours)


def find_prefix(state_dict: Mapping[str, Tensor], model: nn.Module) -> tuple[str, str]:
    """(what all names of the checkpoint have in front of the model's, what the model's have in front of theirs).

    At most one of the two is not empty.
    """
    return _prefix(_modules(state_dict), _modules(tensors_of(model)))


def _prefix(mine: Modules, yours: Modules) -> tuple[str, str]:
    """The prefix by which most pairs of modules of the same shapes differ, if it is that of two pairs or more."""
    found: Counter[tuple[str, str]] = Counter()
    for name, module in mine.items():
        for other in yours:
            if name != other and _alike(module, yours[other]):
                if other and name.endswith(f".{other}"):
                    found[name.removesuffix(other), ""] += 1
                elif name and other.endswith(f".{name}"):
                    found["", other.removesuffix(name)] += 1
    (best, count) = found.most_common(1)[0] if found else (("", ""), 0)
    return best if count > 1 or len(mine) == 1 else ("", "")


def inserted(model: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """Names of modules on both sides -> modules on one side whose insertion would have moved the numbers in them."""
    return doubtful_numbers(_modules(state_dict), _modules(tensors_of(model)))


def renumbered(model: nn.Module, state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Families of names, such as `blocks.#.norm`, that have numbers of their own on both sides."""
    return tuple(sorted(renumbered_families(_modules(state_dict), _modules(tensors_of(model)))))


def _behind_a_prefix(mine: Modules, yours: Modules) -> dict[str, str]:
    """Pairs whose names differ by the prefix; none if the shapes of a pair contradict it."""
    ours, theirs = _prefix(mine, yours)
    renamed = {name: theirs + name.removeprefix(ours) for name in mine if name.startswith(ours)}
    pairs = {name: other for name, other in renamed.items() if other != name and other in yours}
    return pairs if all(_alike(mine[name], yours[other]) for name, other in pairs.items()) else {}


def _only_ones(mine: Modules, yours: Modules) -> dict[str, str]:
    """Pairs of modules whose shapes nothing else has on either side."""
    counts = [Counter(map(signature, modules.values())) for modules in (mine, yours)]
    theirs = {signature(module): name for name, module in yours.items()}
    signatures = {name: signature(module) for name, module in mine.items()}
    return {name: theirs[s] for name, s in signatures.items() if all(count[s] == 1 for count in counts)}


def _by_order(mine: Modules, yours: Modules) -> dict[str, str]:
    """Pairs that are in every longest common subsequence of the two lists of shapes; none if it is too short.

    It is long enough if it has as many modules of each kind as the side with fewer of them: then nothing is out of
    order.
    """
    kinds = {kind: i for i, kind in enumerate({signature(m) for m in [*mine.values(), *yours.values()]})}
    a, b = (np.array([kinds[signature(m)] for m in modules.values()], dtype=int) for modules in (mine, yours))
    ahead, behind = _common(a, b), _common(a[::-1], b[::-1])[::-1, ::-1]
    best = ahead[-1, -1]
    if best < sum((Counter(a.tolist()) & Counter(b.tolist())).values()):
        return {}
    # the pairs of some longest subsequence, by their place in it; where there is one, all longest ones have it
    on_a_best = (a[:, None] == b) & (ahead[:-1, :-1] + 1 + behind[1:, 1:] == best)
    places = defaultdict(list)
    for i, j in np.argwhere(on_a_best):
        places[int(ahead[i, j])].append((i, j))
    names, others = list(mine), list(yours)
    return {names[found[0][0]]: others[found[0][1]] for found in places.values() if len(found) == 1}


def _common(a: Sequence[int], b: Sequence[int]) -> np.ndarray:
    """Length of the longest common subsequence of the first i of `a` and the first j of `b`, at [i, j]."""
    lengths = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, kind in enumerate(a):
        longer = np.maximum(lengths[i, 1:], lengths[i, :-1] + (kind == b))
        lengths[i + 1, 1:] = np.maximum.accumulate(longer)
    return lengths


def _left_over(
    mine: Modules, yours: Modules, paired: set[str], taken: set[str]
) -> tuple[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...], tuple[str, ...]]:
    """(groups of the same shapes on both sides, modules of the checkpoint that fit nothing)."""
    groups: dict = defaultdict(lambda: ([], []))
    for side, (modules, done) in enumerate(((mine, paired), (yours, taken))):
        for name in modules:
            if name not in done:
                groups[signature(modules[name])][side].append(name)
    ambiguous = tuple((tuple(names), tuple(others)) for names, others in groups.values() if names and others)
    unmatched = tuple(name for names, others in groups.values() if not others for name in names)
    return ambiguous, unmatched
