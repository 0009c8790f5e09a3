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
        FirstConvError: not C finite numbers, a std that is not above 0 or so small that numbers would be lost, no conv,
            or a weight that is made from other tensors, expanded or on `meta`. The conv is then as it was.
    """
    if not isinstance(conv, Conv):
        raise FirstConvError(f"this conv must be a Conv1d, Conv2d or Conv3d, not {type(conv).__name__}")
    if why := why_not_plain(None, conv, "this conv") or _why_not_in_place(conv):
        raise FirstConvError(why)
    shift, scale = _for_each_channel("mean", mean, conv), _for_each_channel("std", std, conv)
    if not (scale > 0).all():
        raise FirstConvError(f"std must be above 0, not {scale.tolist()}")
    precision = torch.finfo(conv.weight.dtype).eps
    if (shift.abs() / scale > 0.25 / precision).any():
        raise FirstConvError(
            f"std is so small beside mean, {scale.tolist()} beside {shift.tolist()}, that rounding in "
            f"{conv.weight.dtype} would hide what x - mean shows"
        )
    if inverse:  # x = (z - (-mean / std)) / (1 / std)
        shift, scale = -shift / scale, 1 / scale
    weight = conv.weight.detach().cpu().double()
    folded = weight / _by_channel(scale, conv)
    # the share of each kernel in the sum, over everything but the outputs
    moved = (folded * _by_channel(shift, conv)).flatten(1).sum(1)
    bias = -moved if conv.bias is None else conv.bias.detach().cpu().double() - moved
    _refuse_lost_numbers(weight, folded, bias, conv.weight.dtype)
    with torch.no_grad():
        conv.weight.copy_(folded)
        if conv.bias is None:
            conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=conv.weight.requires_grad)
        else:
            conv.bias.copy_(bias)


def _for_each_channel(what: str, values: Sequence[float], conv: Conv) -> Tensor:
    """C finite numbers in float64."""
    try:
        numbers = torch.as_tensor(values, dtype=torch.float64).detach().cpu().flatten()
    except Exception as error:  # whatever it is
        raise FirstConvError(f"{what} must be {conv.in_channels} numbers, not {values!r:.60}") from error
    if len(numbers) != conv.in_channels:
        raise FirstConvError(f"{what} has {len(numbers)} numbers, and the conv takes {conv.in_channels} channels")
    if not numbers.isfinite().all():
        raise FirstConvError(f"{what} must be finite, not {numbers.tolist()}")
    return numbers


def _why_not_in_place(conv: Conv) -> str | None:
    """Why numbers cannot be written into a conv."""
    for what, tensor in (("weight", conv.weight), ("bias", conv.bias)):
        if tensor is None:
            continue
        if tensor.is_meta:
            return f"the {what} of this conv is on `meta`, where there are no numbers to move"
        if tensor.layout != torch.strided or tensor.is_inference():
            return f"the {what} of this conv cannot be written in place: make it a plain parameter first"
        if any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
            return f"the {what} of this conv is expanded, one number in several places: clone it first"
    return None


def _refuse_lost_numbers(weight: Tensor, folded: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
    """Raises a FirstConvError where the new numbers are too large or too small for their type."""
    if not weight.isfinite().all():
        return  # it was so before
    kept = folded.to(dtype)
    if not kept.isfinite().all() or not bias.to(dtype).isfinite().all():
        raise FirstConvError(f"with this mean and std the numbers of this conv are too large for {dtype}")
    channels = range(weight.shape[1])
    if any(weight[:, channel].any() and not kept[:, channel].any() for channel in channels):
        raise FirstConvError(f"with this std the weights of a channel are too small for {dtype}")


def _by_channel(values: Tensor, conv: Conv) -> Tensor:
    """One number for each input channel -> (out, C / groups, 1...), as the weight has them."""
    grouped = values.view(conv.groups, 1, -1).expand(-1, conv.out_channels // conv.groups, -1)
    return grouped.reshape(conv.out_channels, -1, *[1] * (conv.weight.ndim - 2))
