"""Cached features: the same as without a cache, in memory and on disk; what would make them wrong is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

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


class Examples(Dataset):
    """Seven examples, each what a function of its number and its image (3, 5, 6) gives."""

    def __init__(self, example) -> None:
        self.images = torch.randn(7, 3, 5, 6, generator=torch.Generator().manual_seed(2))
        self.example = example

    def __len__(self) -> int:
        return 7

    def __getitem__(self, place: int):
        return self.example(place, self.images[place])


def doubled(data: Examples) -> Tensor:
    return 2 * data.images.flatten(1)


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.flatten(1)


KINDS = {  # what the data set gives -> what the cache gives, beside the features
    "triples": (
        lambda i, image: (image, i, float(i) / 4),
        lambda item: [int(item[1]), float(item[2])],
        lambda i: [i, i / 4],
    ),
    "text": (lambda i, image: (image, f"name {i}"), lambda item: item[1], lambda i: f"name {i}"),
    "dictionaries for labels": (
        lambda i, image: (image, {"class": i, "name": str(i)}),
        lambda item: (int(item[1]["class"]), item[1]["name"]),
        lambda i: (i, str(i)),
    ),
    "tuples for labels": (
        lambda i, image: (image, (i, f"{i}")),
        lambda item: (int(item[1][0]), item[1][1]),
        lambda i: (i, f"{i}"),
    ),
    "dictionaries": (
        lambda i, image: {"id": f"{i}", "pixel_values": image, "label": i},
        lambda item: (item["id"], int(item["label"])),
        lambda i: (f"{i}", i),
    ),
    "NaN for labels": (
        lambda i, image: (image, float("nan") if i == 2 else float(i)),
        lambda item: str(float(item[1])),
        lambda i: "nan" if i == 2 else str(float(i)),
    ),
}


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_stay_with_their_features(kind, on_disk, tmp_path) -> None:
    example, found_in, right = KINDS[kind]
    data = Examples(example)
    cached = cache_features(Twice(), DataLoader(data, 3), tmp_path if on_disk else None, show=False)
    for dataset in [cached, load_features(tmp_path)] if on_disk else [cached]:
        assert len(dataset) == 7
        for place in (0, 2, 6):
            item = dataset[place]
            assert torch.equal(item["features"] if isinstance(item, dict) else item[0], doubled(data)[place])
            assert found_in(item) == right(place)
        batch = next(iter(DataLoader(dataset, 4)))
        assert len(batch["features"] if isinstance(batch, dict) else batch[0]) == 4


def pairs(data: Dataset):
    return [(torch.stack([data[0][0], data[1][0]]), torch.tensor([5, 6])), (data[2][0][None], torch.tensor([7]))]


@pytest.mark.parametrize(
    "loader", [pairs, lambda data: (batch for batch in pairs(data)), lambda data: iter(pairs(data))]
)
def test_lists_and_generators_of_batches_will_do(loader) -> None:
    data = Examples(lambda i, image: (image, i))
    features, labels = cache_features(Twice(), loader(data), show=False).tensors
    assert torch.equal(features, doubled(data)[:3])
    assert labels.tolist() == [5, 6, 7]


def test_inputs_alone_and_arrays_will_do() -> None:
    data = Examples(lambda i, image: image)
    (features,) = cache_features(Twice(), DataLoader(data, 3), show=False).tensors
    assert torch.equal(features, doubled(data))
    features, labels = cache_features(Twice(), [(data.images.numpy(), np.arange(7))], show=False).tensors
    assert torch.equal(features, doubled(data))
    assert labels.tolist() == list(range(7))


def test_targets_of_detection_stay_with_their_images_in_memory_and_are_refused_on_disk(tmp_path) -> None:
    data = Examples(lambda i, image: (image, {"boxes": torch.full((i, 4), float(i))}))
    loader = DataLoader(
        data, 3, collate_fn=lambda examples: (torch.stack([e[0] for e in examples]), [e[1] for e in examples])
    )
    cached = cache_features(Twice(), loader, show=False)
    assert cached[5][1]["boxes"].shape == (5, 4)
    with pytest.raises(FreezingError, match=r"labels has values such as .*folder=None"):
        cache_features(Twice(), loader, tmp_path, show=False)
    assert not list(tmp_path.iterdir())


class Several(nn.Module):
    def forward(self, x: Tensor):
        return {"low": x[:, 0], "high": (x.sum((2, 3)), x[:, :2].mean(3))}


@pytest.mark.parametrize("on_disk", [False, True])
def test_backbones_that_give_dictionaries_and_tuples(on_disk, tmp_path) -> None:
    data = Examples(lambda i, image: (image, i))
    cached = cache_features(Several(), DataLoader(data, 3), tmp_path if on_disk else None, show=False)
    features, label = cached[4]
    assert label == 4
    assert torch.equal(features["low"], data.images[4, 0])
    torch.testing.assert_close(features["high"][0], data.images[4].sum((1, 2)))
    torch.testing.assert_close(features["high"][1], data.images[4, :2].mean(2))


class Drops(nn.Module):
    """Gives another N than it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[1:]


