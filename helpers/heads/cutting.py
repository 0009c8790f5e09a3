"""Cut a network in two where one tensor passes, and put several heads in place of one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import DualGraphModule, NodePathTracer

from ..errors import HeadError
from ..layers import why_no_model
from ..modes import modes_kept
from ..probing import Example, first_line
from ..random_states import random_states_kept
from .choosing import outputs_of
from .finding import Head, Outputs, all_outputs
from .replacing import resize_head

Cut = Callable[[fx.Graph, fx.Node], fx.Graph]


class Part(DualGraphModule):
    """A part of a network as torch.fx sees it, once in train mode and once in eval mode.

    Save its `state_dict()`; it cannot be pickled.
    """

    def __deepcopy__(self, memo: dict) -> Part:
        """With each module in the mode in which it is, which torchvision's own copy forgets."""
        part = super().__deepcopy__(memo).train(self.training)
        for module, copied in zip(self.modules(), part.modules(), strict=True):
            copied.training = module.training
        return part

    def __reduce__(self) -> tuple:
        raise TypeError("a part of a network cannot be pickled: save its state_dict(), and cut the network again")


def truncate(model: nn.Module, after: str) -> nn.Module:
    """A copy of a model up to a layer: it returns what that layer puts out, as it is, not flattened.

    Names stay, so a state_dict of the model fits but for what is cut off. It is what torch.fx sees of the model: hooks
    and a `forward` that were put on an instance, `no_grad` in a forward, and numbers drawn there are lost or fixed;
    compare outputs.

    Args:
        model: any that torch.fx can trace.
        after: name of the last module to keep, such as "layer3" or "features.23".

    Raises:
        HeadError: there is no such layer, or fx cannot trace the model.
    """
    (part,) = _parts(model, after, _up_to)
    return part


class MultiHead(nn.Module):
    """A trunk for all tasks, and for each task a copy of its own of what follows, with a head of its own.

    Nothing is shared between the tasks but the trunk, and nothing with the model it was made from. Names are those of
    the model behind `trunk.` and `heads.<task>.`. What `truncate` says of torch.fx holds here, too.
    """

    def __init__(self, model: nn.Module, after: str, tasks: Mapping[str, int], example: Example | None = None) -> None:
        """
        Args:
            model: any that torch.fx can trace, with one tensor passing from the trunk to the rest.
            after: name of the last module of the trunk, such as "layer3".
            tasks: what to call a task -> its number of classes.
            example: an input of the model, to find its head. Without one, images of usual sizes are tried.

        Raises:
            HeadError: it cannot be cut there; its head is not behind the cut, or of a class of your own; it has heads
                of different numbers of outputs; or a task cannot be called so.
        """
        super().__init__()
        if not isinstance(tasks, Mapping) or not tasks:
            raise HeadError(f"tasks must be a dictionary from names to numbers of classes, not {tasks!r:.60}")
        for task in tasks:
            if not isinstance(task, str) or not task.isidentifier() or hasattr(nn.ModuleDict, task):
                raise HeadError(f"a task cannot be called {task!r}: it becomes part of the names of its parameters")
        trunk, rest = _parts(model, after, _up_to, _from)
        found = all_outputs(model, example)
        behind = dict(rest.named_modules())
        names = {name: head for name, head in found.heads.items() if name in behind}
        if not names:
            raise HeadError(f"there is no head behind {after!r}")
        outputs_of(model, Outputs(names, found.auxiliary, found.others), 1, None)  # refuses heads that differ
        self.trunk = trunk
        self.heads = nn.ModuleDict({task: copy.deepcopy(rest) for task in tasks})
        for task, num_classes in tasks.items():
            for name in names:
                head = self.heads[task].get_submodule(name)
                if not isinstance(head, Head):
                    raise HeadError(
                        f"{name!r} is of a class that torch.fx takes apart, for it is none of torch's own; put a plain "
                        "Linear or conv with its weights in its place first"
                    )
                resize_head(head, num_classes, name=name)
        self.training = model.training

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """An input of the model -> task -> (N, classes of the task)."""
        features = self.trunk(x)
        # cloned, for a head may begin with something that works in place
        return {task: head(features.clone()) for task, head in self.heads.items()}


