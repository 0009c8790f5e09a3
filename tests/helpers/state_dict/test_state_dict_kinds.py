"""What `load_matching` does with tensors that are no plain numbers, and with modules that load in their own way."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm
from torch.testing import assert_close

from helpers.state_dict import StateDictError, load_matching, match_keys, suggest_renames
from workbook.networks import vgg16


def older(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return weight_norm(layer)


def test_modules_convert_older_names_themselves() -> None:
    source = nn.Sequential(nn.Conv1d(3, 4, 5), older(nn.Conv1d(4, 2, 3)))
    model = nn.Sequential(nn.Conv1d(3, 4, 5), parametrizations.weight_norm(nn.Conv1d(4, 2, 3)))
    report = load_matching(model, source.state_dict())
    assert report.coverage == 1
    assert (report.missing, report.unexpected, report.half_loaded) == ((), (), ())
    x = torch.randn(2, 3, 9)
    assert_close(model(x), source(x))


class Older(nn.Module):
    """Reads what it once called `scale`, and half of what it once was."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(3))
        self._register_load_state_dict_pre_hook(self._rename)

    def _rename(self, state_dict, prefix, *_others) -> None:
        if f"{prefix}scale" in state_dict:
            state_dict[f"{prefix}gain"] = state_dict.pop(f"{prefix}scale") / 2


def test_a_hook_of_the_user_is_asked_and_nothing_of_the_checkpoint_changes() -> None:
    model = nn.ModuleDict({"a": Older(), "b": nn.Linear(2, 3)})
    given = {"a.scale": torch.tensor([2.0, 4.0, 6.0]), "b.weight": torch.ones(3, 2)}
    kept = copy.deepcopy(given)
    report = load_matching(model, given)
    assert model["a"].gain.tolist() == [1, 2, 3]
    assert report.loaded == ("a.gain", "b.weight")
    assert report.missing == ("b.bias",)
    assert all(torch.equal(given[key], kept[key]) for key in kept)


def test_a_module_that_stands_in_two_places_is_filled_under_both_names() -> None:
    layer = nn.Linear(2, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    source = nn.Linear(2, 3)
    report = load_matching(model, {f"2.{key}": tensor for key, tensor in source.state_dict().items()})
    assert torch.equal(model[0].weight, source.weight)
    assert report.coverage == 1
    assert report.missing == ()


def test_a_suggestion_is_taken_as_it_is() -> None:
    model, source = vgg16(batch_norm=True), vgg16().state_dict()
    suggestion = suggest_renames(model, source)
    assert match_keys(model, source, rename=suggestion) == match_keys(model, source, rename=suggestion.mapping)
    assert len(load_matching(model, source, rename=suggestion).loaded) == 32


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 4)
        self.register_buffer("steps", torch.tensor(7))
        self.small = nn.Parameter(torch.zeros(2, dtype=torch.float16))


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("second.weight", torch.ones(4, 3, dtype=torch.int8), "holds int8, which stand for weights only"),
        ("second.weight", torch.ones(4, 3, dtype=torch.bool), "holds bool"),
        ("second.weight", torch.ones(4, 3).to(torch.float8_e4m3fn), "holds float8_e4m3fn"),
        ("second.weight", torch.ones(4, 3, dtype=torch.complex128), "is complex"),
        ("second.weight", torch.ones(4, 3, device="meta"), "is on the meta device"),
        ("second.weight", torch.ones(4, 3).to_sparse(), "is sparse"),
        ("steps", torch.tensor(2.5), "has numbers that int64 cannot hold"),
        ("small", torch.tensor([1.0, 7e4]), "has numbers that float16 cannot hold"),
    ],
)
def test_what_would_arrive_as_other_numbers_is_refused_and_the_model_stays(key, tensor, message) -> None:
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state_dict = {"first.weight": torch.ones(3, 2), "first.bias": torch.ones(3), key: tensor}
    with pytest.raises(StateDictError, match=f"{key!r} {message}"):
        load_matching(model, state_dict)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.fixture
