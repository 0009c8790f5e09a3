"""From the layers of a MatConvNet network to PyTorch modules that compute the same.

Sources: the MatConvNet manual (https://arxiv.org/abs/1412.4564, chapter 4) and, where it is silent, its
functions `vl_simplenn`, `vl_nnconv`, `vl_nnpool`, `vl_nnnormalize` and `vl_nnbnorm`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..errors import MatConvNetError
from .fields import checked_options
from .layer import Layer

LOSS_TYPES = ("loss", "softmaxloss")


class AvgPool2d(nn.Module):
    """Average pooling whose unequal padding, (left, right, top, bottom), is left out of every average."""

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, ...]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        inside = F.pad(torch.ones_like(x[:1, :1]), self.padding)
        total = F.avg_pool2d(F.pad(x, self.padding), self.kernel_size, self.stride)
        return total / F.avg_pool2d(inside, self.kernel_size, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MirroredLocalResponseNorm(nn.LocalResponseNorm):
    """For even sizes: MatConvNet looks one channel further up, PyTorch one channel further down."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return super().forward(x.flip(1)).flip(1)


def build_module(layers: list[Layer]) -> fx.GraphModule:
    """See `Network.to_module`."""
    unknown = [f"{layer.name!r} (type {layer.type!r})" for layer in layers if layer.type not in BUILDERS]
    if unknown:
        raise MatConvNetError(
            f"cannot build {', '.join(unknown)}; known types are {', '.join(sorted(BUILDERS))}. "
            "The weights can still be read: network[name].params"
        )
    for layer in layers:
        if layer.params and layer.type not in ("conv", "bnorm"):
            raise MatConvNetError(f"layer {layer.name!r} ({layer.type}) has weights, and nothing is known of their use")
    layers = [replace(layer, options=checked_options(layer)) for layer in layers]
    root, graph, channels = nn.Module(), fx.Graph(), None
    node = graph.placeholder("x")
    for layer in layers:
        modules, channels = BUILDERS[layer.type](layer, channels)
        for suffix, module in modules.items():
            root.add_module(layer.name + suffix, module)
            node = graph.call_module(layer.name + suffix, (node,))
    graph.output(node)
    graph.on_generate_code(lambda _: _as_written_by_hand)
    return fx.GraphModule(root, graph, "Network").eval()


def _as_written_by_hand(body: list[str]) -> list[str]:
    """`conv2 = self.conv2(relu1);  relu1 = None` -> `x = self.conv2(x)`, which frees memory just as early."""
    lines = "".join(body).splitlines()
    called = [re.sub(r"^\w+ = (self\.\w+)\(\w+\).*", r"x = \1(x)", line) for line in lines]
    return ["\n".join(re.sub(r"^return \w+", "return x", line) for line in called)]


# Each builder takes a layer and the number of channels that reach it (None at the input) and returns the modules
# that follow one another, by the suffix of their name, and the number of channels that leave.
Built = tuple[dict[str, nn.Module], int | None]


def _conv(layer: Layer, channels: int | None) -> Built:
    weight, bias = layer.params.get("weight"), layer.params.get("bias")
    if weight is None or weight.ndim != 4:
        found = "none" if weight is None else tuple(weight.shape)
        raise MatConvNetError(f"layer {layer.name!r}: expected a weight (out, in, H, W), found {found}")
    out_channels, group_channels, height, width = weight.shape
    in_channels = group_channels if channels is None else channels
    if in_channels % group_channels or out_channels % (in_channels // group_channels):
        raise MatConvNetError(
            f"layer {layer.name!r}: {in_channels} channels arrive, but its weight {tuple(weight.shape)} reads "
            f"{group_channels} in each group; the layer before it does not belong here"
        )
    before, padding = _padding(layer.options["pad"])
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        (height, width),
        stride=layer.options["stride"],
        padding=padding,
        dilation=layer.options["dilate"],
        groups=in_channels // group_channels,
        bias=bias is not None,
        device="meta",
    )
    _own(conv, layer.params)
    return ({"_pad": nn.ZeroPad2d(before)} if before else {}) | {"": conv}, out_channels


def _relu(layer: Layer, channels: int | None) -> Built:
    leak = layer.options.get("leak", 0)
    return {"": nn.LeakyReLU(leak) if leak else nn.ReLU()}, channels


def _pool(layer: Layer, channels: int | None) -> Built:
    size, stride, method = layer.options["pool"], layer.options["stride"], layer.options.get("method", "max")
    before, padding = _padding(layer.options["pad"], most=(size[0] // 2, size[1] // 2))
    if method == "max":
        pad = {"_pad": nn.ConstantPad2d(before, -torch.inf)} if before else {}
        return pad | {"": nn.MaxPool2d(size, stride, padding)}, channels
    if method == "avg":
        return {
            "": AvgPool2d(size, stride, before)
            if before
            else nn.AvgPool2d(size, stride, padding, count_include_pad=False)
        }, channels
    raise MatConvNetError(f"layer {layer.name!r}: cannot build pooling method {method!r}, only 'max' and 'avg'")


def _lrn(layer: Layer, channels: int | None) -> Built:
    size, kappa, alpha, beta = layer.options["param"]
    kind = nn.LocalResponseNorm if size % 2 else MirroredLocalResponseNorm
    return {"": kind(int(size), alpha=alpha * size, beta=beta, k=kappa)}, channels


def _bnorm(layer: Layer, channels: int | None) -> Built:
    features = len(layer.params["weight"])
    if channels not in (None, features):
        raise MatConvNetError(f"layer {layer.name!r}: {channels} channels arrive, but it normalises {features}")
    # without moments in the file MatConvNet uses those of the batch, at test time too
    norm = nn.BatchNorm2d(features, eps=layer.options["epsilon"], track_running_stats="running_var" in layer.params)
    _own(norm, layer.params)
    return {"": norm}, features


def _dropout(layer: Layer, channels: int | None) -> Built:
    return {"": nn.Dropout(layer.options.get("rate", 0.5))}, channels


def _own(module: nn.Module, params: dict[str, Tensor]) -> None:
    """Copies, so that training the module leaves the `Network` as it was read."""
    module.load_state_dict({key: tensor.clone() for key, tensor in params.items()}, strict=True, assign=True)
    module.requires_grad_(True)


def _padding(
    pad: tuple[int, int, int, int], most: tuple[int, int] | None = None
) -> tuple[tuple[int, int, int, int] | None, tuple[int, int]]:
    """(top, bottom, left, right) -> (a pad of its own or None, the padding of the layer itself).

    A layer of PyTorch pads opposite sides alike and, if it pools, by at most half its kernel (`most`).
    """
    top, bottom, left, right = pad
    alike = top == bottom >= 0 and left == right >= 0
    if alike and (most is None or (top <= most[0] and left <= most[1])):
        return None, (top, left)
    return (left, right, top, bottom), (0, 0)


BUILDERS: dict[str, Callable[[Layer, int | None], Built]] = {
    "bnorm": _bnorm,
    "conv": _conv,
    "dropout": _dropout,
    "lrn": _lrn,
    "normalize": _lrn,  # lrn's name before beta 8
    "pool": _pool,
    "relu": _relu,
    "sigmoid": lambda layer, channels: ({"": nn.Sigmoid()}, channels),
    "softmax": lambda layer, channels: ({"": nn.Softmax(dim=1)}, channels),
} | {loss: lambda layer, channels: ({}, channels) for loss in LOSS_TYPES}
