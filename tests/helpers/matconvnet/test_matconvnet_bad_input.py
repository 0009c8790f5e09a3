"""What the MatConvNet room was not made for: one MatConvNetError that names it, and no file changed."""

from __future__ import annotations

import dataclasses
import struct as packing
from pathlib import Path

import numpy as np
import pytest
import torch
from matlab import cell, save, struct
from torch import nn
from torch.nn.utils import parametrizations

from helpers.matconvnet import (
    Layer,
    MatConvNetError,
    Network,
    conv_to_linear,
    hwio_to_oihw,
    linear_to_conv,
    load_matconvnet,
    save_matconvnet,
)

KERNEL, BIAS = np.arange(120.0).reshape(2, 3, 4, 5), np.arange(5.0)
GOOD = {"weight": torch.arange(120.0).reshape(5, 4, 2, 3), "bias": torch.arange(5.0)}
ONE = {"stride": (1, 1), "pad": (0, 0, 0, 0)}


def load_one(folder: Path, **fields) -> Network:
    return load_matconvnet(save(folder / "net.mat", layers=cell(struct(**fields))))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "conv", "stride": 1e30}, "`stride` is .*65,535 at most"),
        ({"type": "conv", "pad": np.int64(2**62)}, "`pad` is .*65,535 at most"),
        ({"type": "conv", "dilate": 65_536.0}, "`dilate` is .*65,535 at most"),
        ({"type": "pool", "pool": np.array([2.0, 4.0]), "pad": np.array([0.0, 2.0, 0.0, 0.0])}, "`pad` .* as large as"),
        ({"type": "pool", "pool": np.array([2.0, 4.0]), "pad": np.array([0.0, 0.0, 4.0, 0.0])}, "`pad` .* as large as"),
        ({"type": "lrn", "param": np.array([0.0, 1.0, 1.0, 0.75])}, "`param` is .*, expected numbers from 1"),
        ({"type": "lrn", "param": np.array([2.5, 1.0, 1.0, 0.75])}, r"`param` is .*2\.5 is no whole number"),
        ({"type": "lrn", "param": np.array([5.0, 1.0, 1e30, 0.75])}, "`param` is"),
        ({"type": "relu", "leak": 1e30}, "`leak` is"),
        ({"type": "dropout", "rate": 1.5}, "`rate` is .*from 0 to 1"),
        ({"type": "dropout", "rate": -0.1}, "`rate` is .*from 0 to 1"),
        ({"type": "bnorm", "epsilon": -1.0}, "`epsilon` is .*from 0"),
        ({"type": "conv", "weights": cell(KERNEL * 1e300, BIAS)}, r"go up to 1\.19e\+302, beyond float32"),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_named_at_loading(tmp_path, fields, said) -> None:
    weights = {"conv": cell(KERNEL, BIAS), "bnorm": cell(BIAS, BIAS)}.get(fields["type"])
    given = {"weights": weights} if weights is not None else {}
    with pytest.raises(MatConvNetError, match=rf"net\.mat: layer 1 \(odd, \w+\): .*{said}"):
        load_one(tmp_path, **{"name": "odd"} | given | fields)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Layer("odd", "conv", GOOD, {"stride": "two"}), "`stride` is 'two'"),
        (Layer("odd", "conv", GOOD, {"pad": (1, 2, 3)}), "`pad` is"),
        (Layer("odd", "conv", GOOD, {"dilate": (0, 1)}), "`dilate` is"),
        (Layer("odd", "pool", {}, {}), "the field `pool`"),
        (Layer("odd", "pool", {}, {"pool": (2, 3), "pad": (2, 0, 0, 0)}), "`pad`"),
        (Layer("odd", "relu", {}, {"leak": (0.1, 0.2)}), "`leak` is"),
        (Layer("odd", "conv", {}, {}), "expected a weight .*, found none"),
        (Layer("odd", "conv", {"weight": torch.ones(5, 4)}, {}), r"expected a weight .*, found \(5, 4\)"),
    ],
    ids=lambda value: str(getattr(value, "options", value)),
)
def test_a_layer_made_by_hand_is_checked_like_one_of_a_file(layer, said) -> None:
    with pytest.raises(MatConvNetError, match=f"layer 'odd'.*{said}"):
        Network([layer]).to_module()


def test_options_left_out_by_hand_are_those_of_matconvnet() -> None:
    x = torch.rand(2, 4, 7, 6)
    bare, full = (Network([Layer("c", "conv", GOOD, options)]).to_module()(x) for options in ({}, ONE))
    assert torch.equal(bare, full)


@pytest.mark.parametrize("path", [None, 3, b"net.mat", "", "a\0b", ["net.mat"]])
def test_what_is_no_path(path) -> None:
    with pytest.raises(MatConvNetError, match="names no file"):
        load_matconvnet(path)


