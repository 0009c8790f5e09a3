"""Where a layer stands in a network: at its end, in front of others, or in one of many blocks that are alike."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

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
        loaded: those of which at least one tensor has.
    """

    model: nn.Module
    in_model: Mapping[str, Tensor]
    fitting: Collection[str]
    loaded: Collection[str]

    def module(self, key: str) -> nn.Module | None:
        return at(self.model, module_name(key))

    def is_computed(self, key: str) -> bool:
        """Whether it is a mask, an index or a table of frequencies that the model computes by itself."""
        module = self.module(key)
        return module is not None and key.rpartition(".")[2] in module._buffers and is_computed(key)

    def is_amid(self, key: str, behind: bool = False) -> bool:
        """Whether it stands in one of several blocks that are alike, beside (or before) layers that fit."""
        return self._blocks.has(key, self.fitting, behind)

    def is_used(self, name: str) -> bool:
        """Whether a later layer, in the same part of the model, takes as many channels as this one gives."""
        if name not in self.layers:
            return False
        parent, outputs = module_name(name), self.layers[name][1]
        for other in self._behind(name):
            is_beside = other.startswith(f"{parent}." if parent else "")
            if is_beside and self.layers[other][0] == outputs and hasattr(at(self.model, other), "weight"):
                return True
        return False

    def is_end(self, name: str) -> bool:
        """Whether no layer that fits comes behind it."""
        return name in self.layers and not any(other in self.fitting for other in self._behind(name))

    @cached_property
    def layers(self) -> dict[str, tuple[int, int]]:
        """As `layers_in_order` gives them."""
        return layers_in_order(self.model)

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.in_model)

    def _behind(self, name: str) -> list[str]:
        names = list(self.layers)
        return names[names.index(name) + 1 :]


COMPUTED = re.compile(  # the last part of a name
    r"(.*_)?mask|(.*_)?index|(inv_)?freqs?(_cis)?|position_ids|(cos|sin)(_cached)?|anchors|anchor_grid|grid|periods|"
    r"num_batches_tracked"
)


def is_computed(key: str) -> bool:
    """Whether tensors of this name are computed from sizes, and not trained: masks, indices, frequencies, grids."""
    return COMPUTED.fullmatch(key.rpartition(".")[2]) is not None


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


class Blocks:
    """The blocks of one side: what stands in front of a number in names, and what shares it."""

    def __init__(self, names: Iterable[str]) -> None:
        self.alike: Counter[tuple[str, str]] = Counter()
        self.members: dict[str, list[str]] = defaultdict(list)
        for name in names:
            for place, block, rest in blocks_of(name):
                self.alike[place, rest] += 1
                self.members[block].append(name)

    def has(self, key: str, fitting: Collection[str], behind: bool = False) -> bool:
        """Whether a key stands in one of several blocks that are alike, beside layers that fit.

        Args:
            key: one of the names.
            fitting: modules whose tensors fit.
            behind: whether a layer that fits must come behind it in the block.
        """
        for place, block, rest in blocks_of(key):
            if self.alike[place, rest] < 2:
                continue
            beside = self.members[block]
            if behind:
                beside = beside[beside.index(key) + 1 :]
            own = module_name(key)
            if any(module_name(name) != own and module_name(name) in fitting for name in beside):
                return True
        return False


def blocks_of(name: str) -> Iterator[tuple[str, str, str]]:
    """(what stands in front of a number, that with the number, the rest), for each number between two dots."""
    for number in NUMBER.finditer(name):
        yield name[: number.start()], name[: number.end() + 1], name[number.end() + 1 :]
