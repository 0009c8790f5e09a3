"""Lesson 01 beyond its stored outputs: its recipe."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lesson import defined, recipe_of, run_usage
from matlab import cell, dag, dag_layer, save, struct
from torch import nn

from helpers.matconvnet import load_matconvnet
from workbook import networks
from workbook.data import cifar10_sample, vgg16_mat

NOTEBOOK = "01_load_a_matconvnet_network_into_pytorch.ipynb"


@pytest.fixture
def recipe() -> Callable[[nn.Module, Path], nn.Module]:
    return defined(recipe_of(NOTEBOOK, "load_matconvnet_into"), "load_matconvnet_into")


def test_the_recipe_does_what_the_helper_does(recipe) -> None:
    model, expected = networks.vgg16(), load_matconvnet(vgg16_mat())
    for parameter in model.parameters():
        nn.init.constant_(parameter, torch.nan)
    filled = recipe(model, vgg16_mat())
    assert filled is model
    assert not filled.training
    matched = expected.state_dict_for(model)
    assert all(torch.equal(tensor, matched[key]) for key, tensor in filled.state_dict().items())


def test_the_comments_of_the_recipe_work_when_uncommented() -> None:
    images, labels = cifar10_sample()
    enlarged = F.interpolate(images.float(), size=(64, 64), mode="bilinear")
    replace = {"torchvision.models.vgg16()": "vgg16()", "imagenet-vgg-verydeep-16.mat": str(vgg16_mat())}
    with torch.no_grad():
        source = recipe_of(NOTEBOOK, "load_matconvnet_into")
        namespace = run_usage(source, replace, vgg16=networks.vgg16, images=enlarged)
    assert (namespace["logits"].argmax(1) == labels).float().mean() > 0.9


def test_the_recipe_reads_early_files_under_net_with_dropped_dimensions(recipe, tmp_path) -> None:
    rng = np.random.default_rng(4)
    kernels = [rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 5))]
    convs = [
        struct(type="conv", biases=rng.normal(size=(1, n)), filters=k) for n, k in zip((5, 1), kernels, strict=True)
    ]
    path = save(tmp_path / "a.mat", net=struct(layers=cell(convs[0], struct(type="relu"), convs[1])))
    model = recipe(nn.Sequential(nn.Conv2d(4, 5, (2, 3)), nn.Conv2d(5, 1, (2, 3))), path)
    for h, w, i, o in np.ndindex(2, 3, 4, 5):
        assert model[0].weight[o, i, h, w] == np.float32(kernels[0][h, w, i, o])
    for h, w, i in np.ndindex(2, 3, 5):
        assert model[1].weight[0, i, h, w] == np.float32(kernels[1][h, w, i])
    with pytest.raises(ValueError, match=r"layer 2: \(1, 5, 2, 3\) and 1 biases do not fit Conv2d\(5, 1"):
        recipe(nn.Sequential(nn.Conv2d(4, 5, (2, 3)), nn.Conv2d(5, 1, (3, 2))), path)


def test_the_recipe_changes_nothing_if_a_layer_does_not_fit(recipe, tmp_path) -> None:
    kernels = [np.random.default_rng(5).normal(size=shape) for shape in ((2, 3, 4, 5), (1, 2, 5, 3))]
    convs = [struct(type="conv", filters=k, biases=np.ones((1, k.shape[3]))) for k in kernels]
    path = save(tmp_path / "a.mat", layers=cell(*convs))
    for wrong in (nn.Conv2d(5, 3, (2, 1)), nn.Conv2d(5, 3, (1, 2), device="meta")):
        model = nn.Sequential(nn.Conv2d(4, 5, (2, 3)), wrong)
        before = model[0].weight.clone()
        with pytest.raises(ValueError, match=r"layer 2: .* do not fit"):
            recipe(model, path)
        assert torch.equal(model[0].weight, before)
    assert torch.equal(
        recipe(nn.Sequential(nn.Conv2d(4, 5, (2, 3)), nn.Conv2d(5, 3, (1, 2))), path)[1].bias, torch.ones(3)
    )


@pytest.mark.parametrize("shape", [(3, 1), (1, 1, 3), (4, 5, 3)])
@pytest.mark.parametrize("wrapped", ["", "meta", "net.meta"])
def test_the_recipe_finds_the_average_wherever_it_lies(tmp_path, shape, wrapped) -> None:
    average = np.random.default_rng(6).uniform(90, 130, size=shape)
    content = {"normalization": struct(averageImage=average)}
    for name in reversed(wrapped.split(".") if wrapped else []):
        content = {name: struct(**content)}
    find = defined(recipe_of(NOTEBOOK, "load_matconvnet_into"), "average_of")
    found = find(save(tmp_path / "a.mat", **content))
    if average.size == 3:
        assert found.flatten().tolist() == average.astype(np.float32).ravel().tolist()
        assert found.shape == (3, 1, 1)
    else:
        for h, w, c in np.ndindex(4, 5, 3):
            assert found[c, h, w] == np.float32(average[h, w, c])


def test_the_recipe_says_what_a_graph_is(recipe, tmp_path) -> None:
    layer = dag_layer("c", "dagnn.Conv", "x", "y", ("f",))
    path = save(tmp_path / "a.mat", **dag([layer, layer | {"name": "d"}], {"f": np.ones((2, 3, 4, 5))}))
    with pytest.raises(ValueError, match="a DagNN is no chain"):
        recipe(nn.Sequential(nn.Conv2d(4, 5, (2, 3))), path)
