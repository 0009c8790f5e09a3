"""From the layers of a MatConvNet network to PyTorch modules that compute the same.

Sources: the MatConvNet manual (https://arxiv.org/abs/1412.4564, chapter 4) and, where it is silent, its
functions `vl_simplenn`, `vl_nnconv`, `vl_nnconvt`, `vl_nnpool`, `vl_nnnormalize` and `vl_nnbnorm`, and its `+dagnn`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import MatConvNetError
from ..text import few
from .fields import checked_options
from .graph import INPUT, in_order, needed_for
from .layer import Layer
from .modules import (
    AvgPool2d,
    Called,
    Concat,
    ConcatMap,
    Conv2d,
    Crop,
    FromPixels,
    MirroredLocalResponseNorm,
    Scale,
    SubPixels,
    Sum,
    Trim,
)

JOINS = frozenset({"concat", "sum", "scale", "crop"})  # which take several variables

Builder = Callable[[Layer], Any]


def build_module(
    layers: list[Layer],
    inputs: Sequence[str],
    outputs: Sequence[str],
    own: Mapping[str, Builder],
) -> fx.GraphModule:
    """See `Network.to_module`."""
    layers = needed_for(tuple(outputs), in_order(layers))
    _refuse_unknown(layers, own)
    for layer in layers:
        if any(tensor.is_meta for tensor in layer.params.values()):
            raise MatConvNetError(f"the weights of layer {layer.name!r} were not read: load without only_shapes=True")
    root, graph = nn.Module(), fx.Graph()
    nodes: dict[str, fx.Node] = {}
    channels: dict[str, int | None] = {}
    taken: dict[str, int] = {}
    used = {variable for layer in layers for variable in layer.inputs}
    for variable in inputs:
        if variable in used:
            name = stem = _argument(variable)
            while name in taken:
                taken[stem] += 1
                name = f"{stem}_{taken[stem]}"
            taken[name] = 1
            nodes[variable], channels[variable] = graph.placeholder(name), None
    for layer in layers:
        arrive = [channels[variable] for variable in layer.inputs]
        arguments: tuple[fx.Node, ...] = tuple(nodes[variable] for variable in layer.inputs)
        if layer.type in own:
            modules, leave = {"": _as_module(own[layer.type](layer), layer)}, None
        else:
            layer = replace(layer, options=checked_options(layer))
            modules, leave = BUILDERS[layer.type](layer, arrive)
        for suffix, module in modules.items():
            root.add_module(layer.name + suffix, module)
            arguments = (graph.call_module(layer.name + suffix, arguments),)
        several = len(layer.outputs) > 1  # as only a builder makes them
        for place, variable in enumerate(layer.outputs):
            nodes[variable] = graph.call_function(getitem, (arguments[0], place)) if several else arguments[0]
            channels[variable] = leave
    _share(root, [layer for layer in layers if layer.type not in own])
    graph.output(nodes[outputs[0]] if len(outputs) == 1 else {name: nodes[name] for name in outputs})
    if len(outputs) == 1 and _is_chain(layers, inputs):
        graph.on_generate_code(lambda _: _as_written_by_hand)
    return fx.GraphModule(root, graph, "Network").eval()


def _refuse_unknown(layers: list[Layer], own: Mapping[str, Builder]) -> None:
    unknown = [layer for layer in layers if layer.type not in BUILDERS and layer.type not in own]
    if unknown:
        named = few([f"{layer.name!r} (type {layer.type!r})" for layer in unknown])
        kind = unknown[0].type
        given = {variable for layer in layers for variable in layer.outputs}
        before = next((variable for variable in unknown[0].inputs if variable in given), None)
        without = f"; or build what comes before, to_module(outputs=[{before!r}])" if before else ""
        raise MatConvNetError(
            f"cannot build {named}; known types are {', '.join(sorted(BUILDERS))}. The weights can still be read: "
            f"network[name].params; or give a function that builds it, to_module(builders={{{kind!r}: function}})"
            f"{without}"
        )
    for layer in layers:
        unused = [key for key in layer.params if key not in WITH_WEIGHTS.get(layer.type, ())]
        if unused and layer.type not in own:
            raise MatConvNetError(
                f"layer {layer.name!r} ({layer.type}) has {unused[0]}, and nothing is known of its use; to build the "
                f"network without: del network[{layer.name!r}].params[{unused[0]!r}]"
            )
        if layer.options.get("opts") and layer.type not in own:
            raise MatConvNetError(
                f"layer {layer.name!r} ({layer.type}) has opts that change what it computes: {layer.options['opts']}"
            )
        if len(layer.outputs) != 1 and layer.type not in own:
            raise MatConvNetError(f"layer {layer.name!r} ({layer.type}) gives {len(layer.outputs)} variables, not one")
        expected = "at least one" if layer.type in JOINS else "one"
        several = len(layer.inputs) > 1 and layer.type not in JOINS
        if (several or not layer.inputs) and layer.type not in own:
            found = len(layer.inputs) or "no"
            raise MatConvNetError(f"layer {layer.name!r} ({layer.type}) takes {found} variables, not {expected}")


def _as_module(built: Any, layer: Layer) -> nn.Module:
    if isinstance(built, nn.Module):
        return built
    if callable(built):
        return Called(built)
    raise MatConvNetError(
        f"the builder of {layer.type!r} gave a {type(built).__name__} for layer {layer.name!r}, neither a module nor a "
        "function"
    )


def _share(root: nn.Module, layers: list[Layer]) -> None:
    """One parameter for all layers that share it in the file."""
    first: dict[str, nn.Parameter] = {}
    for layer in layers:
        module = root._modules.get(layer.name)
        for key, name in layer.names.items():
            parameter = None if module is None else module._parameters.get(key)
            if module is not None and parameter is not None:
                known = first.setdefault(name, parameter)
                if known.shape == parameter.shape:
                    module._parameters[key] = known


def _is_chain(layers: list[Layer], inputs: Sequence[str]) -> bool:
    before = [INPUT]
    if list(inputs) != before:
        return False
    for layer in layers:
        if list(layer.inputs) != before or len(layer.outputs) != 1:
            return False
        before = list(layer.outputs)
    return True


def _argument(variable: str) -> str:
    """A variable's name as that of an argument in Python."""
    name = re.sub(r"\W", "_", variable, flags=re.ASCII)
    name = name if name[:1].isalpha() or name[:1] == "_" else f"v{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def _as_written_by_hand(body: list[str]) -> list[str]:
    """`conv2 = self.conv2(relu1);  relu1 = None` -> `x = self.conv2(x)`, which frees memory just as early."""
    lines = "".join(body).splitlines()
    called = [re.sub(r"^\w+ = (self\.\w+)\(\w+\).*", r"x = \1(x)", line) for line in lines]
    return ["\n".join(re.sub(r"^return \w+", "return x", line) for line in called)]


