"""Which layers make the output, found by running the model on shapes alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..errors import HeadError
from ..probing import first_line, leaves, run, search, why_nothing

Head = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def find_head(model: nn.Module, example: Tensor | None = None) -> tuple[str, Head]:
    """The Linear or 1x1 conv that makes the output, in eval mode: its name, and itself.

    Nothing with parameters stands between it and the output. Where it stands in the list of modules does not matter. A
    copy of the model is run on the `meta` device, where nothing is computed.

    Args:
        model: any; not yet compiled.
        example: an input that it takes. Without one, images of usual sizes are tried, with 3 channels, 1, 2 and 4.

    Raises:
        HeadError: no such layer makes the output, or several do.
    """
    found, error = made_by(model, example, training=False)
    if not found:
        raise HeadError(
            f"no Linear and no 1x1 conv makes the output of this {type(model).__name__}{why_nothing(error, example)}"
        )
    if len(found) > 1:
        raise HeadError(f"several layers make the output: {', '.join(found)}; find_heads gives all of them")
    return next(iter(found.items()))


def find_heads(model: nn.Module, example: Tensor | None = None) -> dict[str, Head]:
    """All layers that make an output, those included that do so in train mode alone, such as Inception's auxiliary one.

    Raises:
        HeadError: no Linear and no 1x1 conv makes an output, or the model cannot be run in train mode.
    """
    found, _ = made_by(model, example, training=False)
    if not found:
        find_head(model, example)  # which says why
    more, error = made_by(model, example, training=True)
    if error:
        raise HeadError(
            f"in train mode the model stops with {first_line(error)}, so nobody knows whether it has auxiliary heads; "
            f"give another `example`, or use resize_head on {', '.join(found)}"
        )
    return found | more


def made_by(model: nn.Module, example: Tensor | None, training: bool) -> tuple[dict[str, Head], Exception | None]:
    """The layers that make the output, and what stopped the model, if something did.

    Raises:
        HeadError: something else with parameters stands between them and the output.
    """
    return search(model, lambda image: _made_by(model, image, training), example, (3, 1, 2, 4))


def _made_by(model: nn.Module, example: Tensor, training: bool) -> tuple[dict[str, Head], Exception | None]:
    cuts: dict[int, tuple[Tensor, str]] = {}  # the leaf is kept, for an id is unique only as long as its object lives

    def watch(name: str, module: nn.Module) -> None:
        def cut(_module: Head, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            """Autograd's graph ends here, so that what is behind has this as its leaf."""
            leaf = output.detach().requires_grad_()
            cuts[id(leaf)] = leaf, name
            return leaf.clone()  # a leaf could not be changed in place

        if _is_candidate(module):
            module.register_forward_hook(cut)

    done = run(model, example, watch, training)
    reached = list(leaves(done.output))
    found = {cuts[id(leaf)][1] for leaf in reached if id(leaf) in cuts}
    between = [done.names[id(leaf)] for leaf in reached if id(leaf) in done.names]
    if found and between:
        raise HeadError(f"{between[0]!r} stands between {', '.join(sorted(found))} and the output, or beside them")
    return {name: module for name, module in model.named_modules() if name in found}, done.error


def _is_candidate(module: nn.Module) -> bool:
    is_pointwise = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1}
    return isinstance(module, nn.Linear) or is_pointwise
