"""Lesson 09 beyond its stored outputs: its recipe."""

import copy

import pytest
import torch
import torchvision
from lesson import defined, recipe_of, run_usage

from helpers.parity import compare_outputs
from workbook.wren import BLOCKS, Wren

NOTEBOOK = "09_move_in_a_network_you_have_not_met.ipynb"
PAIRS = [(block, block) for block in BLOCKS]


@pytest.fixture
def recipe() -> str:
    return recipe_of(NOTEBOOK, "where_they_part")


@pytest.mark.parametrize("block", [*BLOCKS, None])
def test_the_recipe_finds_what_the_helper_finds(recipe, block) -> None:
    torch.manual_seed(0)
    model, x = Wren().eval(), torch.randn(2, 3, 40, 32)
    other = copy.deepcopy(model)
    if block:
        torch.nn.init.normal_(other.get_submodule(block).conv.weight)
    found = defined(recipe, "where_they_part")(other, model, PAIRS, x)
    apart = compare_outputs(other, model, dict(PAIRS), x)
    first = next((name for name, far in apart.items() if far > 1e-3), None)
    assert first == block
    assert found == (None if block is None else (block, block, pytest.approx(apart[block])))


def test_the_recipe_gives_each_network_its_inputs_and_leaves_no_hooks(recipe) -> None:
    part = defined(recipe, "where_they_part")
    model, x = Wren().eval(), torch.randn(2, 3, 40, 32)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.stem.conv.weight /= 7
    assert part(model, other, PAIRS, x, 7 * x) is None
    assert part(model, other, PAIRS, x)[0] == "stem"
    wide = part(model, other, [("stem", "stem"), ("widen", "cross")], x, 7 * x)
    assert wide == ("widen", "cross", ((2, 64, 10, 8), (2, 96, 10, 8)))
    assert not any(module._forward_hooks for module in [*model.modules(), *other.modules()])


def test_numbers_that_are_none_do_not_agree(recipe) -> None:
    model, x = Wren().eval(), torch.randn(2, 3, 40, 32)
    other = copy.deepcopy(model)
    other.cross.norm.running_var[3] = -1
    assert defined(recipe, "where_they_part")(other, model, PAIRS, x)[0] == "cross"


def test_the_comments_of_the_recipe_work_when_uncommented(capsys) -> None:
    replace = {'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()"}
    replace |= {"torchvision.models.resnet18()": "resnet18()"}
    run_usage(recipe_of(NOTEBOOK, "where_they_part"), replace, resnet18=torchvision.models.resnet18)
    assert capsys.readouterr().out.startswith("('layer2.0.conv1', 'layer2.0.conv1', ")
