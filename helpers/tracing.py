"""Run a network on shapes alone, to learn which of its layers meets what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

SIZES = (224, 299, 384, 64, 32)


def examples(model: nn.Module, channels: int) -> Iterator[Tensor]:
    """Images that it may take, of usual sizes: (2, channels, size, size), of its parameters' type, on `meta`."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    dtype = next(floating, torch.get_default_dtype())
    for size in SIZES:
        yield torch.zeros(2, channels, size, size, dtype=dtype, device="meta")


def run(model: nn.Module, example: Tensor, training: bool = False) -> tuple[Tensor, object, Exception | None]:
    """Run a model without changing it; its parameters are stood in for by leaves of autograd's graph.

    Args:
        model: what to run; its hooks are called.
        example: an input. On `meta` nothing is computed but shapes.
        training: run it in train mode.

    Returns:
        (the leaf that was its input, its output, None), or (the leaf, None, what stopped it).
    """
    leaf = example.detach().clone().requires_grad_()
    stand_ins = {
        name: parameter.detach().to(example.device).requires_grad_(parameter.is_floating_point())
        for name, parameter in model.named_parameters()
    }
    # buffers are cloned, for BatchNorm in train mode writes into them
    stand_ins |= {name: buffer.detach().to(example.device, copy=True) for name, buffer in model.named_buffers()}
    with mode(model, training), torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            return leaf, torch.func.functional_call(model, stand_ins, (leaf,)), None
        except Exception as error:  # a model may fail in any way it likes
            return leaf, None, error


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Train or eval mode for a while; each module goes back to its own."""
    before = {module: module.training for module in model.modules()}
    try:
        model.train(training)
        yield
    finally:
        for module, was in before.items():
            module.training = was


def first_line(error: Exception) -> str:
    """What went wrong, without what follows."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def leaves(outputs: object) -> Iterator[Tensor]:
    """The leaves of autograd's graph that any tensor in `outputs`, nested as it may be, was computed from."""
    tensors = [value for value in tree_leaves(outputs) if isinstance(value, Tensor) and value.requires_grad]
    yield from (tensor for tensor in tensors if tensor.grad_fn is None)
    waiting, seen = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [following for following, _ in node.next_functions]


def contains(tensors: Iterable[Tensor], tensor: Tensor) -> bool:
    """Whether it is one of them; `in` would compare numbers."""
    return any(other is tensor for other in tensors)
