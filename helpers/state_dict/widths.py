"""Layers in the middle of a network that give, or take, another number of channels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from .findings import Finding, Mismatched, some, stays
from .numbering import family
from .places import Where, module_name
from .report import Shape

AT_THE_END = 6  # layers of other shapes, if they are heads; if there are more, it is another network


def widths(left: Mismatched, where: Where) -> Iterator[Finding]:
    """Channels that differ both where they come out of a layer and where they go into a later one."""
    same_kind = {key: shapes for key, shapes in left.items() if _is_alike(*shapes)}
    layers = where.layers
    first_of: dict[str, str] = {}
    for key, (there, _) in same_kind.items():
        if module_name(key) in layers and len(there) > 1:
            first_of.setdefault(module_name(key), key)
    givers: list[tuple[str, float]] = []
    takers: list[tuple[str, float]] = []
    for name in layers:
        if name in first_of:
            (there_in, there_out), (in_, out) = _sizes(same_kind[first_of[name]], *layers[name])
            if there_in != in_ and givers:
                takers.append((name, in_ / there_in))
            if there_out != out:
                givers.append((name, out / there_out))
    pairs = [(giver, taker) for giver, ratio in givers for taker, other in takers if giver != taker and ratio == other]
    if not pairs:
        return
    both = [key for name, key in first_of.items() if name in dict(givers) and name in dict(takers)]
    first = next(name for name in layers if name in dict(pairs))
    fitting = [name for name in layers if name in where.fitting]
    is_end = where.is_end(first) and len(first_of) <= min(AT_THE_END, len(fitting))
    keys = {key for key in left if len(left[key][0]) == len(left[key][1])}
    if is_end:
        behind = list(layers)[list(layers).index(first) :]
        keys = {key for key in keys if module_name(key) in behind or _belongs(left[key], same_kind, pairs, first_of)}
        names = {module_name(key) for key in keys}
        fate, train = stays(names)
        yield Finding(
            f"Another width in {some(names)}, for instance {_example(first_of[first], left)}. {fate}, random in a new "
            f"model; {train}.",
            keys,
            is_end=True,
        )
    elif len(both) * 2 > len(first_of) or len(both) > 2:
        yield Finding(
            f"Another width: most layers of the model have {_much(both, same_kind)} channels, for instance "
            f"{_example(both[0], left)}. Build it as wide.",
            keys,
            is_fatal=True,
        )
    else:
        inner = {name for pair in pairs for name in pair}
        yield Finding(
            f"Another number of channels inside: {some(inner)} have another width between them, for instance "
            f"{_example(first_of[first], left)}. It is another network: build the model with the same.",
            keys,
            is_fatal=True,
        )


def inner_layers(left: Mismatched, where: Where) -> Iterator[Finding]:
    """Layers in one block after the other that have other shapes, before others that fit."""
    keys = {key for key, (there, here) in left.items() if len(there) == len(here) > 1 and _is_inner(key, left, where)}
    families = Counter(map(family, keys))
    if max(families.values(), default=0) < 2:  # one alone is fed by something new in front of the blocks
        return
    names = {module_name(key) for key in keys}
    key = next(key for key in left if key in keys)
    there, here = left[key]
    what = "take" if there[0] == here[0] else "give"
    hint = "what they are fed comes from another network" if what == "take" else "as with fewer heads, or another MLP"
    yield Finding(
        f"Another architecture inside the blocks: {some(names)} {what} another number of channels, {hint}; for "
        f"instance {_example(key, left)}. Layers behind them fit and would get what they were not trained for: build "
        "the model alike.",
        {key for key in left if module_name(key) in names},
        is_fatal=True,
    )


def _is_inner(key: str, left: Mismatched, where: Where) -> bool:
    there, here = left[key]
    if module_name(key) not in where.layers:
        return False
    if there[0] != here[0] and there[1:] == here[1:]:  # outputs alone, as in a head
        return where.is_amid(key, behind=True) and where.is_used(module_name(key))
    return there[1:] != here[1:] and there[2:] == here[2:] and where.is_amid(key)


def _is_alike(there: Shape, here: Shape) -> bool:
    return len(there) == len(here) > 0 and there[2:] == here[2:] and 0 not in (*there, *here)


def _sizes(shapes: tuple[Shape, Shape], inputs: int, outputs: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(inputs, outputs) in the checkpoint and in the model; kernels of transposed convs have their inputs first."""
    there, here = shapes
    is_turned = here[0] == inputs and here[0] != outputs
    if is_turned:
        return (there[0], there[1]), (here[0], here[1])
    return (there[1], there[0]), (here[1], here[0])


def _belongs(
    shapes: tuple[Shape, Shape], all_shapes: Mismatched, pairs: list[tuple[str, str]], first_of: Mapping[str, str]
) -> bool:
    """Whether a norm or a factor has the width of one of these layers."""
    widths = set()
    for giver, _ in pairs:
        there, here = all_shapes[first_of[giver]]
        widths.add((there[0], here[0]))
    return (max(shapes[0]), max(shapes[1])) in widths


def _example(key: str, left: Mismatched) -> str:
    there, here = left[key]
    return f"{key}: {there} in the checkpoint, {here} here"


def _much(keys: list[str], shapes: Mismatched) -> str:
    ratios: dict[float, int] = defaultdict(int)
    for key in keys:
        there, here = shapes[key]
        ratios[here[0] / there[0]] += 1
    ratio = max(ratios, key=lambda ratio: ratios[ratio])
    is_plain = ratio.is_integer() or (1 / ratio).is_integer()
    return f"{ratio:g} times as many" if is_plain else "another number of"
