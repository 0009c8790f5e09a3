"""The recipes: that each does what the helper does that has the same job, on other inputs than its own example.

Where no helper has it, PyTorch itself or a plain loop takes its place.
"""

from __future__ import annotations

import contextlib
import copy
import fractions
import os
import pickle
import random
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import safetensors.torch
import scipy.io
import torch
import torch.nn.functional as F
import torchvision
from lesson import defined, recipe_of
from matlab import cell, save, struct
from numpy.typing import NDArray
from recipes import NAMES, NOTEBOOK
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from helpers.checkpoint import export_weights, load_checkpoint, save_checkpoint
from helpers.fcn import FCNError, init_bilinear_, linear_to_conv, upsample_bilinear
from helpers.first_conv import FirstConvError, adapt_conv, fold_normalization
from helpers.freezing import FreezingError, cache_features, check_optimizer, freeze, parameter_groups
from helpers.heads import HeadError, MultiHead, replace_head, rows_by_name, shared_parameters, truncate
from helpers.matconvnet import conv_to_linear, hwio_to_oihw, load_matconvnet
from helpers.state_dict import (
    StateDictError,
    load_matching,
    load_without_copying,
    read_state_dict,
    suggest_renames,
)
from helpers.state_dict.matching import renamed
from workbook import networks
from workbook.data import DATA

COMPARED: set[str] = set()


def against(name: str) -> Callable:
    """Give a test the function of a recipe, and note that this recipe is compared with something."""
    COMPARED.add(name)
    return pytest.mark.parametrize("recipe", [name], indirect=True)


@cache
def recipe_called(name: str) -> Callable:
    return defined(recipe_of(NOTEBOOK, name), name)


@pytest.fixture
def recipe(request) -> Callable:
    torch.manual_seed(0)
    return recipe_called(request.param)


def test_every_recipe_is_compared() -> None:
    assert set(NAMES) == COMPARED


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """The same names, and under each the same numbers of the same type."""
    alike = ours.keys() == theirs.keys() and all(tensor.dtype == theirs[key].dtype for key, tensor in ours.items())
    return alike and all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def small(classes: int = 7) -> nn.Sequential:
    """Conv, BatchNorm, a block and a head for images of 3 channels; every width and every side of a kernel differs."""
    block = nn.Sequential(nn.Conv2d(4, 5, (3, 2)), nn.BatchNorm2d(5), nn.ReLU())
    end = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(5, classes)}
    return nn.Sequential(OrderedDict({"conv1": nn.Conv2d(3, 4, (2, 5)), "block": block} | end))


def moved(model: nn.Module) -> nn.Module:
    """It, with numbers in all places where BatchNorm begins with zeros and ones."""
    for tensor in model.state_dict().values():
        tensor.copy_(torch.rand_like(tensor) + 0.1 if tensor.is_floating_point() else torch.tensor(3))
    return model


# loading


@pytest.mark.parametrize("zipped", [True, False])
@against("shapes_in")
def test_shapes_in_are_those_that_read_state_dict_reads(recipe, zipped, tmp_path) -> None:
    model = small()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 9, 8)).sum().backward()
    optimizer.step()
    content = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    content["more"] = [torch.ones(2), (torch.ones(3, 4), None)]
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = recipe(str(tmp_path / "a.pth"))
    read = read_state_dict(tmp_path / "a.pth")
    weights = [
        (key.removeprefix("state_dict/"), shape) for key, shape in found.items() if key.startswith("state_dict/")
    ]
    assert weights == [(key, tuple(tensor.shape)) for key, tensor in read.items()]
    moments = {shape for key, shape in found.items() if re.fullmatch(r"optimizer/state/\d+/exp_avg", key)}
    assert moments == {tuple(parameter.shape) for parameter in model.parameters()}
    assert (found["more/0"], found["more/1/0"]) == ((2,), (3, 4))


@against("shapes_in")
def test_shapes_in_reads_no_number_and_runs_nothing(recipe, tmp_path) -> None:
    torch.save({"weight": torch.ones(70, 110)}, path := tmp_path / "a.pth")
    read, load = [], torch.load
    with patch("torch.load", lambda *args, **options: read.append(load(*args, **options)) or read[-1]):
        assert recipe(str(path)) == {"weight": (70, 110)}
    assert [content["weight"].is_meta for content in read] == [True]
    torch.save({"weight": Harmful(tmp_path / "made")}, path)
    with pytest.raises(pickle.UnpicklingError):
        recipe(str(path))
    assert not (tmp_path / "made").exists()


class Harmful:
    """A checkpoint that makes a folder, if it is let."""

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "module._orig_mod.", "model.module.module."])
@against("without_prefixes")
def test_without_prefixes_gives_what_read_state_dict_gives(recipe, prefix, tmp_path) -> None:
    checkpoint = {f"{prefix}{key}": tensor for key, tensor in small().state_dict().items()}
    before = dict(checkpoint)
    torch.save(checkpoint, tmp_path / "a.pth")
    found = recipe(checkpoint, small())
    assert same(found, read_state_dict(tmp_path / "a.pth"))
    assert list(found) == list(small().state_dict())
    assert found is not checkpoint
    assert checkpoint == before


@pytest.mark.parametrize("name", ["model", "module", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
@against("without_prefixes")
def test_without_prefixes_keeps_what_the_model_has(recipe, prefix, name) -> None:
    model = nn.ModuleDict({name: nn.Linear(3, 2)})
    checkpoint = {f"{prefix}{key}": tensor for key, tensor in model.state_dict().items()}
    assert list(recipe(checkpoint, model)) == [f"{name}.weight", f"{name}.bias"]


@pytest.mark.parametrize("names", [["module.a", "b"], ["other.a"], []])
@against("without_prefixes")
def test_without_prefixes_says_that_none_helps(recipe, names) -> None:
    with pytest.raises(ValueError, match="no prefix helps"):
        recipe({name: torch.ones(1) for name in names}, nn.Linear(3, 2))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"optimizer": {"state": {0: {"momentum": torch.ones(2)}}}, "model": weights},
        lambda weights: {"net": {"model_state_dict": weights, "lr": 0.1}, "args": {"seed": 0}},
        lambda weights: {"state_dict": weights | {"step": 5}},
    ],
)
@against("unwrapped")
def test_unwrapped_gives_what_read_state_dict_gives(recipe, wrapped, tmp_path) -> None:
    checkpoint = wrapped(small().state_dict())
    torch.save(checkpoint, tmp_path / "a.pth")
    assert same(recipe(checkpoint), read_state_dict(tmp_path / "a.pth"))


