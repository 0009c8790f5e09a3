"""Layers and blocks of which one side has more."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from ..text import few
from .findings import Finding, Mismatched, some
from .numbering import family
from .places import Where
from .remedies import Situation


def depth(situation: Situation, missing: list[str], unexpected: list[str], where: Where) -> Iterator[Finding]:
    """Blocks of which one side has more."""
    in_checkpoint, in_model = _blocks(situation.tensors), _blocks(situation.in_model)
    for side, keys, fewer, more in (
        ("checkpoint", unexpected, in_model, in_checkpoint),
        ("model", missing, in_checkpoint, in_model),
    ):
        said, explained = [], set()
        for place in more:
            if place not in fewer:
                continue
            extra = more[place].keys() - fewer[place].keys()
            if not extra or fewer[place].keys() - more[place].keys() or min(extra) < max(fewer[place]):
                continue
            like = set.union(*({family(leaf) for leaf in leaves} for leaves in fewer[place].values()))
            leaves = {family(leaf) for number in extra for leaf in more[place][number]}
            behind = {key for key in keys for number in extra if key.startswith(f"{place}{number}.")}
            are_blocks = any("." in leaf for leaf in leaves)
            if leaves <= like and behind and are_blocks and _stand_beside(place, where):
                yield _heads_beside(place, len(in_checkpoint[place]), len(in_model[place]), behind)
            elif leaves <= like and behind and are_blocks:
                said.append(f"{place.rstrip('.')} has {len(more[place])} blocks there and {len(fewer[place])} here")
                explained |= behind
        if said and side == "checkpoint":
            is_cut = not _follows(situation, explained)
            cause = f"The checkpoint is deeper: {few(said, 4)}."
            cause += " The model is its beginning, and the rest is not used." if is_cut else " Build the model as deep."
            yield Finding(cause, explained, is_fatal=not is_cut, is_end=is_cut)
        elif said:
            said = [text.replace("there", "in the model").replace("here", "in the checkpoint") for text in said]
            yield Finding(
                f"The model is deeper: {few(said, 4)}. Build it as deep as the checkpoint.", explained, is_fatal=True
            )


def one_more(situation: Situation, left: Mismatched, where: Where) -> Iterator[Finding]:
    """Layers counted by numbers, of which one side has more: its last one has the shape of the other's last."""
    last_there, last_here = _last_of_each(situation.tensors), _last_of_each(situation.in_model)
    for place in last_there.keys() & last_here.keys():
        there, here = last_there[place], last_here[place]
        is_alike = situation.tensors[there].shape == situation.in_model[here].shape
        fit = [name for name in where.fitting if name.startswith(place)]
        if there == here or not is_alike or not fit or not {there, here} & left.keys():
            continue
        side, more, fewer = ("checkpoint", there, here) if here in left else ("model", here, there)
        yield Finding(
            f"The {side} has more layers in {place.rstrip('.') or 'the model itself'}: its last one, {more}, has the "
            f"shape of {fewer}, the last one on the other side. Equal numbers are other layers: build the model as "
            "deep.",
            {key for key in (*left, *situation.tensors, *situation.in_model) if key.startswith(place)},
            is_fatal=True,
        )


def _last_of_each(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What stands in front of a number -> the key of the last layer there that has a matrix or kernels."""
    found = {}
    for key, tensor in tensors.items():
        place = re.fullmatch(r"((?:.*\.)?)\d+\.weight", key)
        if place and tensor.ndim > 1:
            found[place[1]] = key
    return found


def _stand_beside(place: str, where: Where) -> bool:
    """Whether the model's blocks do not follow one another: all take the same, and none gives it."""
    blocks: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for name, sizes in where.layers.items():
        number = re.match(rf"{re.escape(place)}\d+(?=\.|$)", name)
        if number:
            blocks[number[0]].append(sizes)
    ends = [(sizes[0][0], sizes[-1][1]) for sizes in blocks.values()]
    return len(ends) > 1 and len({first for first, _ in ends}) == 1 and all(first != last for first, last in ends)


def _heads_beside(place: str, there: int, here: int, keys: set[str]) -> Finding:
    fate = "The others are not used." if there > here else "The others are random in a new model: train them."
    return Finding(f"Beside one another stand {there} of {place.rstrip('._')} there and {here} here. {fate}", keys)


RECURRENT = re.compile(r"(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?")  # what an RNN calls its layers and directions


def recurrent_layers(missing: list[str], unexpected: list[str]) -> Iterator[Finding]:
    for keys, side in ((missing, "The model"), (unexpected, "The checkpoint")):
        of_layers = {key for key in keys if RECURRENT.fullmatch(key.rpartition(".")[2])}
        if of_layers:
            yield Finding(
                f"{side} has more layers or directions in an RNN: {some(of_layers)}. Build the model with as many.",
                of_layers,
                is_fatal=True,
            )


def _blocks(names: Iterable[str]) -> dict[str, dict[int, set[str]]]:
    """What stands in front of a number in names -> the numbers -> what stands behind them."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        for number in re.finditer(r"(?<=[._])\d+(?=\.)|(?<=[a-z])\d+(?=\.)", name):
            found[name[: number.start()]][int(number[0])].add(name[number.end() + 1 :])
    return found


def _follows(situation: Situation, extra: set[str]) -> bool:
    """Whether something that the model has comes behind the blocks that only the checkpoint has."""
    places = {key: place for place, key in enumerate(sorted(situation.tensors, key=_natural))}
    first = min(places[key] for key in extra)
    in_file = list(situation.tensors)
    if in_file != sorted(in_file):  # as the network was built
        places = {key: place for place, key in enumerate(in_file)}
        first = min(places[key] for key in extra)
    return any(places[key] > first for key in situation.tensors if key in situation.in_model)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
