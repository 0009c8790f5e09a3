"""Does a checkpoint fit? Everything is looked at before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from ..errors import CheckpointError
from ..state_dict import StateDictError
from ..state_dict.nests import describe
from ..state_dict.reading import load_safely
from ..text import few
from .content import FIELDS, FORMAT, VERSION

Content = dict[str, Any]


def read(path: Path, verify: bool = True) -> Content:
    """The content of a checkpoint, mapped into memory, with all fields of the right kind.

    Args:
        path: the file.
        verify: compare the checksums.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, or not what `save_checkpoint` writes.
    """
    if path.is_dir():
        raise CheckpointError(f"{str(path)!r} is a folder: name the file in it")
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise CheckpointError(f"{path} is no regular file, but a device, pipe or socket: name another file")
    try:
        found = load_safely(path, verify=verify)
    except StateDictError as error:
        raise CheckpointError(
            f"{error}; nothing was changed, so an earlier checkpoint can be loaded instead"
        ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        what = describe(found) if isinstance(found, Mapping) else f"it holds a {type(found).__name__}"
        raise CheckpointError(
            f"{path.name} was not written by save_checkpoint: {what}. If the weights are in it, load them with "
            "model.load_state_dict, or with helpers.state_dict, which says why they do not fit"
        )
    version = found.get("version")
    if type(version) is not int or version > VERSION:
        raise CheckpointError(
            f"{path.name} has version {version} of the format, and this workbook reads up to {VERSION}: update it"
        )
    for field, kinds in FIELDS.items():
        if not isinstance(found.get(field, path), kinds):
            raise CheckpointError(
                f"{path.name} has no {field!r}, or of a wrong kind: it was changed after it was saved"
            )
    return found


def check_model(content: Content, model: nn.Module, file: str) -> None:
    """See to it that all weights, buffers and modules are there, with the shapes and dtypes of the model's.

    Raises:
        CheckpointError: says which, and both shapes.
    """
    in_file, in_model = content["model"], model.state_dict()
    advice = "to load what fits, use load_matching of helpers.state_dict"
    if missing := [repr(name) for name in in_model if name not in in_file]:
        raise CheckpointError(f"the model has {few(missing, 1)}, and {file} has not; make the same model, or {advice}")
    if surplus := [repr(name) for name in in_file if name not in in_model]:
        raise CheckpointError(f"{file} has {few(surplus, 1)}, the model not; make the same model, or {advice}")
    for name, tensor in in_model.items():
        if isinstance(tensor, Tensor):
            _check_tensor(in_file[name], tensor, f"{name!r} of {file}", advice)
    _check_tied(in_file, in_model, file)
    if strange := [name for name in content["in_eval"] if name not in content["modes"]]:
        raise CheckpointError(f"{file} keeps {strange[0]!r} in eval mode, which it does not have")


def _check_tensor(in_file: object, in_model: Tensor, what: str, advice: str) -> None:
    if not isinstance(in_file, Tensor):
        raise CheckpointError(f"{what} is a {type(in_file).__name__}, not a tensor")
    if in_file.shape != in_model.shape:
        raise CheckpointError(
            f"{what} has shape {tuple(in_file.shape)}, the model's {tuple(in_model.shape)}; make the same model, or "
            f"{advice}"
        )
    if in_file.dtype != in_model.dtype:
        raise CheckpointError(
            f"{what} is {in_file.dtype}, the model's {in_model.dtype}; call model.to({in_file.dtype}) before, since "
            "rounding would make it another training"
        )
    if in_model.is_meta:
        raise CheckpointError(f"{what} has no place: the model is on the meta device; call model.to_empty before")
    if is_traceable_wrapper_subclass(in_file) or is_traceable_wrapper_subclass(in_model):
        kind = type(in_model if is_traceable_wrapper_subclass(in_model) else in_file).__name__
        raise CheckpointError(
            f"{what} meets a {kind}, of which only a part lies in this process; load before the model is wrapped or "
            "distributed, and save what full_tensor() gives"
        )
    if in_model.layout == torch.strided and any(
        stride == 0 and size > 1 for size, stride in zip(in_model.shape, in_model.stride(), strict=True)
    ):
        raise CheckpointError(
            f"{what} has no place: the model's is expanded, several numbers in one place; put a clone() of it there"
        )


def _check_tied(in_file: Mapping[str, Any], in_model: Mapping[str, Any], file: str) -> None:
    """Tensors that share memory in the model can only be loaded if they are equal in the file."""
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in in_model.items():
        if isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.numel():
            other = first.setdefault((tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride()), name)
            if other != name and not torch.equal(in_file[other], in_file[name]):
                raise CheckpointError(f"{other!r} and {name!r} are tied in the model, and differ in {file}; untie them")


def check_class(saved: Content | None, given: object, what: str, file: str) -> None:
    """See to it that an optimizer or a scheduler is of the class of the one in the file.

    Raises:
        CheckpointError: it is not, or there is none.
    """
    kind = type(given).__name__
    if saved is None:
        raise CheckpointError(f"{file} has no {what}; load it without one, and the {kind} begins anew")
    if saved["class"] != kind:
        raise CheckpointError(
            f"{file} has the {what} {saved['class']}, not {kind}; make the same one, or load without it, and begin anew"
        )
