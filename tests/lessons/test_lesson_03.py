"""Lesson 03 beyond its stored outputs: its recipe and its figures."""

import re
from collections.abc import Callable

import pytest
import torch
import torchvision
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.state_dict import load_matching, suggest_renames
from workbook import data
from workbook.data import DATA
from workbook.networks import resnet18, vgg16
from workbook.training import accuracy

NOTEBOOK = "03_load_the_part_that_fits.ipynb"


@pytest.fixture
def recipe() -> Callable:
    return defined(recipe_of(NOTEBOOK, "load_what_fits"), "load_what_fits")


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_recipe_loads_what_the_helper_loads(recipe, batch_norm) -> None:
    state_dict = torch.load(DATA / "vgg16_thin.pth")
    ours, theirs = vgg16(7, batch_norm=batch_norm), vgg16(7, batch_norm=batch_norm)
    theirs.load_state_dict(ours.state_dict())
    names = suggest_renames(ours, state_dict).mapping
    stayed, unused = recipe(ours, state_dict, names)
    report = load_matching(theirs, state_dict, rename=names)
    assert set(stayed) == {*report.missing, *report.mismatched}
    assert {names.get(key, key) for key in unused} == {*report.unexpected, *report.mismatched}
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())


def test_the_recipe_refuses_clashes_and_what_fits_nowhere(recipe) -> None:
    state_dict = torch.load(DATA / "vgg16_thin.pth")
    with pytest.raises(ValueError, match="two tensors would get one name"):
        recipe(vgg16(), state_dict, {"features.0.weight": "features.2.weight"})
    with pytest.raises(ValueError, match=r"'features\.1\.weight' is not in the state_dict"):
        recipe(vgg16(), state_dict, {"features.1.weight": "features.0.weight"})
    prefixed = {f"module.{key}": tensor for key, tensor in state_dict.items()}
    with pytest.raises(ValueError, match=r"nothing fits: the checkpoint has \['module\.features\.0\.weight'"):
        recipe(vgg16(), prefixed)


def test_the_recipe_passes_over_what_is_no_tensor(recipe) -> None:
    model = nn.Linear(2, 3)
    assert recipe(model, {"weight": torch.ones(3, 2), "bias": 7, "epoch": 9}) == (["bias"], ["bias", "epoch"])
    assert torch.equal(model.weight, torch.ones(3, 2))


def test_the_comments_of_the_recipe_work_when_uncommented() -> None:
    replace = {"torchvision.models.vgg16": "vgg16", "checkpoint.pth": str(DATA / "vgg16_thin.pth")}
    namespace = run_usage(recipe_of(NOTEBOOK, "load_what_fits"), replace, vgg16=vgg16)
    assert namespace["random"] == ["classifier.6.weight", "classifier.6.bias"] == namespace["unused"]


def with_a_random_module(state_dict) -> nn.Module:
    model = nn.ModuleDict({"rnn3": nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.Tanh()), "vgg": vgg16()})
    model["vgg"].load_state_dict(state_dict)
    return nn.Sequential(*model.values())


def with_a_random_conv(state_dict) -> nn.Module:
    model = vgg16()
    load_matching(model, {key: tensor for key, tensor in state_dict.items() if not key.startswith("features.12.")})
    return model


def paired_by_hand(state_dict) -> nn.Module:
    model = vgg16()
    for place in (24, 17):
        model.features.insert(place, nn.Dropout())
    mine = model.state_dict()
    unexpected, missing = [key for key in state_dict if key not in mine], [key for key in mine if key not in state_dict]
    load_matching(model, state_dict, rename=dict(zip(unexpected, missing, strict=True)))
    return model


@pytest.mark.parametrize(
    ("build", "bound"), [(with_a_random_module, 0.8), (with_a_random_conv, 0.3), (paired_by_hand, 0.3)]
)
def test_what_the_lesson_calls_lost_is_lost_for_other_seeds_too(build, bound) -> None:
    images, labels = data.cifar10_sample()
    x, state_dict = data.normalize(images), torch.load(DATA / "vgg16_thin.pth")
    for seed in range(5):
        torch.manual_seed(seed)
        assert accuracy(build(state_dict), x, labels) < bound


def test_the_recipe_keeps_the_versions_of_modules(recipe) -> None:
    """MNASNet refuses what does not say of which version it is."""
    model, source = torchvision.models.mnasnet0_5(num_classes=7), torchvision.models.mnasnet0_5()
    assert recipe(model, source.state_dict())[0] == ["classifier.1.weight", "classifier.1.bias"]


def test_order_is_taken_on_trust() -> None:
    """A network that defines bn2 before bn1 of each block, under other names: nothing is ambiguous, all wrong."""
    state_dict = torch.load(DATA / "resnet18_thin.pth")
    order = list(state_dict)

    def place(key: str) -> int:
        return order.index(re.sub(r"(layer.*bn)([12])", lambda m: f"{m[1]}{3 - int(m[2])}", key))

    renamed = {key.replace("bn1", "na").replace("bn2", "nb"): state_dict[key] for key in sorted(order, key=place)}
    suggestion = suggest_renames(resnet18(width=0.3125), renamed)
    assert suggestion.ambiguous == ()
    model = resnet18(width=0.3125)
    load_matching(model, renamed, rename=suggestion)
    assert not torch.equal(model.layer1[0].bn1.weight, state_dict["layer1.0.bn1.weight"])
