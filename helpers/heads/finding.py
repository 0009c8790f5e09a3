"""Which layers make the output, found by running the model on shapes alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..tracing import examples, first_line, leaves, run
from .errors import HeadError

Head = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def find_head(model: nn.Module, example: Tensor | None = None) -> tuple[str, Head]:
    """The Linear or 1x1 conv that makes the output, in eval mode: its name, and itself.

    Nothing but layers without parameters stands between it and the output. Where it stands in the list of modules does
    not matter. The model is run on the `meta` device, where nothing is computed; nothing in it changes.

    Args:
        model: any; not yet compiled.
        example: an input that it takes. Without one, images of usual sizes are tried, with 3 channels, 1, 2 and 4.

    Raises:
        HeadError: no such layer makes the output, or several do.
    """
    found, error = made_by(model, example, training=False)
    if not found:
        why = f" (it stopped with {first_line(error)})" if error else ""
        hint = "; give an `example` of its input" if example is None else ""
        raise HeadError(f"no Linear and no 1x1 conv makes the output of this {type(model).__name__}{why}{hint}")
    if len(found) > 1:
        raise HeadError(f"several layers make the output: {', '.join(found)}; find_heads gives all of them")
    return next(iter(found.items()))


def find_heads(model: nn.Module, example: Tensor | None = None) -> dict[str, Head]:
    """All layers that make an output, those included that do so in train mode alone, such as Inception's auxiliary one.

    Raises:
        HeadError: no Linear and no 1x1 conv makes an output.
    """
    found = made_by(model, example, training=False)[0] | made_by(model, example, training=True)[0]
    return found or dict([find_head(model, example)])  # which raises, and says why


def made_by(model: nn.Module, example: Tensor | None, training: bool) -> tuple[dict[str, Head], Exception | None]:
    """The layers that make the output, and what stopped the model, if something did."""
    if example is not None:
        found, error = _made_by(model, example.to("meta"), training)
        return _made_by(model, example, training) if error else (found, error)  # some models look at numbers
    error = None
    for channels in (3, 1, 2, 4):
        for image in examples(model, channels):
            found, error = _made_by(model, image, training)
            if not error:
                return found, None
    return {}, error


def _made_by(model: nn.Module, example: Tensor, training: bool) -> tuple[dict[str, Head], Exception | None]:
    names = {module: name for name, module in model.named_modules() if _is_candidate(module)}
    cuts: list[tuple[Tensor, Head]] = []

    def cut(module: Head, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Autograd's graph ends here, so that what is behind has this as its leaf."""
        leaf = output.detach().requires_grad_()
        cuts.append((leaf, module))
        return leaf.clone()  # a leaf could not be changed in place

    handles = [module.register_forward_hook(cut) for module in names]
    try:
        _, output, error = run(model, example, training)
    finally:
        for handle in handles:
            handle.remove()
    reached = [id(leaf) for leaf in leaves(output)]
    return {names[module]: module for leaf, module in cuts if id(leaf) in reached}, error


def _is_candidate(module: nn.Module) -> bool:
    is_pointwise = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1}
    return isinstance(module, nn.Linear) or is_pointwise