# Each builder takes a layer and the numbers of channels of what it takes (None where they are not known, as at the
# input), and returns the modules that follow one another, by the suffix of their name, and the channels that leave.
Built = tuple[dict[str, nn.Module], int | None]
Channels = list[int | None]


def _conv(layer: Layer, arrive: Channels) -> Built:
    if layer.params.keys() == {"bias"}:  # MatConvNet only adds it then
        ones = torch.ones(len(layer.params["bias"]), 1, 1, 1)
        layer = replace(layer, params=layer.params | {"weight": ones})
    weight, bias = _kernels(layer), layer.params.get("bias")
    out_channels, group_channels, height, width = weight.shape
    in_channels = arrive[0] or group_channels
    if in_channels % group_channels or out_channels % (in_channels // group_channels):
        raise MatConvNetError(
            f"layer {layer.name!r}: {in_channels} channels arrive, but its weight {tuple(weight.shape)} reads "
            f"{group_channels} in each group; the layer before it does not belong here"
        )
    if bias is not None and len(bias) != out_channels:
        raise MatConvNetError(f"layer {layer.name!r}: its bias has {len(bias)} values, for {out_channels} channels")
    before, padding = _padding(layer.options["pad"])
    kind = Conv2d if arrive[0] is None else nn.Conv2d
    conv = kind(
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


def _convt(layer: Layer, arrive: Channels) -> Built:
    weight, bias = _kernels(layer), layer.params.get("bias")
    in_channels, group_channels, height, width = weight.shape
    groups = layer.options.get("groups", 1)
    if arrive[0] not in (None, in_channels) or in_channels % groups:
        raise MatConvNetError(
            f"layer {layer.name!r}: {arrive[0] or in_channels} channels arrive, but its weight {tuple(weight.shape)} "
            f"takes {in_channels} in {groups} groups; the layer before it does not belong here"
        )
    if bias is not None and len(bias) != group_channels * groups:
        raise MatConvNetError(
            f"layer {layer.name!r}: its bias has {len(bias)} values, for {group_channels} channels in {groups} groups"
        )
    top, bottom, left, right = layer.options["crop"]
    alike = top == bottom and left == right
    conv = nn.ConvTranspose2d(
        in_channels,
        group_channels * groups,
        (height, width),
        stride=layer.options["upsample"],
        padding=(top, left) if alike else 0,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    _own(conv, layer.params)
    return {"": conv} | ({} if alike else {"_crop": Trim(top, bottom, left, right)}), group_channels * groups


def _kernels(layer: Layer) -> Tensor:
    weight = layer.params.get("weight")
    if weight is None or weight.ndim != 4:
        found = "none" if weight is None else tuple(weight.shape)
        raise MatConvNetError(f"layer {layer.name!r}: expected a weight (out, in, H, W), found {found}")
    return weight


def _relu(layer: Layer, arrive: Channels) -> Built:
    leak = layer.options.get("leak", 0)
    return {"": nn.LeakyReLU(leak) if leak else nn.ReLU()}, arrive[0]


def _pool(layer: Layer, arrive: Channels) -> Built:
    size, stride, method = layer.options["pool"], layer.options["stride"], layer.options.get("method", "max")
    before, padding = _padding(layer.options["pad"], most=(size[0] // 2, size[1] // 2))
    if method == "max":
        pad = {"_pad": nn.ConstantPad2d(before, -torch.inf)} if before else {}
        return pad | {"": nn.MaxPool2d(size, stride, padding)}, arrive[0]
    if method == "avg":
        pool = nn.AvgPool2d(size, stride, padding, count_include_pad=False)
        return {"": AvgPool2d(size, stride, before) if before else pool}, arrive[0]
    raise MatConvNetError(f"layer {layer.name!r}: cannot build pooling method {method!r}, only 'max' and 'avg'")


def _lrn(layer: Layer, arrive: Channels) -> Built:
    size, kappa, alpha, beta = layer.options["param"]
    kind = nn.LocalResponseNorm if size % 2 else MirroredLocalResponseNorm
    return {"": kind(int(size), alpha=alpha * size, beta=beta, k=kappa)}, arrive[0]


def _bnorm(layer: Layer, arrive: Channels) -> Built:
    if not {"weight", "bias"} <= layer.params.keys():
        raise MatConvNetError(f"layer {layer.name!r} (bnorm) has no weight and bias")
    features = len(layer.params["weight"])
    if arrive[0] not in (None, features):
        raise MatConvNetError(f"layer {layer.name!r}: {arrive[0]} channels arrive, but it normalises {features}")
    # without moments in the file MatConvNet uses those of the batch, at test time too
    norm = nn.BatchNorm2d(features, eps=layer.options["epsilon"], track_running_stats="running_var" in layer.params)
    _own(norm, layer.params)
    return {"": norm}, features


def _dropout(layer: Layer, arrive: Channels) -> Built:
    return {"": nn.Dropout(layer.options.get("rate", 0.5))}, arrive[0]


def _sum(layer: Layer, arrive: Channels) -> Built:
    return {"": Sum()}, _spread(layer, arrive)


def _spread(layer: Layer, arrive: Channels) -> int | None:
    """The channels of what is added or multiplied number by number; one channel spreads to many."""
    many = {channels for channels in arrive if channels not in (None, 1)}
    if len(many) > 1:
        raise MatConvNetError(
            f"layer {layer.name!r} ({layer.type}) joins {few(arrive)} channels, which do not spread to one another"
        )
    return many.pop() if many else None if None in arrive else 1


def _concat(layer: Layer, arrive: Channels) -> Built:
    dim = DIMENSIONS[layer.options["dim"]]
    if dim != 1:
        return {"": Concat(dim)}, arrive[0]
    total = None if None in arrive else sum(channels or 0 for channels in arrive)
    return {"": ConcatMap() if layer.options.get("is_map") else Concat(dim)}, total


def _scale(layer: Layer, arrive: Channels) -> Built:
    weight, bias = layer.params.get("weight"), layer.params.get("bias")
    factors = len(layer.inputs) - 1 + (weight is not None) + (bias is not None)
    if factors not in (1, 2):
        raise MatConvNetError(
            f"layer {layer.name!r} (scale) has {len(layer.inputs)} inputs and {len(layer.params)} parameters: expected "
            "factors and perhaps summands in one or the other"
        )
    own = [len(tensor[0]) for tensor in (weight, bias) if tensor is not None]
    return {"": Scale(weight, bias)}, _spread(layer, [*arrive, *own])


def _crop(layer: Layer, arrive: Channels) -> Built:
    if len(layer.inputs) != 2:
        raise MatConvNetError(f"layer {layer.name!r} (crop) takes {len(layer.inputs)} variables, not two")
    return {"": Crop(layer.options["offset"])}, arrive[0]


def _sub_pixels(layer: Layer, arrive: Channels) -> Built:
    scale, channels = layer.options.get("scale", 2), arrive[0]
    up, down = round(scale), round(1 / scale)
    if scale >= 1 and up == scale:
        if channels is not None and channels % up**2:
            raise MatConvNetError(f"layer {layer.name!r} (SubP) makes {up} x {up} pixels of {channels} channels")
        return {"": SubPixels(up)}, None if channels is None else channels // up**2
    if scale < 1 and abs(1 / scale - down) < 1e-6:
        return {"": FromPixels(down)}, None if channels is None else channels * down**2
    raise MatConvNetError(
        f"layer {layer.name!r} (SubP) has the scale {scale}, neither a whole number nor one part of one"
    )


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


DIMENSIONS = {1: 2, 2: 3, 3: 1, 4: 0}  # MATLAB's H, W, C, N -> PyTorch's
KERNEL = ("weight", "bias")
WITH_WEIGHTS = {"conv": KERNEL, "convt": KERNEL, "scale": KERNEL, "mulconst": KERNEL} | {
    "bnorm": (*KERNEL, "running_mean", "running_var")
}
BUILDERS: dict[str, Callable[[Layer, Channels], Built]] = {
    "SubP": _sub_pixels,
    "bnorm": _bnorm,
    "concat": _concat,
    "conv": _conv,
    "convt": _convt,
    "crop": _crop,
    "dropout": _dropout,
    "lrn": _lrn,
    "mulconst": _scale,
    "normalize": _lrn,  # lrn's name before beta 8
    "pool": _pool,
    "relu": _relu,
    "scale": _scale,
    "sigmoid": lambda layer, arrive: ({"": nn.Sigmoid()}, arrive[0]),
    "softmax": lambda layer, arrive: ({"": nn.Softmax(dim=1)}, arrive[0]),
    "sum": _sum,
}
KNOWN = frozenset(BUILDERS)
