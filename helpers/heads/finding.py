"""Which layers make the output, found by running the model on shapes alone."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import HeadError
from ..layers import why_no_model
from ..probing import Example, first_line, leaves, run, search, why_no_example, why_nothing

Head = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass
class Outputs:
    """What makes the outputs of a model.

    Attributes:
        heads: the Linear and conv layers that do, by name.
        auxiliary: those of them that do so in train mode alone.
        others: parameters of other layers that make one of the outputs, such as those of a ConvTranspose.
        inputs: in train mode or not -> an input with which the model ran through.
    """

    heads: dict[str, Head] = field(default_factory=dict)
    auxiliary: frozenset[str] = frozenset()
    others: list[str] = field(default_factory=list)
    inputs: dict[bool, Example] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.heads)


def find_head(model: nn.Module, example: Example | None = None) -> tuple[str, Head]:
    """The Linear or conv that makes the output, in eval mode: its name, and itself.

    Nothing with parameters stands between it and the output. Where it stands in the list of modules does not matter. A
    copy of the model is run on the `meta` device, where nothing is computed.

    Args:
        model: any; not compiled.
        example: an input that it takes, a tensor or a nest of tensors. Without one, images of usual sizes are tried,
            with 3 channels, 1, 2 and 4.

    Raises:
        HeadError: no such layer makes the output, or several do.
    """
    found = _found(model, example)
    if found.others:
        raise HeadError(
            f"an output is made by {found.others[0]!r}, another by {', '.join(found.heads)}; find_heads gives those"
        )
    if len(found.heads) > 1:
        raise HeadError(f"several layers make the output: {', '.join(found.heads)}; find_heads gives all of them")
    return next(iter(found.heads.items()))


def find_heads(model: nn.Module, example: Example | None = None) -> dict[str, Head]:
    """All layers that make an output, those included that do so in train mode alone, such as Inception's auxiliary one.

    What takes `targets` (or `target`) gives losses in train mode, and is run in eval mode alone.

    Raises:
        HeadError: no Linear and no conv makes an output, or the model cannot be run in train mode.
    """
    return all_outputs(model, example).heads


def all_outputs(model: nn.Module, example: Example | None) -> Outputs:
    """What makes the outputs in eval mode, and then what does so in train mode alone.

    Raises:
        HeadError: as `find_heads` does.
    """
    found = _found(model, example)
    if takes_targets(model):
        return found
    more, error = made_by(model, example, training=True)
    if error:
        raise HeadError(
            f"in train mode the model stops with {first_line(error)}, so nobody knows whether it has auxiliary heads; "
            f"give another `example`, or use resize_head on {', '.join(found.heads)}"
        )
    auxiliary = frozenset(more.heads) - frozenset(found.heads)
    return Outputs(found.heads | more.heads, auxiliary, found.others, found.inputs | more.inputs)


def takes_targets(model: nn.Module) -> bool:
    """Whether it computes losses by itself in train mode, as torchvision's detectors do."""
    taken = inspect.signature(model.forward).parameters
    return "targets" in taken or "target" in taken


def made_by(model: nn.Module, example: Example | None, training: bool) -> tuple[Outputs, Exception | None]:
    """What makes the outputs, and what stopped the model, if something did.

    Raises:
        HeadError: something else with parameters stands between the layers and each output.
    """
    return search(model, lambda image: _made_by(model, image, training), example, (3, 1, 2, 4))


def _found(model: nn.Module, example: Example | None) -> Outputs:
    """What makes the outputs in eval mode, heads among it."""
    if why := why_no_model(model) or why_no_example(example):
        raise HeadError(why)
    found, error = made_by(model, example, training=False)
    if not found.heads:
        raise HeadError(
            f"no Linear and no conv makes the output of this {type(model).__name__}{why_nothing(error, example)}"
        )
    return found


def _made_by(model: nn.Module, example: Example, training: bool) -> tuple[Outputs, Exception | None]:
    cuts: dict[int, tuple[Tensor, str]] = {}  # the leaf is kept, for an id is unique only as long as its object lives

    def watch(name: str, module: nn.Module) -> None:
        def cut(_module: Head, _inputs: tuple[Any, ...], output: Any) -> Any:
            """Autograd's graph ends here, so that what is behind has this as its leaf."""
            if not isinstance(output, Tensor):  # of a class of somebody's own
                return output
            leaf = output.detach().requires_grad_()
            cuts[id(leaf)] = leaf, name
            return leaf.clone()  # a leaf could not be changed in place

        if isinstance(module, Head):
            module.register_forward_hook(cut)

    done = run(model, example, watch, training)
    names: set[str] = set()
    behind: set[str] = set()  # layers behind which something else makes the output
    others: list[str] = []
    for output in tree_leaves(done.output):
        reached = list(leaves(output))
        heads = {cuts[id(leaf)][1] for leaf in reached if id(leaf) in cuts}
        beside = [done.names[id(leaf)] for leaf in reached if id(leaf) in done.names]
        others += beside
        if beside:
            behind |= heads
        else:
            names |= heads
    if behind and not names:
        raise HeadError(f"{others[0]!r} stands between {', '.join(sorted(behind))} and the output, or beside them")
    found = {name: module for name, module in model.named_modules() if name in names and isinstance(module, Head)}
    return Outputs(found, others=others, inputs={training: example}), done.error
