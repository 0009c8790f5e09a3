"""Every form in which a SimpleNN file has been met, and every file that is none."""

import inspect
import os
import pickle
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse
import torch
from matlab import cell, save, struct
from numpy.typing import NDArray

from helpers.matconvnet import MatConvNetError, load_matconvnet

RNG = np.random.default_rng(2)
KERNEL = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
BIAS = RNG.normal(size=(1, 5)).astype(np.float32)
CLASSES = struct(name=cell("n01", "n02"), description=cell("tabby cat", "beagle"))
NORMALIZATION = struct(imageSize=np.array([[6.0, 7.0, 3.0]]), averageImage=np.arange(3.0).reshape(1, 1, 3))


def layers() -> NDArray:
    return cell(
        struct(name="conv1", type="conv", weights=cell(KERNEL, BIAS), stride=[[2, 1]], pad=[[0, 1, 0, 1]]),
        struct(name="relu1", type="relu", weights=cell()),
    )


def assert_is_the_network(path: Path) -> None:
    net = load_matconvnet(path)
    assert [(layer.name, layer.type) for layer in net.layers] == [("conv1", "conv"), ("relu1", "relu")]
    assert net["conv1"].options == {"stride": (2, 1), "pad": (0, 1, 0, 1), "dilate": (1, 1)}
    weight, bias = net["conv1"].params["weight"], net["conv1"].params["bias"]
    for h, w, i, o in np.ndindex(*KERNEL.shape):
        assert weight[o, i, h, w] == KERNEL[h, w, i, o]
    assert bias.tolist() == BIAS.ravel().tolist()
    assert net.classes == ["tabby cat", "beagle"]
    assert net.normalization["imageSize"] == (6, 7, 3)


@pytest.mark.parametrize("compressed", [False, True], ids=["v5", "v7"])
def test_at_top_level(tmp_path, compressed) -> None:
    path = tmp_path / "a.mat"
    assert_is_the_network(save(path, compressed, layers=layers(), classes=CLASSES, normalization=NORMALIZATION))


def test_metadata_under_meta(tmp_path) -> None:
    meta = struct(classes=CLASSES, normalization=NORMALIZATION)
    assert_is_the_network(save(tmp_path / "a.mat", layers=layers(), meta=meta))


def test_a_meta_of_something_else_hides_nothing(tmp_path) -> None:
    other = struct(trainOpts=struct(epochs=9.0))
    top = save(tmp_path / "a.mat", layers=layers(), meta=other, classes=CLASSES, normalization=NORMALIZATION)
    assert_is_the_network(top)
    net = struct(layers=layers(), meta=other, normalization=NORMALIZATION)
    assert_is_the_network(save(tmp_path / "b.mat", net=net, classes=CLASSES))
    assert_is_the_network(
        save(tmp_path / "c.mat", net=struct(layers=layers()), meta=struct(classes=CLASSES, normalization=NORMALIZATION))
    )


@pytest.mark.parametrize("info", [True, False])
def test_under_net_with_and_without_info(tmp_path, info) -> None:
    net = struct(layers=layers(), meta=struct(normalization=NORMALIZATION, classes=CLASSES))
    others = {"info": struct(train=struct(error=1.0))} if info else {}
    assert_is_the_network(save(tmp_path / "a.mat", net=net, **others))


def test_old_beta_with_filters_and_biases_in_another_order(tmp_path) -> None:
    conv = struct(
        biasesMomentum=BIAS * 0,
        filtersMomentum=KERNEL * 0,
        biases=BIAS,
        pad=[[0, 1, 0, 1]],
        filters=KERNEL,
        stride=[[2, 1]],
        type="conv",
        name="conv1",
    )
    relu = struct(type="relu", name="relu1")
    net = struct(classes=CLASSES, normalization=NORMALIZATION, layers=cell(conv, relu))
    assert_is_the_network(save(tmp_path / "a.mat", net=net))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1, 5)])
def test_bias_in_any_orientation(tmp_path, shape) -> None:
    conv = struct(name="c", type="conv", weights=cell(KERNEL, BIAS.reshape(shape)))
    bias = load_matconvnet(save(tmp_path / "a.mat", layers=cell(conv)))["c"].params["bias"]
    assert bias.tolist() == BIAS.ravel().tolist()


@pytest.mark.parametrize("weights", [cell(KERNEL), cell(KERNEL, np.zeros((0, 0))), cell(KERNEL, np.zeros((1, 0)))])
def test_bias_absent(tmp_path, weights) -> None:
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(struct(name="c", type="conv", weights=weights))))
    assert list(net["c"].params) == ["weight"]


