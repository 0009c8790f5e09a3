"""What differs between a checkpoint and a model that no renaming mends, and what it means for loading the rest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from ..text import few
from .findings import Finding, some
from .numbering import doubtful_numbers, family, renumbered_families
from .places import Where, amid_blocks, at, is_computed, layers_in_order, module_name
from .remedies import Situation
from .renames import modules_of
from .report import LoadReport, Shape
from .sizes import LOOKS

FEW = 2  # layers of other shapes; if there are more, it is another network


def diagnose(situation: Situation, report: LoadReport) -> list[Finding]:
    """All differences, each key in one of them."""
    where = Where(situation.model, situation.in_model, _fitting(report))
    left = dict(report.mismatched)
    missing, unexpected = list(report.missing), list(report.unexpected)
    found = [*_depth(situation, missing, unexpected), *_recurrent_layers(missing, unexpected)]
    found += _one_more(situation, left, where)
    explained = {key for finding in found for key in finding.keys}
    left = {key: shapes for key, shapes in left.items() if key not in explained}
    for look in LOOKS:
        for finding in look(left, where):
            found.append(finding)
            left = {key: shapes for key, shapes in left.items() if key not in finding.keys}
    if left:
        key, (in_checkpoint, in_model) = next(iter(left.items()))
        layers = {module_name(key) for key in left}
        are_few = len(layers) <= FEW or all(where.is_end(name) for name in layers)
        fate = "They stay as they are, random in a new model: train them." if are_few else "Build the model alike."
        found.append(
            Finding(
                f"Other shapes in {some(layers)}, for instance {key}: {in_checkpoint} in the checkpoint, {in_model} "
                f"here. {fate}",
                set(left),
                is_fatal=not are_few,
                is_known=False,
            )
        )
    explained = {key for finding in found for key in finding.keys}
    found += _only_here([key for key in missing if key not in explained], "the model", situation, where)
    found += _only_here([key for key in unexpected if key not in explained], "the checkpoint", situation, where)
    return found


def _fitting(report: LoadReport) -> set[str]:
    """Modules that are loaded as a whole."""
    others = {module_name(key) for key in (*report.missing, *report.mismatched)}
    return {module_name(key) for key in report.loaded} - others


def doubts(situation: Situation, found: Iterable[Finding]) -> Iterator[str]:
    """Why equal names and shapes may be different layers all the same."""
    explained = {module_name(key) for finding in found for key in finding.keys if finding.is_end}
    doubtful = doubtful_numbers(modules_of(situation.tensors), modules_of(situation.in_model))
    extra = {name for names in doubtful.values() for name in names} - explained
    if extra:
        yield (
            f"Only one side has {some(extra)}, of the same shapes as {some(doubtful)}. Numbers in names are "
            "positions: if a layer was inserted before the end, equal names may be different layers. Compare outputs."
        )


def why_not_load(situation: Situation, report: LoadReport, found: Iterable[Finding]) -> str | None:
    """Why nothing can be said of single tensors, and loading what fits would be a guess; None if it would not."""
    counted = _counted(report.loaded)
    understood = {key for finding in found for key in finding.keys if finding.is_known and key in report.mismatched}
    of_checkpoint = _counted(situation.tensors)
    if 2 * len([*counted, *understood]) < min(len(of_checkpoint), len(_counted(situation.in_model))):
        is_sorted = len(of_checkpoint) > 2 and list(situation.tensors) == sorted(situation.tensors)
        more = " Its names were sorted, so their order says nothing." if is_sorted else ""
        return (
            f"It may be another architecture: only {len(counted)} of {len(of_checkpoint)} tensors can be paired by "
            f"name, shape and order{_beside(situation)}.{more}"
        )
    if moved := renumbered_families(modules_of(situation.tensors), modules_of(situation.in_model)):
        return f"Numbers differ on both sides ({some(moved)}), so equal names may be different layers."
    return None


def _beside(situation: Situation) -> str:
    """A name of each side that the other has not."""
    there = next((key for key in situation.tensors if key not in situation.in_model), "")
    here = next((key for key in situation.in_model if key not in situation.tensors), "")
    return f"; the checkpoint has {there}, the model {here}" if there and here else ""


def _counted(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if not key.endswith("num_batches_tracked")]


def _depth(situation: Situation, missing: list[str], unexpected: list[str]) -> Iterator[Finding]:
    """Blocks of which one side has more."""
    in_checkpoint, in_model = _blocks(situation.tensors), _blocks(situation.in_model)
    for side, keys, fewer, more, tensors in (
        ("checkpoint", unexpected, in_model, in_checkpoint, situation.tensors),
        ("model", missing, in_checkpoint, in_model, situation.in_model),
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
            if leaves <= like and behind and are_blocks and _stand_beside(more[place], place, tensors):
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


def _one_more(situation: Situation, left: Mapping[str, tuple[Shape, Shape]], where: Where) -> Iterator[Finding]:
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
            f"shape of {fewer}, the last one on the other side. Equal numbers are other layers: build the model as deep.",
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


def _stand_beside(blocks: Mapping[int, set[str]], place: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether blocks do not follow one another: all take the same, and none gives it."""
    ends = []
    for number, leaves in sorted(blocks.items()):
        names = [f"{place}{number}.{leaf}" for leaf in leaves]
        weights = [tensor for key, tensor in tensors.items() if key in names and tensor.ndim > 1]
        if not weights:
            return False
        ends.append((weights[0].shape[1], weights[-1].shape[0]))
    return len({first for first, _ in ends}) == 1 and all(first != last for first, last in ends)


