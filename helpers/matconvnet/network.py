"""What a MatConvNet file holds once it has been read: layers, class names, preprocessing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from torch import Tensor, fx, nn

from ..errors import MatConvNetError
from ..text import html_table, text_table
from .building import KNOWN, Builder, build_module
from .graph import chained, ends, without_losses
from .layer import Layer
from .matching import match_parameters
from .preprocessing import not_applied, prepare


@dataclass(frozen=True)
class Network:
    """A MatConvNet network: a SimpleNN, which is a chain, or a DagNN, a graph.

    Attributes:
        layers: in the order in which they run; those of a DagNN know the variables that they take and give.
        classes: class names, first output first; empty if the file has none.
        normalization: the file's preprocessing, for instance `averageImage` (array) and `imageSize` (tuple);
            empty if the file has none.
        meta: all that the file has under `meta`, as it stands there.
    """

    layers: list[Layer]
    classes: list[str] = field(default_factory=list)
    normalization: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def is_dag(self) -> bool:
        """Whether it is a DagNN, whose layers name the variables that they take and give."""
        return any(layer.outputs for layer in self.layers)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The variables that no layer gives, without those that only losses take; ("x",) for a chain."""
        return ends(self._graph())[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The variables that no layer takes but losses."""
        return ends(self._graph())[1]

    def _graph(self, known: frozenset[str] = KNOWN) -> list[Layer]:
        """The layers with variables, without losses."""
        if not self.is_dag:
            return chained(self.layers, known)
        return without_losses([layer for layer in self.layers if layer.outputs], known)  # the others only show

    def __getitem__(self, name: str) -> Layer:
        """The layer called `name`; KeyError with the names there are if it is missing."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; the layers are {', '.join(layer.name for layer in self.layers)}")

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Every tensor by name.

        Of a SimpleNN under `<layer>.<parameter>`: the keys of `to_module()`, but for `num_batches_tracked`. Of a DagNN
        under the names of the file's parameters, those that layers share once; moments of a norm `m` become
        `m.running_mean` and `m.running_var`.
        """
        found: OrderedDict[str, Tensor] = OrderedDict()
        for layer in self.layers:
            for key, tensor in layer.params.items():
                found.setdefault(layer.names.get(key, f"{layer.name}.{key}"), tensor)
        return found

    def state_dict_for(self, model: nn.Module, leave_out: Collection[str] = ()) -> OrderedDict[str, Tensor]:
        """The same weights under the names of `model`, ready for `model.load_state_dict(...)`.

        Layers with weights are paired, in the order of the file, with the model's Conv, Linear and BatchNorm
        modules, in the order in which they are defined: right for chains like VGG. fc layers, which MatConvNet
        keeps as convs, are reshaped for a Linear. Shapes are compared, but two neighbours of one shape could still
        be exchanged, so compare the outputs of the two networks afterwards.

        The tensors are the network's own, which `load_state_dict` copies; with `assign=True` the model takes them
        over, and what trains the model then changes this network.

        Args:
            model: what to fill.
            leave_out: names of layers to skip with their partner, for instance a head with other classes; load
                the result with `strict=False` then.

        Raises:
            MatConvNetError: the numbers of layers differ, or a pair does not fit; names both and their shapes.
        """
        return match_parameters(self.layers, model, leave_out)

    def to_module(
        self, outputs: Sequence[str] | None = None, *, builders: Mapping[str, Builder] | None = None
    ) -> fx.GraphModule:
        """A PyTorch module that computes what the network computes at test time; its `.code` can be read.

        It takes (N, C, H, W) images from `preprocess` and returns (N, classes, h, w), 1x1 for an image of the
        size the network was made for: `.flatten(1)` gives logits, or probabilities if the network ends in a
        softmax. It is in eval mode and owns its weights. Loss layers are left out.

        That of a DagNN takes its `inputs` as keyword arguments by the names of the variables (what Python does not
        take as a name, such as a dot, becomes `_`), or by position, and returns a tensor, or a dictionary by the names
        of the variables if there are several outputs. Parameters that layers share are shared.

        Args:
            outputs: names of variables; only the layers are built that those come from. All `outputs` without it.
            builders: type of a layer -> a function that takes the `Layer` and returns a module, which is put into eval
                mode, or another function, which is called with the tensors that the layer takes. Where the layer gives
                several variables, it returns one tensor for each.

        Raises:
            MatConvNetError: a layer is of a type that cannot be built, its shapes do not follow on, or there is no
                such output.
        """
        if not isinstance(builders, Mapping | None):
            raise MatConvNetError(f"builders is a dictionary of functions by types of layers, not {builders!r:.60}")
        own = dict(builders or {})
        graph = self._graph(KNOWN.union(own))
        if outputs is not None and self.is_dag:  # who asks for a loss gets it
            graph = [layer for layer in self.layers if layer.outputs]
        inputs, last = ends(graph)
        wanted = last if outputs is None else _checked_outputs(outputs, graph)
        if not wanted:
            raise MatConvNetError("no layer gives anything: there is nothing to build")
        return build_module(graph, inputs, wanted, own)

    def preprocess(self, images: Tensor) -> Tensor:
        """Images as people have them -> what the network takes: resized to `imageSize`, minus `averageImage`.

        Where the file has a `cropSize` or a `border`, that part of the middle is taken, of the shape of `imageSize`
        unless `keepAspect` is false. Images are resized as MATLAB's `imresize` does it, but for a rim one kernel wide,
        where MATLAB mirrors the image. Where the file has `imageStd`, as networks have that were imported from PyTorch,
        it is divided by, and the scale is 0 to 1 if that of `averageImage` is. What else the file has under
        `normalization` and is not applied stands below the table of the network.

        Args:
            images: (N, C, H, W) or (C, H, W), RGB, **0-255**, uint8 or float.

        Returns:
            (N, C, h, w) float32, on the scale 0-255 with the average taken away, unless the file has `imageStd`.

        Raises:
            MatConvNetError: not such images: values between 0 and 1, negative, above 255 or NaN, or channels last; or
                the file does not say how to preprocess.
        """
        return prepare(images, self.normalization)

    def __repr__(self) -> str:
        return "\n".join([*text_table(self._table()), self._summary()])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        return f"{html_table(rows, head)}<p>{escape(self._summary())}</p>"

    def _table(self) -> list[tuple[str, ...]]:
        more: tuple[str, ...] = ("takes",) if self.is_dag else ()
        rows: list[tuple[str, ...]] = [("name", "type", *more, "parameters", "options")]
        for layer in self.layers:
            params = ", ".join(f"{key} {'x'.join(map(str, t.shape))}" for key, t in layer.params.items())
            options = ", ".join(f"{key} {_short(value)}" for key, value in layer.options.items() if _is_short(value))
            takes = (", ".join(layer.inputs),) if self.is_dag else ()
            rows.append((layer.name, layer.type, *takes, params, options))
        return rows

    def _summary(self) -> str:
        count = sum(t.numel() for t in self.state_dict().values())
        classes = f"{len(self.classes)} classes" if self.classes else "no class names"
        known = "known" if self.normalization else "not in the file"
        if unused := not_applied(self.normalization):
            known += f", but {', '.join(unused)} not applied"
        return f"{len(self.layers)} layers, {count:,} parameters, {classes}, preprocessing {known}"


def _checked_outputs(outputs: object, graph: list[Layer]) -> tuple[str, ...]:
    written = [variable for layer in graph for variable in layer.outputs]
    if isinstance(outputs, str) or not isinstance(outputs, Sequence) or not outputs:
        raise MatConvNetError(f"outputs is a list of names of variables, not {outputs!r:.60}")
    unknown = [name for name in outputs if name not in written]
    if unknown:
        raise MatConvNetError(f"no layer gives {unknown[0]!r:.60}; the last ones give {', '.join(written[-4:])}")
    return tuple(outputs)


def _is_short(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(value) <= 4)


def _short(value: Any) -> str:
    """(1, 1, 1, 1) -> 1, (0, 1, 0, 1) -> 0 1 0 1."""
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    values = value[:1] if len(set(value)) == 1 else value
    return " ".join(f"{v:g}" for v in values)