def mesh():
    """One process, as a group of processes."""
    distributed = pytest.importorskip("torch.distributed")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_a_part_of_a_tensor_is_refused_on_either_side(mesh) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    model, source = Net(), Net().state_dict()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = source | {"second.weight": distribute_tensor(source["second.weight"], mesh, [Shard(0)])}
    with pytest.raises(StateDictError, match=r"'second\.weight' is a DTensor.*full_tensor\(\)"):
        load_matching(model, given)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    load_matching(model, given | {"second.weight": given["second.weight"].full_tensor()})
    model.second.weight = nn.Parameter(given["second.weight"])
    with pytest.raises(StateDictError, match=r"'second\.weight' would go into a DTensor"):
        load_matching(model, source)


def test_what_other_dtypes_can_hold_is_copied() -> None:
    model = Net()
    given = {
        "first.weight": torch.tensor([[1, 2], [3, 4], [5, math.inf]], dtype=torch.float64),
        "steps": torch.tensor(3.0),
    }
    load_matching(model, given | {"small": torch.tensor([0.5, math.nan])})
    assert torch.equal(model.first.weight, given["first.weight"].float())
    assert model.steps.item() == 3
    assert model.small[0] == 0.5
    assert model.small[1].isnan()


def test_a_first_number_of_several_is_not_taken_for_a_scalar() -> None:
    """PyTorch reads (1,) as a scalar, for checkpoints before 0.4; anything longer is another shape."""

    class Scalar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.temperature, self.weight = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.zeros(2))

    model = Scalar()
    report = load_matching(model, {"temperature": torch.tensor([5.0, 6.0]), "weight": torch.ones(2)})
    assert report.mismatched == {"temperature": ((2,), ())}
    assert model.temperature.item() == 1


def test_coverage_is_rounded_down() -> None:
    model = nn.ModuleDict({"large": nn.Linear(100, 100), "small": nn.Linear(1, 1)})
    state_dict = model.state_dict()
    del state_dict["small.bias"]
    assert "(99.9% of the numbers)" in load_matching(model, state_dict).summary()


@pytest.mark.parametrize("share", [math.nan, -0.1, 1.5])
def test_a_share_is_a_share(share) -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(StateDictError, match="min_coverage is a share"):
        load_matching(model, nn.Linear(2, 3).state_dict(), min_coverage=share)


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ({"model": {"weight": torch.ones(3, 2)}}, "'model' holds a dict and no tensor.*explain"),
        ({"weight": torch.ones(3, 2), "epoch": 3}, "'epoch' holds a int"),
        ({0: torch.ones(3, 2)}, "0 is a int and no name"),
        (nn.Linear(2, 3), "this is a Linear"),
        ([torch.ones(3, 2)], "this is a list"),
        ({}, "nothing matches"),
    ],
)
def test_what_is_no_state_dict_is_named(state_dict, message) -> None:
    model = nn.Linear(2, 3)
    before = model.weight.detach().clone()
    with pytest.raises(StateDictError, match=message):
        load_matching(model, state_dict)
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (lambda name: None, "'weight' would become None"),
        (lambda name: "x", "'weight' and 'bias' would both become 'x'"),
        ([("a", "b", "c")], "no pair"),
        (["ab"], "'ab' is no pair"),
        ({"heft": "weight"}, "has no 'heft'"),
    ],
)
def test_renames_that_are_none_are_named(rename, message) -> None:
    with pytest.raises(StateDictError, match=message):
        load_matching(nn.Linear(2, 3), nn.Linear(2, 3).state_dict(), rename=rename)


def test_extra_state_stays_where_it_is() -> None:
    class Extra(nn.Linear):
        level = 3

        def get_extra_state(self) -> dict:
            return {"level": self.level}

        def set_extra_state(self, state: dict) -> None:
            self.level = state["level"]

    model, source = Extra(2, 3), Extra(2, 3)
    source.level = 5
    report = load_matching(model, source.state_dict())
    assert model.level == 3
    assert report.unexpected == ("_extra_state",)
    assert report.coverage == 1
