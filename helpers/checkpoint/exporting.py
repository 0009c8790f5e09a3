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
from ..state_dict.kinds import why_no_plain_numbers
from .names import unwrapped_name


def export_weights(
    weights: nn.Module | Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a model's state_dict as safetensors, which holds nothing but tensors and cannot run anything.

    Safetensors knows neither shared memory nor strides. So each name gets a contiguous copy of its own: tied weights
    are written once under each of their names, and `load_state_dict` with `strict=True` finds all of them. The file is
    written beside `path` first and takes its place when it is complete, as in `save_checkpoint`.

    Of a wrapped model (torch.compile, DataParallel), the names are those of what was wrapped.

    Args:
        weights: a model, or tensors by name.
        path: the file, by custom `*.safetensors`.
        metadata: strings by name, such as the licence; Hugging Face's readers want {"format": "pt"}.

    Returns:
        The path.

    Raises:
        CheckpointError: something is neither a dense tensor of a dtype that safetensors has nor a string, there is
            nothing to write, or the file cannot be written. It is then as it was.
    """
    tensors = _tensors_of(weights)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{name!r} is a {type(tensor).__name__}; safetensors takes tensors by name: leave it out"
            )
        if why := _why_not(name, tensor):
            raise CheckpointError(f"{name!r} {why}")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise CheckpointError(f"metadata is a {type(metadata).__name__}: give strings by name")
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise CheckpointError(f"metadata {key!r} is a {type(value).__name__}; safetensors takes strings: str() it")
    with replacing(path, CheckpointError) as place:
        try:
            safetensors.torch.save_file(_separate(tensors), place, dict(metadata) if metadata else None)
        except (SafetensorError, ValueError, TypeError, KeyError) as error:  # text that is no UTF-8, for instance
            name = Path(path).name
            raise CheckpointError(f"{name} cannot be written ({error}); what was there before still is") from error
    return Path(path)


def _tensors_of(weights: object) -> Mapping[str, Tensor]:
    tensors: Mapping[str, Tensor]
    if isinstance(weights, nn.Module):
        tensors = {unwrapped_name(weights, name): tensor for name, tensor in weights.state_dict().items()}
    elif isinstance(weights, Mapping):
        tensors = weights
    else:
        raise CheckpointError(f"the weights are a {type(weights).__name__}: give a model, or tensors by name")
    if not tensors:
        raise CheckpointError("there are no tensors to write")
    return tensors


def _why_not(name: str, tensor: Tensor) -> str | None:
    """Why safetensors cannot hold a tensor, and the way out; None if it can."""
    if name == "__metadata__":
        return "is the name that safetensors keeps for strings: give the tensor another"
    if tensor.layout != torch.strided and not tensor.is_meta:
        return f"is a {tensor.layout} tensor; safetensors takes dense tensors: take its to_dense(), or leave it out"
    if why := why_no_plain_numbers(tensor):
        return why
    try:
        safetensors.torch.save({"none": torch.empty(0, dtype=tensor.dtype)})
    except (SafetensorError, KeyError, ValueError):
        return f"is {tensor.dtype}, which safetensors does not have: convert it, or leave it out"
    return None


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors no two of which share memory; those that are so already are not copied."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        # a conjugated or negated view has the numbers of the tensor that it is a view of, and a bit beside them
        tensor = tensor.detach().resolve_conj().resolve_neg()
        storage = (tensor.device, tensor.untyped_storage().data_ptr())
        fine = tensor.is_contiguous() and storage not in seen
        separate[name] = tensor if fine else tensor.clone(memory_format=torch.contiguous_format)
        seen.add(storage)
    return separate
