"""Which layer takes what: the order in which they run, what is a loss, and a chain as a graph."""

from __future__ import annotations

import heapq
from dataclasses import replace

from ..errors import MatConvNetError
from .layer import Layer

INPUT = "x"  # of a chain
LOSS_TYPES = ("loss", "softmaxloss")


def chained(layers: list[Layer], known: frozenset[str]) -> list[Layer]:
    """The layers of a SimpleNN with variables: each takes what the one before it gives; losses are left out.

    A last layer is a loss if its type says so, or if it has the field `class`, the labels of a training.
    """
    kept = [layer for layer in layers if layer.type not in LOSS_TYPES]
    if kept and kept[-1].type not in known and is_loss(kept[-1]):
        kept = kept[:-1]
    variable, found = INPUT, []
    taken = {layer.name for layer in layers}
    for layer in kept:
        if layer.type == "concat":  # with something that comes from outside, such as the level of noise
            beside = f"{layer.name}_input"
            while beside in taken:
                beside += "_"
            layer = replace(layer, options=layer.options | {"is_map": True}, inputs=(variable, beside))
        else:
            layer = replace(layer, inputs=(variable,))
        found.append(replace(layer, outputs=(layer.name,)))
        variable = layer.name
    return found


def is_loss(layer: Layer) -> bool:
    """Whether a layer of a SimpleNN looks like one: by the labels of a training, or by its type."""
    return not layer.params and ("class" in layer.options or "loss" in layer.type.lower())


def ends(layers: list[Layer]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(variables that no layer gives, in the order of their use; those that no layer takes)."""
    written = dict.fromkeys(variable for layer in layers for variable in layer.outputs)
    read = dict.fromkeys(variable for layer in layers for variable in layer.inputs)
    return tuple(name for name in read if name not in written), tuple(name for name in written if name not in read)


def in_order(layers: list[Layer]) -> list[Layer]:
    """The layers so that each comes after those whose outputs it takes, and as in the file where that decides nothing.

    Raises:
        MatConvNetError: two layers write one variable, or layers wait for one another in a circle.
    """
    writers: dict[str, int] = {}
    for number, layer in enumerate(layers):
        for variable in layer.outputs:
            if variable in writers:
                raise MatConvNetError(
                    f"layers {layers[writers[variable]].name!r} and {layer.name!r} both write {variable!r}"
                )
            writers[variable] = number
    after: dict[int, list[int]] = {number: [] for number in range(len(layers))}
    waits_for = []
    for number, layer in enumerate(layers):
        before = {writers[variable] for variable in layer.inputs if variable in writers}
        waits_for.append(len(before))
        for earlier in before:
            after[earlier].append(number)
    ready = [number for number, count in enumerate(waits_for) if not count]  # a heap, for it is in order
    found: list[Layer] = []
    while ready:
        number = heapq.heappop(ready)
        found.append(layers[number])
        for later in after[number]:
            waits_for[later] -= 1
            if not waits_for[later]:
                heapq.heappush(ready, later)
    if len(found) < len(layers):
        waiting = next(layer for layer, count in zip(layers, waits_for, strict=True) if count)
        raise MatConvNetError(f"layers wait for one another in a circle, {waiting.name!r} among them")
    return found


def without_losses(layers: list[Layer], known: frozenset[str]) -> list[Layer]:
    """The layers without losses and metrics.

    Those cannot be told by their names, but by this: nobody takes what they give, they take something that no layer
    gives, such as labels, beside something that one does, and they are of no type that computes features. Labels are
    read by losses alone: what takes an input of the network is one only if it is called so.
    """
    writers, readers = _writers(layers), _readers(layers)
    losses = _leaves_with_labels(layers, known)
    waiting = [number for number in range(len(layers)) if number not in losses]
    inputs: set[str] = set()  # of the network: what features are computed from
    while waiting:
        for variable in layers[waiting.pop()].inputs:
            if variable in writers:
                features = {writers[variable]}
            elif variable not in inputs:
                features = {number for number in readers[variable] if "loss" not in layers[number].type.lower()}
            else:
                continue
            inputs.add(variable)
            waiting += features & losses
            losses -= features
    return [layer for number, layer in enumerate(layers) if number not in losses]


def _writers(layers: list[Layer]) -> dict[str, int]:
    return {variable: number for number, layer in enumerate(layers) for variable in layer.outputs}


def _readers(layers: list[Layer]) -> dict[str, set[int]]:
    readers: dict[str, set[int]] = {}
    for number, layer in enumerate(layers):
        for variable in layer.inputs:
            readers.setdefault(variable, set()).add(number)
    return readers


def _leaves_with_labels(layers: list[Layer], known: frozenset[str]) -> set[int]:
    """Layers that take labels beside features, and that nobody reads but others of these."""
    writers = _writers(layers)
    before = [{writers[variable] for variable in layer.inputs if variable in writers} for layer in layers]
    readers = [0] * len(layers)  # that are no losses
    for numbers in before:
        for number in numbers:
            readers[number] += 1
    losses: set[int] = set()
    waiting = list(range(len(layers)))
    while waiting:
        number = waiting.pop()
        layer = layers[number]
        given = [variable in writers and writers[variable] not in losses for variable in layer.inputs]
        if number in losses or readers[number] or layer.type in known or not any(given) or all(given):
            continue
        losses.add(number)
        for earlier in before[number]:
            readers[earlier] -= 1
            waiting.append(earlier)
    return losses


def needed_for(outputs: tuple[str, ...], layers: list[Layer]) -> list[Layer]:
    """The layers that these variables come from, in order."""
    wanted = set(outputs)
    found = []
    for layer in reversed(layers):
        if wanted & set(layer.outputs):
            wanted.update(layer.inputs)
            found.append(layer)
    return found[::-1]
