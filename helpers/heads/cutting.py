"""Cut a network in two where one tensor passes, and put several heads in place of one."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import DualGraphModule, NodePathTracer

from ..tracing import first_line, mode
from .errors import HeadError
from .finding import find_heads
from .replacing import renew


def truncate(model: nn.Module, at: str) -> nn.Module:
    """A copy of a model up to a layer: it returns what that layer puts out, as it is, not flattened.

    Names stay, so a state_dict of the model fits but for what is cut off.

    Args:
        model: any that torch.fx can trace.
        at: name of the last module to keep, such as "layer3" or "features.23".

    Raises:
        HeadError: there is no such layer, or fx cannot trace the model.
    """
    return _copy_of(split(model, at)[0], model)


class MultiHead(nn.Module):
    """A trunk for all tasks, and for each task a copy of its own of what follows, with a head of its own.

    Nothing is shared between the tasks but the trunk, and nothing with the model it was made from. Names are those of
    the model behind `trunk.` and `heads.<task>.`.
    """

    def __init__(
        self, model: nn.Module, split_at: str, tasks: Mapping[str, int], example: Tensor | None = None
    ) -> None:
        """
        Args:
            model: any that torch.fx can trace, with one tensor passing from the trunk to the rest.
            split_at: name of the last module of the trunk, such as "layer3".
            tasks: what to call a task -> its number of classes.
            example: an input of the model, to find its head. Without one, images of usual sizes are tried.

        Raises:
            HeadError: it cannot be cut there, or its head is not behind the cut.
        """
        super().__init__()
        trunk, rest = split(model, split_at)
        names = [name for name in find_heads(model, example) if name in dict(rest.named_modules())]
        if not names:
            raise HeadError(f"there is no head behind {split_at!r}")
        self.trunk = _copy_of(trunk, model)
        self.heads = nn.ModuleDict({task: _copy_of(rest, model) for task in tasks})
        self.training = model.training
        for task, num_classes in tasks.items():
            for name in names:
                renew(self.heads[task].get_submodule(name), num_classes, name=name)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """An input of the model -> task -> (N, classes of the task)."""
        features = self.trunk(x)
        return {task: head(features) for task, head in self.heads.items()}


def split(model: nn.Module, at: str) -> tuple[nn.Module, nn.Module]:
    """The model up to a layer, and the rest, in train mode and in eval mode; they share the model's tensors.

    Raises:
        HeadError: see `truncate`; or something else than the output of that layer passes to the rest.
    """
    trunks, rests = {}, {}
    for training in (True, False):
        with mode(model, training):
            tracer = NodePathTracer()
            try:
                graph = tracer.trace(model)
            except Exception as error:  # fx fails in many ways
                raise HeadError(f"torch.fx cannot trace this {type(model).__name__}: {first_line(error)}") from error
        names = tracer.node_to_qualname
        cut = next((n for n in reversed(names) if names[n] == at or names[n].startswith(f"{at}.")), None)
        if cut is None:
            there = ", ".join(name for name, _ in model.named_children())
            raise HeadError(f"no layer {at!r} is run in this {type(model).__name__}; its parts are {there}")
        trunks[training] = _copied(graph, cut, None, names, at)
        rests[training] = _copied(graph, _output(graph).args[0], cut, names, at)
    with mode(model, model.training):  # which they change, for they have the model's own layers
        trunk, rest = (DualGraphModule(model, graphs[True], graphs[False]) for graphs in (trunks, rests))
    return trunk, rest


def _copy_of(part: nn.Module, model: nn.Module) -> nn.Module:
    """A copy that shares nothing, each module in the mode in which it is in the model."""
    part = copy.deepcopy(part).train(model.training)
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in part.named_modules():
        module.training = modes.get(name, model.training)
    return part


def _copied(graph: fx.Graph, result: object, start: fx.Node | None, names: Mapping[fx.Node, str], at: str) -> fx.Graph:
    """The part of a graph that computes `result` from the model's input, or from `start` alone."""
    wanted = _ancestors(result, start)
    if start and any(node.op == "placeholder" for node in wanted):
        before = set(list(graph.nodes)[: list(graph.nodes).index(start)])
        beside = next(node for node in reversed(graph.nodes) if node in wanted & before and _has_input(node))
        raise HeadError(f"{at!r} is no place to cut: what {names.get(beside, beside)!r} puts out passes beside it")
    new = fx.Graph()
    copies = {} if start is None else {start: new.placeholder("x")}
    for node in graph.nodes:
        if node in wanted:
            copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(fx.node.map_arg(result, copies.__getitem__))
    return new


def _has_input(node: fx.Node) -> bool:
    """Whether it was computed from the model's input."""
    return any(ancestor.op == "placeholder" for ancestor in _ancestors(node, None))


def _ancestors(result: object, start: fx.Node | None) -> set[fx.Node]:
    """The nodes from which it is computed, itself among them; what is behind `start` is not looked at."""
    waiting, seen = [], set()
    fx.node.map_arg(result, waiting.append)
    while waiting:
        node = waiting.pop()
        if node is not start and node not in seen:
            seen.add(node)
            waiting += node.all_input_nodes
    return seen


def _output(graph: fx.Graph) -> fx.Node:
    return next(node for node in reversed(graph.nodes) if node.op == "output")
