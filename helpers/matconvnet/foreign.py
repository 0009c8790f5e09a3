"""MATLAB files that hold no MatConvNet network: what they are instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import MatConvNetError
from ..text import few
from .building import KNOWN
from .graph import is_loss
from .layer import Layer
from .unread import Unread

TOOLBOX = "of MATLAB's Deep Learning Toolbox"
CLASSES = {  # of objects
    "SeriesNetwork": TOOLBOX,
    "DAGNetwork": TOOLBOX,
    "dlnetwork": TOOLBOX,
    "network": TOOLBOX,
    "dagnn.DagNN": "of MatConvNet itself",
}
NOT_BUILT = {"noffset", "spnorm", "pdist", "custom"}  # types of MatConvNet without weights
IN_MATLAB = "in MATLAB, save the weights of its layers as arrays with names, and read those with scipy.io.loadmat"


def what_else(contents: dict[str, Any]) -> str:
    """What a file is in which no layers were found, and what to do."""
    for name, value in contents.items():
        kind = value.kind.removeprefix("object of the class ") if isinstance(value, Unread) else ""
        if kind in CLASSES:
            way_out = "save net.saveobj() in MATLAB" if kind == "dagnn.DagNN" else IN_MATLAB
            return f"{name!r} is an object of the class {kind}, {CLASSES[kind]}, which only MATLAB reads: {way_out}"
        if isinstance(value, dict) and {"IW", "LW"} <= value.keys():
            return f"{name!r} is a network {TOOLBOX} as a struct, not of MatConvNet: {IN_MATLAB}"
        if name == "layers" or (isinstance(value, dict) and "layers" in value):
            return f"the layers in {name!r} are no cell of structs, or an empty one: there is no network in them"
    arrays = [name for name, value in _all(contents).items() if isinstance(value, np.ndarray) and value.size > 1]
    if arrays:
        return (
            f"a MATLAB file without a `layers` cell, but with arrays ({few(arrays)}); if they are weights, read them "
            "with scipy.io.loadmat and give them names"
        )
    return (
        f"a MATLAB file without a `layers` cell (it has {', '.join(sorted(contents)) or 'nothing'}); is it a network?"
    )


def _all(contents: dict[str, Any]) -> dict[str, Any]:
    """The variables, and the fields of those that are structs."""
    found = dict(contents)
    for name, value in contents.items():
        if isinstance(value, dict):
            found |= {f"{name}.{field}": inner for field, inner in value.items()}
    return found


def refuse_other_toolboxes(layers: list[Layer]) -> None:
    """Layers that have a `type` and no weights are those of another toolbox, or of a network that was never made.

    Raises:
        MatConvNetError: there are such layers only.
    """
    known = KNOWN | NOT_BUILT
    unknown = [layer.type for layer in layers if layer.type not in known and not is_loss(layer)]
    if unknown and not any(layer.params for layer in layers):
        raise MatConvNetError(
            f"no layer has weights where MatConvNet keeps them, and {few(dict.fromkeys(unknown))} are no types of its "
            f"layers: it is a network of another toolbox; {IN_MATLAB}"
        )
