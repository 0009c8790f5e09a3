"""MATLAB's v7.3 files: the same networks as from v5, and files that mean harm."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from given import folder
from matlab import cell, dag, dag_layer, plain, save, struct
from matlab73 import save73
from torch.testing import assert_close

from helpers.matconvnet import MatConvNetError, Network, load_matconvnet
from helpers.matconvnet.bounds import Bounds
from helpers.matconvnet.hdf5 import read_hdf5
from helpers.state_dict import read_state_dict

RNG = np.random.default_rng(5)


def simple() -> dict[str, Any]:
    weights = cell(RNG.normal(size=(3, 2, 4, 5)), RNG.normal(size=(1, 5)))
    moments = np.array([[0.5, 1.5]])
    layers = cell(
        struct(name="c1", type="conv", weights=weights, pad=[[0.0, 1, 1, 0]]),
        struct(type="relu", weights=cell(), leak=0.1),
        struct(name="c2", type="conv", weights=cell(RNG.normal(size=(2, 3, 5))), stride=[[2.0, 1]], dilate=1.0),
        struct(name="n", type="bnorm", weights=cell(np.ones((1, 1)) * 2, np.ones((1, 1)), moments)),
        struct(name="loss", type="softmaxloss", **{"class": np.zeros((0, 0))}),
    )
    classes = struct(name=cell("wren"), description=cell("a small bird"))
    meta = struct(classes=classes, normalization=struct(averageImage=[[[1.0, 2, 3, 4]]]))
    return {"net": struct(layers=layers, meta=meta)}


def graph() -> dict[str, Any]:
    layers = [
        dag_layer("a", "dagnn.Conv", "x", "p", ("f", "b"), pad=[[1.0, 0, 0, 2]]),
        dag_layer("b", "dagnn.ConvTranspose", "p", "q", ("t",), upsample=[[2.0, 3]], crop=[[1.0, 0, 2, 1]]),
        dag_layer("c", "dagnn.Sum", ("q", "q"), "y"),
        dag_layer("d", "dagnn.OwnLoss", ("y", "label"), "objective"),
    ]
    sizes = {"f": (3, 2, 4, 5), "b": (5, 1), "t": (4, 3, 2, 5)}
    return {"net": struct(**dag(layers, {name: RNG.normal(size=size) for name, size in sizes.items()}))}


@pytest.mark.parametrize("make", [simple, graph])
def test_the_same_network_as_from_v5(tmp_path, make) -> None:
    variables = make()
    old = load_matconvnet(save(tmp_path / "old.mat", **variables))
    new = load_matconvnet(save73(tmp_path / "new.mat", **{name: plain(value) for name, value in variables.items()}))
    assert repr(new) == repr(old)
    assert new.classes == old.classes
    assert_close(new.state_dict(), old.state_dict())
    x = torch.randn(2, 4, 9, 8)
    assert_close(new.to_module()(x), old.to_module()(x))
    assert_close(dict(read_state_dict(tmp_path / "new.mat")), dict(old.state_dict()))


def test_fields_without_an_order_texts_in_rows_and_what_cannot_be_read(tmp_path) -> None:
    path = save73(
        tmp_path / "net.mat", layers=[{"type": "relu", "name": "r"}, {"type": "relu", "name": "s"}], one={"a": 1.0}
    )
    with h5py.File(path, "r+") as file:
        del file["layers"].attrs["MATLAB_fields"]
        rows = file.create_dataset(
            "classes", data=np.array([list(map(ord, "ab ")), list(map(ord, "cde"))], np.uint16).T
        )
        rows.attrs["MATLAB_class"] = np.bytes_("char")
        gpu = file.create_dataset("loss", data=np.ones((1, 6), np.uint32))
        gpu.attrs["MATLAB_class"], gpu.attrs["MATLAB_object_decode"] = np.bytes_("gpuArray"), np.int32(3)
    net = load_matconvnet(path)
    assert [layer.name for layer in net.layers] == ["r", "s"]
    assert net.classes == ["ab", "cde"]


def test_hdf5_that_matlab_did_not_write_is_read_if_it_is_a_network(tmp_path) -> None:
    """Without MATLAB's head, with the bytes of numbers shuffled, chunks that overhang, and big-endian numbers."""
    kernel = RNG.normal(size=(3, 2, 40, 50))
    path = tmp_path / "net.mat"
    with h5py.File(path, "w") as file:
        refs = file.create_group("#refs#")
        options = {"chunks": (30, 30, 2, 2), "compression": "gzip", "shuffle": True}
        refs.create_dataset("kernel", data=kernel.T.astype(">f4"), **options)
        layer = refs.create_group("layer")
        layer["type"] = np.array([[ord(letter)] for letter in "conv"], np.uint16)
        layer["type"].attrs["MATLAB_class"] = np.bytes_("char")
        layer["weights"] = np.array([[refs["kernel"].ref]], h5py.ref_dtype)
        layer["weights"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["layers"] = np.array([[layer.ref]], h5py.ref_dtype)
        file["layers"].attrs["MATLAB_class"] = np.bytes_("cell")
    weight = load_matconvnet(path)["conv1"].params["weight"]
    np.testing.assert_array_equal(weight.numpy(), kernel.transpose(3, 2, 0, 1).astype(np.float32))


def hostile(folder_: Path) -> dict[str, Path]:
    """What a file can do in HDF5 that MATLAB does not, by what the error must say of it."""
    files = {}

    def make(said: str) -> h5py.File:
        files[said] = save73(folder_ / f"{len(files)}.mat", layers=[{"type": "relu"}, {"type": "conv"}])
        return h5py.File(files[said], "r+")

    secret = folder_ / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["layers"] = np.ones(3)
    for said, link in (
        ("is a link to another place", h5py.SoftLink("/#refs#")),
        ("'more' is a link", h5py.ExternalLink(str(secret), "/layers")),
    ):
        with make(said) as file:
            file["more"] = link
    with make("'/outside' lies in another file") as file:
        file.create_dataset("outside", shape=(3,), dtype=float, external=[(str(secret), 0, 24)])
    with make("'/virtual' lies in another file") as file:
        layout = h5py.VirtualLayout((3,), float)
        layout[:] = h5py.VirtualSource(str(secret), "layers", (3,))
        file.create_virtual_dataset("virtual", layout)
    with make(r"'/meta/lies' claims 8,000,000,000 bytes and has 0") as file:
        file.create_dataset("meta/lies", shape=(1000, 1000, 1000), dtype=float)
    with make(r"an array \(1000, 1000, 1000\) of float64 would take 4,000,000,000 bytes of memory") as file:
        file.create_dataset("meta/a", shape=(1000, 1000, 1000), dtype=float, chunks=(100, 100, 100), compression="gzip")
    with make("'/meta/empty' has 0 of its 4 chunks") as file:
        file.create_dataset("meta/empty", shape=(20, 30), dtype=float, chunks=(10, 20), compression="gzip")
    with make("'/meta/packed' is packed as MATLAB does not do it") as file:
        file.create_dataset("meta/packed", data=np.ones((20, 30)), chunks=(10, 20), compression="lzf")
    with make("a chunk of numbers would take") as file:
        file.create_dataset("meta/long", data=np.ones(9), chunks=(1 << 27,), maxshape=(None,), compression="gzip")
    with make("so many values would take") as file:
        many = np.full((1 << 17, 1), file["layers"].ref, h5py.ref_dtype)
        file.create_dataset("refs", data=many, chunks=(1 << 17, 1), compression="gzip")
        file["refs"].attrs["MATLAB_class"] = np.bytes_("cell")
    with make("has an attribute MATLAB_class") as file:
        file["group/in"] = np.ones(3)
        file["group/in"].attrs.create("MATLAB_class", np.zeros(60_000, "S1"))
    with make("deeper in one another than|in a circle") as file:
        circle = file.create_dataset("circle", shape=(1, 1), dtype=h5py.ref_dtype)
        circle.attrs["MATLAB_class"] = np.bytes_("cell")
        circle[0, 0] = circle.ref
    with make("deeper than any network") as file:
        place = file
        for _ in range(80):
            place = place.create_group("in")
    return files


def test_what_means_harm_is_named(tmp_path) -> None:
    files = hostile(tmp_path)
    assert len(files) == 13
    for said, path in files.items():
        with pytest.raises(MatConvNetError, match=said) as caught:
            load_matconvnet(path)
        assert str(caught.value).startswith(path.name)


def test_a_file_that_ends_early_is_one_clear_error(tmp_path) -> None:
    whole = save73(tmp_path / "a.mat", **{name: plain(value) for name, value in simple().items()}).read_bytes()
    cut = tmp_path / "cut.mat"
    for length in range(512, len(whole) - 8, 997):
        cut.write_bytes(whole[:length])
        with pytest.raises(MatConvNetError, match=r"cut\.mat: "):
            load_matconvnet(cut)


def test_large_doubles_become_float32_and_are_charged_as_such(tmp_path) -> None:
    """12 bytes a number would be beyond twice the size of a file whose doubles hold float32 and shrink by half."""
    kernel = np.random.default_rng(5).normal(size=(3, 2, 50, 900)).astype(np.float32)
    path = tmp_path / "net.mat"
    save73(path, layers=[{"type": "conv", "name": "c", "weights": [kernel, np.zeros((1, 900))]}, "other"])
    with h5py.File(path, "r+") as file:
        (name,) = [name for name, stored in file["#refs#"].items() if getattr(stored, "ndim", 0) == 4]
        numbers, attributes = file["#refs#"][name][()].astype(np.float64), dict(file["#refs#"][name].attrs)
        made = file["#refs#"].create_dataset("new", data=numbers, compression=1, shuffle=True, chunks=(40, 50, 2, 3))
        made.attrs.update(attributes)
        file[file["layers"][0, 0]]["weights"][0, 0] = made.ref
        del file["#refs#"][name]
    bounds = Bounds(path)
    bounds.left = 6 * kernel.size
    found = read_hdf5(path, bounds)["layers"][0]["weights"][0]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, kernel)


