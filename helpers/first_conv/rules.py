"""How kernels for C channels become kernels for N; each rule says what it preserves.

A rule takes a weight (out, C, kernel...) and N, and returns a weight (out, N, kernel...).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import FirstConvError

Rule = Callable[[Tensor, int], Tensor]


def sum_of_channels(weight: Tensor, in_channels: int) -> Tensor:
    """`sum`: an image whose N channels are equal gives what it gave when it was repeated for all C. Exact.

    For one channel this is the sum over the old ones, as in timm, segmentation_models.pytorch and fastai.
    """
    return _repeated(weight.sum(1, keepdim=True) / in_channels, in_channels)


def mean_of_channels(weight: Tensor, in_channels: int) -> Tensor:
    """`mean`: every new channel gets the mean of the old ones. N equal channels give N/C of what they gave."""
    return _repeated(weight.mean(1, keepdim=True), in_channels)


def tiled(weight: Tensor, in_channels: int) -> Tensor:
    """`tile`: the old channels over and over, times C/N, as in timm and segmentation_models.pytorch for N above 1.

    If N is a multiple of C, images of N equal channels give exactly what they gave. If not, kernels that weigh channels
    against each other lose their balance.
    """
    old = weight.shape[1]
    return weight[:, [i % old for i in range(in_channels)]] * (old / in_channels)


def silent_extra(weight: Tensor, in_channels: int) -> Tensor:
    """`zeros`: the old channels as they are, then zeros.

    Responses are those of before, whatever finite numbers the new channels show.
    """
    return _extended(weight, in_channels, torch.zeros_like(weight[:, :1]))


def mean_extra(weight: Tensor, in_channels: int) -> Tensor:
    """`mean_extra`: the old channels as they are, then their mean, as FCN began for depth beside RGB.

    Preserves the response where the new channels are zero.
    """
    return _extended(weight, in_channels, weight.mean(1, keepdim=True))


def default(weight: Tensor, in_channels: int) -> Tensor:
    """`default`: `sum` for fewer channels than before, which is exact for grey; `zeros` for more, exact for the old."""
    return (sum_of_channels if in_channels < weight.shape[1] else silent_extra)(weight, in_channels)


RULES: dict[str, Rule] = {
    "default": default,
    "sum": sum_of_channels,
    "mean": mean_of_channels,
    "tile": tiled,
    "zeros": silent_extra,
    "mean_extra": mean_extra,
}


def _repeated(channel: Tensor, in_channels: int) -> Tensor:
    return channel.expand(-1, in_channels, *channel.shape[2:])


def _extended(weight: Tensor, in_channels: int, extra: Tensor) -> Tensor:
    more = in_channels - weight.shape[1]
    if more < 0:
        raise FirstConvError(
            f"this rule keeps all {weight.shape[1]} old channels, and {in_channels} are fewer: use 'sum'"
        )
    return torch.cat([weight, _repeated(extra, more)], 1)
