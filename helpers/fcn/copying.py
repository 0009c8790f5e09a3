"""Trained layers for a fully convolutional network: from a classifier, or from a coarser such network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import FCNError
from ..layers import whole_number, why_no_model
from .bilinear import why_not_readable, why_not_writable
from .networks import FCN8s, FCN16s, FCN32s

FCN = FCN32s | FCN16s | FCN8s


def linear_to_conv(linear: nn.Linear, size: int, padding: int = 0) -> nn.Conv2d:
    """The conv that computes at each place what the Linear computes of flattened maps of `size` x `size`.

    Args:
        linear: from C size² features.
        size: of its kernels.
        padding: of the conv, 0 or more.

    Returns:
        A conv from C channels, whose weight and bias are copies.

    Raises:
        FCNError: it is no Linear with plain numbers, the features are no multiple of size², or a size or padding is no
            whole number.
    """
    if not isinstance(linear, nn.Linear):
        raise FCNError(f"a Linear becomes a conv, not a {type(linear).__name__}")
    if whole_number(size) is None or size < 1:
        raise FCNError(f"the size is a whole number of pixels, at least one, not {size!r}")
    if whole_number(padding) is None or padding < 0:
        raise FCNError(f"the padding is a whole number of pixels, 0 or more, not {padding!r}")
    if why := why_not_readable(linear, "this Linear"):
        raise FCNError(why)
    if linear.in_features % size**2:
        raise FCNError(f"{linear.in_features} features are not so many maps of {size}x{size}")
    conv = nn.Conv2d(
        linear.in_features // size**2, linear.out_features, size, padding=padding, bias=linear.bias is not None
    )
    state = {"weight": linear.weight.detach().reshape(conv.weight.shape), "bias": linear.bias}
    conv.load_state_dict({name: tensor for name, tensor in state.items() if tensor is not None})
    return conv.to(linear.weight)


@torch.no_grad()
def copy_vgg16_(fcn: FCN, vgg16: nn.Module) -> None:
    """Copy the convs and the first two Linears of a VGG16 into an FCN, which then shares nothing with it.

    Args:
        fcn: all of its layers but the scores and the upsampling are filled.
        vgg16: torchvision's, or `workbook.networks.vgg16`; its last Linear is left out, since its classes are others.

    Raises:
        FCNError: a layer of the FCN would stay as it is or has another shape, or the weights of either are not plain
            numbers of its own. The FCN is then as it was.
    """
    _check_fcn(fcn)
    if why := why_no_model(vgg16):
        raise FCNError(why)
    targets = [(name, conv) for name in fcn.trunk if isinstance(conv := fcn.get_submodule(name), nn.Conv2d)]
    sources = _with_weights(vgg16)[:-1]
    if len(sources) != len(targets):
        raise FCNError(f"a VGG16 has {len(targets)} layers with weights in front of its last, not {len(sources)}")
    pairs: list[tuple[Tensor, Tensor]] = []
    for (target, conv), (source, layer) in zip(targets, sources, strict=True):
        if why := why_not_readable(layer, source) or why_not_writable(fcn, conv, target):
            raise FCNError(why)
        shape, wanted = tuple(layer.weight.shape), tuple(conv.weight.shape)
        flat = (wanted[0], wanted[1] * wanted[2] * wanted[3])
        if shape != (flat if isinstance(layer, nn.Linear) else wanted):
            options = "width, fc_width and image_size"
            raise FCNError(f"{source} {shape} does not fill {target} {wanted}; make the FCN with the same {options}")
        if isinstance(layer, nn.Conv2d) and (layer.stride, layer.dilation) != (conv.stride, conv.dilation):
            theirs, ours = f"{layer.stride} and {layer.dilation}", f"{conv.stride} and {conv.dilation}"
            raise FCNError(f"{source} has stride and dilation {theirs}, and {target} {ours}: that is another network")
        if layer.bias is None or conv.bias is None:
            without, other = (source, target) if layer.bias is None else (target, source)
            raise FCNError(f"{without} has no bias, and {other} has one")
        if layer.bias.shape != conv.bias.shape:
            raise FCNError(
                f"the bias of {source} {tuple(layer.bias.shape)} does not fill that of {target} {wanted[:1]}"
            )
        pairs += [(conv.weight, layer.weight.reshape(wanted)), (conv.bias, layer.bias)]
    for filled, values in pairs:
        filled.copy_(values)


def _with_weights(vgg16: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """All layers of a VGG16 that have weights, in order.

    Raises:
        FCNError: there are others, which a VGG16 has not.
    """
    found: list[tuple[str, nn.Conv2d | nn.Linear]] = []
    for name, layer in vgg16.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found.append((name, layer))
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise FCNError(f"{name} is a BatchNorm, which the FCN has not; take a VGG16 without")
        elif layer._parameters and ".parametrizations." not in f".{name}.":
            raise FCNError(f"{name or 'the model'} is a {type(layer).__name__} with weights, which the FCN has not")
    return found


@torch.no_grad()
def copy_coarser_(fcn: FCN, coarser: FCN) -> None:
    """Copy all of a trained FCN but its last upsampling into one with more skips, so that training goes on from there.

    The new skips are left alone. In a new FCN their scores begin as zero and their upsampling as bilinear, and so it
    says at first nearly what the coarser one said; two interpolations are not quite one, least of all at the borders.

    Args:
        fcn: a new FCN16s or FCN8s.
        coarser: an FCN32s or FCN16s.

    Raises:
        FCNError: a layer of the coarser one has no place or another shape, or the weights of either are not plain
            numbers of its own. The FCN is then as it was.
    """
    _check_fcn(fcn)
    _check_fcn(coarser)
    last = next(reversed(coarser.offsets))
    layers = dict(fcn.named_modules())
    for name, layer in coarser.named_modules():
        if name == last or not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        why = why_not_readable(layer, name)
        if not why and name in layers:
            why = why_not_writable(fcn, layers[name], name)
        if why:
            raise FCNError(why)
    have = fcn.state_dict()
    taken = {name: tensor for name, tensor in coarser.state_dict().items() if not name.startswith(f"{last}.")}
    for name, tensor in taken.items():
        if name not in have:
            raise FCNError(f"{type(fcn).__name__} has no {name}; copy from the coarser network to the finer one")
        if have[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)} does not fill {tuple(have[name].shape)}"
            raise FCNError(f"{name} {shapes}; make both networks with the same options")
    for name, tensor in taken.items():
        have[name].copy_(tensor)


def _check_fcn(fcn: object) -> None:
    if not isinstance(fcn, FCN32s | FCN16s | FCN8s):
        raise FCNError(f"weights are copied into or from an FCN32s, FCN16s or FCN8s, not a {type(fcn).__name__}")
