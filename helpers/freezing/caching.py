"""Run a frozen backbone once over a data set, and train on what it puts out."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Sized
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data.dataloader import default_collate

from ..atomic_files import replacing
from ..errors import FreezingError
from ..random_states import random_state, random_states_kept
from .reports import MODE_MATTERS

TRIED = 8  # examples that are read twice, to see whether they come out alike


@torch.no_grad()
def cache_features(
    backbone: nn.Module, loader: DataLoader, folder: str | Path | None = None, *, show: bool = True
) -> TensorDataset:
    """What a backbone makes of each example, and its label, in the order in which the loader gives them.

    A head trained on these is the head on the frozen backbone, at the price of one pass; but only if both the images
    and the backbone are the same in every epoch, so random augmentation and active dropout are refused.

    Args:
        backbone: (N, ...) -> (N, ...), in eval mode.
        loader: of pairs (inputs (N, ...), labels (N, ...)). It is run through once, on the backbone's device.
        folder: write the features there and map them into memory, for what does not fit into it; else they are kept
            in memory. `load_features` reads them again.
        show: the progress, in one line on stdout.

    Returns:
        A TensorDataset of features and labels, on the CPU.

    Raises:
        FreezingError: a layer is in train mode whose output would then change from run to run; the backbone or the
            data set draws random numbers, as far as that shows in the first batch and in some examples that are read
            twice; or the loader is empty. No file is written then.
    """
    for name, module in backbone.named_modules():
        if module.training and isinstance(module, MODE_MATTERS):
            raise FreezingError(f"{name} ({type(module).__name__}) is in train mode; freeze it, or call eval() before")
    _refuse_random_examples(loader)
    device = next((tensor.device for tensor in itertools.chain(backbone.parameters(), backbone.buffers())), None)
    store: _Memory | _Files = _Memory() if folder is None else _Files(Path(folder))
    try:
        for done, (inputs, labels) in enumerate(loader, start=1):
            before = random_state()
            features = backbone(inputs.to(device))
            if done == 1 and not _same(before, random_state()):
                raise FreezingError(
                    "the backbone uses random numbers, so the features would be other ones each time; call eval(), and "
                    "give a functional dropout training=self.training"
                )
            store.add(features.cpu(), labels)
            if show:
                sys.stdout.write(f"\rfeatures: batch {done} of {_length(loader)}")
        if show:
            sys.stdout.write("\n")
        return store.finished()
    except BaseException:
        store.abandon()
        raise


def load_features(folder: str | Path) -> TensorDataset:
    """Features and labels that `cache_features` has written, mapped into memory: they are read when they are used.

    Raises:
        FreezingError: there are none, or not all of them.
    """
    folder = Path(folder)
    index = folder / "features.json"
    if not index.is_file():
        raise FreezingError(f"{folder.name} holds no features; cache_features writes them")
    tensors = []
    for name, (dtype, shape) in json.loads(index.read_text()).items():
        like, path = torch.empty(0, dtype=getattr(torch, dtype)), folder / f"{name}.bin"
        numbers = int(np.prod(shape))
        if not path.is_file() or path.stat().st_size != numbers * like.element_size():
            raise FreezingError(f"{name}.bin in {folder.name} is not as long as features.json says; write it again")
        tensors.append(torch.from_file(str(path), shared=False, size=numbers, dtype=like.dtype).reshape(shape))
    return TensorDataset(*tensors)


class _Memory:
    def __init__(self) -> None:
        self.parts: list[tuple[Tensor, Tensor]] = []

    def add(self, features: Tensor, labels: Tensor) -> None:
        self.parts.append((features, labels))

    def finished(self) -> TensorDataset:
        if not self.parts:
            raise FreezingError("the loader gave nothing")
        return TensorDataset(*map(torch.cat, zip(*self.parts, strict=True)))

    def abandon(self) -> None:
        self.parts.clear()


class _Files:
    """Raw numbers of each kind in a file, and at the very end a word on their shapes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.places = folder, ExitStack()
        self.files: dict[str, BinaryIO] = {}
        self.kinds: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}  # dtype, and shape of one example
        self.rows: Counter[str] = Counter()
        for name in ("features", "labels"):
            place = self.places.enter_context(replacing(folder / f"{name}.bin", FreezingError))
            self.files[name] = place.open("wb")

    def add(self, features: Tensor, labels: Tensor) -> None:
        for name, tensor in (("features", features), ("labels", labels)):
            shape = tuple(tensor.shape[1:])
            first_dtype, first_shape = self.kinds.setdefault(name, (tensor.dtype, shape))
            if tensor.dtype != first_dtype or shape != first_shape:
                raise FreezingError(f"{name} of one batch are {shape}, of another {first_shape}")
            self.rows[name] += len(tensor)
            self.files[name].write(tensor.contiguous().view(torch.uint8).numpy().data)

    def finished(self) -> TensorDataset:
        if not self.kinds:
            raise FreezingError("the loader gave nothing")
        index = self.folder / "features.json"
        index.unlink(missing_ok=True)
        for file in self.files.values():
            file.close()
        self.places.close()  # now they have their names; what is mapped of older ones stays as it is
        shapes = {
            name: (str(dtype).removeprefix("torch."), (self.rows[name], *shape))
            for name, (dtype, shape) in self.kinds.items()
        }
        with replacing(index, FreezingError) as place:
            place.write_text(json.dumps(shapes))
        return load_features(self.folder)

    def abandon(self) -> None:
        """After an error: neither file takes its name."""
        for file in self.files.values():
            file.close()
        self.places.__exit__(*sys.exc_info())


def _length(loader: DataLoader) -> object:
    try:
        return len(loader)
    except TypeError:  # an IterableDataset need not know
        return "?"


def _refuse_random_examples(loader: DataLoader) -> None:
    """Read some examples twice. Random numbers of torch, numpy and Python that this takes are given back."""
    with random_states_kept():
        before = random_state()
        first = _some_examples(loader)
        drew = not _same(before, random_state())
        if drew or not _same(first, _some_examples(loader)):
            raise FreezingError(
                f"the data set {'uses random numbers' if drew else 'gives other examples the second time'}, so what is "
                "cached would be one draw of its augmentation for ever; cache it without, or do not cache"
            )


def _some_examples(loader: DataLoader) -> object:
    dataset = loader.dataset
    if isinstance(dataset, IterableDataset):
        examples = list(itertools.islice(dataset, TRIED))
    elif isinstance(dataset, Sized):
        examples = [dataset[place] for place in range(min(TRIED, len(dataset)))]
    else:
        raise FreezingError(
            f"the data set, a {type(dataset).__name__}, has no length, so it cannot be tried whether it gives the same "
            "examples again; give it a __len__"
        )
    return (loader.collate_fn or default_collate)(examples) if examples else ()


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return first.shape == second.shape and torch.equal(first, second)
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)
