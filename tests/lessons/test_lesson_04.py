"""Lesson 04 beyond its stored outputs: its recipe."""

import copy
from collections.abc import Callable

import pytest
import torch
import torchvision
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.first_conv import adapt_conv

NOTEBOOK = "04_adapt_the_first_conv.ipynb"


@pytest.fixture
def recipe() -> Callable:
    return defined(recipe_of(NOTEBOOK, "take_channels"), "take_channels")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_the_recipe_does_what_the_helper_does(recipe, channels) -> None:
    torch.manual_seed(0)
    ours = nn.Conv2d(3, 4, (2, 5), stride=(1, 2), padding=(1, 3)).requires_grad_(False)
    theirs = copy.deepcopy(ours)
    recipe(ours, channels)
    adapt_conv(theirs, channels)
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert ours.in_channels == channels
    assert not ours.weight.requires_grad
    x = torch.rand(2, channels, 6, 9)
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_recipe_refuses_groups_and_leaves_them_alone(recipe) -> None:
    conv = nn.Conv2d(6, 4, (2, 5), groups=2)
    before = conv.weight
    with pytest.raises(ValueError, match="this conv has 2 groups"):
        recipe(conv, 1)
    assert conv.weight is before
    assert conv.in_channels == 6


def test_the_comments_of_the_recipe_work_when_uncommented(capsys) -> None:
    replace = {'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()"}
    run_usage(recipe_of(NOTEBOOK, "take_channels"), replace, resnet18=torchvision.models.resnet18)
    assert capsys.readouterr().out == "torch.Size([2, 1000])\n"
