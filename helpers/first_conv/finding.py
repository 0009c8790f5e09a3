"""Which conv meets the input, found by running the model on shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import FirstConvError
from ..layers import why_no_model
from ..probing import Example, leaves, run, search, why_no_example, why_nothing

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Convs = dict[str, Conv]


def find_first_conv(model: nn.Module, example: Example | None = None) -> tuple[str, Conv]:
    """The conv that meets the input before anything else with parameters does: its name, and itself.

    Where it stands in the list of modules does not matter. A copy of the model is run on the `meta` device, where
    nothing is computed; with numbers, if it cannot be run there. What meets what is read from autograd's graph, so
    nothing that a model computes from its input under `no_grad` is seen.

    Args:
        model: any; not compiled.
        example: an input that it takes, (N, channels, ...), or a list of images (channels, ...). Without one, images of
            usual sizes are tried.

    Raises:
        FirstConvError: no conv meets the input, or several do.
    """
    return find(model, example)[0]


def find(
    model: nn.Module, example: Example | None, channels: Sequence[int] = (3,)
) -> tuple[tuple[str, Conv], Exception | None]:
    """What `find_first_conv` finds, and what stopped the model behind it, if something did."""
    if why := why_no_model(model) or why_no_example(example):
        raise FirstConvError(why)
    found, error = met(model, example, channels)
    if not found:
        raise FirstConvError(f"no conv meets the input of this {type(model).__name__}{why_nothing(error, example)}")
    if len(found) > 1:
        raise FirstConvError(f"several convs meet the input: {', '.join(found)}; use adapt_conv on each of them")
    return next(iter(found.items())), error


def met(model: nn.Module, example: Example | None, channels: Sequence[int] = (3,)) -> tuple[Convs, Exception | None]:
    """The convs that meet the input, and what stopped the model, if something did.

    Without an example, images with so many `channels` are tried, and then with as many as a conv asks for that met one.
    """

    def look(image: Example) -> tuple[Convs, Exception | None]:
        found, error = _met(model, image)
        if error is None or example is not None or not isinstance(image, Tensor):
            return found, error
        asked = {conv.in_channels for conv in found.values()} - {image.shape[1]}
        if asked:
            again, error = _met(model, image.new_zeros(2, asked.pop(), *image.shape[2:]))
            found = again or found
        return found, error

    return search(model, look, example, channels)


def _met(model: nn.Module, example: Example) -> tuple[Convs, Exception | None]:
    seen: list[tuple[str, tuple[Any, ...]]] = []

    def watch(name: str, module: nn.Module) -> None:
        if isinstance(module, Conv):
            module.register_forward_pre_hook(
                lambda _module, args, kwargs: seen.append((name, (args, kwargs))), with_kwargs=True
            )

    done = run(model, example, watch)
    names = [name for name, inputs in seen if _is_made_from(inputs, done.images)]
    convs = {name: module for name, module in model.named_modules() if isinstance(module, Conv)}
    return {name: convs[name] for name in names}, done.error


def _is_made_from(inputs: tuple[Any, ...], images: list[Tensor]) -> bool:
    """Whether they depend on the images and on no parameter."""
    reached = {id(leaf) for leaf in leaves(inputs)}
    return bool(reached) and reached <= {id(image) for image in images}
