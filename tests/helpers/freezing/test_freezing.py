"""Freezing by name: parameters and buffers stay bit-equal, whatever trains beside them; groups and reports."""

from __future__ import annotations

import copy
import io
import math
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from helpers.checkpoint import load_checkpoint, save_checkpoint
from helpers.freezing import (
    FreezingError,
    check_optimizer,
    freeze,
    freeze_report,
    gradual_unfreeze,
    measured_step,
    parameter_groups,
    step_costs,
    trainable_parameters,
    unfreeze,
)
from workbook import networks
from workbook.training import fit

BODY = ("conv1", "bn1", "layer*")


def small(dropout: float = 0.5) -> nn.Module:
    """A ResNet with a dropout inside, statistics that are not those of a new BatchNorm, and three classes."""
    torch.manual_seed(0)
    model = networks.resnet18(3, width=0.125)
    model.layer4.append(nn.Dropout(dropout))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, number: int = 20, keep_zeros: bool = False) -> None:
    """Training as people write it; `train()` comes before each step, as at the begin of each epoch."""
    random = torch.Generator().manual_seed(1)
    for _ in range(number):
        model.train()
        x, y = torch.randn(5, 3, 32, 32, generator=random), torch.randint(0, 3, (5,), generator=random)
        optimizer.zero_grad(set_to_none=not keep_zeros)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def moved(before: dict[str, Tensor], model: nn.Module) -> list[str]:
    return [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]


def everything(model: nn.Module, **options: float) -> torch.optim.Optimizer:
    """An optimizer that holds all parameters, frozen or not, as one does that was made before freezing."""
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1, **options)


def through_deepcopy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model)


def through_pickle(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))


