"""Every public function of this room with what it was not made for: one error of the room that names the thing."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from helpers import state_dict as room
from helpers.state_dict import StateDictError, explain, load_matching, match_keys, read_state_dict, suggest_renames

no_size = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
W = {"weight": torch.ones(3, 2)}
NO_STATE_DICTS = [None, 3, "weights.pth", [torch.ones(2)], torch.ones(2), nn.Linear(2, 3)]
NO_MODELS = [None, 3, "resnet18", {"weight": torch.ones(2)}, nn.Linear, torch.ones(2)]


@pytest.mark.parametrize("wrong", NO_STATE_DICTS, ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda wrong: explain(nn.Linear(2, 3), wrong),
        lambda wrong: load_matching(nn.Linear(2, 3), wrong),
        lambda wrong: match_keys(nn.Linear(2, 3), wrong),
        lambda wrong: suggest_renames(nn.Linear(2, 3), wrong),
        room.fuse_qkv,
        room.split_qkv,
        room.fold_parametrizations,
        room.dequantize,
        lambda wrong: room.split_weight_norm(wrong, nn.Linear(2, 3)),
        lambda wrong: room.rename_leaves(wrong, {"gamma": "weight"}),
        lambda wrong: room.add_tied_names(wrong, nn.Linear(2, 3)),
        lambda wrong: room.merge_lora(wrong, W, scale=1.0),
        lambda wrong: room.merge_lora(W, wrong, scale=1.0),
    ],
)
def test_what_is_no_state_dict_is_called_by_its_type(call, wrong) -> None:
    with pytest.raises(StateDictError, match=type(wrong).__name__):
        call(wrong)


@pytest.mark.parametrize("wrong", NO_MODELS, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda wrong: explain(wrong, W),
        lambda wrong: load_matching(wrong, W),
        lambda wrong: match_keys(wrong, W),
        lambda wrong: suggest_renames(wrong, W),
        lambda wrong: room.split_weight_norm(W, wrong),
        lambda wrong: room.add_tied_names(W, wrong),
    ],
)
def test_what_is_no_model_is_called_by_its_type(call, wrong) -> None:
    with pytest.raises(StateDictError, match=f"no model.*{type(wrong).__name__}"):
        call(wrong)


@pytest.mark.parametrize("wrong", [None, 3, b"a", ["a.pth"]], ids=repr)
@pytest.mark.parametrize(
    "call", [read_state_dict, lambda wrong: room.load_without_copying(lambda: nn.Linear(2, 3), wrong)]
)
def test_what_is_no_path_is_called_so(call, wrong) -> None:
    with pytest.raises(StateDictError, match=f"no path.*{type(wrong).__name__}"):
        call(wrong)


def test_a_builder_must_build(tmp_path) -> None:
    torch.save(W, tmp_path / "a.pth")
    for wrong in (nn.Linear(2, 3), None, "resnet18"):
        with pytest.raises(StateDictError, match=f"build.*{type(wrong).__name__}"):
            room.load_without_copying(wrong, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match="build made a dict"):
        room.load_without_copying(dict, tmp_path / "a.pth")


@pytest.mark.parametrize("wrong", [None, "three", torch.ones(3)], ids=lambda wrong: type(wrong).__name__)
def test_numbers_are_numbers(wrong) -> None:
    with pytest.raises(StateDictError, match="min_coverage"):
        load_matching(nn.Linear(2, 3), W, min_coverage=wrong)
    with pytest.raises(StateDictError, match="scale"):
        room.merge_lora(W, {"lora_A.weight": torch.ones(1, 2)}, scale=wrong)
    with pytest.raises(StateDictError, match="depth"):
        room.inflate_conv(torch.ones(2, 3, 4, 5), wrong)


def odd_models() -> dict[str, nn.Module]:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    shared = nn.Linear(3, 3)
    return {
        "empty": nn.Sequential(),
        "without parameters": nn.Sequential(nn.ReLU()),
        "tied": tied,
        "one module in two places": nn.Sequential(shared, nn.ReLU(), shared),
        "parametrized": nn.Sequential(parametrizations.orthogonal(nn.Linear(3, 3))),
        "meta": nn.Sequential(nn.Linear(3, 3, device="meta")),
        "half": nn.Sequential(nn.Linear(3, 3).half()),
        "of lists": nn.ParameterList([torch.ones(2), torch.ones(3)]),
        "of dictionaries": nn.ParameterDict({"a": torch.ones(2), "b": torch.ones(3)}),
        "compiled": torch.compile(nn.Sequential(nn.Linear(3, 3))),
        "of no size": nn.Sequential(nn.Linear(3, 0, bias=False), nn.Linear(3, 2)),
        "not finite": nn.Sequential(nn.Linear(3, 3)),
    }


MODELS = (
    "empty",
    "without parameters",
    "tied",
    "one module in two places",
    "parametrized",
    "meta",
    "half",
    "of lists",
    "of dictionaries",
    "compiled",
    "of no size",
    "not finite",
)


def odd_state_dicts() -> dict[str, dict[str, torch.Tensor]]:
    weight = torch.randn(3, 3)
    return {
        "of the first layer": {"0.weight": weight, "0.bias": torch.randn(3)},
        "nothing": {},
        "one tensor without a name": {"": weight},
        "dots alone": {".": weight, "..": weight, "0.": weight},
        "not finite": {"0.weight": weight * torch.nan, "0.bias": torch.tensor([1.0, torch.inf, -torch.inf])},
        "of no size": {"0.weight": torch.empty(0, 3), "0.bias": torch.empty(0)},
        "integers": {"0.weight": torch.ones(3, 3, dtype=torch.int64), "0.bias": torch.ones(3, dtype=torch.bool)},
        "expanded": {"0.weight": torch.ones(1).expand(3, 3), "0.bias": torch.ones(3)},
        "conjugate": {"0.weight": torch.ones(3, 3, dtype=torch.complex64).conj(), "0.bias": torch.ones(3)},
        "requires grad": {"0.weight": nn.Parameter(weight), "0.bias": weight.sum(0).requires_grad_()},
    }


@pytest.mark.parametrize("state_dict", odd_state_dicts())
@pytest.mark.parametrize("model", MODELS)
@no_size
def test_odd_models_and_odd_tensors_end_in_a_report_or_in_one_error(model, state_dict) -> None:
    """Nothing is half done, and neither side is changed but for what is loaded."""
    built, given = odd_models()[model], odd_state_dicts()[state_dict]
    before, kept = copy.deepcopy(dict(built.state_dict())), dict(given)
    explanation = explain(built, given)
    assert explanation.causes
    same(built, before)
    try:
        report = load_matching(built, given)
    except StateDictError:
        same(built, before)
    else:
        assert report.loaded
        places = {tensor.data_ptr() for key, tensor in built.state_dict().items() if key in report.loaded}
        filled = [key for key, tensor in built.state_dict().items() if tensor.data_ptr() in places]  # tied ones, too
        same(built, {key: tensor for key, tensor in before.items() if key not in filled})
        same(built, {key: given[key] for key in report.loaded})
    assert all(given[key] is kept[key] for key in kept)
    if explanation.fix:
        exec(explanation.fix, {"model": odd_models()[model], "state_dict": given})


def same(model: nn.Module, expected: dict[str, torch.Tensor]) -> None:
    found = model.state_dict()
    for key, tensor in expected.items():
        if not tensor.is_meta:
            torch.testing.assert_close(
                found[key], tensor.to(found[key].dtype), rtol=0, atol=0, equal_nan=True, check_stride=False
            )


def test_what_is_copied_is_all_or_nothing_whichever_tensor_is_wrong() -> None:
    """Two hundred times: one tensor of several cannot be copied, and none is."""
    draw = random.Random(0)
    spoilers = (
        lambda t: t.to(torch.int8),
        lambda t: t.to("meta"),
        lambda t: t.to_sparse(),
        lambda t: t.to(torch.complex64),
        lambda t: t.to(torch.float8_e5m2),
    )
    for _ in range(200):
        sizes = [draw.randint(1, 4) for _ in range(draw.randint(2, 6))]
        build = lambda sizes=sizes: nn.Sequential(*map(nn.Linear, sizes[:-1], sizes[1:]))  # noqa: E731
        model, state_dict = build(), dict(build().state_dict())
        key = draw.choice(list(state_dict))
        state_dict[key] = draw.choice(spoilers)(state_dict[key])
        before = copy.deepcopy(dict(model.state_dict()))
        with pytest.raises(StateDictError, match=f"'{key}' "):
            load_matching(model, state_dict)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