def test_a_value_of_its_own_costs_less_than_one_that_many_refer_to(tmp_path) -> None:
    """Small values take time each, so a file may have as many as it has room for, and not one very often."""
    path = save73(tmp_path / "a.mat", own=[np.full((1, 1), float(i)) for i in range(200)])
    bounds = Bounds(path)
    bounds.left = 200 * 1200
    assert [value.item() for value in read_hdf5(path, bounds)["own"]] == list(range(200))
    with h5py.File(path, "r+") as file:
        file["own"][...] = file["own"][0, 0]
    bounds.left = 200 * 1200
    with pytest.raises(MatConvNetError, match="so many values"):
        read_hdf5(path, bounds)


@pytest.mark.parametrize("text", ["a\ud800b", "\udc00", "a\ud83d\ude00b"])
def test_half_letters_do_not_break_what_is_written(tmp_path, text) -> None:
    net = {"type": "conv", "name": text, "weights": [np.ones((2, 2)), np.ones((1, 1))]}
    loaded = load_matconvnet(save73(tmp_path / "net.mat", layers=[net, {"type": "softmax"}], classes={"name": [text]}))
    loaded.classes[0].encode()
    assert (loaded.classes[0] == "a\U0001f600b") == (len(text) == 4)


def real(name: str) -> Network:
    return load_matconvnet(folder("REAL_NETWORKS_DIR", name) / name)


def test_a_real_network_before_and_after_its_norms_were_merged() -> None:
    merged, apart = (real(f"DnCNN_sigma25{more}.mat").to_module() for more in ("", "_Bnorm"))
    x = torch.rand(1, 1, 30, 34, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(merged(x), apart(x), rtol=0, atol=1e-6)


def test_a_real_graph_computes_what_it_should() -> None:
    net = real("layumi_SR_gray7.mat")
    assert (net.inputs, net.outputs) == (("input",), ("prediction",))
    expected = np.load(folder("REAL_NETWORKS_DIR", "expected") / "expected" / "layumi_SR_gray7.npz")
    found = net.to_module()(input=torch.from_numpy(expected["in_input"]).float()).detach().numpy()
    largest = np.abs(expected["out_prediction"]).max()
    np.testing.assert_allclose(found, expected["out_prediction"], rtol=0, atol=1e-4 * largest)
