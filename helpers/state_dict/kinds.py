"""Tensors that are no plain numbers, or whose numbers mean something only together with others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

FLOAT8 = tuple(getattr(torch, name) for name in dir(torch) if name.startswith("float8_"))


def why_no_plain_numbers(tensor: Tensor) -> str | None:
    """Why the numbers of a tensor are not simply there, and the way out; None if they are."""
    if tensor.is_meta:
        return "is on the meta device, without numbers: read the file again without a device, or use assign=True"
    if is_traceable_wrapper_subclass(tensor):
        way_out = "call full_tensor() on it in every process" if type(tensor).__name__ == "DTensor" else "make it plain"
        return f"is a {type(tensor).__name__}, which holds its numbers elsewhere: {way_out} first"
    if tensor.layout != torch.strided:
        return "is sparse: take its to_dense()"
    if tensor.is_quantized:
        return "is quantized: take its dequantize()"
    return None


def why_not_into(tensor: Tensor, target: Tensor) -> str | None:
    """Why the numbers of a tensor cannot be copied into a tensor of a model, and the way out; None if they can."""
    if why := why_no_plain_numbers(tensor):
        return why
    if target.is_meta:
        return "would go to the meta device, where nothing can be copied to: build the model on the CPU"
    if target.is_inference():
        return (
            "would go into a tensor made under torch.inference_mode, which cannot be changed: build the model outside"
        )
    if is_traceable_wrapper_subclass(target):
        return (
            f"would go into a {type(target).__name__}, of which only a part lies in this process: load before the "
            "model is wrapped"
        )
    if any(stride == 0 and size > 1 for size, stride in zip(target.shape, target.stride(), strict=True)):
        return "would go into an expanded tensor of the model, several numbers in one place: clone that first"
    if tensor.is_complex() and not target.is_complex():
        return "is complex, the model's is real: take its real part, or build the model for complex numbers"
    if target.is_floating_point() and is_scaled(tensor):
        kind = str(tensor.dtype).removeprefix("torch.")
        return (
            f"holds {kind}, which stand for weights only together with a scale: if that lies beside them, "
            "dequantize(state_dict) multiplies them; if not, look for it where the checkpoint came from"
        )
    if target.dtype != tensor.dtype and not _survives(tensor, target.dtype):
        into = str(target.dtype).removeprefix("torch.")
        return f"has numbers that {into} cannot hold: build the model with {str(tensor.dtype).removeprefix('torch.')}"
    return None


def is_scaled(tensor: Tensor) -> bool:
    """Whether its numbers are whole or of 8 bits, and so stand for weights only together with a scale."""
    whole = not (tensor.is_floating_point() or tensor.is_complex())
    return whole or tensor.dtype in FLOAT8


def _survives(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether no number becomes infinite, or loses its fraction, in another dtype."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if not dtype.is_floating_point:
        return dtype.is_complex or bool((tensor == tensor.round()).all())
    if torch.finfo(dtype).max >= torch.finfo(tensor.dtype).max:
        return True
    largest = tensor.detach()[tensor.isfinite()].abs()
    return largest.numel() == 0 or float(largest.max()) <= torch.finfo(dtype).max