def test_places_that_cannot_be_looked_at(tmp_path) -> None:
    circle = tmp_path / "net.mat"
    circle.symlink_to(circle)
    for path in (circle, tmp_path / ("x" * 300)):
        with pytest.raises(MatConvNetError, match="cannot be read: "):
            load_matconvnet(path)


def test_more_cells_than_the_file_has_bytes_are_refused_before_memory_is_asked_for(tmp_path) -> None:
    """A header, and one cell array that claims 1 x 200,000,000 cells."""
    header = b"MATLAB 5.0".ljust(124) + packing.pack("<H", 0x0100) + b"IM"
    flags = packing.pack("<IIII", 6, 8, 1, 0)
    dims = packing.pack("<IIii", 5, 8, 1, 200_000_000)
    name = packing.pack("<II", 1, 6) + b"layers\0\0"
    body = flags + dims + name
    path = tmp_path / "net.mat"
    path.write_bytes(header + packing.pack("<II", 14, len(body)) + body)
    with pytest.raises(MatConvNetError, match=r"net\.mat: .* ends before all of it was there.* 184 bytes"):
        load_matconvnet(path)


def normalized(folder: Path, **fields) -> Network:
    relu = cell(struct(name="r", type="relu"))
    return load_matconvnet(save(folder / "net.mat", layers=relu, meta=struct(normalization=struct(**fields))))


@pytest.mark.parametrize(
    "size", ["abc", struct(a=1.0), np.nan, np.inf, 1e30, 1 + 2j, 1.5, cell(4.0, 5.0), np.array([4.0, 0.0])], ids=str
)
def test_a_size_that_is_none_keeps_nobody_from_the_weights(tmp_path, size) -> None:
    net = normalized(tmp_path, imageSize=size, averageImage=np.ones((1, 1, 3)))
    assert net["r"].type == "relu"
    with pytest.raises(MatConvNetError, match=r"normalization\.imageSize is"):
        net.preprocess(torch.full((1, 3, 4, 5), 9.0))


@pytest.mark.parametrize("average", ["abc", "1", struct(a=1.0), np.nan, np.inf, 1 + 2j, cell("a", "b")], ids=str)
def test_an_average_that_is_none_is_not_taken_away(tmp_path, average) -> None:
    net = normalized(tmp_path, averageImage=average)
    with pytest.raises(MatConvNetError, match=r"normalization\.averageImage is"):
        net.preprocess(torch.full((1, 3, 4, 5), 9.0))


@pytest.mark.parametrize(
    "images",
    [
        None,
        np.full((1, 3, 4, 5), 9.0),
        torch.full((1, 3, 4, 5), np.nan),
        torch.full((1, 3, 4, 5), np.inf),
        torch.full((1, 3, 4, 5), 256.0),
        torch.full((1, 3, 4, 5), 9j),
        torch.ones(1, 3, 4, 5, device="meta"),
        torch.ones(1, 3, 4, 5, dtype=torch.bool),
        torch.ones(1, 3, 0, 5),
    ],
    ids=lambda images: f"{type(images).__name__} {getattr(images, 'dtype', '')}",
)
def test_images_that_are_none(images) -> None:
    net = Network([Layer("r", "relu")], normalization={"averageImage": np.ones(3)})
    with pytest.raises(MatConvNetError, match="images"):
        net.preprocess(images)


def test_shapes_that_agree_by_accident_are_no_match() -> None:
    square = {"weight": torch.rand(4, 4, 2, 3), "bias": torch.rand(4)}
    net = Network([Layer("c", "conv", square, ONE)])
    assert list(net.state_dict_for(nn.Sequential(nn.Conv2d(4, 4, (2, 3))))) == ["0.weight", "0.bias"]
    with pytest.raises(MatConvNetError, match="'c' is a conv, and '0' a ConvTranspose2d"):
        net.state_dict_for(nn.Sequential(nn.ConvTranspose2d(4, 4, (2, 3))))
    up = dataclasses.replace(net.layers[0], type="convt")
    with pytest.raises(MatConvNetError, match="'c' is a convt, and '0' a Conv2d"):
        Network([up]).state_dict_for(nn.Sequential(nn.Conv2d(4, 4, (2, 3))))


def test_what_cannot_get_the_weights() -> None:
    net = Network([Layer("c", "conv", GOOD, ONE)])
    model = nn.Sequential(nn.Conv2d(4, 5, (2, 3)))
    for wrong in (None, "model", nn.Conv2d):
        with pytest.raises(MatConvNetError, match=r"for a torch\.nn\.Module, not"):
            net.state_dict_for(wrong)
    for wrong in ("c", None, [3]):
        with pytest.raises(MatConvNetError, match="leave_out is a list of names"):
            net.state_dict_for(model, leave_out=wrong)
    parametrizations.weight_norm(model[0])
    with pytest.raises(MatConvNetError, match="the weight of 0 is made from other tensors"):
        net.state_dict_for(model)


@pytest.mark.parametrize("kernel", [np.ones((2, 3)) * 1j, np.array([["a", "b"]]), np.array([[None, 1]]), "ab", None])
def test_kernels_without_real_numbers(kernel) -> None:
    with pytest.raises(MatConvNetError, match="a MatConvNet kernel"):
        hwio_to_oihw(kernel)


