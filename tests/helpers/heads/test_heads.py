"""Heads, cuts and sharing on small networks of every kind; test_torchvision_models.py replaces torchvision's heads."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from helpers.first_conv import adapt_first_conv
from helpers.heads import (
    HeadError,
    MultiHead,
    find_head,
    find_heads,
    replace_head,
    rows_by_name,
    shared_parameters,
    truncate,
)
from workbook.networks import resnet18, vgg16


class Odd(nn.Module):
    """Its head is defined first, stands before a softmax, and is not called so."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))

    def forward(self, x):
        return self.first(self.body(x).mean((2, 3))).relu_().softmax(1)


def test_the_head_is_what_makes_the_output() -> None:
    model = Odd().train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert find_head(model) == ("first", model.first)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert replace_head(model, 9) == ("first",)
    assert model.eval()(torch.rand(2, 3, 8, 8)).shape == (2, 9)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items() if "body" in key)


def test_a_pointwise_conv_is_a_head_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert find_head(model)[0] == "1"
    replace_head(model, 2)
    assert (model[1].bias, model[1].out_channels) == (None, 2)
    assert model(torch.rand(5, 3, 8, 8)).shape == (5, 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 5), nn.BatchNorm1d(5)),
            "'2.bias' stands between 1 and the output",
        ),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3)), "no Linear and no conv makes the output of this Sequential"),
        (nn.Sequential(nn.Linear(7, 4)), r"it stopped with RuntimeError.*; give an `example`"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1, groups=2)), "'1' has 2 groups"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), parametrizations.weight_norm(nn.Conv2d(4, 6, 1))),
            "made from other tensors",
        ),
    ],
)
def test_what_has_no_head_to_replace_is_told_so_and_stays(model, message) -> None:
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(HeadError, match=message):
        replace_head(model, 9)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_two_outputs_are_two_heads() -> None:
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.age, self.name = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Linear(4, 6)

        def forward(self, x):
            x = self.conv(x).mean((2, 3))
            return {"age": self.age(x), "name": [self.name(x)]}

    with pytest.raises(HeadError, match="several layers make the output: age, name; find_heads gives all"):
        find_head(Two())
    assert list(find_heads(Two())) == ["age", "name"]


def test_an_example_says_what_the_model_takes() -> None:
    model = nn.Sequential(nn.Linear(7, 4), nn.ReLU(inplace=True), nn.Linear(4, 6))
    assert replace_head(model, 3, example=torch.zeros(2, 7)) == ("2",)
    assert model(torch.zeros(5, 7)).shape == (5, 3)


@pytest.mark.parametrize(
    ("keep", "rows"), [((2, 0), {0: 2, 1: 0}), ({4: 1, 0: 5}, {4: 1, 0: 5}), (range(6), {i: i for i in range(6)})]
)
def test_rows_are_kept_with_their_biases_and_the_others_are_new(keep, rows) -> None:
    model = Odd()
    weight, bias = model.first.weight.detach().clone(), model.first.bias.detach().clone()
    model.requires_grad_(False)
    replace_head(model, 9, keep=keep)
    for new in range(9):
        old = rows.get(new)
        assert any(torch.equal(model.first.weight[new], row) for row in weight) == (old is not None)
        if old is not None:
            assert torch.equal(model.first.weight[new], weight[old])
            assert model.first.bias[new] == bias[old]
    assert model.first.weight.requires_grad
    assert model.first.bias.requires_grad


@pytest.mark.parametrize(
    ("num_classes", "keep", "message"),
    [
        (4, range(6), "there is no new row 4 in 'first'; rows go from 0 to 3"),
        (9, [6], "there is no old row 6 in 'first'; rows go from 0 to 5"),
        (9, {-1: 0}, "there is no new row -1"),
        (0, None, "whole number above 0, not 0"),
    ],
)
def test_rows_that_are_not_there_are_refused_and_the_head_stays(num_classes, keep, message) -> None:
    model = Odd()
    weight = model.first.weight
    with pytest.raises(HeadError, match=message):
        replace_head(model, num_classes, keep=keep)
    assert model.first.weight is weight
    assert model.first.out_features == 6


def test_classes_are_found_by_name() -> None:
    assert rows_by_name(["cat", "dog", "ship"], ["ship", "whale", "cat"]) == {0: 2, 2: 0}
    with pytest.raises(HeadError, match="no class has the same name; they begin with cat, dog, whale"):
        rows_by_name(["cat", "dog"], ["whale"])
    with pytest.raises(HeadError, match="the class 'cat' occurs twice"):
        rows_by_name(["cat", "dog", "cat"], ["dog"])