@against("unwrapped")
def test_unwrapped_does_not_guess(recipe) -> None:
    weights = small().state_dict()
    with pytest.raises(ValueError, match=r"\['model', 'ema'\] could all be meant"):
        recipe({"ema": weights, "model": weights})
    with pytest.raises(ValueError, match=r"no tensors by name here; the keys are \['a'\]"):
        recipe({"model": {"a": 3}})


@against("load_all_but")
def test_load_all_but_loads_what_load_matching_loads(recipe) -> None:
    source, ours = moved(small(10)), small(7)
    theirs, before = copy.deepcopy(ours), snapshot(source)
    recipe(ours, source.state_dict(), "fc")
    report = load_matching(theirs, source.state_dict())
    assert same(ours.state_dict(), theirs.state_dict())
    assert set(report.mismatched) == {"fc.weight", "fc.bias"}
    assert same(source.state_dict(), before)


@pytest.mark.parametrize("head", ["block", "f", "conv1"])
@against("load_all_but")
def test_load_all_but_refuses_more_and_changes_nothing(recipe, head) -> None:
    source, ours = moved(small(10)), small(7)
    before = snapshot(ours)
    with pytest.raises(
        ValueError, match=r"only the checkpoint has .*fc\.weight', \(10, 5\).*only the model .*\(7, 5\)"
    ):
        recipe(ours, source.state_dict(), head)
    with pytest.raises(ValueError, match=r"only the checkpoint has \[\('extra', \(2,\)\)\], only the model \[\]"):
        recipe(ours, source.state_dict() | {"extra": torch.ones(2)}, "fc")
    assert same(ours.state_dict(), before)


@against("load_what_fits")
def test_load_what_fits_reports_what_load_matching_reports(recipe) -> None:
    checkpoint = moved(small(10)).state_dict() | {"extra": torch.ones(2)}
    del checkpoint["block.1.running_var"]
    ours, before = small(7), dict(checkpoint)
    theirs = copy.deepcopy(ours)
    found, report = recipe(ours, checkpoint), load_matching(theirs, checkpoint)
    assert same(ours.state_dict(), theirs.state_dict())
    assert found == {
        "loaded": list(report.loaded),
        "mismatched": list(report.mismatched),
        "missing": list(report.missing),
        "unexpected": list(report.unexpected),
    }
    assert all(found.values())
    assert checkpoint == before


@against("load_what_fits")
def test_load_what_fits_refuses_to_load_nothing_as_load_matching_does(recipe) -> None:
    ours, checkpoint = small(), {f"module.{key}": tensor for key, tensor in small().state_dict().items()}
    before = snapshot(ours)
    for load, error in ((recipe, ValueError), (load_matching, StateDictError)):
        with pytest.raises(error, match=r"module\.conv1\.weight"):
            load(ours, checkpoint)
    assert same(ours.state_dict(), before)


@against("renamed")
def test_renamed_gives_the_names_of_load_matching(recipe) -> None:
    weights = small().state_dict()
    checkpoint = {f"teacher.net{i}.{key}": tensor for i, (key, tensor) in enumerate(weights.items())}
    rules, before = [(r"^teacher\.", ""), (r"^net(\d+)\.(.*)$", r"\2.\1"), (r"block\.1", "norm")], dict(checkpoint)
    found = recipe(checkpoint, rules)
    names = renamed(checkpoint, rules)
    assert list(found) == list(names.values())
    assert all(found[new] is checkpoint[old] for old, new in names.items())
    assert checkpoint == before


@against("renamed")
def test_renamed_refuses_what_load_matching_refuses_and_slips(recipe) -> None:
    checkpoint = {"student.a": torch.ones(1), "teacher.a": torch.ones(1), "teacher.b": torch.ones(1)}
    rules = [(r"^(student|teacher)\.", "")]
    with pytest.raises(StateDictError, match="would both become 'a'"):
        renamed(checkpoint, rules)
    with pytest.raises(ValueError, match=r"would get one name: student\.a -> a, teacher\.a -> a$"):
        recipe(checkpoint, rules)
    with pytest.raises(ValueError, match="no name matches 'taecher'"):
        recipe(checkpoint, [("taecher", "")])


@pytest.mark.parametrize("counted", [True, False])
@against("named_as_in")
def test_named_as_in_finds_the_pairs_of_suggest_renames(recipe, counted) -> None:
    source, ours = moved(networks.vgg16(width=0.1, batch_norm=True)), networks.vgg16(width=0.1, batch_norm=True)
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in source.state_dict()))
    names = {module: f"layer{i:02}" for i, module in enumerate(modules)}
    checkpoint = {
        f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": tensor
        for key, tensor in source.state_dict().items()
        if counted or not key.endswith("num_batches_tracked")
    }
    found, suggested = recipe(ours, checkpoint), suggest_renames(ours, checkpoint).mapping
    expected = {suggested[old]: t for old, t in checkpoint.items() if not old.endswith("num_batches_tracked")}
    assert same(found, expected)
    ours.load_state_dict(found)
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(ours.eval()(x), source.eval()(x))


@against("named_as_in")
def test_named_as_in_refuses_pairs_that_differ(recipe) -> None:
    model, weights = small(), list(small().state_dict().items())
    with pytest.raises(ValueError, match="the model has 10 tensors, the checkpoint 9"):
        recipe(model, dict(weights[1:]))
    with pytest.raises(ValueError, match=r"conv1.bias \(4,\) stands in the place of conv1.weight \(4, 3, 2, 5\)"):
        recipe(model, dict([weights[1], weights[0], *weights[2:]]))
    names = {"block.1.weight": "block.1.bias", "block.1.bias": "block.1.weight"}
    with pytest.raises(ValueError, match=r"block.1.bias \(5,\) stands in the place of block.1.weight \(5,\)"):
        recipe(model, {names.get(key, key): tensor for key, tensor in weights})
    with pytest.raises(ValueError, match=r"fc.weight \(9, 5\) stands in the place of fc.weight \(7, 5\)"):
        recipe(model, small(9).state_dict())


@against("load_weights")
def test_load_weights_reads_what_read_state_dict_reads(recipe, tmp_path) -> None:
    source, ours = moved(small()), small()
    with patch("torch.serialization.location_tag", return_value="cuda:7"):
        torch.save(source.state_dict(), tmp_path / "a.pth")
    with pytest.raises(RuntimeError, match="CUDA device"):
        torch.load(tmp_path / "a.pth")
    assert recipe(ours, str(tmp_path / "a.pth")) is ours
    assert same(ours.state_dict(), read_state_dict(tmp_path / "a.pth"))
    with pytest.raises(RuntimeError, match=r"size mismatch for fc\.weight"):
        recipe(small(9), str(tmp_path / "a.pth"))
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: \"fc"):
        recipe(small()[:-1], str(tmp_path / "a.pth"))


