"""What changed between saving and resuming: wrappers, groups of the optimizer, plans, kinds of tensors."""

import copy
import math
import os
from collections import OrderedDict

import pytest
import torch
from test_checkpoint_loading import assert_equal, everything, made
from torch import nn
from torch.optim import lr_scheduler

from helpers.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from helpers.modes import keep_in_eval_


def network(number: int) -> nn.Module:
    """Conv and BatchNorm in a block, and a part of its own that is called "module"."""
    torch.manual_seed(number)
    block = nn.Sequential(nn.Conv2d(2, 3, (1, 2)), nn.BatchNorm2d(3))
    whole = nn.Sequential(OrderedDict(block=block, head=nn.Conv2d(3, 4, 1)))
    whole.train()(torch.randn(2, 2, 3, 4))
    return whole


def whole_compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model)


def in_parallel(model: nn.Module) -> nn.Module:
    return nn.DataParallel(model)


def both(model: nn.Module) -> nn.Module:
    return torch.compile(nn.DataParallel(model))


def block_compiled(model: nn.Module) -> nn.Module:
    model.block = torch.compile(model.block)
    return model


def plain(model: nn.Module) -> nn.Module:
    return model


WRAPPED = [plain, whole_compiled, in_parallel, both, block_compiled]


@pytest.mark.parametrize("there", WRAPPED)
@pytest.mark.parametrize("here", WRAPPED)
def test_a_wrapped_model_is_the_same_model(tmp_path, there, here) -> None:
    inside, target = network(0), network(1)
    inside.head.requires_grad_(False)
    inside.block.eval()
    keep_in_eval_(inside.block[1])
    wanted = {name: tensor.clone() for name, tensor in inside.state_dict().items()}
    batch_norm, other_norm, other_block = inside.block[1], target.block[1], target.block
    saved, model = there(inside), here(target)
    optimizers = []
    for wrapped in (saved, model):
        optimizers.append(torch.optim.SGD(wrapped.parameters(), lr=0.1 + len(optimizers), momentum=0.9))
    for number, parameter in enumerate(saved.parameters()):
        parameter.grad = torch.full_like(parameter, number + 1.0) if parameter.requires_grad else None
    optimizers[0].step()
    wanted = {name: tensor.clone() for name, tensor in zip(wanted, saved.state_dict().values(), strict=True)}
    path = save_checkpoint(tmp_path / "a.pt", model=saved, optimizer=optimizers[0])
    found = load_checkpoint(path, model=model, optimizer=optimizers[1])
    assert not [note for note in found.notes if "optimizer" in note]
    for (name, right), tensor in zip(wanted.items(), model.state_dict().values(), strict=True):
        assert torch.equal(tensor, right), name
    assert_equal(optimizers[1].state_dict(), optimizers[0].state_dict())
    assert not any(p.requires_grad for p in target.head.parameters())
    assert not other_block.training
    model.train()
    assert (batch_norm.training, other_norm.training, target.head.training) == (False, False, True)
    assert other_block[0].training


