"""Another number of input channels, in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import FirstConvError
from ..layers import why_not_plain
from ..probing import first_line
from .finding import Conv, find, met
from .rules import RULES, Rule


def adapt_first_conv(
    model: nn.Module, in_channels: int, rule: str | Rule = "default", *, example: Tensor | None = None
) -> str:
    """Let a model take `in_channels` channels, in place; everything but the weight of its first conv stays as it is.

    Make the optimizer afterwards, and compile afterwards: the conv gets a new parameter.

    Args:
        model: any network with a conv in front.
        in_channels: what it shall take.
        rule: one of `RULES`, or a function from (weight, in_channels) to the new weight.
        example: an input that it takes now, (N, channels, ...). Without one, images of usual sizes are tried.

    Returns:
        The name of the conv.

    Raises:
        FirstConvError: no conv meets the input, or several; the conv cannot be adapted; or the model uses the input
            elsewhere, too, and fails with the new number. The model is then as it was.
    """
    (name, conv), stopped = find(model, example)
    if why := why_not_plain(model, conv):
        raise FirstConvError(f"the weight of {name!r} {why}")
    weight, old_channels = conv.weight, conv.in_channels
    adapt_conv(conv, in_channels, rule, name=name)
    image = None if example is None else example.new_zeros(len(example), in_channels, *example.shape[2:])
    found, error = met(model, image, in_channels)
    if name not in found or (error and not stopped):
        conv.weight, conv.in_channels = weight, old_channels
        why = first_line(error) if error else "no error"
        raise FirstConvError(
            f"with {in_channels} channels the model stops before {name!r}, or uses its input elsewhere, too ({why}). "
            "If it transforms channels itself, switch that off (torchvision's GoogLeNet and Inception: transform_input "
            "= False) and move it into the conv with fold_normalization"
        )
    return name


def adapt_conv(conv: Conv, in_channels: int, rule: str | Rule = "default", *, name: str = "this conv") -> None:
    """Let a conv take `in_channels` channels, in place; bias, stride, padding, dilation, dtype, device stay.

    Args:
        conv: weight (out, C, kernel...), one group.
        in_channels: N, at least 1.
        rule: one of `RULES`, or a function from (weight, in_channels) to the new weight (out, N, kernel...).
        name: how messages call it.

    Raises:
        FirstConvError: it is grouped, its weight is made from other tensors, the rule is unknown or gives another
            shape. The conv is then as it was.
    """
    if in_channels < 1 or int(in_channels) != in_channels:
        raise FirstConvError(f"in_channels must be a whole number above 0, not {in_channels}")
    if conv.groups != 1:
        raise FirstConvError(
            f"{name!r} has {conv.groups} groups, so each kernel sees {conv.weight.shape[1]} of {conv.in_channels} "
            "channels, and no rule says which of the new ones; put an ungrouped conv in its place first"
        )
    if why := why_not_plain(None, conv):
        raise FirstConvError(f"the weight of {name!r} {why}")
    if not callable(rule) and rule not in RULES:
        raise FirstConvError(f"there is no rule {rule!r}; there are {', '.join(RULES)}")
    old = conv.weight.detach()
    # half precision is too coarse to add in
    exact = old.float() if old.dtype in (torch.float16, torch.bfloat16) else old
    new = (rule if callable(rule) else RULES[rule])(exact.clone(), in_channels)
    expected = (old.shape[0], in_channels, *old.shape[2:])
    if tuple(new.shape) != expected:
        raise FirstConvError(f"the rule gave {name!r} a weight of shape {tuple(new.shape)}, not {expected}")
    layout = torch.channels_last if _is_channels_last(old) else torch.contiguous_format
    new = new.detach().to(old).clone(memory_format=layout)
    conv.weight = nn.Parameter(new, requires_grad=conv.weight.requires_grad)
    conv.in_channels = in_channels


def _is_channels_last(weight: Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