@against("load_allowing")
def test_load_allowing_names_the_class_that_read_state_dict_names(recipe, tmp_path) -> None:
    torch.save({"weight": torch.ones(3), "size": fractions.Fraction(1, 3)}, path := tmp_path / "a.pth")
    for load, error in ((recipe, ValueError), (read_state_dict, StateDictError)):
        with pytest.raises(error, match=r"fractions\.Fraction"):
            load(str(path))
    found = recipe(str(path), fractions.Fraction)
    assert found["size"] == fractions.Fraction(1, 3)
    assert torch.equal(found["weight"], torch.ones(3))
    with pytest.raises(ValueError, match="Fraction"):  # it was allowed once, not for ever
        recipe(str(path))


@against("load_allowing")
def test_load_allowing_runs_nothing_as_read_state_dict(recipe, tmp_path) -> None:
    torch.save({"weight": Harmful(tmp_path / "made")}, tmp_path / "a.pth")
    for load, error in ((recipe, ValueError), (read_state_dict, StateDictError)):
        with pytest.raises(error, match=r"\b(posix|nt)\.mkdir\b"):
            load(str(tmp_path / "a.pth"))
    assert not (tmp_path / "made").exists()


@against("load_without_copying")
def test_load_without_copying_maps_the_file_as_the_helper_does(recipe) -> None:
    path = DATA / "vgg16_thin.pth"
    ours, theirs = recipe(networks.vgg16, str(path)), load_without_copying(networks.vgg16, path)
    assert same(ours.state_dict(), theirs.state_dict())
    assert all(parameter.requires_grad for parameter in ours.parameters())
    if Path("/proc/self/maps").exists():
        assert all(lies_in(path, parameter) for model in (ours, theirs) for parameter in model.parameters())
        assert not lies_in(path, torch.load(path)["features.0.weight"])


def lies_in(path: Path, tensor: Tensor) -> bool:
    """Whether a tensor's memory is a file that is mapped into it."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        start, end = (int(place, 16) for place in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return line.endswith(f" {path}")
    return False


class Unusual(nn.Module):
    """A buffer that no file has, or a parameter that is used twice."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        if tied:
            self.b.weight = self.a.weight
        else:
            self.register_buffer("steps", torch.arange(3), persistent=False)


@pytest.mark.parametrize(("tied", "why"), [(True, "it ties parameters"), (False, r"no file has \['steps'\]")])
@against("load_without_copying")
def test_load_without_copying_refuses_what_would_be_wrong(recipe, tied, why, tmp_path) -> None:
    torch.save(Unusual(tied).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=why):
        recipe(lambda: Unusual(tied), str(tmp_path / "a.pth"))


@against("damage_in")
def test_damage_in_finds_what_read_state_dict_finds(recipe, tmp_path) -> None:
    torch.save(small().state_dict(), path := tmp_path / "a.pth")
    whole, found = path.read_bytes(), []
    for place in range(4, len(whole), len(whole) // 150):  # behind what says that it is a zip file
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        found.append(recipe(str(path)) is not None)
        assert found[-1] == helper_finds_damage(path), place
    assert 50 < sum(found) < len(found)  # between the entries lie bytes that nobody uses
    path.write_bytes(whole[:-40])
    assert recipe(str(path)) == "it is no whole zip file: File is not a zip file"
    assert helper_finds_damage(path)
    path.write_bytes(whole)
    assert recipe(str(path)) is None
    with pytest.raises(FileNotFoundError):
        recipe(str(tmp_path / "b.pth"))


@pytest.mark.parametrize("kind", ["older", "safetensors"])
@against("damage_in")
def test_damage_in_calls_no_healthy_file_damaged(recipe, kind, tmp_path) -> None:
    path = tmp_path / "a"
    if kind == "older":
        torch.save(small().state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        safetensors.torch.save_file(small().state_dict(), path)
    with pytest.raises(ValueError, match="no checksums to compare"):
        recipe(str(path))


def helper_finds_damage(path: Path) -> bool:
    """Whether the zip file is damaged; that torch.load may refuse an undamaged one is another matter."""
    try:
        read_state_dict(path)
    except StateDictError as error:
        return "zip file" in str(error) or "checksum" in str(error)
    return False


@pytest.mark.parametrize("place", range(5))
@against("first_difference")
def test_first_difference_is_the_first_layer_that_was_changed(recipe, place) -> None:
    layers = [nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 2, 5)]
    theirs = moved(nn.Sequential(*layers, nn.Dropout(), nn.ReLU(inplace=True)))
    ours, x = copy.deepcopy(theirs), torch.rand(2, 3, 9, 8) - 0.5
    assert recipe(ours, theirs, x) is None
    for layer in ours[place:]:
        for tensor in layer.state_dict().values():
            tensor += 1
    y, z, differs = x, x, []
    for mine, yours in zip(copy.deepcopy(ours).eval(), copy.deepcopy(theirs).eval(), strict=True):
        y, z = mine(y), yours(z)
        differs.append(not torch.allclose(y, z, rtol=1e-3, atol=1e-4))
    before = snapshot(ours)
    assert recipe(ours, theirs, x) == str(differs.index(True))
    assert same(ours.state_dict(), before)
    assert ours.training
    assert not any(module._forward_hooks for module in ours.modules())


class Halved(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.fc, self.factor = nn.Linear(3, 2), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.factor


@against("first_difference")
def test_first_difference_sees_what_is_no_layer_and_what_is_no_number(recipe) -> None:
    ours, theirs = Halved(0.5), Halved(1.0)
    ours.load_state_dict(theirs.state_dict())
    assert recipe(ours, theirs, torch.rand(4, 3)) == "the output"
    nn.init.constant_(ours.fc.bias, torch.nan)
    assert recipe(ours, theirs, torch.rand(4, 3)) == "fc"


@against("first_difference")
def test_first_difference_is_not_fooled_by_a_layer_that_works_in_place(recipe) -> None:
    ours = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))
    theirs = copy.deepcopy(ours)
    nn.init.constant_(ours[0].bias, -100)
    nn.init.constant_(theirs[0].bias, -200)  # the ReLU makes zeros of both
    assert recipe(ours, theirs, torch.rand(4, 3)) == "0"


# MatConvNet


def numbers(*shape: int, order: str = "F") -> NDArray[np.float32]:
    return np.asarray(np.random.default_rng(sum(shape)).normal(size=shape), dtype=np.float32, order=order)


@against("convs_in")
def test_convs_in_reads_what_load_matconvnet_reads_from_a_file_like_the_published_ones(recipe) -> None:
    found, net = recipe(scipy.io.loadmat(DATA / "vgg16_thin.mat")), load_matconvnet(DATA / "vgg16_thin.mat")
    assert list(found) == [layer.name for layer in net.layers if layer.type == "conv"]
    for name, state in found.items():
        assert same(state, net[name].params)
        assert all(tensor.is_contiguous() for tensor in state.values())