def _heads_beside(place: str, there: int, here: int, keys: set[str]) -> Finding:
    fate = "The others are not used." if there > here else "The others are random in a new model: train them."
    return Finding(f"Beside one another stand {there} of {place.rstrip('._')} there and {here} here. {fate}", keys)


RECURRENT = re.compile(r"(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?")  # what an RNN calls its layers and directions


def _recurrent_layers(missing: list[str], unexpected: list[str]) -> Iterator[Finding]:
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


def _only_here(keys: list[str], side: str, situation: Situation, where: Where) -> Iterator[Finding]:
    """What one side has alone."""
    is_model = side == "the model"
    counters = {key for key in keys if key.endswith("num_batches_tracked")}
    norms = {module_name(key) for key in keys if key.endswith(("running_var", "running_mean"))}
    others = [key for key in keys if key not in counters and module_name(key) not in norms]
    computed = {key for key in others if (where.is_computed(key) if is_model else is_computed(key))}
    others = [key for key in others if key not in computed]
    yield from _norms(keys, norms, side, situation)
    if counters and not norms:
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
    if not is_model:
        norms = {name for name in norms if _is_amid(name, situation.in_model)}
    with_weights = {name for name in norms if f"{name}.weight".removeprefix(".") in keys}
    alone = norms - with_weights
    other_side = situation.tensors if is_model else situation.in_model
    of_other_kind = {name for name in alone if f"{name}.weight".removeprefix(".") in other_side}
    if not is_model:
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
    neutral = {key for key in keys if _does_nothing(key, situation.tensors[key])}
    if neutral:
        yield Finding(
            f"Only the checkpoint has {some(neutral)}, which do nothing: zeros added, or ones multiplied.", neutral
        )
    others = [key for key in keys if key not in neutral]
    halves = {
        key for key in others if module_name(key) in where.fitting and f"{module_name(key)}.weight" in where.in_model
    }
    amid = halves | amid_blocks([key for key in others if key not in halves], situation.tensors, where.fitting)
    if amid:
        beside = f" (and beside them {some(set(others) - amid)})" if set(others) - amid else ""
        yield Finding(
            f"Only the checkpoint has {some(amid)}{beside}, trained amid layers that the model has: without them "
            "it is another network. Build the model with them.",
            set(others),
            is_fatal=True,
        )
    elif others:
        between = {
            key for key in others if module_name(module_name(key)) and _is_amid(module_name(key), situation.in_model)
        }
        more = (
            " They stand between layers that are: if they were trained, build the model with them." if between else ""
        )
        yield Finding(f"Only the checkpoint has {some(others)}; they are not used.{more}", set(others))


def _does_nothing(key: str, tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.ndim > 1 or not tensor.numel() or tensor.is_meta:
        return False
    return bool((tensor == (0 if "bias" in key else 1)).all())


def _is_amid(name: str, in_model: Iterable[str]) -> bool:
    """Whether a module stands where the model has others, and not in a branch of its own or in place of a layer."""
    parent = module_name(name)
    behind = [key.removeprefix(f"{parent}.") for key in in_model if key.startswith(f"{parent}.")]
    return not parent or any("." in rest for rest in behind)