def test_weights_and_sizes_that_are_none() -> None:
    for wrong in (None, np.ones((2, 3, 4, 5)), torch.ones(2, 3)):
        with pytest.raises(MatConvNetError, match="conv_to_linear takes a conv weight"):
            conv_to_linear(wrong)
    for wrong in (None, 2, "23", (0, 2), (-2, -3), (2.0, 3), (2, 3, 1), (True, 3)):
        with pytest.raises(MatConvNetError, match="kernel_size is"):
            linear_to_conv(torch.ones(5, 6), wrong)
    for wrong in (None, np.ones((5, 6))):
        with pytest.raises(MatConvNetError, match="a 2x3 conv needs a Linear weight"):
            linear_to_conv(wrong, (2, 3))


def changed(**tensors: torch.Tensor) -> list[Layer]:
    return [Layer("odd", "conv", GOOD | tensors, ONE)]


UNWRITTEN = {
    "no layers": {"layers": []},
    "layers None": {"layers": None},
    "layers of something": {"layers": [1]},
    "one layer": {"layers": Layer("odd", "relu")},
    "weight on meta": {"layers": changed(weight=GOOD["weight"].to("meta"))},
    "weight sparse": {"layers": changed(weight=GOOD["weight"].to_sparse())},
    "weight complex": {"layers": changed(weight=GOOD["weight"] + 1j)},
    "weight of three dimensions": {"layers": changed(weight=torch.ones(5, 4, 2))},
    "weight beyond float32": {"layers": changed(weight=GOOD["weight"].double() * 1e300)},
    "bias of another length": {"layers": changed(bias=torch.ones(4))},
    "bias no tensor": {"layers": changed(bias=[1.0])},
    "stride below one": {"layers": [Layer("odd", "conv", GOOD, ONE | {"stride": (-1, 1)})]},
    "stride a fraction": {"layers": [Layer("odd", "conv", GOOD, ONE | {"stride": (1.5, 1)})]},
    "stride a text": {"layers": [Layer("odd", "conv", GOOD, ONE | {"stride": "two"})]},
    "pool without a window": {"layers": [Layer("odd", "pool")]},
    "pool with weights": {"layers": [Layer("odd", "pool", {"weight": torch.ones(1)}, {"pool": (2, 3)})]},
    "relu with weights": {"layers": [Layer("odd", "relu", {"weight": torch.ones(1)})]},
    "no name": {"layers": [Layer(None, "relu")]},
    "classes None": {"classes": None},
    "classes one text": {"classes": "ab"},
    "classes numbers": {"classes": [1, 2]},
    "classes a dictionary": {"classes": {"a": 1}},
    "normalization None": {"normalization": None},
    "normalization a list": {"normalization": [1]},
    "normalization of None": {"normalization": {"a": None}},
    "normalization of an object": {"normalization": {"a": object()}},
    "a number for a field": {"normalization": {1: 2}},
    "a field with a space": {"normalization": {"a b": 1}},
    "a field too long": {"normalization": {64 * "x": 1}},
    "a field that is not ASCII": {"normalization": {"größe": 1}},
    "a field with an underscore first": {"normalization": {"_a": 1}},
}


@pytest.mark.parametrize("what", UNWRITTEN)
def test_what_cannot_be_written_without_loss_leaves_the_file_as_it_was(tmp_path, what) -> None:
    good = {"layers": changed(), "classes": ["a"], "normalization": {"averageImage": np.ones(3)}}
    path = tmp_path / "net.mat"
    save_matconvnet(path, **good)
    before = path.read_bytes()
    with pytest.raises(MatConvNetError):
        save_matconvnet(path, **good | UNWRITTEN[what])
    assert path.read_bytes() == before
    assert [place.name for place in tmp_path.iterdir()] == ["net.mat"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int16])
def test_numbers_of_other_types_arrive(tmp_path, dtype) -> None:
    layers = changed(weight=GOOD["weight"].to(dtype))
    save_matconvnet(tmp_path / "a.mat", layers, classes=["é", "日本"], normalization={"averageImage": torch.ones(3)})
    net = load_matconvnet(tmp_path / "a.mat")
    assert torch.equal(net["odd"].params["weight"], GOOD["weight"].to(dtype).float())
    assert net.classes == ["é", "日本"]


def test_options_left_out_are_written_as_matconvnet_assumes_them(tmp_path) -> None:
    layers = [Layer("c", "conv", GOOD), Layer("p", "pool", {}, {"pool": (2, 3)})]
    save_matconvnet(tmp_path / "a.mat", layers, classes=[], normalization={"averageImage": np.ones(3)})
    net = load_matconvnet(tmp_path / "a.mat")
    assert net["c"].options["stride"] == net["p"].options["stride"] == (1, 1)
    assert net["p"].options["method"] == "max"