@against("convs_in")
def test_convs_in_reads_what_load_matconvnet_reads_from_other_forms(recipe, tmp_path) -> None:
    early = struct(type="conv", biases=numbers(1, 5).astype(float), stride=2.0, filters=numbers(2, 3, 4, 5))
    dropped = struct(weights=cell(numbers(3, 2, 5), numbers(1, 1)), type="conv", name="b")  # one output: (3, 2, 5, 1)
    without = struct(type="conv", name="c", weights=cell(numbers(4, 2)))  # no bias, one input, one output
    layers = cell(early, struct(type="relu", weights=cell()), dropped, without)
    path = save(tmp_path / "a.mat", net=struct(layers=layers, meta=struct(note="x")))
    found, net = recipe(scipy.io.loadmat(path)), load_matconvnet(path)
    assert list(found) == ["conv1", "b", "c"]
    assert [tuple(tensor.shape) for state in found.values() for tensor in state.values()] == [
        (5, 4, 2, 3),
        (5,),
        (1, 5, 3, 2),
        (1,),
        (1, 1, 4, 2),
    ]
    for name, state in found.items():
        assert same(state, net[name].params)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 2, 4), (4, 2), (1, 1, 6, 5)])
@pytest.mark.parametrize("row", [True, False])
@against("fill_linear_")
def test_fill_linear_gives_what_conv_to_linear_gives(recipe, shape, row) -> None:
    kernel, outputs = numbers(*shape), 1 if len(shape) < 4 else shape[3]
    bias = numbers(1, outputs) if row else numbers(outputs, 1)
    linear = nn.Linear(kernel.size // outputs, outputs)
    recipe(linear, kernel, bias)
    assert torch.equal(linear.weight, conv_to_linear(hwio_to_oihw(kernel)))
    assert linear.bias.tolist() == bias.ravel().tolist()
    assert linear.weight.data_ptr() != kernel.ctypes.data


@against("fill_linear_")
def test_fill_linear_refuses_other_shapes(recipe) -> None:
    linear = nn.Linear(24, 6)
    before = snapshot(linear)
    for kernel, bias in ((numbers(2, 3, 4, 5), numbers(5, 1)), (numbers(2, 3, 4, 6), numbers(1, 5))):
        with pytest.raises(ValueError, match=r"biases do not fit Linear\(in_features=24, out_features=6"):
            recipe(linear, kernel, bias)
    with pytest.raises(ValueError, match="bias=False"):
        recipe(nn.Linear(24, 6, bias=False), numbers(2, 3, 4, 6), numbers(6, 1))
    assert same(linear.state_dict(), before)


@against("batch_norm")
def test_batch_norm_computes_what_the_module_of_load_matconvnet_computes(recipe, tmp_path) -> None:
    scale, shift, moments = numbers(3, 1), numbers(1, 3), np.abs(numbers(3, 2)) + 0.01
    moments[:, 0] -= 1
    layer = struct(type="bnorm", name="bn", weights=cell(scale, shift, moments), epsilon=1e-3)
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(layer)))
    norm, x = recipe(scale, shift, moments), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(norm(x), net.to_module()(x), rtol=1e-4, atol=1e-4)
    assert not norm.training
    with pytest.raises(RuntimeError, match="size mismatch"):
        recipe(scale[:2], shift, moments)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (6, 5, 3)])
@against("fold_average_")
def test_fold_average_is_fold_normalization_there_and_back(recipe, shape, biased) -> None:
    average, mean, std = 130 + 20 * numbers(*shape), (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    ours = nn.Conv2d(3, 4, (2, 5), stride=(1, 2), bias=biased)
    theirs, weight = copy.deepcopy(ours), ours.weight
    recipe(ours, average, mean, std)
    fold_normalization(theirs, average.reshape(-1, 3).mean(0), (1, 1, 1))
    fold_normalization(theirs, [255 * m for m in mean], [255 * s for s in std], inverse=True)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-4, atol=1e-3)
    assert ours.weight is weight
    with pytest.raises(ValueError, match="the conv that meets the RGB image"):
        recipe(nn.Conv2d(4, 6, 3), average, mean, std)


# the first conv


def conv_on_rgb(**options: Any) -> nn.Conv2d:
    return nn.Conv2d(3, 4, (2, 5), stride=(1, 2), padding=(1, 3), dilation=(2, 1), **options)


def equal_but_for_the_weight(ours: nn.Conv2d, theirs: nn.Conv2d) -> bool:
    options = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    alike = all(getattr(ours, option) == getattr(theirs, option) for option in options)
    bias = ours.bias is theirs.bias is None or torch.equal(ours.bias, theirs.bias)
    return alike and bias and ours.weight.requires_grad == theirs.weight.requires_grad


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"padding_mode": "circular"}, {"dtype": torch.float64}], ids=str
)
@pytest.mark.parametrize("frozen", [False, True])
@against("for_grey")
def test_for_grey_is_the_rule_sum(recipe, options, frozen) -> None:
    old = conv_on_rgb(**options).requires_grad_(not frozen)
    theirs, before = copy.deepcopy(old), snapshot(old)
    ours = recipe(old)
    adapt_conv(theirs, 1, "sum")
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert equal_but_for_the_weight(ours, theirs)
    assert same(old.state_dict(), before)
    assert old.in_channels == 3
    assert not shared_parameters(ours, old)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("channels", [3, 4, 12])
@against("for_channels")
def test_for_channels_is_the_rule_zeros(recipe, channels, frozen) -> None:
    old = conv_on_rgb(bias=frozen).requires_grad_(not frozen)
    theirs, before = copy.deepcopy(old), snapshot(old)
    ours = recipe(old, channels)
    adapt_conv(theirs, channels, "zeros")
    assert torch.equal(ours.weight, theirs.weight)
    assert equal_but_for_the_weight(ours, theirs)
    assert same(old.state_dict(), before)
    assert not shared_parameters(ours, old)


@pytest.mark.parametrize(("channels", "places"), [(3, (2, 1, 0)), (12, (3, 2, 1)), (5, (4, 0, 2))])
@against("for_channels")
def test_for_channels_puts_the_colours_where_they_are(recipe, channels, places) -> None:
    conv = conv_on_rgb()
    new = recipe(conv, channels, places)
    for out, channel, row, column in np.ndindex(4, channels, 2, 5):
        colour = places.index(channel) if channel in places else None
        expected = 0.0 if colour is None else conv.weight[out, colour, row, column]
        assert new.weight[out, channel, row, column] == expected


@against("for_grey")
def test_for_grey_refuses_groups_as_adapt_conv_does(recipe) -> None:
    conv = nn.Conv2d(6, 4, 3, groups=2)
    for change, error in ((recipe, ValueError), (lambda conv: adapt_conv(conv, 1, "sum"), FirstConvError)):
        with pytest.raises(error, match=r"has 2 groups|groups=2"):
            change(conv)


