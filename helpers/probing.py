"""Run a copy of a network on shapes alone, to learn which of its layers meets what."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from .random_states import random_states_kept

SIZES = (224, 299, 384, 64, 32)
Watch = Callable[[str, nn.Module], None]
Example = Tensor | Sequence[Any] | Mapping[str, Any]  # what a model takes: a tensor, or a nest of tensors
Found = TypeVar("Found")
Look = Callable[[Example], tuple[Found, Exception | None]]


@dataclass
class Run:
    """What a run gave.

    Attributes:
        images: the leaves of autograd's graph that the input came from.
        names: id of a leaf that stands for a parameter -> its name.
        output: of the model; None if it was stopped.
        error: what stopped it.
        model: the copy that was run; it is kept so that the ids stay its leaves' own.
    """

    images: list[Tensor]
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
    model: nn.Module, look: Look[Found], example: Example | None, channels: Sequence[int]
) -> tuple[Found, Exception | None]:
    """What `look` finds while a model runs on shapes alone, and what stopped the model, if something did.

    Args:
        model: what is run.
        look: takes an image, runs a copy, and returns what it found, and the error that stopped it or None.
        example: an input that the model takes; on `meta` first, then as it is, for some models look at numbers.
        channels: if there is no example, images with so many are tried, until one runs through.
    """
    if example is not None:
        found, error = look(tree_map(lambda tensor: tensor.to("meta"), example))
        return look(example) if error else (found, error)
    stopped: list[tuple[Found, Exception | None]] = []
    for number in channels:
        for image in examples(model, number):
            found, error = look(image)
            if error is None:
                return found, None
            stopped.append((found, error))
    first_error = stopped[0][1]
    for found, _ in reversed(stopped):
        if found:
            return found, first_error
    return stopped[-1][0], first_error


def run(model: nn.Module, example: Example, watch: Watch, training: bool = False) -> Run:
    """Run a copy of a model; each of its parameters is a leaf of autograd's graph. The model itself is not touched.

    Args:
        model: what to run.
        example: an input; its device is that of the copy. On `meta` nothing is computed but shapes.
        watch: called with name and module for each module of the copy, to hang a hook in.
        training: run it in train mode.
    """
    if isinstance(example, Tensor) and len(example) == 1:  # of which BatchNorm in train mode cannot make a variance
        example = torch.cat([example, example])
    found = Run([])

    def as_leaf(tensor: Tensor) -> Tensor:
        leaf = tensor.detach().clone()
        found.images.append(leaf.requires_grad_(_is_trainable(leaf)))
        return leaf.clone()  # a leaf could not be changed in place

    with random_states_kept(), torch.inference_mode(False), torch.enable_grad(), _nothing_compiled():
        try:
            image = tree_map(as_leaf, example)
            device = found.images[0].device
            twin = found.model = _twin(model, device)
            for module in twin.modules():
                module.training = training
            for name, module in twin.named_modules():
                watch(name, module)
            found.names = {id(leaf): name for name, leaf in twin.named_parameters(remove_duplicate=False)}
            with RowsMadeUp() if device.type == "meta" else nullcontext():
                found.output = twin(image)
        except Exception as error:  # a model may fail in any way it likes
            found.error = error
    return found


class RowsMadeUp(TorchDispatchMode):
    """Where a shape depends on numbers, which tensors on `meta` do not have, it is as if two rows were found.

    So detectors, which choose among their boxes, run on shapes alone. What reads a number behind such a choice gets 1,
    and a condition there is false; before it, reading a number stops a model on `meta` as ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made_up = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        if not isinstance(first, Tensor) or not first.is_meta:
            return function(*args, **(kwargs or {}))
        name = str(function)
        if name == "aten._local_scalar_dense.default" and self.made_up:
            return first.dtype != torch.bool
        if name in ("aten.nonzero.default", "torchvision.nms.default"):
            self.made_up = True
            rows = min(2, first.numel())
            shape = (rows, first.ndim) if name == "aten.nonzero.default" else (rows,)
            return first.new_zeros(shape, dtype=torch.int64)
        if name == "aten.index.Tensor":
            places: list[Tensor | None] = []
            for place in args[1]:
                if place is None or place.dtype != torch.bool:
                    places.append(place)
                else:
                    self.made_up = True
                    places += [place.new_zeros(min(2, place.numel()), dtype=torch.int64)] * place.ndim
            return function(first, places)
        return function(*args, **(kwargs or {}))


def why_no_example(example: object) -> str | None:
    """Why something cannot be given to a model; None if it can, or if there is none."""
    if example is None:
        return None
    tensors = tree_leaves(example)
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in tensors):
        return f"an example must be a batch as a tensor, or a list or a dictionary of tensors, not {example!r:.60}"
    return None


def _nothing_compiled() -> AbstractContextManager[None]:
    """Functions that a model has compiled are run as they were written: compiling takes long, for one run."""
    if "torch._dynamo" in sys.modules:  # without it, nothing can be compiled, and to import it takes long, too
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


def _is_trainable(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _twin(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy on a device, with all parameters trainable; on `meta` it takes no memory."""
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        if not is_lazy(parameter):
            copied = parameter.detach().to(device, copy=True)
            memo[id(parameter)] = nn.Parameter(copied, requires_grad=_is_trainable(copied))
    for buffer in model.buffers():
        if not is_lazy(buffer):
            memo[id(buffer)] = buffer.detach().to(device, copy=True)
    for module in model.modules():
        for value in vars(module).values():
            # made by pruning or by a hook, so that torch does not copy it
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().to(device, copy=True)
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


def first_line(error: BaseException) -> str:
    """What went wrong, without what follows."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def why_nothing(error: Exception | None, example: Example | None) -> str:
    """What to add to a message that nothing was found."""
    why = f" (it stopped with {first_line(error)})" if error else ""
    return why + ("; give an `example` of its input" if example is None else "")
