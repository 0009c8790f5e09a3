"""Trained layers for a fully convolutional network: from a classifier, or from a coarser such network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import FCNError
from ..layers import whole_number, why_not_plain
from .networks import FCN8s, FCN16s, FCN32s

FCN = FCN32s | FCN16s | FCN8s


def linear_to_conv(linear: nn.Linear, size: int, padding: int = 0) -> nn.Conv2d:
    """The conv that computes at each place what the Linear computes of flattened maps of `size` x `size`.

    Args:
        linear: from C size² features.
        size: of its kernels.
        padding: of the conv.

    Returns:
        A conv from C channels, whose weight and bias are copies.

    Raises:
        FCNError: it is no Linear, or the features are no multiple of size².
    """
    if not isinstance(linear, nn.Linear):
        raise FCNError(f"a Linear becomes a conv, not a {type(linear).__name__}")
    if whole_number(size) is None or size < 1:
        raise FCNError(f"the size is a whole number of pixels, at least one, not {size!r}")
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
        FCNError: a layer of the FCN would stay as it is, or has another shape. The FCN is then as it was.
    """
    targets = [(name, conv) for name in fcn.trunk if isinstance(conv := fcn.get_submodule(name), nn.Conv2d)]
    layers = list(vgg16.named_modules())
    strange = next((name for name, layer in layers if isinstance(layer, nn.modules.batchnorm._BatchNorm)), None)
    if strange is not None:
        raise FCNError(f"{strange} is a BatchNorm, which the FCN has not; take a VGG16 without")
    sources = [(name, layer) for name, layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)][:-1]
    if len(sources) != len(targets):
        raise FCNError(f"a VGG16 has {len(targets)} layers with weights in front of its last, not {len(sources)}")
    for (target, conv), (source, layer) in zip(targets, sources, strict=True):
        shape, wanted = tuple(layer.weight.shape), tuple(conv.weight.shape)
        flat = (wanted[0], wanted[1] * wanted[2] * wanted[3])
        if shape != (flat if isinstance(layer, nn.Linear) else wanted):
            options = "width, fc_width and image_size"
            raise FCNError(f"{source} {shape} does not fill {target} {wanted}; make the FCN with the same {options}")
        if layer.bias is None:
            raise FCNError(f"{source} has no bias, and {target} has one")
        if why := why_not_plain(None, conv, target):
            raise FCNError(f"{why}; the FCN is as it was")
        _refuse_without_numbers(source, layer.weight, layer.bias)
        _refuse_without_numbers(target, conv.weight)
    for (_, conv), (_, layer) in zip(targets, sources, strict=True):
        conv.load_state_dict({"weight": layer.weight.reshape(conv.weight.shape), "bias": layer.bias})


@torch.no_grad()
def copy_coarser_(fcn: FCN, coarser: FCN) -> None:
    """Copy all of a trained FCN but its last upsampling into one with more skips, so that training goes on from there.

    The new skips are left alone. In a new FCN their scores begin as zero and their upsampling as bilinear, and so it
    says at first nearly what the coarser one said; two interpolations are not quite one, least of all at the borders.

    Args:
        fcn: a new FCN16s or FCN8s.
        coarser: an FCN32s or FCN16s.

    Raises:
        FCNError: a layer of the coarser one has no place or another shape. The FCN is then as it was.
    """
    last = next(reversed(coarser.offsets))
    have = fcn.state_dict()
    taken = {name: tensor for name, tensor in coarser.state_dict().items() if not name.startswith(f"{last}.")}
    for name, tensor in taken.items():
        if name not in have:
            raise FCNError(f"{type(fcn).__name__} has no {name}; copy from the coarser network to the finer one")
        if have[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)} does not fill {tuple(have[name].shape)}"
            raise FCNError(f"{name} {shapes}; make both networks with the same options")
        _refuse_without_numbers(name, tensor, have[name])
    for name, tensor in taken.items():
        have[name].copy_(tensor)


def _refuse_without_numbers(name: str, *tensors: Tensor) -> None:
    if any(tensor.is_meta for tensor in tensors):
        raise FCNError(f"{name} is on the meta device, without numbers: build it on the CPU, or load it first")
