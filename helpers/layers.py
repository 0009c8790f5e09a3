"""What a layer must be, to get other weights."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy


def why_not_plain(model: nn.Module | None, layer: nn.Module) -> str | None:
    """Why the weight of a layer cannot be replaced by another: it is no parameter of its own; None if it can."""
    weight = layer._parameters.get("weight")
    if not isinstance(weight, nn.Parameter) or is_lazy(weight):
        return "is made from other tensors (weight_norm, spectral_norm, pruning), or it is lazy: make it plain first"
    if weight.is_complex():
        return "is complex"
    for name, module in model.named_modules() if model is not None else ():
        if module is not layer and any(other is weight for other in module._parameters.values()):
            return f"is that of {name!r}, too: give each its own first"
    return None
