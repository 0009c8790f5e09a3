"""Weights alone, for other people: a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..atomic_files import replacing
from ..errors import CheckpointError


def export_weights(
    weights: nn.Module | Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a model's state_dict as safetensors, which holds nothing but tensors and cannot run anything.

    Safetensors knows neither shared memory nor strides. So each name gets a contiguous copy of its own: tied weights
    are written once under each of their names, and `load_state_dict` with `strict=True` finds all of them. The file is
    written beside `path` first and takes its place when it is complete, as in `save_checkpoint`.

    Args:
        weights: a model, or tensors by name.
        path: the file, by custom `*.safetensors`.
        metadata: strings by name, such as the licence; Hugging Face's readers want {"format": "pt"}.

    Returns:
        The path.

    Raises:
        CheckpointError: something is neither a dense tensor nor a string. The file is then as it was.
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{name!r} is a {type(tensor).__name__}; safetensors takes tensors by name: leave it out"
            )
        if tensor.layout != torch.strided or tensor.is_meta:
            what = "on the meta device, without values" if tensor.is_meta else f"a {tensor.layout} tensor"
            raise CheckpointError(f"{name!r} is {what}; safetensors takes dense tensors: make it one, or leave it out")
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise CheckpointError(f"metadata {key!r} is a {type(value).__name__}; safetensors takes strings: str() it")
    path = Path(path)
    with replacing(path, CheckpointError) as place:
        try:
            safetensors.torch.save_file(_separate(tensors), place, dict(metadata) if metadata else None)
        except SafetensorError as error:
            raise CheckpointError(f"{path.name} cannot be written ({error}); what was there before still is") from error
    return path


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors no two of which share memory; those that are so already are not copied."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        tensor, storage = tensor.detach(), (tensor.device, tensor.untyped_storage().data_ptr())
        fine = tensor.is_contiguous() and storage not in seen
        separate[name] = tensor if fine else tensor.clone(memory_format=torch.contiguous_format)
        seen.add(storage)
    return separate
