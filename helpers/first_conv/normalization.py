"""Move the normalisation of the input into the first conv, and out of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import FirstConvError
from ..layers import why_not_plain
from .finding import Conv


def fold_normalization(conv: Conv, mean: Sequence[float], std: Sequence[float], *, inverse: bool = False) -> None:
    """Let a conv take x where it took (x - mean) / std; in place.

    W' = W / std, b' = b - sum(W mean / std), summed over input channels and kernel. Without padding the results are
    equal. Zero padding stood for the mean colour and now stands for 0, so they differ at the borders; they are equal
    there, too, if the image is padded with `mean` and the conv's own padding is 0.

    Args:
        conv: weight (out, C / groups, kernel...); gets a bias if it has none.
        mean: one number for each of its C channels, in units of x.
        std: the same; above 0.
        inverse: let a conv take (x - mean) / std where it took x.

    Raises:
        FirstConvError: not C numbers, a std that is not above 0, or a weight that is made from other tensors. The conv
            is then as it was.
    """
    if why := why_not_plain(None, conv):
        raise FirstConvError(f"the weight of this conv {why}")
    shift, scale = (torch.as_tensor(values, dtype=torch.float64).flatten() for values in (mean, std))
    for what, values in (("mean", shift), ("std", scale)):
        if len(values) != conv.in_channels:
            raise FirstConvError(f"{what} has {len(values)} numbers, and the conv takes {conv.in_channels} channels")
    if not (scale > 0).all():
        raise FirstConvError(f"std must be above 0, not {scale.tolist()}")
    if inverse:  # x = (z - (-mean / std)) / (1 / std)
        shift, scale = -shift / scale, 1 / scale
    weight = conv.weight.detach().cpu().double()
    folded = weight / _by_channel(scale, conv)
    # the share of each kernel in the sum, over everything but the outputs
    moved = (folded * _by_channel(shift, conv)).flatten(1).sum(1)
    bias = -moved if conv.bias is None else conv.bias.detach().cpu().double() - moved
    with torch.no_grad():
        conv.weight.copy_(folded)
        if conv.bias is None:
            conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=conv.weight.requires_grad)
        else:
            conv.bias.copy_(bias)


def _by_channel(values: Tensor, conv: Conv) -> Tensor:
    """One number for each input channel -> (out, C / groups, 1...), as the weight has them."""
    grouped = values.view(conv.groups, 1, -1).expand(-1, conv.out_channels // conv.groups, -1)
    return grouped.reshape(conv.out_channels, -1, *[1] * (conv.weight.ndim - 2))
