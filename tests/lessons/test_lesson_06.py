"""Lesson 06 beyond its stored outputs: its recipe, its classes, and its drawing of units."""

import ast
import re
from typing import Any

import nbformat
import pytest
import torch
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.fcn import BilinearUpsampling, FCN32s, copy_vgg16_, linear_to_conv, receptive_field
from workbook import plots
from workbook.data import GARMENTS
from workbook.networks import vgg16
from workbook.places import NOTEBOOKS

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


def assigned(name: str) -> Any:
    """The literal that the lesson gives a name."""
    sources = [cell.source for cell in nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells]
    (found,) = [found for source in sources for found in re.findall(rf"^{name} = (.+)$", source, flags=re.M)]
    return ast.literal_eval(found)


def test_the_classes_are_named_as_the_scenes_number_them() -> None:
    assert assigned("classes") == ["background", *GARMENTS]


def test_the_units_are_drawn_where_they_lie(monkeypatch) -> None:
    shown: list[plots.Picture] = []
    monkeypatch.setattr(plots, "display", shown.append)
    layers, pixels = assigned("layers"), 12
    plots.show_units(layers, pixels)
    maps, passed = torch.zeros(1, 1, pixels, pixels), []
    for name, (kernel, stride, padding) in layers.items():
        passed.append(nn.Conv2d(1, 1, kernel, stride, padding))
        maps, grid = passed[-1](maps), receptive_field(passed)
        place = f"{maps.shape[-1]} units, {int(grid.stride)} apart, the first at {float(grid.start):g}"
        assert f"{name}: {place}, which sees {grid.size}." in shown[0].alt


def test_a_unit_of_the_last_layer_drawn_sees_what_reaches_it() -> None:
    first, apart, sees = 1.5, 2, 8
    maps = image = torch.zeros(1, 1, 12, 12, requires_grad=True)
    for kernel, stride, padding in assigned("layers").values():
        conv = nn.Conv2d(1, 1, kernel, stride, padding)
        nn.init.ones_(conv.weight)
        maps = conv(maps)
    maps[0, 0, 0, 2].backward()
    reached = image.grad[0, 0].any(0).nonzero().flatten()
    centre = first + 2 * apart
    assert (reached[0], reached[-1]) == (centre - (sees - 1) / 2, centre + (sees - 1) / 2)
