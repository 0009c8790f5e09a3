"""One layer of a MatConvNet network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One layer. Tensors are in PyTorch's layout, options keep MatConvNet's names.

    Attributes:
        name: the file's name, with everything but letters, digits and `_` replaced by `_`, and changed where it
            could not be the name of a module; made up of type and number (`conv1`) where the file has none.
        type: MatConvNet's type: `conv`, `relu`, `pool`, `bnorm`, ...
        params: `weight` and `bias`; for bnorm also `running_mean` and `running_var`; for a type unknown here
            the arrays as they stand in the file, as `weights_1`, `weights_2`, ...; so for fields like
            `weights_depth`, which some networks have beside their weights: `weights_depth_1`, ...
        options: for instance `stride` (vertical, horizontal), `pad` (top, bottom, left, right), `dilate`,
            `pool` (height, width), `method`, `leak`, `rate`, `param`, `epsilon`.
        inputs: names of the variables that a layer of a DagNN takes; () in a SimpleNN, a chain.
        outputs: of those that it gives.
        names: of a DagNN: keys of `params` -> what the file calls them, which several layers may share.
    """

    name: str
    type: str
    params: dict[str, Tensor] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