class Alone(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean()


WRONG = [
    (Drops(), lambda: DataLoader(Images(), 4), r"features has shape \(3, 90\) for 4 inputs: it needs one row for each"),
    (Alone(), lambda: DataLoader(Images(), 4), r"features has shape \(\) for 4 inputs"),
    (nn.Identity(), lambda: [(torch.ones(4, 2), torch.ones(3))], r"labels has shape \(3,\) for 4 inputs"),
    (nn.Identity(), lambda: [(torch.ones(4, 2), ["a", "b"])], "labels is 2 values for 4 inputs"),
    (nn.Identity(), lambda: [(torch.ones(4, 2), 3)], "labels is a int for 4 inputs"),
    (
        nn.Identity(),
        lambda: [(torch.ones(2, 2), torch.ones(2)), (torch.ones(2, 2), ["a", "b"])],
        "labels of one batch are tensors, of another values",
    ),
    (nn.Identity(), lambda: [(torch.ones(2, 2), torch.ones(2)), (torch.ones(2, 2),)], "the batches are not alike"),
    (
        nn.Identity(),
        lambda: [(torch.ones(2, 2), torch.ones(2)), (torch.ones(2, 2), torch.arange(2))],
        "labels of one batch are torch.int64",
    ),
    (nn.Identity(), lambda: [{"picture": torch.ones(2)}], "the batch has 'picture'; say which"),
    (nn.Identity(), lambda: [("a", "b")], "the inputs are a str, not tensors"),
    (nn.Identity(), lambda: [3], "the loader gives a int"),
    (nn.Identity(), lambda: 3, "the loader is a int"),
    (nn.Identity(), lambda: "abc", "the loader is a str"),
    (nn.Linear(3, 2, device="meta"), lambda: [torch.ones(2, 3)], "weight is on the meta device"),
    (torch.nn.functional.relu, lambda: [torch.ones(2, 3)], "the backbone is a function"),
    (nn.Identity(), list, "the loader gave nothing"),
]


@pytest.mark.parametrize(("model", "loader", "message"), WRONG)
def test_what_does_not_fit_is_named_and_the_good_cache_stays(model, loader, message, tmp_path) -> None:
    data = Examples(lambda i, image: (image, i))
    cache_features(Twice(), DataLoader(data, 3), tmp_path, show=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for folder in (None, tmp_path):
        with pytest.raises(FreezingError, match=message):
            cache_features(model, loader(), folder, show=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert torch.equal(load_features(tmp_path).tensors[0], doubled(data))


def test_the_key_of_the_inputs_can_be_said() -> None:
    data = Examples(lambda i, image: {"picture": image, "x": i})
    cached = cache_features(Twice(), DataLoader(data, 3), show=False, inputs="picture")
    assert torch.equal(cached[6]["features"], doubled(data)[6])
    assert int(cached[6]["x"]) == 6
    with pytest.raises(FreezingError, match="the batch is a list, not a dictionary: leave out inputs='picture'"):
        cache_features(Twice(), DataLoader(Images(), 3), show=False, inputs="picture")


def changed(**changes):
    return lambda text: json.dumps({**json.loads(text), **changes})


def crossed(text: str) -> str:
    index = json.loads(text)
    return json.dumps({**index, "features": index["labels"], "labels": index["features"]})


DAMAGED = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[1, 2]",
    "no words on the cache": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "__cache__"}),
    "one is missing": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "labels"}),
    "crossed": crossed,
    "another dtype": changed(features=["int32", [7, 7]]),
    "another shape": changed(features=["float32", [7, 1, 7]]),
    "no dtype": changed(features=["nn", [7, 7]]),
    "a huge shape": changed(features=["float32", [7, 2**62]]),
    "another length": changed(features=["float32", [49, 1]]),
    "a negative one": changed(features=["float32", [-7, -7]]),
    "a file elsewhere": changed(**{"../features": ["float32", [7, 7]]}),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_index_is_one_clear_error(how, tmp_path) -> None:
    """Features (7, 7) in float32 and labels (7, 7) in int32 are files of one length."""
    data = TensorDataset(torch.randn(7, 7), torch.arange(49, dtype=torch.int32).reshape(7, 7))
    cache_features(nn.Identity(), DataLoader(data, 3), tmp_path, show=False)
    index = tmp_path / "features.json"
    index.write_text(DAMAGED[how](index.read_text()))
    with pytest.raises(FreezingError, match=r"run cache_features again|write it again"):
        load_features(tmp_path)