class Named(nn.Module):
    """Two parts that would have one name without wrappers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.module = nn.ModuleDict({"layer": nn.Linear(2, 3)})


def test_a_part_that_is_called_module_is_not_taken_for_a_wrapper(tmp_path) -> None:
    saved, model = Named(), Named()
    path = save_checkpoint(tmp_path / "a.pt", model=saved)
    load_checkpoint(path, model=model)
    assert torch.equal(model.layer.weight, saved.layer.weight)
    assert torch.equal(model.module.layer.weight, saved.module.layer.weight)
    before = everything({"model": other}) if (other := nn.Sequential(OrderedDict(layer=nn.Linear(2, 3)))) else {}
    with pytest.raises(CheckpointError, match=r"a.pt has 'module.layer.weight'"):
        load_checkpoint(path, model=other)
    assert_equal(everything({"model": other}), before)


def trained(groups, steps: int = 2) -> torch.optim.Optimizer:
    """Each parameter has moments of its own, and a step that is not zero."""
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    for step in range(steps):
        for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
            parameter.grad = torch.full_like(parameter, 1.0 + number + 10 * step)
        optimizer.step()
    return optimizer


def by_name(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    return {name: optimizer.state[p] for name, p in model.named_parameters() if p in optimizer.state}


def test_optimizer_states_go_by_name_when_groups_changed(tmp_path) -> None:
    """More is trained, in other groups, in another order: what was trained goes on, what is new begins."""
    saved, model = made(0)["model"], made(1)["model"]
    optimizer = trained([{"params": saved[0].parameters(), "lr": 0.3}, {"params": saved[1].parameters(), "lr": 0.7}])
    path = save_checkpoint(tmp_path / "a.pt", model=saved, optimizer=optimizer)
    groups = [
        {"params": model[2].parameters(), "lr": 0.2},
        {"params": [model[1].bias, model[1].weight], "lr": 0.4},
        {"params": [model[0].bias], "lr": 0.5},
    ]
    other = torch.optim.AdamW(groups, lr=0.01)
    found = load_checkpoint(path, model=model, optimizer=other)
    right = {name: state for name, state in by_name(saved, optimizer).items() if name != "0.weight"}
    assert_equal(by_name(model, other), right)
    assert found.new == ("2.weight", "2.bias")
    assert [group["lr"] for group in other.param_groups] == [0.2, 0.7, 0.5]
    said = " ".join(found.notes)
    assert "new in the optimizer, without a state: '2.weight', '2.bias'" in said
    assert "in the file's optimizer, and not in this one: '0.weight'" in said
    assert "group 0, group 2 of the optimizer kept the rate" in said
    assert other.state[model[1].bias]["exp_avg"].data_ptr() != optimizer.state[saved[1].bias]["exp_avg"].data_ptr()


def test_the_next_step_is_that_of_the_training_that_went_on(tmp_path) -> None:
    saved, model = made(0)["model"], made(1)["model"]
    optimizer = trained(saved.parameters())
    path = save_checkpoint(tmp_path / "a.pt", model=saved, optimizer=optimizer)
    other = torch.optim.AdamW(
        [{"params": list(model.parameters())[3:]}, {"params": list(model.parameters())[:3]}], lr=0.01
    )
    load_checkpoint(path, model=model, optimizer=other)
    for parameter, twin in zip(saved.parameters(), model.parameters(), strict=True):
        parameter.grad = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)
        twin.grad = parameter.grad.clone()
    optimizer.step()
    other.step()
    assert_equal(dict(model.named_parameters()), dict(saved.named_parameters()))


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.AdamW])
def test_what_has_no_name_to_go_by_is_refused(tmp_path, kind) -> None:
    saved, model = made(0)["model"], made(1)["model"]
    foreign = [nn.Parameter(torch.ones(2))] if kind is torch.optim.AdamW else []
    path = save_checkpoint(tmp_path / "a.pt", model=saved, optimizer=kind([*saved.parameters(), *foreign]))
    message = "LBFGS has one state for all" if kind is torch.optim.LBFGS else "has no name to go by"
    with pytest.raises(CheckpointError, match=message + ".*load without it"):
        load_checkpoint(path, model=model, optimizer=kind(list(model.parameters())[1:]))


def one_cycle(optimizer, steps: int):
    return lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, div_factor=10.0)


def plan_of_one_cycle(step: int, steps: int) -> float:
    """The rule of the docs: 30 % up from 0.1 to 1, then down to 0.1 / 10,000, both as half a cosine."""
    top = 0.3 * steps - 1
    if step <= top:
        start, end, share = 0.1, 1.0, step / top
    else:
        start, end, share = 1.0, 0.1 / 1e4, (step - top) / (steps - 1 - top)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@pytest.mark.parametrize("plan", ["file", "here"])
def test_a_longer_schedule_is_refused_until_it_is_said_which(tmp_path, plan) -> None:
    def parts(steps: int) -> dict:
        model = made(0)["model"]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        return {"model": model, "optimizer": optimizer, "scheduler": one_cycle(optimizer, steps)}

    saved = parts(20)
    for _ in range(7):
        saved["optimizer"].step()
        saved["scheduler"].step()
    path = save_checkpoint(tmp_path / "a.pt", **saved)
    resumed = parts(50)
    before = copy.deepcopy([part.state_dict() for part in list(resumed.values())[1:]])
    with pytest.raises(CheckpointError, match=r"total_steps=20 in the file and total_steps=50 here.*schedule='here'"):
        load_checkpoint(path, **resumed)
    assert [part.state_dict() for part in list(resumed.values())[1:]] == before
    found = load_checkpoint(path, **resumed, schedule=plan)
    assert any("total_steps=20" in note and plan in note for note in found.notes)
    steps = {"file": 20, "here": 50}[plan]
    for step in range(8, 19):
        resumed["optimizer"].step()
        resumed["scheduler"].step()
        assert resumed["optimizer"].param_groups[0]["lr"] == pytest.approx(plan_of_one_cycle(step, steps))


def sequence(optimizer, border: int, steps: int):
    first = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=border)
    return lr_scheduler.SequentialLR(optimizer, [first, lr_scheduler.CosineAnnealingLR(optimizer, steps)], [border])


PLANS = {
    "T_max": (lambda o: lr_scheduler.CosineAnnealingLR(o, 10), lambda o: lr_scheduler.CosineAnnealingLR(o, 30)),
    "eta_min": (lambda o: lr_scheduler.CosineAnnealingLR(o, 9), lambda o: lr_scheduler.CosineAnnealingLR(o, 9, 0.01)),
    "T_0": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 30),
    ),
    "milestones": (lambda o: lr_scheduler.MultiStepLR(o, [3, 6]), lambda o: lr_scheduler.MultiStepLR(o, [3, 9])),
    "step_size": (lambda o: lr_scheduler.StepLR(o, 3), lambda o: lr_scheduler.StepLR(o, 4)),
    "gamma": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.8)),
    "total_iters": (lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=3), lambda o: lr_scheduler.LinearLR(o, 0.1)),
    "power": (lambda o: lr_scheduler.PolynomialLR(o, 9, 1.0), lambda o: lr_scheduler.PolynomialLR(o, 9, 2.0)),
    "patience": (lambda o: lr_scheduler.ReduceLROnPlateau(o), lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=3)),
    "schedule_phases": (
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=9),
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=9, pct_start=0.5),
    ),
    "milestones=[2]": (lambda o: sequence(o, 2, 9), lambda o: sequence(o, 4, 9)),
    "T_max=9": (lambda o: sequence(o, 2, 9), lambda o: sequence(o, 2, 20)),
}


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_that_differs_is_named(tmp_path, name) -> None:
    old, new = PLANS[name]
    model = made(0)["model"]
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9) for _ in range(2))
    scheduler = old(optimizer)
    for _ in range(2):
        optimizer.step()
        scheduler.step(*([0.5] if name == "patience" else []))
    path = save_checkpoint(tmp_path / "a.pt", model=model, optimizer=optimizer, scheduler=scheduler)
    same, longer = old(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)), new(other)
    load_checkpoint(path, model=model, scheduler=same)
    assert same.state_dict() == scheduler.state_dict()
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, model=model, optimizer=other, scheduler=longer)
    assert name in str(error.value)
    assert "schedule='file'" in str(error.value)
    load_checkpoint(path, model=model, optimizer=other, scheduler=longer, schedule="here")
    assert longer.last_epoch == scheduler.last_epoch
    other.step()
    longer.step(*([0.5] if name == "patience" else []))


def test_functions_of_a_scheduler_are_not_in_the_file(tmp_path) -> None:
    model = made(0)["model"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (epoch + 1))
    path = save_checkpoint(tmp_path / "a.pt", model=model, optimizer=optimizer, scheduler=scheduler)
    found = load_checkpoint(path, model=model, optimizer=optimizer, scheduler=scheduler)
    assert found.notes == ("the functions of LambdaLR are not in the file: it goes on with those given here",)


class Refuses(nn.Linear):
    """Takes extra state only while it is allowed to, and changes itself before it fails."""

    def __init__(self, allowed: bool) -> None:
        super().__init__(2, 3)
        self.allowed, self.seen = allowed, [1]

    def get_extra_state(self) -> dict:
        return {"seen": self.seen}

    def set_extra_state(self, state: dict) -> None:
        self.seen.append(state["seen"][0])
        if not self.allowed:
            raise RuntimeError("not allowed")


def test_the_undo_goes_on_whatever_one_step_does(tmp_path) -> None:
    def parts(allowed: bool, number: int) -> dict:
        torch.manual_seed(number)
        model = nn.Sequential(nn.BatchNorm1d(2), Refuses(allowed), nn.BatchNorm1d(3))
        model(torch.randn(5, 2))
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1 * (number + 1))}

    path = save_checkpoint(tmp_path / "a.pt", **parts(True, 0))
    resumed = parts(False, 1)
    before = everything(resumed)
    with pytest.raises(
        CheckpointError, match=r"could not be restored .*not allowed.*the extra state of 1 .not allowed."
    ):
        load_checkpoint(path, **resumed)
    assert_equal(everything(resumed), before)
    assert resumed["model"][1].seen == [1]


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_expanded_tensors_are_refused_before_anything_changes(tmp_path, kind) -> None:
    path = save_checkpoint(tmp_path / "a.pt", **made(0))
    parts = made(1)
    norm = parts["model"][1]
    if kind == "parameter":
        norm.weight = nn.Parameter(torch.ones(1).expand(5))
    else:
        norm.running_mean = torch.zeros(1).expand(5)
    before = everything(parts)
    with pytest.raises(CheckpointError, match=r"'1.(weight|running_mean)' of a.pt has no place: .* clone"):
        load_checkpoint(path, **parts)
    assert_equal(everything(parts), before)


def test_tensors_that_are_spread_over_processes_are_refused_on_both_sides(tmp_path) -> None:
    import torch.distributed as dist
    from torch.distributed.tensor import DTensor, init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        path = save_checkpoint(tmp_path / "a.pt", **made(0))
        model, whole = made(1)["model"], path.read_bytes()
        mesh = init_device_mesh("cpu", (1,))
        model[2].weight = nn.Parameter(DTensor.from_local(model[2].weight.detach(), mesh))
        norm = model[1].running_mean.clone()
        with pytest.raises(CheckpointError, match=r"'2.weight' of a.pt meets a DTensor"):
            load_checkpoint(path, model=model)
        assert torch.equal(model[1].running_mean, norm)
        with pytest.raises(CheckpointError, match=r"model\['2.weight'\] is a .*DTensor.*full_tensor"):
            save_checkpoint(path, model=model)
        assert path.read_bytes() == whole
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {}}, "model is a dict: give a torch.nn.Module"),
        ({"optimizer": [1]}, "optimizer is a list: give a torch optimizer"),
        ({"scheduler": 3}, "scheduler is a int: give something with a state_dict"),
        ({"batches": [1]}, r"batches is a list: give ResumableBatches\(loader\)"),
        ({"generator": 7}, "generator is a int: give a torch.Generator"),
    ],
)
def test_parts_of_another_kind_are_named_on_both_sides(tmp_path, change, message) -> None:
    path = save_checkpoint(tmp_path / "a.pt", **made(0))
    whole, parts = path.read_bytes(), made(1)
    before = everything(parts)
    for function in (save_checkpoint, load_checkpoint):
        with pytest.raises(CheckpointError, match=message):
            function(path, **{**parts, **change})
    assert path.read_bytes() == whole
    assert_equal(everything(parts), before)


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
@pytest.mark.parametrize("which", ["pipe", "folder", "", None])
def test_what_is_no_file_is_not_read(tmp_path, which) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = tmp_path / which if which else which
    with pytest.raises(CheckpointError, match=r"no regular file|is a folder|names no file"):
        load_checkpoint(path, **made(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"best": "0.5"}, "best is '0.5': give a number"),
        ({"best": [1]}, "best is a list"),
        ({"best": torch.ones(2)}, "best is a Tensor"),
        ({"epoch": 1.0}, "epoch must be a whole number"),
        ({"epoch": True}, "epoch must be a whole number"),
        ({"keep": -1}, "keep must be a whole number"),
    ],
)
def test_numbers_that_are_none_are_named(tmp_path, options, message) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path / "a.pt", model=nn.Linear(2, 3), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a-epoch4.pt", "a-best.pt"])
def test_a_second_name_that_is_a_folder_is_refused_before_anything_is_written(tmp_path, name) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match=f"{name}' is a folder"):
        save_checkpoint(tmp_path / "a.pt", model=nn.Linear(2, 3), epoch=4, keep=2, best=0.5)
    assert [path.name for path in tmp_path.iterdir()] == [name]
