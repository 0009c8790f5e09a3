"""Parameters for an optimizer, each with the rate and the decay that it should have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from ..errors import FreezingError
from .freezing import check_number, modules_named

LISTS = (nn.Sequential, nn.ModuleList)
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)


def parameter_groups(
    model: nn.Module,
    lr: float,
    *,
    head: str | Sequence[str] = (),
    head_lr: float | None = None,
    layer_decay: float = 1.0,
    weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: each parameter that is trained in exactly one, frozen ones in none.

    Parameters with fewer than two axes (biases, and scale and shift of norms) get no weight decay: they do not make a
    network too flexible, and decay pulls a norm's scale to zero.

    Args:
        model: any network.
        lr: rate of the last layer of the body.
        head: names of the head's modules, as `freeze` takes them.
        head_lr: their rate; ten times `lr` is usual for a head that begins at random.
        layer_decay: each layer further down has so many times the rate of the one above it.
        weight_decay: of the parameters with two axes or more.

    Returns:
        [{"params": [...], "lr": ..., "weight_decay": ..., "name": ...}, ...] from the input to the head.

    Raises:
        FreezingError: only one of `head` and `head_lr` is given, a name is that of no module, a rate or decay is no
            number from 0 on, or nothing is trained.

    Source: layer decay as in H. Bao and others, BEiT, https://arxiv.org/abs/2106.08254; the layers are the children
    of the model, and what its lists of blocks hold.
    """
    for what, value in (("lr", lr), ("layer_decay", layer_decay), ("weight_decay", weight_decay)):
        check_number(value, what)
    if head_lr is not None:
        check_number(head_lr, "head_lr")
    heads = (head,) if isinstance(head, str) else tuple(head)
    if not isinstance(model, nn.Module):
        raise FreezingError(f"the model is a {type(model).__name__}: give a torch.nn.Module")
    if bool(heads) != (head_lr is not None):
        last = [name for name, _ in layers_of(model)][-1:] or ["fc"]
        raise FreezingError(f"give head and head_lr together, for instance head={last[0]!r}, head_lr={10 * lr:g}")
    in_head = {p for module in modules_named(model, heads).values() for p in module.parameters()} if heads else set()
    body, placed = [], set(in_head)
    for name, parameters in layers_of(model):
        own = [p for p in parameters if p not in placed]
        placed |= set(own)
        if own:
            body.append((name, own))
    groups: list[dict[str, Any]] = []
    for place, (name, parameters) in enumerate(body):
        groups += _by_decay(name, parameters, lr * layer_decay ** (len(body) - 1 - place), weight_decay)
    if heads:
        ordered = [p for p in model.parameters() if p in in_head]
        groups += _by_decay(", ".join(heads), ordered, head_lr, weight_decay)
    if not groups:
        raise FreezingError("all parameters are frozen, so there is nothing to optimize; unfreeze some")
    return groups


def _by_decay(name: str, parameters: list[nn.Parameter], lr: float | None, decay: float) -> Iterator[dict[str, Any]]:
    trained = [p for p in parameters if p.requires_grad]
    for label, own, weight_decay in (
        (name, [p for p in trained if p.ndim > 1], decay),
        (f"{name} without decay", [p for p in trained if p.ndim <= 1], 0.0),
    ):
        if own:
            yield {"params": own, "lr": lr, "weight_decay": weight_decay, "name": label}


def layers_of(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """The layers of a network in order of definition, by the name of the first module; a norm belongs to the layer
    before it."""
    found: list[tuple[str, list[nn.Parameter]]] = []
    for name, module, parameters in _opened("", model):
        if found and isinstance(module, NORMS):
            found[-1][1].extend(parameters)
        else:
            found.append((name, parameters))
    return found


def _opened(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """What to take as layers in a module: itself, or what is inside it."""
    opened = not name or isinstance(module, LISTS) or any(map(_holds_blocks, module.children()))
    parameters = list(module.parameters(recurse=not opened))
    if parameters:
        yield name, module, parameters
    for child_name, child in module.named_children() if opened else ():
        yield from _opened(f"{name}.{child_name}".lstrip("."), child)


def _holds_blocks(module: nn.Module) -> bool:
    """Whether it is a list of blocks of one kind, such as a transformer's, and not a chain of single layers."""
    if not isinstance(module, LISTS):
        return False
    blocks = [child for child in module if next(child.parameters(), None) is not None]
    return len(blocks) > 1 and len({type(block) for block in blocks}) == 1 and any(True for _ in blocks[0].children())
