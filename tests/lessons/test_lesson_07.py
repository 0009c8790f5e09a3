"""Lesson 07 beyond its stored outputs: its recipe."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.freezing import freeze
from workbook.networks import resnet18

NOTEBOOK = "07_freeze_the_layers_you_keep.ipynb"


@pytest.fixture
def recipe() -> str:
    return recipe_of(NOTEBOOK, "freeze_for_good")


def trained_a_little(model: nn.Module) -> dict[str, torch.Tensor]:
    """Its state after three steps with momentum and weight decay."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    random = torch.Generator().manual_seed(0)
    for _ in range(3):
        model.train()
        optimizer.zero_grad()
        x = torch.rand(4, 3, 32, 32, generator=random)
        F.cross_entropy(model(x), torch.arange(4)).backward()
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("name", ["layer1", "bn1", "layer4.1"])
def test_the_recipe_does_what_the_helper_does(recipe, name) -> None:
    torch.manual_seed(0)
    theirs = resnet18(5, width=0.125)
    ours = copy.deepcopy(theirs)
    before = copy.deepcopy(theirs.state_dict())
    freeze(theirs, name)
    defined(recipe, "freeze_for_good")(ours.get_submodule(name))
    ours = copy.deepcopy(ours)
    after, expected = trained_a_little(ours), trained_a_little(theirs)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in after.items())
    inside = [key for key in before if key.startswith(f"{name}.")]
    assert all(torch.equal(after[key], before[key]) for key in inside)
    assert not torch.equal(after["fc.weight"], before["fc.weight"])


def test_the_recipe_frozen_can_be_pickled(recipe) -> None:
    namespace = {"__name__": "__main__"}
    exec(recipe, namespace)
    import __main__

    __main__.StaysInEval = namespace["StaysInEval"]
    model = resnet18(5, width=0.125)
    namespace["freeze_for_good"](model.layer1)
    twin = pickle.loads(pickle.dumps(model)).train()
    assert (twin.layer1.training, twin.layer2.training) == (False, True)


def test_the_comments_of_the_recipe_work_when_uncommented(recipe) -> None:
    replace = {'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()"}
    made = run_usage(
        recipe.replace("# import torch\n", "import torch\n"), replace, resnet18=torchvision.models.resnet18
    )
    model = made["model"].train()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert [name for name, child in model.named_children() if child.training] == ["fc"]
    assert model.fc.out_features == 7
