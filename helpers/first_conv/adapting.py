"""Another number of input channels, in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..errors import FirstConvError
from ..layers import numbers_beside, whole_number, why_not_plain
from ..probing import Example, first_line
from .finding import Conv, find, met
from .rules import RULES, Rule

# what modules call the number of channels that they keep beside the conv
CHANNELS = ("in_channels", "num_channels", "in_chans")


def adapt_first_conv(
    model: nn.Module, in_channels: int, rule: str | Rule = "default", *, example: Example | None = None
) -> str:
    """Let a model take `in_channels` channels, in place; everything but the weight of its first conv stays as it is.

    Modules that hold the conv and keep its number (`in_channels`, `num_channels`) are told the new one. Make the
    optimizer afterwards, and compile afterwards: the conv gets a new parameter.

    Args:
        model: any network with a conv in front.
        in_channels: what it shall take.
        rule: one of `RULES`, or a function from (weight, in_channels) to the new weight.
        example: an input that it takes now, (N, channels, ...), or a list of images (channels, ...). Without one,
            images of usual sizes are tried.

    Returns:
        The name of the conv.

    Raises:
        FirstConvError: no conv meets the input, or several; the conv cannot be adapted; or the model uses the input
            elsewhere, too, and fails with the new number. The model is then as it was.
    """
    channels = _number_of_channels(in_channels)
    # a detector may have been told already how to normalise the new channels, and stops with the old ones
    (name, conv), stopped = find(model, example, [3, channels])
    if why := why_not_plain(model, conv, repr(name)):
        raise FirstConvError(why)
    weight, old_channels = conv.weight, conv.in_channels
    beside = [place for place in numbers_beside(model, name, CHANNELS, old_channels) if place[0] is not conv]
    adapt_conv(conv, channels, rule, name=name)
    try:
        for module, attribute in beside:
            setattr(module, attribute, channels)
        found, error = met(model, _with_channels(example, channels), [channels])
        if name not in found or (error and not stopped):
            raise FirstConvError(
                f"with {channels} channels the model stops before {name!r}, or uses its input elsewhere, too "
                f"({first_line(error) if error else 'no error'}). {_way_out(model, channels)}"
            )
    except BaseException:
        conv.weight, conv.in_channels = weight, old_channels
        for module, attribute in beside:
            setattr(module, attribute, old_channels)
        raise
    return name


def adapt_conv(conv: Conv, in_channels: int, rule: str | Rule = "default", *, name: str = "this conv") -> None:
    """Let a conv take `in_channels` channels, in place; bias, stride, padding, dilation, dtype, device stay.

    Args:
        conv: weight (out, C, kernel...), one group.
        in_channels: N, at least 1.
        rule: one of `RULES`, or a function from (weight, in_channels) to the new weight (out, N, kernel...).
        name: how messages call it.

    Raises:
        FirstConvError: it is no conv, grouped, its weight is made from other tensors, the rule is unknown, stops or
            gives another shape or numbers that are not finite. The conv is then as it was.
    """
    channels = _number_of_channels(in_channels)
    if not isinstance(conv, Conv):
        raise FirstConvError(f"{name!r} must be a Conv1d, Conv2d or Conv3d, not {type(conv).__name__}")
    if why := why_not_plain(None, conv, repr(name)):
        raise FirstConvError(why)
    if conv.groups != 1:
        raise FirstConvError(
            f"{name!r} has {conv.groups} groups, so each kernel sees {conv.weight.shape[1]} of {conv.in_channels} "
            "channels, and no rule says which of the new ones; put an ungrouped conv in its place first"
        )
    if not callable(rule) and (not isinstance(rule, str) or rule not in RULES):
        raise FirstConvError(f"there is no rule {rule!r}; there are {', '.join(RULES)}")
    old = conv.weight.detach()
    # half precision is too coarse to add in
    exact = old.float() if old.dtype in (torch.float16, torch.bfloat16) else old
    try:
        new = (rule if callable(rule) else RULES[rule])(exact.clone(), channels)
    except FirstConvError:
        raise
    except Exception as error:
        raise FirstConvError(f"the rule stopped on {name!r} with {first_line(error)}") from error
    expected = (old.shape[0], channels, *old.shape[2:])
    shape = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
    if shape != expected:
        raise FirstConvError(f"the rule gave {name!r} a weight of shape {shape}, not {expected}")
    layout = torch.channels_last if _is_channels_last(old) else torch.contiguous_format
    new = new.detach().to(old).clone(memory_format=layout)
    if not new.is_meta and old.isfinite().all() and not new.isfinite().all():
        raise FirstConvError(f"the rule gave {name!r} numbers that are not finite as {old.dtype}")
    conv.weight = nn.Parameter(new, requires_grad=conv.weight.requires_grad)
    conv.in_channels = channels


def _number_of_channels(in_channels: int) -> int:
    channels = whole_number(in_channels)
    if channels is None or channels < 1:
        raise FirstConvError(f"in_channels must be a whole number above 0, not {in_channels!r:.60}")
    return channels


def _with_channels(example: Example | None, channels: int) -> Example | None:
    """As many images of the same sizes, with other channels."""
    if example is None:
        return None
    if isinstance(example, Tensor):
        return example.new_zeros(len(example), channels, *example.shape[2:])
    return tree_map(lambda image: image.new_zeros(*image.shape[:-3], channels, *image.shape[-2:]), example)


def _way_out(model: nn.Module, channels: int) -> str:
    """What to do about a model that uses its channels before the conv, too."""
    for name, module in model.named_modules():
        mean, std = (vars(module).get(attribute) for attribute in ("image_mean", "image_std"))
        if isinstance(mean, list | tuple) and isinstance(std, list | tuple) and len(mean) != channels:
            new = [f"[{sum(old) / len(old):.6g}] * {channels}" for old in (mean, std)]
            return (
                f"{name!r} normalises {len(mean)} channels. Say first how it shall normalise yours, for example "
                f"`part = model.get_submodule({name!r}); part.image_mean, part.image_std = {new[0]}, {new[1]}`"
            )
    return (
        "If it transforms channels itself, switch that off (torchvision's GoogLeNet and Inception: transform_input = "
        "False) and move it into the conv with fold_normalization"
    )


def _is_channels_last(weight: Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