@pytest.mark.parametrize(
    ("model", "at", "expected"),
    [
        (vgg16, "features.23", lambda m, x: m.features[:24](x)),
        (vgg16, "features", lambda m, x: m.features(x)),
        (resnet18, "layer3", lambda m, x: m.layer3(m.layer2(m.layer1(m.maxpool(m.relu(m.bn1(m.conv1(x)))))))),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_a_truncated_model_computes_what_the_model_computes_there(model, at, expected, training) -> None:
    torch.manual_seed(0)
    model = model().train(training)
    images, cut = torch.rand(3, 3, 64, 64), truncate(model, at)
    assert all(module.training == training for module in cut.modules())
    torch.testing.assert_close(cut(images), expected(copy.deepcopy(model), images))
    assert set(cut.state_dict()) < set(model.state_dict())
    assert cut.load_state_dict(model.state_dict(), strict=False).missing_keys == []
    assert shared_parameters(cut, model) == []


def test_a_frozen_part_stays_in_eval_mode() -> None:
    model = resnet18(width=0.125).train()
    model.layer1.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    cut = truncate(model, "layer2")
    assert cut.training
    assert cut.get_submodule("layer2.0.bn1").training
    assert not any(module.training for module in cut.layer1.modules())
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_what_cannot_be_cut_is_told_so() -> None:
    with pytest.raises(HeadError, match=r"no layer 'layer5' is run in this ResNet18; its parts are conv1, bn1, relu"):
        truncate(resnet18(), "layer5")
    with pytest.raises(
        HeadError, match=r"'layer2\.0\.conv1' is no place to cut: what 'layer1\.1\.relu' puts out passes beside"
    ):
        MultiHead(resnet18(), "layer2.0.conv1", {"a": 2})
    with pytest.raises(HeadError, match="there is no head behind 'fc'"):
        MultiHead(resnet18(), "fc", {"a": 2})

    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(HeadError, match=r"torch\.fx cannot trace this Branching: TraceError"):
        truncate(Branching(), "a")


class Tricky(nn.Module):
    """Names that end in numbers, work in place whose result nobody takes, a constant, and dropout as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1, self.conv_2, self.conv_3 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 5, 3)
        self.fc = nn.Linear(5, 6)

    def forward(self, x):
        x = self.conv_1(x)
        x.mul_(2)
        x = self.conv_2(nn.functional.dropout(x, 0.5, self.training)) + torch.tensor([0.5])
        return self.fc(self.conv_3(x).mean((2, 3)))


def test_tricky_models_are_cut_where_they_should_be() -> None:
    torch.manual_seed(0)
    model = Tricky().eval()
    attributes, images = set(vars(model)), torch.rand(2, 3, 9, 9)
    torch.testing.assert_close(truncate(model, "conv_1")(images), model.conv_1(images))
    torch.testing.assert_close(truncate(model, "conv_2")(images), model.conv_2(2 * model.conv_1(images)))
    both = MultiHead(model, "conv_1", {"a": 6})
    assert set(vars(model)) == attributes
    both.heads["a"].fc.load_state_dict(model.fc.state_dict())
    torch.testing.assert_close(both(images)["a"], model(images))
    again = copy.deepcopy(both)
    torch.testing.assert_close(again(images)["a"], model(images))
    again.train()
    assert not torch.equal(again(images)["a"], again(images)["a"])  # dropout
    assert torch.equal(again.eval()(images)["a"], again(images)["a"])


def test_copies_stay_in_eval_mode_and_are_saved_as_state_dicts(tmp_path) -> None:
    cut = copy.deepcopy(truncate(resnet18(width=0.125).eval(), "layer3"))
    assert not any(module.training for module in cut.modules())
    with pytest.raises(TypeError, match="cannot be pickled: save its state_dict"):
        torch.save(cut, tmp_path / "a.pth")


def test_heads_that_begin_in_place_do_not_meet() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(inplace=True), nn.Conv2d(4, 5, 1), nn.Flatten(2)).eval()
    both = MultiHead(model, "0", {"a": 5, "b": 5})
    both.heads["b"].load_state_dict(both.heads["a"].state_dict())
    outputs = both(torch.rand(2, 3, 6, 6))
    assert torch.equal(outputs["a"], outputs["b"])


@pytest.mark.parametrize("task", ["a.b", "items", ""])
def test_tasks_become_names(task) -> None:
    with pytest.raises(HeadError, match="a task cannot be called"):
        MultiHead(vgg16(), "features", {task: 3})


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 5), nn.PReLU()),
    ],
)
def test_what_does_not_make_the_output_alone_is_no_head(model) -> None:
    with pytest.raises(HeadError, match=r"stands between \d and the output, or beside them"):
        find_head(model)


def test_models_that_remember_tensors_are_left_alone() -> None:
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.mask = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), None

        def forward(self, x):
            x = self.conv(x).mean((2, 3))
            if self.mask is None:
                self.mask = torch.ones_like(x)
            return self.fc(x * self.mask)

    model = Remembering()
    replace_head(model, 7)
    assert model.mask is None
    assert model(torch.rand(2, 3, 5, 5)).shape == (2, 7)


def test_tied_heads_are_not_untied_in_silence() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    with pytest.raises(HeadError, match="the weight of '2' is that of '0', too"):
        replace_head(model, 3, example=torch.zeros(1, 6))


def test_several_heads_share_the_trunk_alone() -> None:
    torch.manual_seed(0)
    model = resnet18(width=0.125).eval()
    images = torch.rand(3, 3, 64, 64)
    both = MultiHead(model, "layer3", {"kind": 3, "colour": 5})
    assert {task: output.shape for task, output in both(images).items()} == {"kind": (3, 3), "colour": (3, 5)}
    for pair in ((both.heads["kind"], both.heads["colour"]), (both, model), (both.trunk, both.heads)):
        assert shared_parameters(*pair) == []
    expected = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith("fc.")}
    trunk, head = both.trunk.state_dict(), both.heads["kind"].state_dict()
    assert trunk.keys() | head.keys() == model.state_dict().keys()
    assert all(torch.equal((trunk | head)[key], tensor) for key, tensor in expected.items())
    # in front of the new head the network computes what it computed
    torch.testing.assert_close(
        truncate(both.heads["kind"], "flatten")(both.trunk(images)), truncate(model, "flatten")(images)
    )


def test_one_task_does_not_touch_the_blocks_of_another() -> None:
    """Seed 002's network at full size, done right."""
    model = MultiHead(torchvision.models.resnet50(weights=None), "layer3", {"a": 3, "b": 5}).train()
    moments = {key: b.clone() for key, b in model.heads["b"].named_buffers()}
    outputs = model(torch.rand(2, 3, 64, 64))
    outputs["a"].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.heads["b"].parameters())
    assert all(p.grad is not None for p in model.heads["a"].parameters())
    assert all(p.grad is not None and p.grad.any() for p in model.trunk.parameters())
    assert moments.keys() == dict(model.heads["b"].named_buffers()).keys()
    counted = {int(b) for key, b in model.heads["b"].named_buffers() if "num_batches" in key}
    assert counted == {1}


def test_the_blocks_of_seed_002_are_shared() -> None:
    model = resnet18(width=0.125)
    blocks = list(model.children())[-3]
    first, second = nn.Sequential(*blocks, nn.Flatten()), nn.Sequential(*blocks, nn.Flatten())
    assert len(shared_parameters(first, second)) == len(blocks.state_dict())
    assert ("0.conv1.weight", "0.conv1.weight") in shared_parameters(first, second)
    assert shared_parameters(first, copy.deepcopy(second)) == []


def test_views_of_one_memory_are_shared_too() -> None:
    a, b = nn.Linear(3, 4), nn.Linear(3, 2)
    b.weight.data = a.weight.data[:2]
    assert shared_parameters(a, b) == [("weight", "weight")]
    b.weight.data = torch.zeros(4, 3)[2:]
    a.weight.data = b.weight.data.as_strided((2, 3), (3, 1), 0)  # the other half of that memory
    assert shared_parameters(a, b) == []
    with torch.device("meta"):
        assert shared_parameters(nn.Linear(2, 3), nn.Linear(2, 3)) == []
    assert shared_parameters(a, a) == [("weight", "weight"), ("bias", "bias")]


def test_all_of_it_compiles_and_exports_in_one_piece() -> None:
    torch.manual_seed(0)
    base = resnet18(width=0.125).eval()
    adapt_first_conv(base, 2)
    replace_head(base, 7)
    images = torch.rand(2, 2, 64, 64)
    example = torch.zeros(1, 2, 64, 64)
    for model in (base, truncate(base, "layer3"), MultiHead(base, "layer3", {"a": 3, "b": 5}, example).eval()):
        expected = model(images)
        torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(images), expected)
        torch.testing.assert_close(torch.export.export(model, (images,)).module()(images), expected)