def through_torch_save(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def through_a_checkpoint(model: nn.Module) -> nn.Module:
    """Into a new model that is neither frozen nor in eval mode."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder) / "run.pt", model=model)
        twin = small().train()
        load_checkpoint(path, model=twin)
    return twin


WAYS = [lambda model: model, through_deepcopy, through_pickle, through_torch_save, through_a_checkpoint]


@pytest.mark.parametrize("way", WAYS)
def test_no_parameter_and_no_buffer_of_a_frozen_backbone_moves_in_20_steps(way) -> None:
    model = small()
    assert freeze(model, *BODY) == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    model = way(model)
    before = copy.deepcopy(model.state_dict())
    steps(model, everything(model))
    assert moved(before, model) == ["fc.weight", "fc.bias"]
    parameters = [name for name, _ in model.named_parameters() if not name.startswith("fc")]
    buffers = [name for name, _ in model.named_buffers()]
    print(f"0 of {len(parameters)} parameters and 0 of {len(buffers)} buffers moved")
    assert len(parameters) > 50
    assert len(buffers) > 50


def test_what_was_trained_before_stays_too_with_momentum_decay_and_zeros_for_gradients() -> None:
    """The optimizer has momentum for all, and zero_grad(set_to_none=False) would leave zeros as gradients."""
    model = small()
    optimizer = everything(model)
    steps(model, optimizer, 3, keep_zeros=True)
    freeze(model, *BODY)
    before = copy.deepcopy(model.state_dict())
    steps(model, optimizer, keep_zeros=True)
    assert moved(before, model) == ["fc.weight", "fc.bias"]


def test_without_freeze_they_do_move() -> None:
    """So the tests above can fail: requires_grad alone leaves the buffers, and with zeros also the parameters."""
    model = small()
    optimizer = everything(model)
    steps(model, optimizer, 3, keep_zeros=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("fc"))
    before = copy.deepcopy(model.state_dict())
    steps(model, optimizer, keep_zeros=True)
    assert set(moved(before, model)) == set(before)


@pytest.mark.parametrize("inner", ["layer4", "layer4.1", "layer4.1.bn2"])
def test_what_is_unfrozen_inside_something_frozen_is_trained_and_nothing_else(inner) -> None:
    model = small().train()
    freeze(model)
    assert not any(module.training for module in model.train().modules())
    assert unfreeze(model, inner, "fc") == [inner, "fc"]
    before = copy.deepcopy(model.state_dict())
    steps(model, everything(model))
    changed = moved(before, model)
    assert changed == [name for name in before if name.startswith((f"{inner}.", "fc."))]
    assert not model.layer3.training
    assert model.get_submodule(inner).training


def test_modes_follow_the_model_again_after_unfreeze() -> None:
    for training in (True, False):
        model = small().train(training)
        freeze(model, "layer2")
        assert not model.layer2.training
        unfreeze(model, "layer2")
        assert all(module.training == training for module in model.modules())
        assert all(module.training for module in model.train().modules())
        assert not any(module.training for module in model.eval().modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_copy_is_frozen_by_itself() -> None:
    model = small()
    freeze(model, "bn1")
    twin = copy.deepcopy(model)
    unfreeze(twin, "bn1")
    model.train(), twin.train()
    assert (model.bn1.training, twin.bn1.training) == (False, True)


def test_frozen_dropout_drops_nothing() -> None:
    model = small()
    freeze(model, "layer4")
    x = torch.randn(2, 3, 32, 32)
    model.train().bn1.eval()
    freeze(model, "layer[1-3]", "bn1")
    assert torch.equal(model(x), model(x))
    unfreeze(model, "layer4")
    assert not torch.equal(model(x), model(x))


def test_gradients_that_are_left_are_taken_away() -> None:
    model = small()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    freeze(model, "layer1")
    assert all(parameter.grad is None for parameter in model.layer1.parameters())
    assert all(parameter.grad is not None for parameter in model.layer2.parameters())


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("layer1",), ["layer1"]),
        (("layer[13]", "fc"), ["layer1", "layer3", "fc"]),
        (("fc", "layer1.0"), ["layer1.0", "fc"]),
        (("layer1.0", "layer1"), ["layer1"]),
        (("layer2.*.bn?",), ["layer2.0.bn1", "layer2.0.bn2", "layer2.1.bn1", "layer2.1.bn2"]),
        ((), [""]),
    ],
)
def test_names_and_patterns(names, found) -> None:
    model = small()
    assert freeze(model, *names) == found
    inside = [parameter for name in found for parameter in model.get_submodule(name).parameters()]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    assert {id(p) for p in inside} == {id(p) for p in frozen}


def test_a_name_is_no_prefix_of_a_number() -> None:
    model = networks.vgg16(3, width=0.0625, fc_width=24)
    freeze(model, "features.2")
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "features.2.weight",
        "features.2.bias",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layer5", "ResNet18 has no module 'layer5'; there are 'layer4', "),
        ("features.*", "ResNet18 has no module 'features.*'; there are 'conv1', "),
        ("conv1.weight", "conv1.weight is a parameter; name its module 'conv1'"),
        (1, "name modules by their names, not by 1"),
        ("", "has no module ''"),
    ],
)
def test_a_name_of_nothing_is_refused_and_nothing_is_frozen(name, message) -> None:
    model = small().train()
    for function in (freeze, unfreeze):
        with pytest.raises(FreezingError) as error:
            function(model, "layer1", name)
        assert message in str(error.value)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_fit_trains_a_partly_frozen_network_and_leaves_its_modes() -> None:
    model = small().eval()
    freeze(model, *BODY)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(trainable_parameters(model), lr=0.05)
    fit(model, optimizer, torch.randn(7, 3, 32, 32), torch.arange(7) % 3, epochs=2, batch_size=4)
    assert moved(before, model) == ["fc.weight", "fc.bias"]
    assert not any(module.training for module in model.modules())


# the optimizer


def by_id(groups: list[dict]) -> dict[int, tuple[float, float]]:
    found = [(id(p), (group["lr"], group["weight_decay"])) for group in groups for p in group["params"]]
    assert len(found) == len(dict(found)), "a parameter is in two groups"
    return dict(found)


def test_groups_have_rates_that_fall_with_depth_and_no_decay_for_norms_and_biases() -> None:
    model = small()
    freeze(model, "layer1")
    options = {"head": "fc", "head_lr": 0.5, "layer_decay": 0.8, "weight_decay": 0.01}
    found = by_id(parameter_groups(model, 0.03, **options))
    blocks = ["conv1", *(f"layer{i}.{j}" for i in range(1, 5) for j in range(2))]
    for name, parameter in model.named_parameters():
        if name.startswith("layer1"):
            assert id(parameter) not in found
            continue
        block = "conv1" if name.startswith("bn1") else ".".join(name.split(".")[:2])
        expected = (
            0.5
            if name.startswith("fc")
            else 0.03 * math.prod([0.8] * (8 - blocks.index(block.removesuffix(".weight"))))
        )
        rate, decay = found[id(parameter)]
        assert rate == pytest.approx(expected), name
        assert decay == (0 if name.endswith("bias") or "bn" in name or "downsample.1" in name else 0.01), name
    torch.optim.AdamW(parameter_groups(model, 0.03, **options)).step()


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "vit_b_16", "convnext_tiny", "mobilenet_v3_small", "googlenet"])
def test_each_parameter_is_in_one_group(name) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        model = torchvision.models.get_model(name, **options)
    assert set(by_id(parameter_groups(model, 0.1, layer_decay=0.9))) == {id(p) for p in model.parameters()}


def test_blocks_of_a_transformer_are_layers() -> None:
    with torch.device("meta"):
        model = torchvision.models.vit_b_16()
    found = by_id(parameter_groups(model, 1.0, layer_decay=0.5, head="heads", head_lr=7.0))
    layers = model.encoder.layers
    rates = [found[id(next(layer.mlp.parameters()))][0] for layer in layers]
    assert rates == [0.5**place for place in range(11, -1, -1)]
    assert found[id(model.heads.head.weight)] == (7.0, 0.0)


def test_shared_parameters_are_in_one_group() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model[1].weight = model[0].weight
    assert len(by_id(parameter_groups(model, 0.1))) == 5


@pytest.mark.parametrize("options", [{"head": "fc"}, {"head_lr": 0.1}])
def test_a_head_needs_a_rate_and_a_rate_a_head(options) -> None:
    with pytest.raises(FreezingError, match=r"give head and head_lr together, for instance head='fc', head_lr=0\.1"):
        parameter_groups(small(), 0.01, **options)


def test_no_groups_of_a_frozen_model() -> None:
    model = small()
    freeze(model)
    with pytest.raises(FreezingError, match="all parameters are frozen"):
        parameter_groups(model, 0.1)
    assert trainable_parameters(model) == []


def test_stages_unfreeze_and_tell_the_optimizer() -> None:
    model = small()
    freeze(model, *BODY)
    optimizer = torch.optim.SGD(trainable_parameters(model), lr=0.08, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    after_epoch = gradual_unfreeze(model, optimizer, {2: "layer4", 3: ("layer3", "bn1")})
    with pytest.raises(FreezingError, match="no module 'layer9'"):
        gradual_unfreeze(model, optimizer, {1: "layer4", 2: "layer9"})
    starts = {1: ("fc",), 2: ("fc",), 3: ("fc", "layer4"), 4: ("fc", "layer4", "layer3", "bn1")}
    for epoch, trained in starts.items():
        before = copy.deepcopy(model.state_dict())
        steps(model, optimizer, 2)
        assert moved(before, model) == [name for name in before if name.startswith(trained)]
        assert check_optimizer(model, optimizer).ok
        schedule.step()
        after_epoch(epoch)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.005, 0.005, 0.005])


def test_a_stage_may_have_its_own_rate() -> None:
    model = small()
    freeze(model, *BODY)
    optimizer = torch.optim.SGD(trainable_parameters(model), lr=0.08)
    gradual_unfreeze(model, optimizer, {1: "layer4"}, lr=0.002)(1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.08, 0.002]


# what is said


def test_a_report_says_what_is_so() -> None:
    model = small()
    freeze(model, "conv1", "layer[1-3]")
    model.bn1.requires_grad_(False)
    model.layer4.eval()
    optimizer = torch.optim.SGD([*model.fc.parameters(), *model.conv1.parameters()], lr=0.1)
    rows = {row.name: row for row in freeze_report(model, optimizer, depth=1).rows}
    assert list(rows) == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    for name, row in rows.items():
        own = list(model.get_submodule(name).parameters())
        assert row.parameters == sum(p.numel() for p in own)
        assert row.trainable == sum(p.numel() for p in own if p.requires_grad)
    modes = ["eval for good", "train", "eval for good", "eval for good", "eval for good", "eval", "train"]
    assert [row.mode for row in rows.values()] == modes
    assert {name: row.held == row.parameters for name, row in rows.items() if row.held} == {"conv1": True, "fc": True}
    report = freeze_report(model, optimizer)
    assert report.drifting == ["bn1"]
    assert "BatchNorm statistics move though scale and shift are frozen: bn1" in str(report)
    assert sum(row.parameters for row in report.rows) == sum(p.numel() for p in model.parameters())


def test_a_report_on_part_of_a_layer_says_both() -> None:
    model = small()
    freeze(model, "layer4.1")
    (row,) = [row for row in freeze_report(model, depth=1).rows if row.name == "layer4"]
    assert row.mode == "both"
    assert row.held is None
    assert 0 < row.trainable < row.parameters


def test_an_optimizer_is_compared_with_its_model() -> None:
    model = small()
    optimizer = everything(model)
    assert check_optimizer(model, optimizer).ok
    steps(model, optimizer, 1)
    model.conv1.requires_grad_(False)
    freeze(model, "bn1")
    found = check_optimizer(model, optimizer)
    assert (found.held, found.moving) == (["conv1.weight", "bn1.weight", "bn1.bias"], ["conv1.weight"])
    assert "even zeros let a step move them: conv1.weight" in str(found)
    part = torch.optim.SGD(model.layer1.parameters(), lr=0.1)
    assert check_optimizer(model, part).left_out[-2:] == ["fc.weight", "fc.bias"]
    assert "never trained" in str(check_optimizer(model, part))
    other = torch.optim.SGD(small().parameters(), lr=0.1)
    assert check_optimizer(model, other).strangers == len(list(model.parameters()))


# what a step costs


@pytest.mark.parametrize(
    "frozen",
    [(), ("features.[0-9]", "features.1?"), ("features", "classifier.[0-5]"), ("features.[1-9]*", "classifier")],
)
def test_the_estimate_of_a_step_is_what_pytorch_counts(frozen) -> None:
    model = networks.vgg16(3, width=0.125, fc_width=24).train()
    if frozen:
        freeze(model, *frozen)
    x = torch.rand(2, 3, 64, 64)
    before = copy.deepcopy(model.state_dict())
    costs = step_costs(model, x)
    operations, kept = measured_step(model, x)
    assert sum(cost.step for cost in costs) == operations
    assert sum(cost.kept for cost in costs) == pytest.approx(kept, rel=0.1, abs=20_000)
    by_hand = {"features.0": 2 * 2 * 64 * 64 * 8 * 27, "classifier.6": 2 * 2 * 24 * 3}
    assert {cost.name: cost.forward for cost in costs if cost.name in by_hand} == by_hand
    assert moved(before, model) == []
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_a_step_keeps_is_what_is_behind_the_first_trained_layer() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 11), nn.Linear(11, 2))
    freeze(model, "0")
    _, kept = measured_step(model, torch.rand(3, 5))
    assert measured_step(model.requires_grad_(), torch.rand(90, 5)[:3])[1] == 4 * 3 * (5 + 7 + 11)
    freeze(model, "0")
    assert kept == 4 * 3 * (7 + 11)
    assert [cost.kept for cost in step_costs(model, torch.rand(3, 5))] == [0, 4 * 3 * 7, 4 * 3 * 11]


class OwnNorm(nn.BatchNorm2d):
    """Derived from the type that is asked for."""


def with_types() -> nn.Module:
    model = small().train()
    norm = OwnNorm(model.layer1[0].bn1.num_features)
    norm.load_state_dict(model.layer1[0].bn1.state_dict())
    model.layer1[0].bn1 = norm
    return model


def test_freezing_by_type_finds_what_names_miss() -> None:
    """downsample.1 is a BatchNorm that no name tells."""
    model = with_types()
    right = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert any("downsample.1" in name for name in right)
    assert freeze(model, types=(nn.BatchNorm2d,)) == right
    before = copy.deepcopy(model.state_dict())
    steps(model, everything(model), 3)
    in_norms = {name for name in before if name.rpartition(".")[0] in right}
    assert set(moved(before, model)) == before.keys() - in_norms
    assert unfreeze(model, types=nn.BatchNorm2d) == right
    model.train()
    assert all(module.training for module in model.modules())


def test_names_and_types_together_are_both_frozen_and_what_is_inside_is_not_listed() -> None:
    model = with_types()
    found = freeze(model, "layer1", types=[nn.BatchNorm2d, nn.Linear])
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert found == ["bn1", "layer1", *(name for name in norms if name.startswith("layer") and name[5] != "1"), "fc"]
    assert freeze(model, types=nn.Module) == [""]


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ((nn.LSTM,), "ResNet18 has no LSTM; there are AdaptiveAvgPool2d, BasicBlock"),
        ((nn.BatchNorm2d, nn.BatchNorm3d), "has no BatchNorm3d"),
        (("bn",), "types are classes of modules, such as nn.BatchNorm2d, not 'bn'"),
        (int, "types are classes of modules"),
        ((nn.BatchNorm2d(3),), "types are classes of modules"),
    ],
)
def test_types_of_nothing_are_refused_and_nothing_is_frozen(types, message) -> None:
    model = small().train()
    with pytest.raises(FreezingError, match=message):
        freeze(model, "layer1", types=types)
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_a_type_among_the_names_is_told_where_it_belongs() -> None:
    with pytest.raises(FreezingError, match=r"not by .*BatchNorm2d.*: types=\(BatchNorm2d,\)"):
        freeze(small(), nn.BatchNorm2d)


def test_a_sync_batchnorm_made_after_freezing_is_in_train_mode_again() -> None:
    """As the docstring says; made before, it is frozen as any other."""
    after, before = small(), small()
    freeze(after, "bn1")
    after = nn.SyncBatchNorm.convert_sync_batchnorm(after).train()
    assert after.bn1.training
    before = nn.SyncBatchNorm.convert_sync_batchnorm(before)
    freeze(before, types=nn.SyncBatchNorm)
    assert not before.train().bn1.training


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda model: torch.compile(nn.DataParallel(model))])
def test_names_are_those_of_what_was_wrapped(wrap) -> None:
    model = small().train()
    wrapped = wrap(model)
    freeze(wrapped, "layer1", "layer2.0.bn?")
    wrapped.train()
    assert not model.layer1[0].conv1.weight.requires_grad
    assert (model.layer1.training, model.layer2[0].bn1.training, model.layer2[0].training) == (False, False, True)
    freeze(wrapped)
    wrapped.train()
    assert not any(module.training for module in model.modules())
    unfreeze(wrapped, "layer1")
    assert model.layer1[0].conv1.weight.requires_grad


@pytest.mark.parametrize(
    ("stages", "lr", "message"),
    [
        ({1: ()}, None, "stage 1 names nothing"),
        ({0: "layer4", 2: []}, None, "stage 2 names nothing"),
        ({1: ""}, None, "has no module ''"),
        ({1: "layer9"}, None, "has no module 'layer9'"),
        ({"1": "layer4"}, None, "the stage '1' is no number of an epoch"),
        ({-1: "layer4"}, None, "the stage -1 is no number"),
        ({True: "layer4"}, None, "the stage True is no number"),
        ({}, None, "stages are {}"),
        (["layer4"], None, "stages are"),
        ({1: "layer4"}, math.nan, "lr is nan"),
        ({1: "layer4"}, -0.1, "lr is -0.1"),
    ],
)
def test_stages_that_would_unfreeze_nothing_or_all_are_refused(stages, lr, message) -> None:
    model = small()
    freeze(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(FreezingError, match=message):
        gradual_unfreeze(model, optimizer, stages, lr)
    assert not trainable_parameters(model)


@pytest.mark.parametrize(
    "options",
    [
        *({"lr": wrong} for wrong in (math.nan, "0.1", -1, True, None, torch.ones(2))),
        *({"layer_decay": wrong} for wrong in (math.inf, -1)),
        {"weight_decay": math.nan},
        {"head": "fc", "head_lr": "1"},
    ],
)
def test_rates_that_are_no_numbers_are_named(options) -> None:
    name = "head_lr" if "head" in options else next(iter(options))
    with pytest.raises(FreezingError, match=f"{name} is .*: give a number from 0 on"):
        parameter_groups(small(), **{"lr": 0.1, **options})
    assert parameter_groups(small(), torch.tensor(0.1))


X = torch.zeros(1, 3, 32, 32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: freeze([]), "the model is a list"),
        (lambda: unfreeze(None), "the model is a NoneType"),
        (lambda: parameter_groups({}, 0.1), "the model is a dict"),
        (lambda: freeze_report({}), "the model is a dict"),
        (lambda: freeze_report(small(), [1]), "the optimizer is a list"),
        (lambda: freeze_report(small(), depth=0), "depth is 0"),
        (lambda: freeze_report(small(), depth=1.5), "depth is 1.5"),
        (lambda: check_optimizer(small(), None), "there is no optimizer"),
        (lambda: check_optimizer(small(), {}), "the optimizer is a dict"),
        (lambda: step_costs(3, X), "the model is a int"),
        (lambda: step_costs(small(), [1]), "the input is a list"),
        (lambda: step_costs(small(), X[:, :2]), r"ResNet18 cannot be run on an input \(1, 2, 32, 32\)"),
        (lambda: measured_step(small(), X[:, :2]), r"ResNet18 cannot be run on an input \(1, 2, 32, 32\)"),
        (lambda: measured_step(small(), None), "the input is a NoneType"),
        (lambda: measured_step(nn.ReLU(), X), "all parameters are frozen"),
        (lambda: measured_step(GivesDict(), X), "the output is a dict"),
    ],
)
def test_what_is_of_another_kind_is_named(call, message) -> None:
    with pytest.raises(FreezingError, match=message):
        call()


class GivesDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.conv(x)}
