"""What is in a checkpoint, and why it does not load.

    python -m helpers.state_dict CHECKPOINT [MODEL]

MODEL is the name of a torchvision model, such as resnet18, or `package.module:factory` of your own; nothing is
downloaded. The status is 0 if the file was read, 1 if it or the model could not be, 2 if the call is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision import models

from ..errors import StateDictError
from ..file_kinds import kind_of
from ..probing import first_line
from ..text import plain
from . import Explanation, StateDict, explain, match_keys, read_state_dict


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary and the explanation; the status is returned."""
    asked = _parser().parse_args(arguments)
    try:
        with redirect_stdout(sys.stderr):  # what a model prints is no part of a report
            state_dict = read_state_dict(asked.checkpoint, key=asked.key, stand_ins=asked.stand_ins)
            model = build(asked.model) if asked.model else None
            explanation = explain(model, state_dict) if model is not None else None
            found = _as_json(state_dict, model, explanation, asked.list)
    except (OSError, ValueError) as error:  # StateDictError is a ValueError
        print(plain(str(error)), file=sys.stderr)
        return 1
    except BaseException as error:  # a model is somebody else's code, which may even end Python
        print(plain(f"{asked.model or asked.checkpoint} stops with {first_line(error)}"), file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps(found, indent=2))
        return 0
    if explanation is not None:
        for line in [*(f"- {cause}" for cause in explanation.causes), explanation.reach, *explanation.fix.splitlines()]:
            print(plain(line))
        print()
    for line in [repr(state_dict).splitlines()[0], *state_dict.notes]:
        print(plain(line))
    if asked.list:
        width = max(map(len, state_dict), default=0)
        for key, tensor in state_dict.items():
            print(plain(f"  {key.ljust(width)}  {tuple(tensor.shape)}  {_dtype(tensor)}"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.state_dict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a file, or a folder with shards")
    parser.add_argument("model", nargs="?", help="a torchvision name, or package.module:factory")
    parser.add_argument("--key", help="under which name the tensors lie; a.b for b in a")
    parser.add_argument("--stand-ins", action="store_true", help="read tensors beside objects of other classes")
    parser.add_argument("--list", action="store_true", help="all tensors, with shapes and dtypes")
    parser.add_argument("--json", action="store_true", help="one JSON object, for a report")
    return parser


def build(name: str) -> nn.Module:
    """The model of this name, with random weights.

    Raises:
        StateDictError: there is none, or it cannot be built without arguments.
    """
    factory = _own_factory(name) if ":" in name else _of_torchvision(name)
    options: dict[str, Any] = {}
    if str(getattr(factory, "__module__", None)).startswith("torchvision."):  # whose detectors else download a backbone
        known = inspect.signature(inspect.unwrap(factory)).parameters
        options = {option: None for option in ("weights", "weights_backbone") if option in known}
    try:
        model = factory(**options)
    except BaseException as error:  # somebody else's code, which may even end Python
        raise StateDictError(f"{name} cannot be built without arguments: {first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise StateDictError(f"{name} makes a {type(model).__name__}, not a model")
    return model


def _own_factory(name: str) -> Any:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")  # as `python -m` has it
    try:
        return getattr(importlib.import_module(module), attribute)
    except BaseException as error:
        raise StateDictError(f"{name} cannot be imported: {first_line(error)}") from error
    finally:
        if "" in sys.path:
            sys.path.remove("")


def _of_torchvision(name: str) -> Any:
    try:
        return models.get_model_builder(name)
    except ValueError as error:
        raise StateDictError(f"torchvision has no model {name!r}; of your own, give package.module:factory") from error


def _as_json(
    state_dict: StateDict, model: nn.Module | None, explanation: Explanation | None, with_list: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "file": state_dict.path.name if state_dict.path else None,
        "kind": kind_of(state_dict.path).name if state_dict.path else None,
        "notes": list(state_dict.notes),
        "tensors": len(state_dict),
        "numbers": sum(tensor.numel() for tensor in state_dict.values()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "workbook": _version(),
        },
    }
    if model is not None and explanation is not None:
        found |= {
            "model": type(model).__name__,
            "causes": list(explanation.causes),
            "fix": explanation.fix,
            "reach": explanation.reach,
            "coverage": match_keys(model, state_dict).coverage,
        }
    if with_list:
        found["list"] = {key: {"shape": list(t.shape), "dtype": _dtype(t)} for key, t in state_dict.items()}
    return found


def _version() -> str:
    """Of this package; "copied" where it was copied into a project."""
    try:
        return version("pretrained-weights-workbook")
    except PackageNotFoundError:
        return "copied"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main())
