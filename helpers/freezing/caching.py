"""Run a frozen backbone once over a data set, and train on what it puts out."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data.dataloader import default_collate

from ..atomic_files import alone, replacing, target_of
from ..errors import FreezingError
from ..random_states import random_state, random_states_kept
from .batches import CachedFeatures, Leaf, Structure, moved, put_together, rows_in, split, take_apart
from .reports import MODE_MATTERS

TRIED = 8  # examples that are read twice, to see whether they come out alike
ABOUT = "__cache__"  # in features.json, what belongs to all files together


@torch.no_grad()
def cache_features(
    backbone: nn.Module,
    loader: DataLoader | Iterable[Any],
    folder: str | Path | None = None,
    *,
    show: bool = True,
    inputs: str | None = None,
) -> TensorDataset | CachedFeatures:
    """What a backbone makes of each example, and its label, in the order in which the loader gives them.

    A head trained on these is the head on the frozen backbone, at the price of one pass; but only if both the images
    and the backbone are the same in every epoch, so random augmentation and active dropout are refused.

    Args:
        backbone: (N, ...) -> (N, ...), or dictionaries and tuples of such, in eval mode.
        loader: of inputs (N, ...) alone, of tuples that begin with them, such as (inputs, labels), or of dictionaries.
            Beside the inputs, there may be tensors (N, ...), N values of any kind (text, for instance), and
            dictionaries and tuples of such. It is run through once, on the backbone's device. A list of batches or a
            generator will do; but a generator cannot be read twice, so whether it gives the same again is not tried.
        folder: write the features there and map them into memory, for what does not fit into it; else they are kept
            in memory. `load_features` reads them again. Values that are no tensors must then be text and numbers, and
            lists and dictionaries of them.
        show: the progress, in one line on stdout.
        inputs: the key of the inputs, if the loader gives dictionaries; by default one of `INPUTS`.

    Returns:
        A TensorDataset of features and labels, on the CPU; or, if not all are tensors in one tuple, a data set of the
        same tuples or dictionaries with the features in the place of the inputs, in a dictionary as "features".

    Raises:
        FreezingError: a layer is in train mode whose output would then change from run to run; the backbone or the
            data set draws random numbers, as far as that shows in the first batch and in some examples that are read
            twice; something has not one row for each input; the loader is empty; or the files cannot be written. What
            was in the folder before is then still there.
    """
    if not isinstance(backbone, nn.Module):
        raise FreezingError(f"the backbone is a {type(backbone).__name__}: give a torch.nn.Module")
    if isinstance(loader, (str, Mapping)) or not isinstance(loader, Iterable):
        raise FreezingError(f"the loader is a {type(loader).__name__}: give a DataLoader, or a list of batches")
    for name, module in backbone.named_modules():
        if module.training and isinstance(module, MODE_MATTERS):
            raise FreezingError(f"{name} ({type(module).__name__}) is in train mode; freeze it, or call eval() before")
    for name, tensor in itertools.chain(backbone.named_parameters(), backbone.named_buffers()):
        if tensor.is_meta:
            raise FreezingError(f"{name} is on the meta device, without numbers: load the backbone's weights before")
    store: _Store = _Store() if folder is None else _Files(folder)
    if isinstance(loader, DataLoader):
        _refuse_random_examples(loader)
    device = next((tensor.device for tensor in itertools.chain(backbone.parameters(), backbone.buffers())), None)
    try:
        for done, batch in enumerate(loader, start=1):
            given, with_features = split(batch, inputs)
            before = random_state()
            features = backbone(moved(given, device))
            if done == 1 and not _same(before, random_state()):
                raise FreezingError(
                    "the backbone uses random numbers, so the features would be other ones each time; call eval(), and "
                    "give a functional dropout training=self.training"
                )
            store.add(features, with_features, rows_in(given))
            if show:
                sys.stdout.write(f"\rfeatures: batch {done} of {_length(loader)}")
        if show:
            sys.stdout.write("\n")
        return store.finished()
    except BaseException:
        store.abandon()
        raise


def load_features(folder: str | Path) -> TensorDataset | CachedFeatures:
    """Features and labels that `cache_features` has written, mapped into memory: they are read when they are used.

    Raises:
        FreezingError: there are none, not all of them, or files that do not belong together.
    """
    if not isinstance(folder, (str, Path)):
        raise FreezingError(f"the folder is a {type(folder).__name__}: give a path as text or as a pathlib.Path")
    folder = Path(folder)
    if not (folder / "features.json").is_file():
        raise FreezingError(f"{folder.name} holds no features; cache_features writes them")
    with alone(folder):
        return _loaded(folder)


def _loaded(folder: Path) -> TensorDataset | CachedFeatures:
    try:
        index = json.loads((folder / "features.json").read_text())
        about = index.pop(ABOUT)
        cache, structure, values = about["id"], about["structure"], about["values"]
        kinds = {}
        for name, (dtype, shape) in index.items():
            if not isinstance(getattr(torch, dtype), torch.dtype) or min(shape) < 0 or Path(name).name != name:
                raise ValueError(f"{name}: {dtype}, {shape}")
            kinds[name] = (getattr(torch, dtype), tuple(map(int, shape)))
        lengths = {shape[0] for _, shape in kinds.values()} | {len(own) for own in values.values()}
        if len(lengths) != 1:
            raise ValueError(f"lengths of {sorted(lengths)}")
        put_together(structure, {**kinds, **values})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise FreezingError(
            f"features.json in {folder.name} is damaged, or of an older version ({error!r}); run cache_features again"
        ) from error
    leaves = {name: _mapped(folder, name, dtype, shape, cache) for name, (dtype, shape) in kinds.items()}
    return _as_dataset(structure, {**leaves, **values}, lengths.pop())


def _mapped(folder: Path, name: str, dtype: torch.dtype, shape: tuple[int, ...], cache: str) -> Tensor:
    path, numbers = folder / f"{name}.bin", math.prod(shape)
    seal, size = _seal(cache, name, dtype, shape), numbers * dtype.itemsize
    if not path.is_file() or path.stat().st_size != size + len(seal):
        raise FreezingError(f"{path.name} in {folder.name} is not as long as features.json says; write it again")
    with path.open("rb") as file:
        file.seek(size)
        if file.read() != seal:
            raise FreezingError(
                f"{path.name} in {folder.name} does not belong to features.json: it is of another cache, or writing "
                "was interrupted; run cache_features again"
            )
    if numbers == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.from_file(str(path), shared=False, size=numbers, dtype=dtype).reshape(shape)


def _seal(cache: str, name: str, dtype: torch.dtype, shape: Sequence[int]) -> bytes:
    """The end of a file, by which it shows that it belongs to features.json, and what it holds."""
    return hashlib.sha256(f"{cache} {name} {dtype} {list(shape)}".encode()).digest()


def _as_dataset(structure: Structure, leaves: Mapping[str, Any], length: int) -> TensorDataset | CachedFeatures:
    parts = put_together(structure, leaves)
    if isinstance(parts, tuple) and all(isinstance(part, Tensor) for part in parts):
        return TensorDataset(*parts)
    return CachedFeatures(parts, length)


class _Store:
    """Keeps batches in memory, once they are found to fit together."""

    def __init__(self) -> None:
        self.structure: Structure = None
        self.kinds: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}  # dtype, and shape of one example
        self.values: dict[str, list[Any]] = {}
        self.parts: dict[str, list[Tensor]] = {}
        self.rows = 0

    def add(self, features: Any, with_features: Any, rows: int) -> None:
        leaves: dict[str, Leaf] = {}
        batch = with_features(features)
        if isinstance(batch, tuple):
            names = ["features", "labels", *(f"more{place}" for place in range(1, len(batch) - 1))]
            parts = zip(names, batch, strict=False)
            structure: Structure = {"tuple": [take_apart(part, rows, name, leaves) for name, part in parts]}
        else:
            structure = take_apart(batch, rows, "", leaves)
        if self.structure is None:
            self.structure = structure
        if structure != self.structure:
            raise FreezingError(f"the batches are not alike: {structure} after {self.structure}")
        for name, leaf in leaves.items():
            if self.rows > 0 and name not in (self.values if isinstance(leaf, list) else self.kinds):
                raise FreezingError(f"{name} of one batch are tensors, of another values: let the data set decide")
            if isinstance(leaf, list):
                self._check_values(name, leaf)
                self.values.setdefault(name, []).extend(leaf)
                continue
            dtype, shape = self.kinds.setdefault(name, (leaf.dtype, tuple(leaf.shape[1:])))
            if tuple(leaf.shape[1:]) != shape:
                raise FreezingError(f"{name} of one batch are {tuple(leaf.shape[1:])}, of another {shape}")
            if leaf.dtype != dtype:
                raise FreezingError(f"{name} of one batch are {leaf.dtype}, of another {dtype}")
            self.keep(name, leaf)
        self.rows += rows

    def _check_values(self, name: str, values: list[Any]) -> None:
        """Whether they can be kept; in memory, all can."""

    def keep(self, name: str, leaf: Tensor) -> None:
        self.parts.setdefault(name, []).append(leaf)

    def finished(self) -> TensorDataset | CachedFeatures:
        if self.rows == 0:
            raise FreezingError("the loader gave nothing")
        tensors = {name: torch.cat(parts) for name, parts in self.parts.items()}
        return _as_dataset(self.structure, {**tensors, **self.values}, self.rows)

    def abandon(self) -> None:
        self.parts.clear()


class _Files(_Store):
    """Writes the numbers of each tensor into a file, and at the very end a word on their shapes."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        # before anything is run; a folder that is not there is made with the first batch
        if not isinstance(folder, (str, Path)) or not str(folder):
            raise FreezingError(f"{folder!r} names no folder: give a path as text or as a pathlib.Path, or None")
        self.folder, self.places = Path(folder), ExitStack()
        self.files: dict[str, BinaryIO] = {}
        try:
            is_there, is_folder = self.folder.exists(), self.folder.is_dir()
        except OSError as error:
            raise FreezingError(f"{folder} cannot be made ({error}): choose another folder") from error
        if is_there and not is_folder:
            raise FreezingError(f"{folder} is a file: name a folder for the features")
        if is_folder:
            for name in ("features.bin", "labels.bin", "features.json"):
                target_of(self.folder / name, FreezingError)

    def keep(self, name: str, leaf: Tensor) -> None:
        if name not in self.files:
            if Path(name).name != name or name == ABOUT:
                raise FreezingError(f"{name!r} cannot be the name of a file: rename this key in the data set")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FreezingError(f"{self.folder} cannot be made ({error}): choose another folder") from error
            place = self.places.enter_context(replacing(self.folder / f"{name}.bin", FreezingError))
            self.files[name] = place.open("wb")
        self.files[name].write(leaf.contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def _check_values(self, name: str, values: list[Any]) -> None:
        try:
            fits = json.loads(json.dumps(values)) == values
        except (TypeError, ValueError, RecursionError):
            fits = False
        if not fits:
            raise FreezingError(
                f"{name} has values such as {str(values[0])[:60]}, which a folder cannot keep: make them tensors, text "
                "or numbers, or cache in memory, with folder=None"
            )

    def finished(self) -> TensorDataset | CachedFeatures:
        if self.rows == 0:
            raise FreezingError("the loader gave nothing")
        cache = uuid.uuid4().hex
        index: dict[str, Any] = {}
        for name, (dtype, shape) in self.kinds.items():
            index[name] = (str(dtype).removeprefix("torch."), (self.rows, *shape))
            self.files[name].write(_seal(cache, name, dtype, (self.rows, *shape)))
            self.files[name].close()
        index[ABOUT] = {"id": cache, "structure": self.structure, "values": self.values}
        with alone(self.folder):
            with replacing(self.folder / "features.json", FreezingError) as place:
                place.write_text(json.dumps(index))
                self.places.close()  # the others take their names first; what is mapped of older ones stays as it is
            return _loaded(self.folder)

    def abandon(self) -> None:
        """After an error: no file takes its name."""
        for file in self.files.values():
            file.close()
        self.places.__exit__(*sys.exc_info())


def _length(loader: object) -> object:
    try:
        return len(loader)  # type: ignore[arg-type]
    except (TypeError, AttributeError):  # an IterableDataset or a generator need not know
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
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        if first.shape != second.shape or first.dtype != second.dtype:
            return False
        return bool(((first == second) | ((first != first) & (second != second))).all())  # NaN is NaN
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second) or bool(first != first and second != second)