@pytest.mark.parametrize(("stored", "read"), [((3, 2, 5), (1, 5, 3, 2)), ((4, 3), (1, 1, 4, 3))])
def test_dropped_dimensions(tmp_path, stored, read) -> None:
    conv = struct(name="c", type="conv", weights=cell(RNG.normal(size=stored), np.ones((1, 1))))
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(conv)))
    assert net["c"].params["weight"].shape == read
    assert net["c"].params["bias"].shape == (1,)


def test_a_network_under_another_name_and_a_net_that_is_none(tmp_path) -> None:
    model = struct(layers=layers(), classes=CLASSES, normalization=NORMALIZATION)
    assert_is_the_network(save(tmp_path / "a.mat", model=model, options=struct(a=1.0)))
    top = {"layers": layers(), "classes": CLASSES, "normalization": NORMALIZATION}
    assert_is_the_network(save(tmp_path / "b.mat", net=struct(name="x"), **top))


def test_the_text_of_the_header_is_free(tmp_path) -> None:
    path = save(tmp_path / "a.mat", layers=layers(), classes=CLASSES, normalization=NORMALIZATION)
    path.write_bytes(b"written by somebody else".ljust(116) + path.read_bytes()[116:])
    assert_is_the_network(path)


def test_layers_as_a_struct_array(tmp_path) -> None:
    both = np.empty((1, 2), dtype=[("name", object), ("type", object), ("leak", object)])
    both[0, 0], both[0, 1] = ("a", "relu", 0.5), ("b", "relu", 0.0)
    net = load_matconvnet(save(tmp_path / "a.mat", layers=both))
    assert [(layer.name, layer.options["leak"]) for layer in net.layers] == [("a", 0.5), ("b", 0)]


def test_names_are_made_up_cleaned_and_kept_apart(tmp_path) -> None:
    def relu(**name) -> NDArray:
        return struct(type="relu", **name)

    named = [relu(), relu(name="fc.6/x"), relu(name=np.zeros((0, 0))), relu(name="3a"), relu(name="fc.6/x")]
    named += [relu(name="type"), relu(name="lambda"), relu(name="training"), relu(name="graph"), relu(name="_modules")]
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(*named)))
    names = [layer.name for layer in net.layers]
    assert names == [
        "relu1",
        "fc_6_x",
        "relu3",
        "layer_3a",
        "fc_6_x_2",
        "type_",
        "lambda_",
        "training_",
        "graph_",
        "layer__modules",
    ]
    assert net.to_module()(-torch.ones(1, 2, 3, 4)).sum() == 0


def test_bnorm_moments_hold_sigma(tmp_path) -> None:
    moments = np.array([[0.5, 2.0], [0.1, 3.0]])
    layer = struct(name="b", type="bnorm", weights=cell(np.ones((2, 1)), np.zeros((2, 1)), moments), epsilon=0.25)
    params = load_matconvnet(save(tmp_path / "a.mat", layers=cell(layer)))["b"].params
    assert params["running_mean"].tolist() == pytest.approx([0.5, 0.1])
    assert params["running_var"].tolist() == pytest.approx([2.0**2 - 0.25, 3.0**2 - 0.25])


def test_classes_as_names_only_or_as_a_bare_cell(tmp_path) -> None:
    forms = [
        struct(name=cell("cat", "dog")),
        cell("cat", "dog"),
        struct(description=np.zeros((0, 0)), name=cell("cat", "dog")),
    ]
    for classes in forms:
        assert load_matconvnet(save(tmp_path / "a.mat", layers=layers(), classes=classes)).classes == ["cat", "dog"]


def test_classes_that_are_synonyms_numbers_or_nothing(tmp_path) -> None:
    def read(classes) -> list[str]:
        return load_matconvnet(save(tmp_path / "a.mat", layers=layers(), classes=classes)).classes

    assert read(cell(cell("cat", "feline"), "dog")) == ["cat, feline", "dog"]
    assert read(np.array([[3], [8]])) == read(np.array([[3, 8]])) == ["3", "8"]
    assert read(np.array(["cat", "horse"])) == ["cat", "horse"]
    assert read(np.zeros((0, 0))) == []


def test_weights_that_are_empty_beside_filters(tmp_path) -> None:
    conv = struct(name="c", type="conv", weights=cell(), filters=KERNEL, biases=BIAS)
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(conv)))
    assert net["c"].params["weight"].shape == (5, 4, 2, 3)


