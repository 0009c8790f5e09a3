"""Where a layer stands in a network: at its end, in front of others, or in one of many blocks that are alike."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
NUMBER = re.compile(r"(?<=[._a-z])\d+(?=\.)|^\d+(?=\.)")  # of a block: `layers.3.`, `layer3.`


def module_name(key: str) -> str:
    """What stands in front of the last dot."""
    return key.rpartition(".")[0]


def at(model: nn.Module, name: str) -> nn.Module | None:
    """The module of this name, if there is one."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


@dataclass(frozen=True)
class Where:
    """A model, and what of it fits.

    Attributes:
        model: as the user built it.
        in_model: its tensors by name.
        fitting: the modules all of whose tensors have a partner of their shape.
    """

    model: nn.Module
    in_model: Mapping[str, Tensor]
    fitting: Collection[str]

    def module(self, key: str) -> nn.Module | None:
        return at(self.model, module_name(key))

    def is_computed(self, key: str) -> bool:
        """Whether it is a mask, an index or a table of frequencies that the model computes by itself."""
        module = self.module(key)
        return module is not None and key.rpartition(".")[2] in module._buffers and is_computed(key)

    def is_amid(self, key: str, behind: bool = False) -> bool:
        """Whether it stands in one of several blocks that are alike, beside (or before) layers that fit."""
        return bool(amid_blocks([key], self.in_model, self.fitting, behind))

    def is_used(self, name: str) -> bool:
        """Whether a layer behind it, in the same part of the model, takes what it gives."""
        return any(True for _ in takers(self.model, name))

    def is_end(self, name: str) -> bool:
        """Whether no layer that fits comes behind it."""
        names = list(layers_in_order(self.model))
        if name not in names:
            return False
        return not any(other in self.fitting for other in names[names.index(name) + 1 :])


COMPUTED = r"(^|_)mask$|index|inv_freq|freqs|position_ids|(^|[._])(cos|sin)|anchors|grid|rope|num_batches_tracked"


def is_computed(key: str) -> bool:
    """Whether tensors of this name are computed from sizes, and not trained."""
    return bool(re.search(COMPUTED, key.rpartition(".")[2]) or re.search(r"(^|\.)(rope|rotary)", key))


def layers_in_order(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Layers with a matrix or kernels, as they were defined -> how many numbers or channels they take, and give."""
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for leaf, parameter in module._parameters.items():
            is_weight = "weight" in leaf or leaf.startswith("original")
            if parameter is not None and is_weight and parameter.ndim > 1 and not isinstance(module, nn.Embedding):
                rows, columns, groups = parameter.shape[0], parameter.shape[1], getattr(module, "groups", 1)
                is_turned = isinstance(module, Transposed)
                found[name] = (rows, columns * groups) if is_turned else (columns * groups, rows)
                break
    return found


def takers(model: nn.Module, name: str) -> Iterator[str]:
    """Later layers beside this one that take as many channels as it gives."""
    layers = layers_in_order(model)
    if name not in layers:
        return
    parent, outputs = module_name(name), layers[name][1]
    names = list(layers)
    for other in names[names.index(name) + 1 :]:
        module = at(model, other)
        is_layer = module is not None and hasattr(module, "weight")
        if is_layer and other.startswith(f"{parent}." if parent else "") and layers[other][0] == outputs:
            yield other


def amid_blocks(keys: Iterable[str], names: Iterable[str], fitting: Collection[str], behind: bool = False) -> set[str]:
    """Those of the keys that stand in blocks which are alike, beside layers that fit.

    Args:
        keys: to look at.
        names: all keys of the same side, in order.
        fitting: the modules whose tensors fit.
        behind: whether a layer that fits must come behind in the block.
    """
    places: Counter[tuple[str, str]] = Counter()
    in_blocks: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for place, block, rest in blocks_of(name):
            places[place, rest] += 1
            in_blocks[block].append(name)
    found = set()
    for key in keys:
        for place, block, rest in blocks_of(key):
            beside = in_blocks[block]
            if behind:
                beside = beside[beside.index(key) + 1 :]
            beside = [name for name in beside if module_name(name) != module_name(key)]
            if places[place, rest] > 1 and any(module_name(name) in fitting for name in beside):
                found.add(key)
    return found


def blocks_of(name: str) -> Iterator[tuple[str, str, str]]:
    """(what stands in front of a number, that with the number, the rest), for each number between two dots."""
    for number in NUMBER.finditer(name):
        yield name[: number.start()], name[: number.end() + 1], name[number.end() + 1 :]
