"""The shipped files are those that data/README.md describes, and the networks in all their forms agree."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.matconvnet import load_matconvnet
from workbook import data, networks

README = (data.DATA / "README.md").read_text()
SUFFIXES = (".mat", ".pth", ".ckpt", ".safetensors", ".npz")
SHIPPED = sorted(path for path in data.DATA.iterdir() if path.suffix in SUFFIXES)


@pytest.fixture(scope="module")
def vgg16() -> networks.VGG:
    model = networks.vgg16().eval()
    model.load_state_dict(torch.load(data.DATA / "vgg16_thin.pth"))
    return model


@torch.no_grad()
def predict(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(part).flatten(1) for part in images.split(100)])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_checksums_are_those_of_the_readme(path: Path) -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \|.*\| `([0-9a-f]{64})` \|$", README, flags=re.M))
    assert rows[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_nothing_else_is_described_and_all_of_it_is_small() -> None:
    described = set(re.findall(r"^\| `([\w.]+)` \|", README, flags=re.M))
    assert described == {path.name for path in SHIPPED}
    assert sum(path.stat().st_size for path in data.DATA.iterdir() if path.is_file()) < 25_000_000


def test_cifar10_sample() -> None:
    images, labels = data.cifar10_sample()
    assert (images.shape, images.dtype) == ((500, 3, 32, 32), torch.uint8)
    assert labels.bincount().tolist() == [50] * 10


@pytest.mark.parametrize(("train", "of_each"), [(True, 600), (False, 100)])
def test_fashion_mnist(train, of_each) -> None:
    images, labels = data.fashion_mnist(train)
    assert (images.shape, images.dtype) == ((10 * of_each, 1, 28, 28), torch.uint8)
    assert labels.bincount().tolist() == [of_each] * 10
    # a pair of trousers reaches the lowest row of pixels, a sandal does not: the labels belong to the images
    lowest = images[:, 0, -1].float().mean(1)
    assert lowest[labels == 1].mean() > 10 * lowest[labels == 5].mean()


def test_normalize_is_torchvisions() -> None:
    from torchvision.transforms import v2

    images = data.cifar10_sample()[0][:3]
    transform = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((48, 48), antialias=False),
            v2.Normalize(data.IMAGENET_MEAN, data.IMAGENET_STD),
        ]
    )
    torch.testing.assert_close(data.normalize(images, 48), transform(images))


def test_the_three_forms_of_vgg16_agree(vgg16) -> None:
    state = vgg16.state_dict()
    tensors = load_file(data.DATA / "vgg16_thin.safetensors")
    assert all(torch.equal(tensors[key], tensor) for key, tensor in state.items())
    assert tensors.keys() == state.keys()

    images, labels = data.cifar10_sample()
    net = load_matconvnet(data.vgg16_mat())
    probabilities = predict(net.to_module(), net.preprocess(images))
    expected = predict(vgg16, data.normalize(images)).softmax(1)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-4)
    assert (probabilities.argmax(1) == labels).float().mean() > 0.9
    assert net.classes == list(data.CIFAR10_CLASSES)


def test_resnet18_thin_scores() -> None:
    model = networks.resnet18(width=0.3125).eval()
    model.load_state_dict(torch.load(data.DATA / "resnet18_thin.pth"))
    images, labels = data.cifar10_sample()
    assert (predict(model, data.normalize(images)).argmax(1) == labels).float().mean() > 0.85


def test_the_script_that_writes_the_mat_makes_the_shipped_one_again(vgg16, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(data.DATA))
    from make import matconvnet_layers

    layers = matconvnet_layers(vgg16)
    read = load_matconvnet(data.vgg16_mat()).layers
    assert [(layer.name, layer.type) for layer in layers] == [(layer.name, layer.type) for layer in read]
    for made, found in zip(layers, read, strict=True):
        assert all(torch.equal(tensor, found.params[key]) for key, tensor in made.params.items())


def test_the_training_script_folds_batch_norm_without_changing_the_function(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(data.DATA))
    from train import augment, fold_batch_norm

    torch.manual_seed(0)
    model = networks.vgg16(batch_norm=True)
    images = torch.randn(4, 3, 64, 64)
    model(images)  # gives BatchNorm statistics of its own
    expected = model.eval()(images)
    plain = fold_batch_norm(model)
    assert list(plain.state_dict()) == list(networks.vgg16().state_dict())
    torch.testing.assert_close(plain(images), expected, rtol=1e-4, atol=1e-4)

    pixels = torch.arange(2 * 3 * 32 * 32).remainder(251).to(torch.uint8).view(2, 3, 32, 32) + 1
    shifted = augment(pixels, torch.Generator().manual_seed(1))
    assert shifted.shape == pixels.shape
    centre = shifted[0, :, 8:24, 8:24]
    places = [(dy, dx) for dy in range(9) for dx in range(9)]
    candidates = [pixels[0, :, 4 + dy : 20 + dy, 4 + dx : 20 + dx] for dy, dx in places]
    assert any(torch.equal(centre, c) or torch.equal(centre, c.flip(2)) for c in candidates)


def test_images_that_were_scaled_before_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images go from 0 to 255; these end at 0\.5"):
        data.normalize(torch.full((1, 3, 8, 8), 0.5))
    assert data.normalize(torch.full((1, 3, 8, 8), 128.0)).shape == (1, 3, 64, 64)