def test_image_sizes_that_importers_write(tmp_path) -> None:
    for size, read in (([[0.0, 0.0]], None), ([[7.0]], (7, 7))):
        normalization = struct(imageSize=np.array(size), averageImage=np.ones((1, 3)))
        path = save(tmp_path / "a.mat", layers=layers(), normalization=normalization)
        assert load_matconvnet(path).normalization.get("imageSize") == read


def test_lrn_without_options_has_those_of_matconvnet(tmp_path) -> None:
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(struct(name="n", type="lrn"))))
    assert net["n"].options["param"] == (5, 1, 0.0001 / 5, 0.75)


BROKEN_LAYERS = {
    r"layer 1 \(c, convt\): weights of size 0 stand before others, \(0, 0\), \(1, 5\)": struct(
        name="c", type="convt", weights=cell(np.zeros((0, 0)), BIAS)
    ),
    r"layer 1 \(p, pool\): the field `pool`": struct(name="p", type="pool", stride=2.0),
    r"layer 1 \(c, conv\): a bias .* \(1, 4\), expected 5 values": struct(
        name="c", type="conv", weights=cell(KERNEL, BIAS[:, :4])
    ),
    r"layer 1 \(c, conv\): expected a kernel.*found none": struct(name="c", type="conv", weights=cell()),
    r"layer 1 \(c, conv\): `pad` is \[1, 2, 3\], expected 1 or 4": struct(
        name="c", type="conv", weights=cell(KERNEL, BIAS), pad=[[1, 2, 3]]
    ),
    r"layer 1 \(c, conv\): `stride` is \[1.5\]": struct(name="c", type="conv", weights=cell(KERNEL, BIAS), stride=1.5),
    r"layer 1 \(without a name, conv\): its weights are no numbers": struct(
        type="conv", weights=cell(struct(gpuArray=1.0), BIAS)
    ),
    r"layer 1 \(b, bnorm\): expected moments \(5, 2\), found \(2, 5\)": struct(
        name="b", type="bnorm", weights=cell(np.ones(5), np.ones(5), np.ones((2, 5)))
    ),
    r"layer 1 is no struct with a `type` \(found the fields name\)": struct(name="c"),
    r"layer 1 is no struct with a `type` \(found a ndarray\)": np.ones(3),
}


@pytest.mark.parametrize("message", BROKEN_LAYERS)
def test_a_broken_layer_is_named(tmp_path, message) -> None:
    with pytest.raises(MatConvNetError, match="a.mat: " + message):
        load_matconvnet(save(tmp_path / "a.mat", layers=cell(BROKEN_LAYERS[message])))


def odd(kind: str, **fields) -> NDArray:
    """One layer with a field of a kind that MatConvNet does not know."""
    given = {"weights": cell(np.ones((2, 3, 4, 5)), np.ones(5))} if kind == "conv" else {}
    if kind == "pool":
        given = {"pool": np.array([2, 3])}
    return struct(type=kind, name="odd", **(given | fields))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (odd("conv", stride="two"), "`stride` is 'two', expected 1 or 2 whole numbers, 1 at least"),
        (odd("conv", stride=np.array([0, 1])), r"`stride` is \[0, 1\]"),
        (odd("conv", pad=np.array([-1, 0, 0, 0])), r"`pad` is \[-1, 0, 0, 0\], expected 1 or 4 whole numbers, 0"),
        (odd("conv", pad=np.array([np.nan])), r"`pad` is \[nan\]"),
        (odd("conv", pad=np.array([np.inf])), r"`pad` is \[inf\]"),
        (odd("conv", pad=np.array([1j])), "`pad` is"),
        (odd("conv", dilate=cell(1, 2)), "`dilate` is"),
        (odd("pool", method=np.array([1.0])), r"`method` is \[1.0\], expected the name of one"),
        (odd("relu", leak="little"), "`leak` is 'little', expected one finite number"),
        (odd("relu", leak=np.array([0.1, 0.2])), "`leak` is"),
        (odd("lrn", param=np.array([5.0, 1.0])), r"`param` is \[5.0, 1.0\], expected 4 finite numbers"),
        (odd("lrn", param=np.array([5.0, 1.0, np.nan, 1.0])), "`param` is"),
        (odd("dropout", rate="half"), "`rate` is 'half'"),
        (odd("conv", weights=cell(np.ones((2, 3, 4, 5)) * 1j, np.ones(5))), "its weights are complex"),
        (odd("conv", weights=cell(scipy.sparse.csc_matrix(np.eye(3)), np.ones(3))), "its weights are sparse"),
        (odd("conv", weights=cell("kernel", np.ones(5))), "its weights are text"),
    ],
)
def test_options_and_weights_that_are_none_are_named_at_loading(tmp_path, layer, message) -> None:
    path = save(tmp_path / "net.mat", layers=cell(layer))
    with pytest.raises(MatConvNetError, match=rf"net\.mat: layer 1 \(odd, \w+\): {message}"):
        load_matconvnet(path)


