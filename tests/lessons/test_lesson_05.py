"""Lesson 05 beyond its stored outputs: its recipe, and what its exercises are good for."""

import copy
import re
from collections.abc import Callable

import nbformat
import pytest
import torch
import torchvision
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.heads import replace_head
from workbook.networks import resnet18, vgg16
from workbook.places import NOTEBOOKS

NOTEBOOK = "05_replace_the_head.ipynb"


@pytest.fixture
def recipe() -> Callable:
    return defined(recipe_of(NOTEBOOK, "set_head"), "set_head")


@pytest.mark.parametrize(("build", "name", "size"), [(resnet18, "fc", 64), (vgg16, "classifier.6", 64)])
def test_the_recipe_does_what_the_helper_does(recipe, build, name, size) -> None:
    ours, rows = build().eval(), {0: 6, 2: 3, 4: 9}
    theirs = copy.deepcopy(ours)
    others = {key: tensor.clone() for key, tensor in ours.state_dict().items() if not key.startswith(name)}
    recipe(ours, name, 7, rows)
    replace_head(theirs, 7, keep=rows)
    x = torch.rand(2, 3, size, size)
    torch.testing.assert_close(ours(x)[:, list(rows)], theirs(x)[:, list(rows)])
    assert ours(x).shape == (2, 7)
    assert all(torch.equal(tensor, ours.state_dict()[key]) for key, tensor in others.items())


def test_the_recipe_takes_heads_without_bias_and_other_types(recipe) -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 3), "head": nn.Linear(3, 4, bias=False).double()})
    old = model["head"].weight.detach().clone()
    recipe(model, "head", 5, {1: 2})
    assert model["head"].bias is None
    assert model["head"].weight.dtype == torch.float64
    assert torch.equal(model["head"].weight[1], old[2])
    assert not (model["head"].weight[[0, 2, 3, 4], None] == old).all(-1).any()


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("body", {0: 0}, "'body' must be a plain Linear, not Conv2d"),
        ("head", {5: 0}, "new rows go from 0 to 4, not 5"),
        ("head", {-1: 0}, "new rows go from 0 to 4, not -1"),
        ("head", {0: 4}, "old rows go from 0 to 3, not 4"),
        ("head", {0: -1}, "old rows go from 0 to 3, not -1"),
    ],
)
def test_the_recipe_refuses_other_layers_and_rows(recipe, name, rows, message) -> None:
    model = nn.ModuleDict({"body": nn.Conv2d(2, 3, 1), "head": nn.Linear(3, 4)})
    before = model["head"]
    with pytest.raises(ValueError, match=message):
        recipe(model, name, 5, rows)
    assert model["head"] is before


class Cosine(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.weight))


def with_a_tied_head() -> nn.Module:
    model = nn.ModuleDict({"words": nn.Embedding(4, 3), "head": nn.Linear(3, 4)})
    model["head"].weight = model["words"].weight
    return model


def with_two_names() -> nn.Module:
    head = nn.Linear(3, 4)
    return nn.ModuleDict({"head": head, "alias": head})


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (nn.ModuleDict({"head": Cosine(3, 4)}), 5, "must be a plain Linear"),
        (nn.ModuleDict({"head": nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))}), 5, "must be a plain Linear"),
        (with_a_tied_head(), 5, "is used elsewhere, too"),
        (with_two_names(), 5, "is used elsewhere, too"),
        (nn.ModuleDict({"head": nn.Linear(3, 4)}), 0, "at least one class, not 0"),
    ],
)
def test_the_recipe_refuses_heads_that_a_linear_cannot_replace(recipe, model, classes, message) -> None:
    before = model["head"]
    with pytest.raises(ValueError, match=message):
        recipe(model, "head", classes)
    assert model["head"] is before


def test_the_comments_of_the_recipe_work_when_uncommented() -> None:
    replace = {'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()"}
    namespace = run_usage(recipe_of(NOTEBOOK, "set_head"), replace, resnet18=torchvision.models.resnet18)
    model = namespace["model"]
    assert model.fc.out_features == 7
    assert not {id(p) for p in model.second.parameters()} & {id(p) for p in model.layer4.parameters()}
    assert model.second(torch.rand(2, 256, 4, 4)).shape == (2, 5)
    in_groups = [id(p) for group in namespace["optimizer"].param_groups for p in group["params"]]
    assert sorted(in_groups) == sorted(id(p) for p in model.parameters())
    assert [group["lr"] for group in namespace["optimizer"].param_groups] == [0.001, 0.01, 0.001, 0.01]


@pytest.mark.slow
def test_the_answers_can_be_used_as_the_solutions_say(capsys, monkeypatch) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    lesson = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    solution = nbformat.read(NOTEBOOKS / "solutions" / NOTEBOOK, as_version=4).cells
    namespace: dict[str, object] = {}
    for cell in lesson:
        needed = not {"hide-input", "recipe"} & set(cell.metadata.get("tags", [])) and "check(" not in cell.source
        if cell.cell_type == "code" and needed:
            exec(cell.source.replace("for cut in cuts:", "for cut in ():"), namespace)
    for cell in solution:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
    capsys.readouterr()
    uses = re.findall("```python\n(.*?)```", "\n".join(cell.source for cell in solution), flags=re.S)
    for use in uses:
        exec(use, namespace)
    cats, heads, both, rates = capsys.readouterr().out.splitlines()
    assert int(cats.strip("[]").split(", ")[2]) in range(46, 51)  # the new row is random
    assert heads == "(0, 1)"
    assert both == "True"
    two_rates, one_rate = (int(rate) for rate in re.findall(r"(\d+)%", rates))
    assert 52 <= two_rates <= 60
    assert one_rate <= 52
    assert two_rates > one_rate
