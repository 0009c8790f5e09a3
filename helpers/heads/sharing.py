"""Whether two modules share tensors that were meant to be apart."""

from __future__ import annotations

from torch import Tensor, nn


def shared_parameters(a: nn.Module, b: nn.Module) -> list[tuple[str, str]]:
    """Names of parameters and buffers of `a` and of `b` that lie in one memory: training one changes the other."""
    places = [(name, _place(tensor)) for name, tensor in _tensors(b)]
    return [
        (mine, yours)
        for mine, tensor in _tensors(a)
        for yours, place in places
        if tensor.numel() and place == _place(tensor)
    ]


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]


def _place(tensor: Tensor) -> tuple[str, int]:
    """Its memory; on `meta`, where there is none, itself."""
    return (str(tensor.device), id(tensor) if tensor.is_meta else tensor.untyped_storage().data_ptr())
