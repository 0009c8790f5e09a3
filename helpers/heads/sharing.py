"""Whether two modules share tensors that were meant to be apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import HeadError


def shared_parameters(a: nn.Module, b: nn.Module) -> list[tuple[str, str]]:
    """Names of parameters and buffers of `a` and of `b` that lie in one memory: training one changes the other.

    Raises:
        HeadError: one of them is no module.
    """
    for module in (a, b):
        if not isinstance(module, nn.Module):
            raise HeadError(f"shared_parameters compares two modules, not {type(module).__name__}")
    return [
        (name, other_name)
        for name, tensor in _tensors(a)
        for other_name, other in _tensors(b)
        if tensor is other or _overlap(tensor, other)
    ]


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether the bytes from the first to the last number of each have some in common."""
    if is_lazy(a) or is_lazy(b) or a.layout != torch.strided or b.layout != torch.strided:
        return False  # they have no memory yet, or several pieces of it
    if a.device != b.device or a.is_meta or not a.numel() or not b.numel():
        return False
    (first, last), (other_first, other_last) = _bytes(a), _bytes(b)
    return first < other_last and other_first < last


def _bytes(tensor: Tensor) -> tuple[int, int]:
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()