def _parts(model: nn.Module, after: str, *cuts: Cut) -> list[Part]:
    """A copy of each part of a model that one of the `cuts` keeps."""
    if why := why_no_model(model):
        raise HeadError(why)
    if not isinstance(after, str):
        raise HeadError(f"the name of a layer must be text, not {after!r:.60}")
    before = set(vars(model))
    graphs: dict[bool, list[fx.Graph]] = {}
    try:
        with modes_kept(model), random_states_kept():
            for training in (True, False):
                graph, node = _traced(model, after, training)
                graphs[training] = [cut(graph, node) for cut in cuts]
            shared = [Part(model, *both) for both in zip(graphs[True], graphs[False], strict=True)]
    finally:
        for constant in vars(model).keys() - before:  # which fx leaves there
            delattr(model, constant)
    return [_copy_of(part, model) for part in shared]


def _copy_of(part: Part, model: nn.Module) -> Part:
    """It, sharing nothing with the model, each module in the mode in which it is there."""
    part = copy.deepcopy(part).train(model.training)
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in part.named_modules():
        module.training = modes.get(name, model.training)
    return part


def _traced(model: nn.Module, after: str, training: bool) -> tuple[fx.Graph, fx.Node]:
    """The graph of a model in one mode, and the last node of the layer that is called `after`."""
    for module in model.modules():
        module.training = training
    tracer = NodePathTracer()
    try:
        graph = tracer.trace(model)
    except Exception as error:  # fx fails in many ways
        raise HeadError(f"torch.fx cannot trace this {type(model).__name__}: {first_line(error)}") from error
    found = None
    for node, name in tracer.node_to_qualname.items():
        node.meta["name"] = node.target if node.op == "call_module" else name
        if f"{node.meta['name']}.".startswith(f"{after}."):
            found = node
    if found is None:
        there = ", ".join(name for name, _ in model.named_children())
        raise HeadError(f"no layer {after!r} is run in this {type(model).__name__}; its parts are {there}")
    return graph, found


def _up_to(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """All nodes up to this one; those, too, whose result nobody takes, for they may work in place."""
    new = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        copies[node] = new.node_copy(node, copies.__getitem__)
        if node is cut:
            break
    new.output(copies[cut])
    return new


def _from(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """All nodes behind this one that can be computed from what it puts out.

    Raises:
        HeadError: the output needs something else, too.
    """
    new = fx.Graph()
    copies = {cut: new.placeholder("x")}
    (output,) = (node for node in graph.nodes if node.op == "output")
    nodes = list(graph.nodes)
    place = nodes.index(cut)
    for i, node in enumerate(nodes):
        constant = node.op == "get_attr"
        computable = i > place and node.all_input_nodes and all(part in copies for part in node.all_input_nodes)
        if node is not output and (constant or computable):
            copies[node] = new.node_copy(node, copies.__getitem__)
    needed = set(_ancestors(output, copies))
    beside = [node for node in nodes[:place] if node in needed]
    if beside:
        name = beside[-1].meta.get("name", beside[-1].name)
        raise HeadError(f"{cut.meta['name']!r} is no place to cut: what {name!r} puts out passes beside it")
    new.output(fx.node.map_arg(output.args[0], copies.__getitem__))
    new.eliminate_dead_code(lambda node: node.op != "get_attr")  # constants of the first part
    return new


def _ancestors(node: fx.Node, known: Mapping[fx.Node, fx.Node]) -> Iterator[fx.Node]:
    """It and what it is computed from, as far as that is not known."""
    waiting, seen = [node], set()
    while waiting:
        found = waiting.pop()
        if found not in seen and found not in known:
            seen.add(found)
            yield found
            waiting += found.all_input_nodes
