"""Lesson 06 beyond its stored outputs: its recipe."""

from typing import Any

import pytest
import torch
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.fcn import BilinearUpsampling, FCN32s, copy_vgg16_, linear_to_conv
from workbook.networks import vgg16

NOTEBOOK = "06_turn_vgg16_into_an_fcn.ipynb"


@pytest.fixture
def recipe() -> str:
    return recipe_of(NOTEBOOK, "as_conv")


@pytest.mark.parametrize(("size", "padding"), [(2, 0), (7, 3), (1, 0)])
def test_the_recipe_makes_the_conv_that_the_helper_makes(recipe, size, padding) -> None:
    linear = nn.Linear(3 * size**2, 5)
    ours, theirs = defined(recipe, "as_conv")(linear, size, padding), linear_to_conv(linear, size, padding)
    maps = torch.randn(2, 3, 9, 11)
    torch.testing.assert_close(ours(maps), theirs(maps))
    assert ours.weight.data_ptr() != linear.weight.data_ptr()


@pytest.mark.parametrize("scale", [2, 8, 32])
def test_the_recipe_upsamples_as_the_helper_does(recipe, scale) -> None:
    maps = torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(defined(recipe, "Upsample")(scale)(maps), BilinearUpsampling(scale, scale // 2)(maps))


def test_the_comments_of_the_recipe_make_the_fcn_that_the_helpers_make(recipe) -> None:
    replace = {'torchvision.models.vgg16(weights="IMAGENET1K_V1")': "vgg16()"}
    replace |= {"nn.Conv2d(4096, 21, 1)": "nn.Conv2d(24, 21, 1)"}

    def small() -> nn.Module:
        torch.manual_seed(0)
        return vgg16(width=0.0625, fc_width=24, image_size=224)

    made: dict[str, Any] = run_usage(recipe, replace, vgg16=small)
    theirs = FCN32s(21, width=0.0625, fc_width=24, first_padding=1).eval()
    copy_vgg16_(theirs, made["vgg"])
    ours = made["fcn"].eval()
    assert not made["score"].weight.any()
    with torch.no_grad():
        theirs.score_fr.weight.normal_()
        made["score"].weight.copy_(theirs.score_fr.weight)
        made["score"].bias.zero_()
    image = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)
    assert not {id(p) for p in ours.parameters()} & {id(p) for p in made["vgg"].parameters()}