@pytest.mark.parametrize("places", [(0, 1), (0, 1, 1), (0, 1, 4), (-1, 0, 1)])
@against("for_channels")
def test_for_channels_refuses_places_that_are_not_there_and_groups(recipe, places) -> None:
    with pytest.raises(ValueError, match="cannot have its channels at"):
        recipe(conv_on_rgb(), 4, places)
    with pytest.raises(ValueError, match="groups=3"):
        recipe(nn.Conv2d(3, 6, 3, groups=3), 4)


# the head


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("conv", [False, True])
@against("set_classes_")
def test_set_classes_replaces_what_replace_head_replaces(recipe, conv, biased, frozen) -> None:
    ours = small(9)[:-3] if conv else small(9)
    if conv:
        ours.add_module("fc", nn.Conv2d(5, 9, 1, bias=biased))
        ours.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten())
    else:
        ours.fc = nn.Linear(5, 9, bias=biased)
    theirs, x = copy.deepcopy(ours.requires_grad_(not frozen)), torch.rand(2, 3, 9, 8)
    before, body = snapshot(ours.eval()), dict(ours.named_children())
    recipe(ours, "fc", 6)
    assert replace_head(theirs, 6, example=x) == ("fc",)
    assert repr(ours) == repr(theirs)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    assert [p.requires_grad for p in ours.parameters()] == [p.requires_grad for p in theirs.parameters()]
    assert ours(x).shape == (2, 6)
    assert all(child is body[name] for name, child in ours.named_children() if name != "fc")
    assert all(torch.equal(t, before[key]) for key, t in ours.state_dict().items() if not key.startswith("fc."))
    assert 0 < ours.fc.weight.abs().max() < 1  # begun as PyTorch begins such a layer
    assert torch.equal(body["fc"].weight, before["fc.weight"])


@pytest.mark.parametrize("name", ["block.1", "grouped"])
@against("set_classes_")
def test_set_classes_refuses_what_is_no_head(recipe, name) -> None:
    model = small()
    model.add_module("grouped", nn.Conv2d(4, 6, 1, groups=2))
    before = str(model)
    with pytest.raises(ValueError, match=f"'{name}' must be a Linear, or a Conv2d of one group"):
        recipe(model, name, 6)
    assert str(model) == before


OLD, NEW = ["cat", "dog", "truck", "frog"], ["glove", "frog", "cat", "hat", "dog", "shoe", "scarf"]


@pytest.mark.parametrize("biased", [True, False])
@against("head_for")
def test_head_for_keeps_what_replace_head_keeps_by_name(recipe, biased) -> None:
    model = small()
    model.fc = nn.Linear(5, 4, bias=biased).double()
    old, before = model.fc, snapshot(model.fc)
    ours = recipe(NEW, old, OLD)
    theirs = nn.Sequential(copy.deepcopy(old))
    replace_head(theirs, 7, keep=rows_by_name(OLD, NEW), example=torch.rand(2, 5, dtype=torch.float64))
    rows = [row for row, name in enumerate(NEW) if name in OLD]
    assert rows == [1, 2, 4]
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine[rows], yours[rows])
        assert (mine.shape, mine.dtype, mine.requires_grad) == (yours.shape, yours.dtype, True)
    assert not (ours.weight[[0, 3, 5, 6], None] == old.weight).all(-1).any()
    assert same(old.state_dict(), before)


@pytest.mark.parametrize(("new", "old"), [(NEW, OLD[:3]), (NEW, ["cat", "cat", "dog", "frog"]), (["a", "a"], OLD)])
@against("head_for")
def test_head_for_refuses_names_that_cannot_be_right(recipe, new, old) -> None:
    with pytest.raises(ValueError, match="each once, do not belong to Linear"):
        recipe(new, nn.Linear(5, 4), old)
    if len(old) == 4:
        with pytest.raises(HeadError, match="occurs twice"):
            rows_by_name(old, new)


@against("make_heads")
def test_make_heads_computes_what_multi_head_computes_and_shares_as_little(recipe) -> None:
    model, tasks = moved(networks.resnet18(width=0.1)).eval(), {"kind": 3, "colour": 5}
    theirs, x = MultiHead(model, "layer3", tasks).eval(), torch.rand(2, 3, 64, 96)
    before = snapshot(model)
    ours = recipe(model.layer4, model.fc.in_features, tasks).eval()
    for task, head in ours.items():
        head[-1].load_state_dict(theirs.heads[task].fc.state_dict())
        torch.testing.assert_close(head(theirs.trunk(x)), theirs(x)[task])
        assert not shared_parameters(head, model)
    assert not shared_parameters(ours["kind"], ours["colour"])
    assert not shared_parameters(theirs.heads["kind"], theirs.heads["colour"])
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("layer", ["bn1", "layer2", "layer3.0.conv2", "avgpool"])
@pytest.mark.parametrize("training", [False, True])
@against("cut_behind")
def test_cut_behind_gives_what_truncate_gives(recipe, layer, training) -> None:
    model, x = moved(networks.resnet18(width=0.1)).train(training), torch.rand(2, 3, 64, 96)
    before = snapshot(model)
    ours, theirs = recipe(model, layer), truncate(model, layer)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert not shared_parameters(ours, model)
    assert torch.equal(ours(x)["features"], theirs(x))
    assert same(model.state_dict(), before)
    assert ours.training == training
    with pytest.raises(ValueError, match="'layer9' is not present"):
        recipe(model, "layer9")


# segmentation


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("size", "padding"), [(1, 0), (2, 1), (3, 0)])
@against("as_conv")
def test_as_conv_is_linear_to_conv(recipe, size, padding, biased) -> None:
    linear = nn.Linear(5 * size**2, 4, bias=biased).double()  # numbers that single precision has
    ours, theirs = recipe(linear, size, size, padding), linear_to_conv(linear, size, padding)
    assert str(ours) == str(theirs)
    assert same(ours.state_dict(), theirs.state_dict())
    assert not shared_parameters(ours, linear)


@against("as_conv")
def test_as_conv_computes_the_linear_at_each_place(recipe) -> None:
    linear, maps = nn.Linear(2 * 3 * 4, 5), torch.rand(6, 2, 5, 7)
    heat = recipe(linear, 3, 4)(maps)
    assert heat.shape == (6, 5, 3, 4)
    for row, column in np.ndindex(3, 4):
        alone = linear(maps[:, :, row : row + 3, column : column + 4].flatten(1))
        torch.testing.assert_close(heat[:, :, row, column], alone)
    for convert, error in ((recipe, ValueError), (lambda linear, size, _: linear_to_conv(linear, size), FCNError)):
        with pytest.raises(error):
            convert(linear, 5, 5)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8, 64])
