"""Wren, and the two files that hold it: they say the same, each in its own way."""

import re

import numpy as np
import pytest
import scipy.io
import torch
from torch import nn

from helpers.matconvnet import load_matconvnet
from helpers.state_dict import read_state_dict
from workbook.data import CIFAR10_CLASSES, DATA, cifar10_sample
from workbook.training import accuracy
from workbook.wren import BLOCKS, MaskWren, Wren, prepare


@pytest.fixture(scope="module")
def checkpoint() -> dict:
    return torch.load(DATA / "wren.ckpt")


@pytest.fixture(scope="module")
def wren(checkpoint) -> Wren:
    """From the checkpoint, tensor by tensor."""
    model, (weights,) = Wren(), checkpoint["nets"]["student"].values()
    places = ["stem", "widen", "cross", "merge", "settle", "refine"]
    with torch.no_grad():
        for number, place in enumerate(places):
            conv, norm, _ = model.get_submodule(place)
            conv.weight.copy_(weights[f"module.convs.{number}.weight"])
            for key, tensor in norm.state_dict().items():
                tensor.copy_(weights[f"module.norms.{number}.{key}"])
        model.score.weight.copy_(weights["module.classify.weight"])
        model.score.bias.copy_(weights["module.classify.bias"])
    return model.eval()


def test_it_computes_what_its_layers_compute(wren) -> None:
    x = torch.randn(2, 3, 40, 56)
    y = x
    for name in BLOCKS:
        y = torch.relu(wren.get_submodule(name)[1](wren.get_submodule(name)[0](y)))
        if name in ("stem", "cross"):
            y = nn.functional.max_pool2d(y, 3, 2, padding=1)
    torch.testing.assert_close(wren.features(x), y)
    assert y.shape == (2, 160, 5, 7)
    scores = torch.einsum("oc,nchw->nohw", wren.score.weight[:, :, 0, 0], y) + wren.score.bias[:, None, None]
    torch.testing.assert_close(wren(x), scores.mean((2, 3)), rtol=1e-4, atol=1e-5)
    masks = MaskWren().eval()
    masks.load_state_dict(wren.state_dict())
    assert masks(x).shape == (2, 10, 40, 56)
    expected = nn.functional.interpolate(scores, size=(40, 56), mode="bilinear", align_corners=False)
    torch.testing.assert_close(masks(x), expected, rtol=1e-4, atol=1e-5)


def test_prepare() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert prepare(images).flatten().tolist() == pytest.approx([-2, -1.2, 2])
    assert prepare(images, 16).shape == (1, 3, 16, 16)


def test_it_knows_cifar10(wren, checkpoint) -> None:
    images, labels = cifar10_sample()
    truth = torch.tensor([checkpoint["classes"].index(CIFAR10_CLASSES[label]) for label in labels])
    assert accuracy(wren, prepare(images, 64), truth) > 0.8
    assert accuracy(wren, prepare(images, 64), labels) < 0.2


def test_the_two_files_hold_the_same_network(wren, checkpoint) -> None:
    network = load_matconvnet(DATA / "wren.mat")
    assert network.classes == checkpoint["classes"] != list(CIFAR10_CLASSES)
    images, _ = cifar10_sample()
    theirs = network.to_module()(network.preprocess(images[:20])).flatten(1)
    size = torch.nn.functional.interpolate(images[:20].float(), size=(64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(theirs, wren((size - 127.5) / 63.75), rtol=1e-3, atol=1e-3)


def test_the_mat_stores_sigma_and_hwio(wren) -> None:
    layers = scipy.io.loadmat(DATA / "wren.mat", simplify_cells=True)["net"]["layers"]
    by_name = {layer["name"]: layer for layer in layers}
    kernel = by_name["c3"]["weights"]
    kernel = kernel[0] if isinstance(kernel, (list, tuple)) or kernel.dtype == object else kernel
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), wren.cross.conv.weight.detach().numpy())
    sigma = by_name["n5"]["weights"][2][:, 1]
    np.testing.assert_allclose(sigma**2, wren.refine.norm.running_var.numpy() + wren.refine.norm.eps, rtol=1e-5)


def test_nothing_but_looking_tells_the_last_two_blocks_apart(checkpoint) -> None:
    """What the capstone rests on: the shapes are equal and the order misleads; a reader finds the nest, no more."""
    weights = checkpoint["nets"]["student"]["weights"]
    assert weights["module.convs.4.weight"].shape == weights["module.convs.5.weight"].shape
    found = read_state_dict(DATA / "wren.ckpt")
    assert list(found) == [key.removeprefix("module.") for key in weights]
    assert not set(found) & set(Wren().state_dict())
    assert all(re.fullmatch(r"module\.(convs|norms|classify)\.[\w.]+", key) for key in weights)
