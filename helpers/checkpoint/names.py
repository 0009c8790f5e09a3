"""Names of parameters and modules, whatever is wrapped around the model or a part of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, DataParallel, fully sharded training and activation checkpointing put into names."""


def plain_name(name: str) -> str:
    """A name without the wrappers in it: "module.layer1._orig_mod.0.weight" -> "layer1.0.weight"."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def unwrapped_name(model: nn.Module, name: str) -> str:
    """The same, where the model is at hand: a part that is itself called "module" keeps its name."""
    module: nn.Module | None = model
    kept = []
    for part in name.split("."):
        if not (module is not None and _wraps(module) and part in WRAPPERS):
            kept.append(part)
        module = module._modules.get(part) if module is not None else None
    return ".".join(kept)


def _wraps(module: nn.Module) -> bool:
    is_parallel = isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel))
    return is_parallel or "_orig_mod" in module._modules


def in_names_of(model: nn.Module, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint under the names that a model has now, if they differ by wrappers alone.

    A part of a model may itself be called "module". So names that are equal stay as they are, and where two would be
    one without wrappers, none is changed.
    """
    in_file, in_model = content["model"], model.state_dict()
    if in_file.keys() == in_model.keys():
        return dict(content)
    here, there = _by_plain_name(in_model), _by_plain_name(in_file)
    if here is None or there is None or here.keys() != there.keys():
        return dict(content)  # `check_model` says what differs
    tensors = OrderedDict((here[plain_name(name)], value) for name, value in in_file.items())
    modules = [name for name, _ in model.named_modules(remove_duplicate=False)]
    versions = {plain_name(name): version for name, version in getattr(in_file, "_metadata", {}).items()}
    tensors._metadata = OrderedDict(  # type: ignore[attr-defined]  # by which torch converts what older versions saved
        (name, versions[plain_name(name)]) for name in modules if plain_name(name) in versions
    )
    modes = {plain_name(name): training for name, training in content["modes"].items()}
    in_eval = {plain_name(name) for name in content["in_eval"]}
    renamed = {
        **content,
        "model": tensors,
        "requires_grad": {here.get(plain_name(name), name): value for name, value in content["requires_grad"].items()},
        "modes": {name: modes[plain_name(name)] for name in modules if plain_name(name) in modes},
        "in_eval": [name for name in modules if plain_name(name) in in_eval],
    }
    if content["optimizer"] is not None:
        groups = [
            [(here.get(plain_name(name), name), shape) for name, shape in group]
            for group in content["optimizer"]["parameters"]
        ]
        renamed["optimizer"] = {**content["optimizer"], "parameters": groups}
    return renamed


def _by_plain_name(names: Iterable[str]) -> dict[str, str] | None:
    """Plain name -> name; None if two have the same."""
    found: dict[str, str] = {}
    for name in names:
        if plain_name(name) in found:
            return None
        found[plain_name(name)] = name
    return found
