"""Lesson 07 beyond its stored outputs: its recipe, and what its exercises are used for."""

import copy
import gc
import pickle
import weakref

import nbformat
import pytest
import torch
import torch.nn.functional as F
import torchvision
from lesson import defined, recipe_of, run_usage
from torch import nn

from helpers.freezing import freeze, unfreeze
from workbook.networks import resnet18
from workbook.places import NOTEBOOKS

NOTEBOOK = "07_freeze_the_layers_you_keep.ipynb"
SOLVED = NOTEBOOKS / "solutions" / NOTEBOOK


@pytest.fixture
def recipe() -> str:
    return recipe_of(NOTEBOOK, "train_only")


def trained_a_little(model: nn.Module) -> dict[str, torch.Tensor]:
    """Its state after three steps with momentum and weight decay, on gradients that are zeroed, not taken away."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    random = torch.Generator().manual_seed(0)
    for _ in range(3):
        model.train()
        optimizer.zero_grad(set_to_none=False)
        x = torch.rand(4, 3, 32, 32, generator=random)
        F.cross_entropy(model(x), torch.arange(4)).backward()
        optimizer.step()
    return model.state_dict()


def with_gradients() -> nn.Module:
    torch.manual_seed(0)
    model = resnet18(5, width=0.125)
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    return model


@pytest.mark.parametrize("names", [("fc",), ("layer4", "fc"), ("layer1.1", "bn1"), ("conv1",)])
def test_the_recipe_does_what_the_helper_does(recipe, names) -> None:
    theirs = with_gradients()
    ours = copy.deepcopy(theirs)
    before = copy.deepcopy(theirs.state_dict())
    freeze(theirs)
    unfreeze(theirs, *names)
    defined(recipe, "train_only")(ours, *names)
    ours = copy.deepcopy(ours)
    after, expected = trained_a_little(ours), trained_a_little(theirs)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in after.items())
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert moved == {key for key in before if any(key.startswith(f"{name}.") for name in names)}


def test_the_recipe_takes_the_gradients_of_what_it_freezes(recipe) -> None:
    model = with_gradients()
    defined(recipe, "train_only")(model, "layer2", "fc")
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad == name.startswith(("layer2.", "fc."))


def test_the_recipe_stops_dropout_and_parameters_of_the_model_itself(recipe) -> None:
    model = torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16, dropout=0.5, num_classes=5)
    defined(recipe, "train_only")(model, "heads")
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"heads.head.weight", "heads.head.bias"}
    x = torch.rand(3, 3, 32, 32)
    assert torch.equal(model.train()(x), model(x))


def test_the_recipe_lets_a_dropout_go_on_that_is_named(recipe) -> None:
    model = nn.Sequential(nn.Linear(6, 60), nn.Dropout(), nn.Linear(60, 3))
    defined(recipe, "train_only")(model, "1", "2")
    x = torch.rand(3, 6)
    assert not torch.equal(model.train()(x), model(x))


def test_the_recipe_changes_nothing_if_a_name_is_wrong(recipe) -> None:
    model = resnet18(5, width=0.125)
    with pytest.raises(AttributeError, match="layer9"):
        defined(recipe, "train_only")(model, "fc", "layer9")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_recipe_can_be_undone(recipe) -> None:
    model = resnet18(5, width=0.125)
    fixed = model.layer1[0].bn1.weight.requires_grad_(False)
    defined(recipe, "train_only")(model, "fc")()
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["layer1.0.bn1.weight"]
    fixed.requires_grad_()
    before = copy.deepcopy(model.state_dict())
    after = trained_a_little(model)
    assert not any(torch.equal(tensor, before[key]) for key, tensor in after.items())


def test_the_recipe_leaves_alone_what_took_no_gradient_before(recipe) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2))
    model[1].weight.requires_grad_(False)
    undo = defined(recipe, "train_only")(model, "1", "2")
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["1.bias", "2.weight", "2.bias"]
    undo()
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["1.weight"]


def test_the_recipe_wants_to_be_undone_before_it_freezes_something_else(recipe) -> None:
    model = resnet18(5, width=0.125)
    train_only = defined(recipe, "train_only")
    undo = train_only(model, "fc")
    with pytest.raises(ValueError, match="layer4 takes no gradient: undo"):
        train_only(model, "layer4", "fc")
    undo()
    train_only(model, "layer4", "fc")
    before = copy.deepcopy(model.state_dict())
    after = trained_a_little(model)
    moved = {key.split(".")[0] for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert moved == {"layer4", "fc"}


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*")
def test_the_recipe_stops_hooks_that_were_there_before(recipe) -> None:
    model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    defined(recipe, "train_only")(model, "1")
    before = copy.deepcopy(model.state_dict())
    model.train()(torch.rand(3, 4))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_the_recipe_keeps_no_model_in_memory(recipe) -> None:
    model = resnet18(5, width=0.125)
    defined(recipe, "train_only")(model, "fc")
    last = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert last() is None
    finally:
        gc.enable()


def test_the_recipe_frozen_can_be_pickled(recipe, monkeypatch) -> None:
    namespace = {"__name__": "__main__"}
    exec(recipe, namespace)
    import __main__

    monkeypatch.setattr(__main__, "rest", namespace["rest"], raising=False)
    model = resnet18(5, width=0.125)
    namespace["train_only"](model, "layer2", "fc")
    twin = pickle.loads(pickle.dumps(model)).train()
    before = copy.deepcopy(twin.state_dict())
    twin(torch.rand(4, 3, 32, 32))
    moved = {key.split(".")[0] for key, tensor in twin.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {"layer2"}


def test_the_comments_of_the_recipe_work_when_uncommented(recipe) -> None:
    replace = {'torchvision.models.resnet18(weights="IMAGENET1K_V1")': "resnet18()"}
    made = run_usage(
        recipe.replace("# import torch\n", "import torch\n"), replace, resnet18=torchvision.models.resnet18
    )
    model = made["model"].train()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert made["optimizer"].param_groups[0]["params"] == list(model.fc.parameters())
    before = copy.deepcopy(dict(model.named_buffers()))
    model(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_buffers())
    assert model.fc.out_features == 7


def cells_with(path, *texts: str) -> str:
    """The sources of the code cells that contain one of these texts, in order; each is in exactly one."""
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for text in texts:
        assert sum(text in source for source in code) == 1, text
    return "\n".join(source for source in code if any(text in source for text in texts))


@pytest.fixture
def lesson() -> dict:
    """The names of the lesson and of its solutions, as a learner has them who uses what was written."""
    namespace: dict = {}
    setup = ("import helpers\n", "REAL = False", "kept = [", "def with_new_head", "def train(", "def moved(")
    exec(cells_with(NOTEBOOKS / NOTEBOOK, *setup, "def trunk_to"), namespace)
    answers = ("def freeze_modules(", "def train_except(", "def decay_groups(", "def features_of(")
    exec(cells_with(SOLVED, *answers), namespace)
    return namespace


def test_what_the_exercises_are_used_for(lesson, capsys) -> None:
    trap = cells_with(NOTEBOOKS / NOTEBOOK, "zeros:")
    by_hand = "    for name in kept:\n        net.get_submodule(name).requires_grad_(False)\n"
    assert by_hand in trap
    capsys.readouterr()
    exec(trap.replace(by_hand, "    freeze_modules(net, kept)\n"), lesson)
    assert capsys.readouterr().out == "None:  0 moved\nzeros: 0 moved\n"

    loop = cells_with(NOTEBOOKS / NOTEBOOK, "def train(")
    assert "net.train()" in loop
    other = dict(lesson)
    exec(loop.replace("net.train()", "train_except(net, kept)"), other)
    exec(cells_with(NOTEBOOKS / NOTEBOOK, "CIFAR-10: "), other)
    assert "0 parameters moved\n0 buffers moved\n" in capsys.readouterr().out

    frozen = lesson["with_new_head"]()
    freeze(frozen, *lesson["kept"])
    groups = lesson["decay_groups"](frozen, 0.01)
    assert [list(map(id, group["params"])) for group in groups] == [[id(frozen.fc.weight)], [id(frozen.fc.bias)]]

    found = lesson["features_of"](lesson["trunk_to"]("layer2", 4), lesson["x_few"], 30)
    torch.testing.assert_close(found, lesson["features"], rtol=1e-4, atol=1e-4)


def test_a_class_token_is_frozen_as_the_lesson_says() -> None:
    model = torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=5)
    freeze(model, *[name for name, _ in model.named_children()])
    assert model.class_token.requires_grad
    freeze(model)
    unfreeze(model, "heads")
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"heads.head.weight", "heads.head.bias"}