def test_the_order_in_the_index_does_not_matter(tmp_path) -> None:
    data = Examples(lambda i, image: (image, i))
    cache_features(Twice(), DataLoader(data, 3), tmp_path, show=False)
    index = tmp_path / "features.json"
    index.write_text(json.dumps(dict(reversed(json.loads(index.read_text()).items()))))
    features, labels = load_features(tmp_path).tensors
    assert torch.equal(features, doubled(data))
    assert labels.tolist() == list(range(7))


def test_files_of_two_caches_are_not_mixed(tmp_path) -> None:
    for folder, factor in ((tmp_path / "a", 1), (tmp_path / "b", 5)):
        cache_features(nn.Identity(), [(factor * torch.ones(4, 2), torch.arange(4))], folder, show=False)
    (tmp_path / "a/features.bin").write_bytes((tmp_path / "b/features.bin").read_bytes())
    with pytest.raises(FreezingError, match=r"features.bin in a does not belong to features.json"):
        load_features(tmp_path / "a")


TWO_PROCESSES = """
import sys, torch
from helpers.freezing import cache_features
factor = float(sys.argv[2])
class Times(torch.nn.Module):
    def forward(self, x): return factor * x
for _ in range(15):
    batches = [(torch.ones(50, 3), torch.full((50,), factor))]
    features, labels = cache_features(Times(), batches, sys.argv[1], show=False).tensors
    assert bool((features == factor).all() and (labels == factor).all())
"""


@pytest.mark.skipif(os.name != "posix", reason="locks as POSIX has them")
def test_two_processes_in_one_folder_do_not_mix(tmp_path) -> None:
    """Each gets what it has made, and what is there is of one of them whenever it is read."""
    root = Path(__file__).parents[3]
    commands = [[sys.executable, "-c", TWO_PROCESSES, str(tmp_path), factor] for factor in ("2", "3")]
    processes = [subprocess.Popen(command, cwd=root) for command in commands]
    seen = 0
    while any(process.poll() is None for process in processes):
        if (tmp_path / "features.json").exists():
            features, labels = load_features(tmp_path).tensors
            assert torch.equal(features, labels[:, None].expand(50, 3))
            seen += 1
    assert [process.wait() for process in processes] == [0, 0]
    assert seen > 0
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("folder", [3, "", b"a"])
def test_what_is_no_folder_is_named(folder, tmp_path) -> None:
    with pytest.raises(FreezingError, match="names no folder"):
        cache_features(nn.Identity(), [torch.ones(2, 3)], folder, show=False)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(FreezingError, match=r"is a file: name a folder|cannot be made"):
            cache_features(nn.Identity(), [torch.ones(2, 3)], place, show=False)