@pytest.mark.parametrize("groups", [1, 3])
@against("init_bilinear_")
def test_init_bilinear_is_that_of_the_helper(recipe, size, groups) -> None:
    ours = nn.ConvTranspose2d(3, 3, size, stride=(size + 1) // 2, groups=groups)
    theirs = copy.deepcopy(ours)
    recipe(ours)
    init_bilinear_(theirs)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-7)
    assert not ours.bias.any()


@pytest.mark.parametrize("options", [(3, 4, 4), (4, 4, (2, 4)), (4, 4, 4, 1, 0, 0, 2)])
@against("init_bilinear_")
def test_init_bilinear_refuses_what_the_helper_refuses(recipe, options) -> None:
    conv = nn.ConvTranspose2d(*options)
    before = snapshot(conv)
    for fill, error in ((recipe, ValueError), (init_bilinear_, FCNError)):
        with pytest.raises(error):
            fill(conv)
    assert same(conv.state_dict(), before)


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 32])
@against("upsample_bilinear")
def test_upsample_bilinear_is_that_of_the_helper_and_a_transposed_conv(recipe, scale) -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(recipe(x, scale), upsample_bilinear(x, scale))
    conv = nn.ConvTranspose2d(3, 3, 2 * scale - scale % 2, stride=scale, bias=False, groups=3)
    init_bilinear_(conv)
    torch.testing.assert_close(recipe(x, scale), conv(x), rtol=1e-4, atol=1e-5)


# freezing


@pytest.mark.parametrize("names", [["conv1"], ["block"], ["conv1", "block.1"], []])
@against("train_except")
def test_train_except_leaves_a_network_as_freeze_and_train_do(recipe, names) -> None:
    ours, x = small().eval(), torch.rand(2, 3, 9, 8)
    theirs = copy.deepcopy(ours)
    if names:  # freeze without a name freezes all
        freeze(theirs, *names)
    for before in (False, True):  # after an evaluation, after a model.train()
        ours.train(before)
        recipe(ours, *names)
        theirs.train()
        assert [m.training for m in ours.modules()] == [m.training for m in theirs.modules()]
        assert [p.requires_grad for p in ours.parameters()] == [p.requires_grad for p in theirs.parameters()]
        assert torch.equal(ours(x), theirs(x))
    assert same(ours.state_dict(), theirs.state_dict())
    with pytest.raises(AttributeError, match="bloc"):
        recipe(ours, "bloc")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("build", [torch.optim.SGD, torch.optim.AdamW])
@against("freeze_and_release_")
def test_freeze_and_release_leaves_check_optimizer_nothing_to_say(recipe, build, named) -> None:
    options = {"momentum": 0.9} if build is torch.optim.SGD else {}
    ours, x = small().eval(), torch.rand(2, 3, 9, 8)
    theirs = copy.deepcopy(ours)
    optimizers = [
        build(model.named_parameters() if named else model.parameters(), lr=0.1, weight_decay=0.1, **options)
        for model in (ours, theirs)
    ]
    for step in range(4):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            if step == 2:
                kept = snapshot(ours)
                recipe(ours, optimizer, "conv1", "block") if model is ours else freeze(theirs, "conv1", "block")
            model(x).square().sum().backward()
            optimizer.step()
    assert same(ours.state_dict(), theirs.state_dict())
    changed = [key for key, tensor in ours.state_dict().items() if not torch.equal(tensor, kept[key])]
    assert changed == ["fc.weight", "fc.bias"]
    assert all(parameter.grad is None for parameter in [*ours.conv1.parameters(), *ours.block.parameters()])
    assert check_optimizer(ours, optimizers[0]).ok
    assert not check_optimizer(theirs, optimizers[1]).ok  # which freeze alone leaves
    assert set(optimizers[0].state) == {ours.fc.weight, ours.fc.bias}
    if named:
        assert optimizers[0].param_groups[0]["param_names"] == ["fc.weight", "fc.bias"]
    optimizers[0].load_state_dict(optimizers[0].state_dict())


@pytest.mark.parametrize("frozen", [[], ["conv1"], ["conv1", "block"], ["fc"]])
@against("groups_for")
def test_groups_for_gives_each_parameter_the_rate_of_parameter_groups(recipe, frozen) -> None:
    model = small()
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    ours = recipe(model, "fc", 0.001, 0.02)
    theirs = parameter_groups(model, 0.001, head="fc", head_lr=0.02)
    rates = [{id(p): group["lr"] for group in groups for p in group["params"]} for groups in (ours, theirs)]
    assert rates[0] == rates[1]
    assert sum(len(group["params"]) for group in ours) == len(rates[0])
    torch.optim.SGD(ours)
    for make in (lambda: recipe(model, "fd", 0.1, 0.2), lambda: parameter_groups(model, 0.1, head="fd", head_lr=0.2)):
        with pytest.raises((AttributeError, FreezingError), match="fd"):
            make()


@pytest.mark.parametrize("shuffle", [False, True])
@against("cached")
def test_cached_is_cache_features(recipe, shuffle) -> None:
    backbone = moved(nn.Sequential(*small()[:3], nn.Flatten(), nn.Dropout()))
    before = snapshot(backbone)
    loader = DataLoader(TensorDataset(torch.rand(11, 3, 9, 8), torch.arange(11) + 100), 4, shuffle=shuffle)
    torch.manual_seed(3)
    ours = recipe(backbone, loader)
    torch.manual_seed(3)
    theirs = cache_features(copy.deepcopy(backbone).eval(), loader, show=False)
    assert all(torch.equal(mine, yours) for mine, yours in zip(ours.tensors, theirs.tensors, strict=True))
    assert ours.tensors[0].shape == (11, 5)
    assert not ours.tensors[0].requires_grad
    assert all(module.training for module in backbone.modules())
    assert same(backbone.state_dict(), before)


class Flipped(Dataset):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.rand(3).flip(0) if torch.rand(()) < 0.5 else torch.rand(3), place


@against("cached")
def test_cached_refuses_random_data_as_cache_features_does(recipe) -> None:
    for run, error in ((recipe, ValueError), (cache_features, FreezingError)):
        with pytest.raises(error, match=r"random numbers.*for ever"):
            run(nn.Linear(3, 2).eval(), DataLoader(Flipped(), 4))


# saving


def save_with_helper(content: dict[str, Any], path: Path) -> None:
    save_checkpoint(path, model=nn.Linear(3, 2), **content)


