"""Cached features: the same as without a cache, in memory and on disk; what would make them wrong is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from helpers.freezing import FreezingError, cache_features, freeze, load_features


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten())


class Images(Dataset):
    """11 images of 5x6, changed by a function."""

    def __init__(self, change=lambda image: image) -> None:
        self.images = torch.randn(11, 3, 5, 6, generator=torch.Generator().manual_seed(1))
        self.change = change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.change(self.images[place]), 100 + place


class Stream(IterableDataset):
    def __iter__(self):
        return (Images()[place] for place in range(11))


def plain(model: nn.Module, images: Tensor) -> Tensor:
    """The same by functions of numbers alone."""
    conv, norm = model[0], model[1]
    maps = torch.nn.functional.conv2d(images, conv.weight, conv.bias)
    shape = (1, 4, 1, 1)
    scale = norm.weight.view(shape) / (norm.running_var.view(shape) + norm.eps).sqrt()
    maps = (maps - norm.running_mean.view(shape)) * scale + norm.bias.view(shape)
    return maps.clamp(min=0).flatten(1).detach()


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(
    "loader", [DataLoader(Images(), 4), DataLoader(Stream(), 3), DataLoader(Images(), 4, shuffle=True)]
)
def test_features_are_those_of_the_backbone(loader, on_disk, tmp_path, capsys) -> None:
    model = backbone().train()
    freeze(model)
    torch.manual_seed(3)
    features, labels = cache_features(model, loader, tmp_path / "new" if on_disk else None).tensors
    assert sorted(labels.tolist()) == list(range(100, 111))
    torch.testing.assert_close(features, plain(model, Images().images[labels - 100]))
    assert not features.requires_grad
    assert capsys.readouterr().out.endswith("\n")
    if on_disk:
        again = load_features(tmp_path / "new").tensors
        assert torch.equal(again[0], features)
        assert torch.equal(again[1], labels)
        assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
            "features.bin",
            "features.json",
            "labels.bin",
        ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_files_keep_the_dtype(dtype, tmp_path) -> None:
    data = TensorDataset(torch.randn(5, 2, 3, dtype=dtype), torch.arange(5))
    features, _ = cache_features(nn.Identity(), DataLoader(data, 2), tmp_path, show=False).tensors
    assert features.dtype == dtype
    assert torch.equal(features, data.tensors[0])


def test_no_progress_if_none_is_wanted(capsys) -> None:
    cache_features(backbone().eval(), DataLoader(Images(), 4), show=False)
    assert capsys.readouterr().out == ""


def test_random_states_are_left_alone() -> None:
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    wanted = torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    with pytest.raises(FreezingError):
        cache_features(nn.Identity(), DataLoader(Images(lambda image: image * random.random()), 4))
    assert torch.equal(torch.rand(3), wanted[0])
    assert (random.random(), np.random.rand()) == wanted[1:]  # noqa: NPY002


private = np.random.default_rng(0)
RANDOM = {
    "torch": lambda image: image + torch.rand(()),
    "numpy": lambda image: image * float(np.random.rand()),  # noqa: NPY002
    "python": lambda image: image.flip(-1) if random.random() < 0.01 else image,
}


@pytest.mark.parametrize("change", RANDOM.values(), ids=RANDOM.keys())
@pytest.mark.parametrize("on_disk", [False, True])
def test_random_augmentation_is_refused(change, on_disk, tmp_path) -> None:
    folder = tmp_path / "new" if on_disk else None
    with pytest.raises(FreezingError, match="the data set uses random numbers"):
        cache_features(nn.Identity(), DataLoader(Images(change), 4), folder)
    assert not list(tmp_path.iterdir())


def test_random_numbers_of_its_own_are_refused_too() -> None:
    with pytest.raises(FreezingError, match="gives other examples the second time"):
        cache_features(nn.Identity(), DataLoader(Images(lambda image: image * private.random()), 4))


@pytest.mark.parametrize(("place", "kind"), [(1, "BatchNorm2d"), (3, "Dropout")])
def test_a_layer_in_train_mode_is_refused(place, kind) -> None:
    model = backbone().eval()
    model[place].train()
    with pytest.raises(FreezingError, match=rf"{place} \({kind}\) is in train mode; freeze it"):
        cache_features(model, DataLoader(Images(), 4))


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x)


def test_dropout_in_a_forward_is_refused_and_leaves_no_file(tmp_path) -> None:
    with pytest.raises(FreezingError, match="the backbone uses random numbers"):
        cache_features(Noisy().eval(), DataLoader(Images(), 4), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_empty_loader_is_refused(tmp_path) -> None:
    empty = DataLoader(TensorDataset(torch.zeros(0, 2), torch.zeros(0)), 4)
    for folder in (None, tmp_path):
        with pytest.raises(FreezingError, match="the loader gave nothing"):
            cache_features(nn.Identity(), empty, folder)
    assert not list(tmp_path.iterdir())


def test_a_new_cache_leaves_the_old_one_in_use_as_it_is(tmp_path) -> None:
    old, _ = cache_features(nn.Identity(), DataLoader(Images(), 4), tmp_path).tensors
    kept = old.clone()
    new, _ = cache_features(nn.Identity(), DataLoader(Images(lambda image: image + 1), 4), tmp_path).tensors
    assert torch.equal(old, kept)
    torch.testing.assert_close(new, kept + 1)


def test_a_failed_cache_leaves_the_old_one(tmp_path) -> None:
    old, _ = cache_features(nn.Identity(), DataLoader(Images(), 4), tmp_path).tensors

    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 3:  # the last batch
                raise MemoryError
            return x

    with pytest.raises(MemoryError):
        cache_features(Breaks(), DataLoader(Images(), 4), tmp_path)
    assert torch.equal(load_features(tmp_path).tensors[0], old)
    assert not list(tmp_path.glob("*.part"))


def test_features_that_are_not_whole_are_not_loaded(tmp_path) -> None:
    with pytest.raises(FreezingError, match="holds no features"):
        load_features(tmp_path)
    cache_features(nn.Identity(), DataLoader(Images(), 4), tmp_path)
    with (tmp_path / "features.bin").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(FreezingError, match=r"features\.bin in .* is not as long"):
        load_features(tmp_path)


def test_batches_of_different_shapes_are_refused_on_disk(tmp_path) -> None:
    class Shrinks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., : len(x)]

    with pytest.raises(FreezingError, match=r"features of one batch are \(3, 5, 3\), of another \(3, 5, 4\)"):
        cache_features(Shrinks(), DataLoader(Images(), 4), tmp_path)
