"""From a file to a ready model without reading the weights before they are used."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import StateDictError
from ..probing import first_line
from ..random_states import random_states_kept
from .arguments import check_path
from .converting import add_tied_names
from .kinds import is_scaled, why_no_plain_numbers
from .reading import PREFIXES, StateDict, read_state_dict, shared_by_all


def load_without_copying(
    build: Callable[[], nn.Module], path: str | Path, *, verify: bool = False, key: str | None = None
) -> nn.Module:
    """A model whose parameters are the file itself, mapped into memory.

    `build` runs on the `meta` device, so nothing is allocated or drawn at random, and the tensors of the checkpoint
    become its parameters (`assign=True`). The operating system reads them when they are first used. What is written
    to them, by training for instance, stays in memory and does not change the file. As long as the model is in use the
    file must not be overwritten, not even by saving the model to it: save under another name, and rename.

    The parameters get the dtype that they have in the file. Tensors that are plain attributes of a module, neither
    parameters nor buffers, stay on `meta`.

    `build` is yours: what it raises, but for what `meta` is to blame for, comes through as it is. The
    default dtype and the random states are afterwards what they were.

    The model is built here, so no optimizer can hold the parameters that are replaced: make it from what is returned.

    Args:
        build: makes the model, for instance `torchvision.models.vgg16`.
        path: a checkpoint with all its tensors, in any format of `read_state_dict`; only zip files and safetensors
            are mapped, others are read.
        verify: compare checksums first, which reads the whole file.
        key: under which name the tensors lie, as in `read_state_dict`.

    Raises:
        StateDictError: the file cannot be read; names or shapes differ; it holds integers or float8 for weights, or
            tensors that are no plain numbers; the model has buffers that no checkpoint holds; it cannot be built on
            `meta`.
    """
    path = check_path(path)
    if isinstance(build, nn.Module) or not callable(build):
        raise StateDictError(f"build is a function that makes the model, not a {type(build).__name__}")
    model = _on_meta(build)
    if not isinstance(model, nn.Module):
        raise StateDictError(f"build made a {type(model).__name__}, not a model")
    homeless = sorted(_not_in_checkpoints(model))
    if homeless:
        raise StateDictError(
            f"the buffer {homeless[0]!r} is in no checkpoint, and would stay on meta: build the model on the CPU and "
            "load it with load_matching"
        )
    tied = _tied(model)
    # a prefix that the model has itself is none
    prefixes = [prefix for prefix in PREFIXES if not shared_by_all(prefix, model.state_dict())]
    state_dict = read_state_dict(path, verify=verify, prefixes=prefixes, key=key)
    _refuse_what_is_no_weight(model, state_dict, path.name)
    tensors = OrderedDict(add_tied_names(state_dict, model))
    if hasattr(state_dict, "_metadata"):
        tensors._metadata = state_dict._metadata  # type: ignore[attr-defined]
    try:
        model.load_state_dict(tensors, assign=True)
    except Exception as error:  # modules may load in any way they like
        said = str(error) if isinstance(error, RuntimeError) else first_line(error)
        raise StateDictError(f"{path.name} does not fit: {said}") from error
    for names in tied:
        _tie(model, names)
    return model


def _on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        with _globals_kept(), torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError) as error:
        raise StateDictError(
            f"the model cannot be built on meta ({first_line(error)}): it computes with tensors while it is built, or "
            "build() fails on the CPU, too; build it there, and load it with load_matching"
        ) from error


@contextmanager
def _globals_kept() -> Iterator[None]:
    """Afterwards torch's default dtype and all random states are what they were."""
    dtype = torch.get_default_dtype()
    with random_states_kept():
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _refuse_what_is_no_weight(model: nn.Module, state_dict: StateDict, name: str) -> None:
    """The tensors become the parameters as they are, so they must be numbers that can be computed with."""
    in_model = model.state_dict()
    for key, tensor in state_dict.items():
        wanted = in_model.get(key)
        why = why_no_plain_numbers(tensor)
        if why is None and wanted is not None and wanted.is_floating_point() and is_scaled(tensor):
            kind = str(tensor.dtype).removeprefix("torch.")
            why = f"holds {kind}: read the file, dequantize(state_dict), and use load_matching"
        if why:
            raise StateDictError(f"{name}: {key!r} {why}")


def _not_in_checkpoints(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_buffers(remove_duplicate=False)} - set(model.state_dict())


def _tied(model: nn.Module) -> list[list[str]]:
    """Names of parameters that are one and the same, which assigning them one by one would part."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return [found for found in names.values() if len(found) > 1]


def _tie(model: nn.Module, names: list[str]) -> None:
    first = model.get_parameter(names[0])
    for name in names[1:]:
        _refuse_other_values(names[0], first, name, model.get_parameter(name))
        module, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(module), leaf, first)


def _refuse_other_values(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.dtype != other.dtype or not torch.equal(tensor, other):
        raise StateDictError(f"the model shares one tensor between {name!r} and {other_name!r}, the checkpoint has two")