def other_files(folder: Path) -> dict[str, Path]:
    """What people hand in instead of a network, by what the error must say of it."""
    contents = {
        "an empty file": b"",
        "a web page": b"<!DOCTYPE html><html>404</html>",
        "not a MATLAB file": b"layers: conv1\n",
        "MATLAB v7.3": b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" "),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "Python pickle": pickle.dumps({"a": 1}),
    }
    files = {}
    for number, (found, data) in enumerate(contents.items()):
        files[found] = folder / f"{number}.mat"
        files[found].write_bytes(data)
    files["zip file"] = folder / "checkpoint.mat"
    with zipfile.ZipFile(files["zip file"], "w") as archive:
        archive.writestr("data.pkl", b"")
    files["without a `layers` cell (it has x, y)"] = save(folder / "xy.mat", x=3.0, y="text")
    files["but with arrays (x, y.w, y.b)"] = save(folder / "weights.mat", x=KERNEL, y=struct(w=KERNEL, b=BIAS))
    files["the layers in 'layers' are no cell of structs, or an empty one"] = save(folder / "empty.mat", layers=cell())
    files["the layers in 'net' are"] = save(folder / "none.mat", net=struct(layers=np.zeros((0, 0)), info="text"))
    as_struct = struct(numLayers=2.0, IW=cell(KERNEL[0, 0]), LW=cell(np.zeros((0, 0))), b=cell(BIAS))
    files["'net' is a network of MATLAB's Deep Learning Toolbox as a struct"] = save(folder / "nnt.mat", net=as_struct)
    others = cell(struct(type="i"), struct(type="c", k=cell(KERNEL[0, 0]), b=0.0), struct(type="s", scale=2.0))
    files["i, c, s are no types of its layers"] = save(folder / "other.mat", cnn=struct(layers=others))
    files["HDF5 file, as Keras and MATLAB"] = folder / "keras.mat"
    with h5py.File(files["HDF5 file, as Keras and MATLAB"], "w") as file:
        file["model_weights/dense/kernel:0"] = np.ones((3, 2))
    return files


def test_files_that_are_no_network_are_recognised(tmp_path) -> None:
    files = other_files(tmp_path)
    assert len(files) == 15
    for found, path in files.items():
        with pytest.raises(MatConvNetError) as caught:
            load_matconvnet(path)
        assert found in str(caught.value)
        assert str(caught.value).startswith(path.name)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_one_clear_error_wherever_it_ends(tmp_path, compressed) -> None:
    whole = save(tmp_path / "a.mat", compressed, layers=layers()).read_bytes()
    cut = tmp_path / "cut.mat"
    for length in range(128, len(whole) - 8, 37):
        cut.write_bytes(whole[:length])
        with pytest.raises(MatConvNetError, match=r"cut\.mat: a MATLAB file"):
            load_matconvnet(cut)


def test_cells_in_cells_in_cells_end_in_one_error(tmp_path) -> None:
    nested = np.ones(1)
    for _ in range(300):
        nested = cell(nested)
    path = save(tmp_path / "net.mat", layers=nested)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 350)
    try:
        with pytest.raises(MatConvNetError, match=r"net\.mat: "):
            load_matconvnet(path)
    finally:
        sys.setrecursionlimit(limit)


def test_a_pipe_is_named_and_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "net.mat")
    with pytest.raises(MatConvNetError, match="no regular file, but a pipe or a device"):
        load_matconvnet(tmp_path / "net.mat")


def test_a_missing_file_is_file_not_found(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mat"):
        load_matconvnet(tmp_path / "nowhere.mat")


def test_an_empty_bias_is_none_and_what_follows_it_is_on_record(tmp_path) -> None:
    weights = cell(KERNEL, np.zeros((0, 0), np.uint8), np.arange(6.0).reshape(2, 3))
    net = load_matconvnet(save(tmp_path / "net.mat", layers=cell(struct(type="conv", weights=weights))))
    assert list(net["conv1"].params) == ["weight", "weights_3"]
    assert net["conv1"].params["weights_3"].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(MatConvNetError, match="has weights_3, and nothing is known of its use"):
        net.to_module()
