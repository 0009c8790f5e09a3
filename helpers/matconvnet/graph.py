"""Which layer takes what: the order in which they run, what is a loss, and a chain as a graph."""

from __future__ import annotations

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
    if kept and kept[-1].type not in known and _is_loss(kept[-1]):
        kept = kept[:-1]
    variable, found = INPUT, []
    for layer in kept:
        if layer.type == "concat":  # with something that comes from outside, such as the level of noise
            layer = replace(layer, options=layer.options | {"is_map": True}, inputs=(variable, f"{layer.name}_input"))
        else:
            layer = replace(layer, inputs=(variable,))
        found.append(replace(layer, outputs=(layer.name,)))
        variable = layer.name
    return found


def _is_loss(layer: Layer) -> bool:
    return not layer.params and ("class" in layer.options or "loss" in layer.type.lower())


def ends(layers: list[Layer]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(variables that no layer gives, in the order of their use; those that no layer takes)."""
    written = [variable for layer in layers for variable in layer.outputs]
    read = [variable for layer in layers for variable in layer.inputs]
    inputs = dict.fromkeys(variable for variable in read if variable not in set(written))
    outputs = dict.fromkeys(variable for variable in written if variable not in set(read))
    return tuple(inputs), tuple(outputs)


def in_order(layers: list[Layer]) -> list[Layer]:
    """The layers so that each comes after those whose outputs it takes, and as in the file where that decides nothing.

    Raises:
        MatConvNetError: two layers write one variable, or layers wait for one another in a circle.
    """
    writers: dict[str, str] = {}
    for layer in layers:
        for variable in layer.outputs:
            if variable in writers:
                raise MatConvNetError(f"layers {writers[variable]!r} and {layer.name!r} both write {variable!r}")
            writers[variable] = layer.name
    found: list[Layer] = []
    ready: set[str] = set()
    waiting = list(layers)
    while waiting:
        later = []
        for layer in waiting:
            if all(variable in ready or variable not in writers for variable in layer.inputs):
                found.append(layer)
                ready.update(layer.outputs)
            else:
                later.append(layer)
        if len(later) == len(waiting):
            raise MatConvNetError(f"layers wait for one another in a circle, {later[0].name!r} among them")
        waiting = later
    return found


def without_losses(layers: list[Layer], known: frozenset[str]) -> list[Layer]:
    """The layers without losses and metrics.

    Those cannot be told by their names, but by this: nobody takes what they give, they take something that no layer
    gives, such as labels, beside something that one does, and they are of no type that computes features.
    """
    kept = list(layers)
    while True:
        written = {variable for layer in kept for variable in layer.outputs}
        read = {variable for layer in kept for variable in layer.inputs}
        losses = []
        for layer in kept:
            is_leaf = not read & set(layer.outputs)
            given = [variable in written for variable in layer.inputs]
            if is_leaf and layer.type not in known and any(given) and not all(given):
                losses.append(layer.name)
        if not losses:
            return kept
        kept = [layer for layer in kept if layer.name not in losses]


def needed_for(outputs: tuple[str, ...], layers: list[Layer]) -> list[Layer]:
    """The layers that these variables come from, in order."""
    wanted = set(outputs)
    found = []
    for layer in reversed(layers):
        if wanted & set(layer.outputs):
            wanted.update(layer.inputs)
            found.append(layer)
    return found[::-1]
