"""Networks that this project did not make, and one as large as the published VGG16."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from given import folder
from numpy.typing import NDArray

from helpers.matconvnet import load_matconvnet, save_matconvnet
from workbook import networks
from workbook.data import DATA


@pytest.fixture
def real() -> Path:
    return folder("REAL_NETWORKS_DIR", "cifar_lenet_epoch30.mat and DCFNet.mat")


def test_a_tracker_network_loads_with_its_normalization(real) -> None:
    net = load_matconvnet(real / "DCFNet.mat")
    assert [layer.name for layer in net.layers] == ["conv1", "relu1", "conv2", "norm1"]
    assert net.normalization["averageImage"].ravel().tolist() == [123, 117, 104]
    assert net.normalization["imageSize"] == (125, 125, 3)
    images = torch.full((1, 3, 125, 125), 120, dtype=torch.uint8)
    assert net.preprocess(images)[0, :, 7, 9].tolist() == [-3, 3, 16]
    assert net.to_module()(net.preprocess(images)).shape == (1, 32, 125, 125)


def test_a_lenet_has_the_structure_its_file_shows(real) -> None:
    net = load_matconvnet(real / "cifar_lenet_epoch30.mat")
    assert [layer.type for layer in net.layers].count("conv") == 5
    module = net.to_module()
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10, 1, 1)
    assert not hasattr(module, "softmaxloss1")


def whiten(train: NDArray, test: NDArray) -> NDArray[np.float32]:
    """MatConvNet's CIFAR-10 preprocessing of (N, 3072) pixels, fitted on `train` and `test`, applied to `test`."""
    mean = train.mean(0)
    everything = np.concatenate([train, test]) - mean
    everything -= everything.mean(1, keepdims=True)
    deviation = everything.std(1, ddof=1, keepdims=True)
    everything *= deviation.mean() / np.maximum(40, deviation)
    covariance = everything[: len(train)].T @ everything[: len(train)] / len(everything)
    values, vectors = np.linalg.eigh(covariance)
    energy = np.sqrt(values.mean())
    scale = energy / np.maximum(np.sqrt(values.clip(0)), 10)
    return (everything[len(train) :] @ (vectors * scale) @ vectors.T).astype(np.float32)


@pytest.mark.slow
def test_a_lenet_scores_what_it_scored_in_matlab(real, monkeypatch) -> None:
    cifar10 = folder("CIFAR10_DIR", "CIFAR-10, as data/cifar10.py reads it")
    monkeypatch.syspath_prepend(str(DATA))
    from cifar10 import load_cifar10

    train, _ = load_cifar10(cifar10, train=True)
    test, labels = load_cifar10(cifar10, train=False)
    # the whitening does not care for the order of the pixels, as long as it is one and the same
    flat = [images.transpose(0, 3, 1, 2).reshape(-1, 3072).astype(np.float32) for images in (train, test)]
    x = torch.from_numpy(whiten(*flat)).view(-1, 3, 32, 32)
    module = load_matconvnet(real / "cifar_lenet_epoch30.mat").to_module()

    def accuracy() -> float:
        with torch.no_grad():
            return (torch.cat([module(part).flatten(1).argmax(1) for part in x.split(500)]).numpy() == labels).mean()

    right = accuracy()
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.transpose(2, 3).contiguous()
    exchanged = accuracy()
    print(f"cifar_lenet_epoch30.mat: {right:.2%} of {len(labels)} images; height and width exchanged: {exchanged:.2%}")
    assert right > 0.80
    assert exchanged < 0.35


@pytest.mark.slow
def test_a_full_size_vgg16_arrives_bit_equal_in_torchvisions(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(DATA))
    from make import matconvnet_layers

    source = networks.vgg16(1000, width=1, fc_width=4096, image_size=224)
    assert sum(parameter.numel() for parameter in source.parameters()) == 138_357_544
    layers = matconvnet_layers(source)
    names = [f"class {i}" for i in range(1000)]
    path = tmp_path / "vgg16.mat"
    save_matconvnet(path, layers, classes=names, normalization={"averageImage": np.ones((1, 1, 3))}, compressed=False)
    assert 553e6 < path.stat().st_size < 555e6

    net = load_matconvnet(path)
    with torch.device("meta"):
        target = torchvision.models.vgg16()
    target.load_state_dict(net.state_dict_for(target), assign=True)
    written = [tensor for layer in layers for tensor in layer.params.values()]
    arrived = list(target.state_dict().values())
    assert len(arrived) == len(written) == 32
    for tensor, original in zip(arrived, written, strict=True):
        assert torch.equal(tensor.flatten(), original.flatten())
        assert tensor.shape[0] == original.shape[0]