@against("save_safely")
def test_save_safely_writes_what_torch_load_reads(recipe, tmp_path) -> None:
    for name in ("a.pt", tmp_path / "b.pt"):
        with contextlib.chdir(tmp_path):
            recipe({"epoch": 1}, name)
            recipe({"epoch": 2, "weight": torch.arange(6.0)}, name)
            assert torch.equal(torch.load(name)["weight"], torch.arange(6.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt"]


@pytest.mark.parametrize("where", ["torch.save", "os.fsync", "pathlib.Path.replace"])
@against("save_safely")
def test_save_safely_keeps_the_old_file_as_save_checkpoint_does(recipe, where, tmp_path) -> None:
    """Wherever it is stopped, before and in the middle of what it does there."""
    for write, path in ((recipe, tmp_path / "a.pt"), (save_with_helper, tmp_path / "b.pt")):
        write({"note": "old"}, path)
        before = path.read_bytes()
        with patch(where, autospec=True, side_effect=Stopped), pytest.raises(Stopped):
            write({"note": "new"}, path)
        assert path.read_bytes() == before
        with patch("torch.save", half_a_save), pytest.raises(Stopped):
            write({"note": "new"}, path)
        assert path.read_bytes() == before
        write({"note": "new"}, path)
        assert path.read_bytes() != before


class Stopped(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def half_a_save(content: object, file: Any) -> None:
    file.write(b"PK\x03\x04 half")
    file.flush()
    raise Stopped


@against("save_safely")
def test_save_safely_waits_for_the_disk_before_the_file_gets_its_name(recipe, tmp_path) -> None:
    synced, path = [], tmp_path / "a.pt"

    def fsync(number: int) -> None:
        synced.append((os.fstat(number).st_size, path.exists()))

    with patch("os.fsync", fsync):
        recipe({"epoch": 1}, path)
    assert synced == [(path.stat().st_size, False)]


def new_training() -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return {"model": model, "optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)}


def epoch_of(parts: dict[str, Any]) -> float:
    """Data in random order, shifted by numpy's and by Python's random numbers."""
    data = TensorDataset(torch.arange(24.0).reshape(8, 3) / 20)
    for (x,) in DataLoader(data, 3, shuffle=True):
        parts["optimizer"].zero_grad()
        loss = F.mse_loss(parts["model"](x + np.random.randn() + random.random()), x[:, :2])  # noqa: NPY002
        loss.backward()
        parts["optimizer"].step()
    parts["scheduler"].step()
    return loss.item()


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002
    random.seed(number)


@pytest.mark.parametrize("done", [1, 2, 3])
@against("state_of")
def test_state_of_goes_on_bit_by_bit_as_load_checkpoint_does(recipe, done, tmp_path) -> None:
    seed(0)
    parts, losses = new_training(), []
    for epoch in range(5):
        if epoch == done:
            np.random.randn()  # noqa: NPY002  its generator makes two at once, and keeps one
            torch.save(recipe(parts) | {"epoch": epoch}, tmp_path / "ours.pt")
            save_checkpoint(tmp_path / "theirs.pt", epoch=epoch, **parts)
        losses.append(epoch_of(parts))
    ends = [snapshot(parts["model"])]
    for name in ("ours.pt", "theirs.pt"):
        seed(1)
        resumed = new_training()
        if name == "ours.pt":
            saved = torch.load(tmp_path / name, map_location="cpu")
            recipe.__globals__["put_back"](resumed, saved)
            begin = saved["epoch"]
        else:
            begin = load_checkpoint(tmp_path / name, **resumed).epoch
        assert [epoch_of(resumed) for _ in range(begin, 5)] == losses[done:]
        ends.append(snapshot(resumed["model"]))
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])


@against("export_weights")
def test_export_weights_writes_what_the_helper_writes(recipe, tmp_path) -> None:
    model = small()
    model.add_module("tied", nn.Linear(5, 7, bias=False))
    model.tied.weight = model.fc.weight
    model.register_buffer("strided", torch.arange(6.0).reshape(2, 3).t())
    model.register_buffer("wide", torch.ones(1, 2).expand(3, 2))
    recipe(model, str(tmp_path / "ours.safetensors"))
    export_weights(model, tmp_path / "theirs.safetensors", {"format": "pt"})
    ours, theirs = (tmp_path / f"{whose}.safetensors" for whose in ("ours", "theirs"))
    assert same(safetensors.torch.load_file(ours), safetensors.torch.load_file(theirs))
    assert safetensors.torch.load_file(ours).keys() == model.state_dict().keys()
    with safetensors.safe_open(ours, "pt") as file:
        assert file.metadata() == {"format": "pt"}
    with pytest.raises(RuntimeError, match="share memory"):
        safetensors.torch.save_file(model.state_dict(), tmp_path / "naive.safetensors")


# what people bring to a recipe that it was not first written for


@against("load_all_but")
def test_load_all_but_takes_files_from_before_batches_were_counted(recipe) -> None:
    source, model = (nn.ModuleDict({"bn": nn.BatchNorm2d(3), "fc": nn.Linear(3, n)}) for n in (5, 7))
    source["bn"].running_mean.fill_(2)
    older = {key: tensor for key, tensor in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    recipe(model, older, "fc")
    assert torch.equal(model["bn"].running_mean, source["bn"].running_mean)


@pytest.mark.parametrize("zipped", [True, False])
@against("load_allowing")
def test_load_allowing_reads_both_formats(recipe, zipped, tmp_path) -> None:
    content = {"size": fractions.Fraction(1, 3), "weight": torch.ones(3)}
    torch.save(content, path := tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert recipe(str(path), fractions.Fraction)["size"] == fractions.Fraction(1, 3)
    with pytest.raises(ValueError, match=r"fractions\.Fraction: do you know that"):
        recipe(str(path))


@against("shapes_in")
def test_shapes_in_safetensors_and_beside_a_class_that_is_allowed(recipe, tmp_path) -> None:
    safetensors.torch.save_file({"w": torch.ones(2, 3)}, tmp_path / "a.safetensors")
    assert recipe(str(tmp_path / "a.safetensors")) == {"w": (2, 3)}
    torch.save({"w": torch.ones(4), "size": fractions.Fraction(1, 3)}, tmp_path / "a.pth")
    assert recipe(str(tmp_path / "a.pth"), fractions.Fraction) == {"w": (4,)}


@against("load_without_copying")
def test_load_without_copying_reads_the_older_format(recipe, tmp_path) -> None:
    source = nn.Linear(3, 2)
    torch.save(source.state_dict(), path := tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(recipe(lambda: nn.Linear(3, 2), str(path)).weight, source.weight)


class Both(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.first, self.second, self.make = nn.Linear(3, 4), nn.LSTM(3, 2), make

    def forward(self, x: torch.Tensor) -> object:
        return self.make(self.first(x), self.second(x))


@pytest.mark.parametrize("make", [lambda a, b: (a, b), lambda a, b: {"out": a, "aux": [b]}])
@against("first_difference")
def test_first_difference_of_several_outputs(recipe, make) -> None:
    model = Both(make)
    other = copy.deepcopy(model)
    assert recipe(model, other, x := torch.rand(5, 3)) is None
    with torch.no_grad():
        other.second.weight_hh_l0.add_(1)
    assert recipe(model, other, x) == "second"


@against("cached")
def test_cached_takes_what_cut_behind_gives(recipe) -> None:
    class Trunk(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"features": 2 * x}

    x, y, weight = torch.rand(8, 3), torch.arange(8), torch.rand(8)
    found = recipe(Trunk(), DataLoader(TensorDataset(x, y, weight), 3)).tensors
    assert all(torch.equal(a, b) for a, b in zip(found, (2 * x, y, weight), strict=True))


@against("load_allowing")
def test_load_allowing_takes_numbers_of_numpy(recipe, tmp_path) -> None:
    content = {"a": np.float64(0.25), "b": np.arange(3), "c": np.float32(2), "d": np.ones((2, 2), bool)}
    torch.save(content, path := tmp_path / "a.pth")
    found = recipe(str(path))
    assert (found["a"], found["c"]) == (0.25, 2)
    np.testing.assert_array_equal(found["b"], [0, 1, 2])
    assert found["d"].dtype == bool


@against("load_what_fits")
def test_load_what_fits_takes_state_that_is_no_tensor(recipe) -> None:
    class More(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

        def set_extra_state(self, state: dict[str, int]) -> None: ...

    source, model = More(3, 2), More(3, 2)
    assert recipe(model, source.state_dict())["loaded"] == ["weight", "bias"]
    assert torch.equal(model.weight, source.weight)


@against("load_without_copying")
def test_load_without_copying_finds_tensors_that_are_no_parameters(recipe, tmp_path) -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.scale = torch.ones(2)

    torch.save(Scaled().state_dict(), path := tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"no file has \['\.?scale'\]"):
        recipe(Scaled, str(path))


@pytest.mark.parametrize(
    "make", [lambda: nn.ConvTranspose2d(3, 4, 5), lambda: nn.utils.weight_norm(nn.Conv2d(3, 4, 5))]
)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
@against("for_grey")
def test_for_grey_refuses_what_only_looks_like_a_conv(recipe, make) -> None:
    with pytest.raises(ValueError, match="this takes a plain Conv2d of one group"):
        recipe(make())


@against("head_for")
def test_head_for_refuses_a_conv(recipe) -> None:
    with pytest.raises(ValueError, match="this takes a Linear"):
        recipe(["a"], nn.Conv2d(3, 1, 1), ["a"])


@pytest.mark.parametrize(
    ("size", "stride", "fits"), [(2, 2, False), (4, 2, True), (3, 2, True), (8, 2, False), (5, 3, True)]
)
@against("init_bilinear_")
def test_init_bilinear_holds_the_kernel_against_the_stride(recipe, size, stride, fits) -> None:
    conv = nn.ConvTranspose2d(2, 2, size, stride)
    if not fits:
        with pytest.raises(ValueError, match="interpolates with a kernel of twice that"):
            recipe(conv)
        return
    recipe(conv)
    inside = conv(torch.ones(1, 2, 9, 9))[..., size:-size, size:-size]
    torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.skipif(os.name != "posix", reason="links")
@against("save_safely")
def test_save_safely_leaves_a_link_a_link(recipe, tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.pt").symlink_to(tmp_path / "real/a.pt")
    recipe({"epoch": 3}, tmp_path / "link.pt")
    assert (tmp_path / "link.pt").is_symlink()
    assert torch.load(tmp_path / "real/a.pt") == {"epoch": 3}


def test_cut_cache_train_and_resume_fit_together(tmp_path) -> None:
    """A trunk is cut off and run once; its head is trained, killed, and resumed, the order of batches included."""
    cut_behind, cached, groups_for, state_of, save_safely = (
        defined(recipe_of(NOTEBOOK, name), name)
        for name in ("cut_behind", "cached", "groups_for", "state_of", "save_safely")
    )
    put_back = state_of.__globals__["put_back"]
    torch.manual_seed(0)
    images = TensorDataset(torch.rand(12, 3, 32, 32), torch.arange(12) % 3)
    trunk = cut_behind(networks.resnet18(width=0.3125), "layer1")
    features = cached(trunk, DataLoader(images, 5))

    def new() -> dict[str, Any]:
        model = nn.ModuleDict({"body": nn.Flatten(), "fc": nn.Linear(features.tensors[0][0].numel(), 3)})
        optimizer = torch.optim.SGD(groups_for(model, "fc", 0.01, 0.1), momentum=0.9)
        return {"model": model, "optimizer": optimizer, "order": torch.Generator()}

    def run_epoch(parts: dict[str, Any]) -> None:
        for x, y in DataLoader(features, 5, shuffle=True, generator=parts["order"]):
            parts["optimizer"].zero_grad()
            F.cross_entropy(parts["model"]["fc"](parts["model"]["body"](x)), y).backward()
            parts["optimizer"].step()

    parts = new()
    run_epoch(parts)
    save_safely(state_of(parts) | {"epoch": 1}, tmp_path / "run.pt")
    run_epoch(parts)
    torch.manual_seed(1)
    resumed = new()
    put_back(resumed, torch.load(tmp_path / "run.pt", map_location="cpu"))
    run_epoch(resumed)
    assert same(snapshot(parts["model"]), snapshot(resumed["model"]))


@pytest.mark.parametrize(("name", "more"), [("load_all_but", ("classifier.1",)), ("load_what_fits", ())])
def test_the_versions_of_modules_go_along(name, more) -> None:
    """MNASNet refuses what does not say of which version it is."""
    recipe = recipe_called(name)
    model, source = torchvision.models.mnasnet0_5(num_classes=7), torchvision.models.mnasnet0_5()
    recipe(model, source.state_dict(), *more)
    assert torch.equal(model.layers[0].weight, source.layers[0].weight)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module."])
def test_the_versions_of_modules_follow_their_names(prefix) -> None:
    source = torchvision.models.mnasnet0_5(num_classes=7)
    inner = source.state_dict()
    wrapped = OrderedDict((f"{prefix}{key}", tensor) for key, tensor in inner.items())
    wrapped._metadata = {"": {"version": 1}, prefix[:-1]: inner._metadata[""]}
    wrapped._metadata |= {f"{prefix}{module}": version for module, version in inner._metadata.items() if module}
    rules = [(r"^(_orig_mod\.)?module\.", "")]
    for found in (recipe_called("without_prefixes")(wrapped, source), recipe_called("renamed")(wrapped, rules)):
        assert dict(found._metadata) == dict(inner._metadata)
        torchvision.models.mnasnet0_5(num_classes=7).load_state_dict(found)
