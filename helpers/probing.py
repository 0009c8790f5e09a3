"""Run a copy of a network on shapes alone, to learn which of its layers meets what."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from .random_states import random_states_kept

SIZES = (224, 299, 384, 64, 32)
Watch = Callable[[str, nn.Module], None]
Found = TypeVar("Found", bound=nn.Module)
Look = Callable[[Tensor], tuple[dict[str, Found], Exception | None]]


@dataclass
class Run:
    """What a run gave.

    Attributes:
        image: the leaf of autograd's graph that the input came from.
        names: id of a leaf that stands for a parameter -> its name.
        output: of the model; None if it was stopped.
        error: what stopped it.
        model: the copy that was run; it is kept so that the ids stay its leaves' own.
    """

    image: Tensor
    names: dict[int, str] = field(default_factory=dict)
    output: object = None
    error: Exception | None = None
    model: nn.Module | None = None


def examples(model: nn.Module, channels: int) -> Iterator[Tensor]:
    """Images that it may take: (2, channels, size, size), of its parameters' type.

    First on `meta`, in usual sizes; then one with numbers, for models that look at them or have constants elsewhere.
    """
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    for size in SIZES:
        yield torch.zeros(2, channels, size, size, dtype=like.dtype, device="meta")
    yield torch.zeros(2, channels, SIZES[0], SIZES[0], dtype=like.dtype, device=like.device)


def search(
    model: nn.Module, look: Look[Found], example: Tensor | None, channels: Sequence[int]
) -> tuple[dict[str, Found], Exception | None]:
    """What `look` finds while a model runs on shapes alone, and what stopped the model, if something did.

    Args:
        model: what is run.
        look: takes an image, runs a copy, and returns what it found by name, and the error that stopped it or None.
        example: an input that the model takes; on `meta` first, then as it is, for some models look at numbers.
        channels: if there is no example, images with so many are tried, until one runs through.
    """
    if example is not None:
        found, error = look(example.to("meta"))
        return look(example) if error else (found, error)
    found, first_error = {}, None
    for number in channels:
        for image in examples(model, number):
            found, error = look(image)
            if error is None:
                return found, None
            first_error = first_error or error
    return found, first_error


def run(model: nn.Module, example: Tensor, watch: Watch, training: bool = False) -> Run:
    """Run a copy of a model; each of its parameters is a leaf of autograd's graph. The model itself is not touched.

    Args:
        model: what to run.
        example: an input; its device is that of the copy. On `meta` nothing is computed but shapes.
        watch: called with name and module for each module of the copy, to hang a hook in.
        training: run it in train mode.
    """
    if len(example) == 1:  # of which BatchNorm in train mode cannot make a variance
        example = torch.cat([example, example])
    found = Run(example.detach().clone())
    try:
        found.image.requires_grad_()
        twin = found.model = _twin(model, example.device)
        for module in twin.modules():
            module.training = training
        for name, module in twin.named_modules():
            watch(name, module)
        found.names = {id(leaf): name for name, leaf in twin.named_parameters(remove_duplicate=False)}
        with random_states_kept(), torch.enable_grad():
            found.output = twin(found.image.clone())  # a leaf could not be changed in place
    except Exception as error:  # a model may fail in any way it likes
        found.error = error
    return found


def _twin(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy on a device, with all parameters trainable; on `meta` it takes no memory."""
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        if not is_lazy(parameter):
            trainable = parameter.is_floating_point() or parameter.is_complex()
            copied = parameter.detach().to(device, copy=True)
            memo[id(parameter)] = nn.Parameter(copied, requires_grad=trainable)
    for buffer in model.buffers():
        if not is_lazy(buffer):
            memo[id(buffer)] = buffer.detach().to(device, copy=True)
    return copy.deepcopy(model, memo)


def leaves(outputs: object) -> Iterator[Tensor]:
    """The leaves of autograd's graph that any tensor in `outputs`, nested as it may be, was computed from."""
    tensors = [value for value in tree_leaves(outputs) if isinstance(value, Tensor) and value.requires_grad]
    yield from (tensor for tensor in tensors if tensor.grad_fn is None)
    waiting: list[Node | None] = [tensor.grad_fn for tensor in tensors]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [following for following, _ in node.next_functions]


def first_line(error: Exception) -> str:
    """What went wrong, without what follows."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def why_nothing(error: Exception | None, example: Tensor | None) -> str:
    """What to add to a message that nothing was found."""
    why = f" (it stopped with {first_line(error)})" if error else ""
    return why + ("; give an `example` of its input" if example is None else "")
