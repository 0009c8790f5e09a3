"""DagNN networks: graphs of layers, read, named, and built against plain numpy loops."""

import re
import time

import numpy as np
import pytest
import torch
from given import folder
from matlab import cell, conv, convt, dag, dag_layer, lrn, pool, save, struct, sub_pixels
from numpy.typing import NDArray
from torch import nn

from helpers.matconvnet import MatConvNetError, Network, load_matconvnet, save_matconvnet

RNG = np.random.default_rng(3)
KERNEL, BIAS = RNG.normal(size=(2, 3, 4, 6)), RNG.normal(size=6)
IMAGE = RNG.normal(size=(9, 11, 4))
CONV = dag_layer("c", "dagnn.Conv", "x", "y", ("f", "b"), pad=[[1.0, 0, 2, 1]], stride=[[2.0, 1]], hasBias=1.0)
PARAMS = {"f": KERNEL, "b": BIAS}


def network(tmp_path, layers, params=None, **more) -> Network:
    return load_matconvnet(save(tmp_path / "net.mat", **dag(layers, params or {}), **more))


def tensor(image: NDArray) -> torch.Tensor:
    return torch.from_numpy(image).float().permute(2, 0, 1)[None]


def array(y: torch.Tensor) -> NDArray:
    return y.detach()[0].permute(1, 2, 0).numpy()


def run(net: Network, **inputs: NDArray) -> NDArray:
    return array(net.to_module()(**{name: tensor(image) for name, image in inputs.items()}))


def assert_same(found: NDArray, expected: NDArray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", ["top", "net", "net, without the prefix"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_conv_in_every_place(tmp_path, place, compressed) -> None:
    layer = CONV | {"type": "Conv"} if "prefix" in place else CONV
    four = dag([layer], PARAMS)
    variables = (
        four if place == "top" else {"net": struct(**four), "stats": 1.0, "state": struct(momentum=cell(KERNEL))}
    )
    net = load_matconvnet(save(tmp_path / "net.mat", compressed, **variables))
    assert (net.inputs, net.outputs, net.is_dag) == (("x",), ("y",), True)
    assert_same(run(net, x=IMAGE), conv(IMAGE, KERNEL, BIAS, (2, 1), (1, 0, 2, 1)))


def test_two_numbers_of_a_pad_are_vertical_and_horizontal(tmp_path) -> None:
    layer = dag_layer("c", "dagnn.Conv", "x", "y", ("f", "b"), pad=[[1.0, 2]])
    assert_same(run(network(tmp_path, [layer], PARAMS), x=IMAGE), conv(IMAGE, KERNEL, BIAS, padding=(1, 1, 2, 2)))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("crop", [0.0, [[1.0, 1, 2, 2]], [[0.0, 1, 2, 0]]])
@pytest.mark.parametrize("with_bias", [False, True])
def test_conv_transpose(tmp_path, groups, crop, with_bias) -> None:
    kernel, bias = RNG.normal(size=(4, 5, 3, 4)), RNG.normal(size=3 * groups)
    layer = dag_layer(
        "up", "dagnn.ConvTranspose", "x", "y", ("f", "b")[: 1 + with_bias],
        upsample=[[2.0, 3]], crop=crop, numGroups=float(groups), size=[[4.0, 5, 1, 1]], hasBias=float(with_bias),
    )  # fmt: skip
    net = network(tmp_path, [layer], {"f": kernel, "b": bias})
    expected = convt(
        IMAGE,
        kernel,
        bias if with_bias else np.zeros(3 * groups),
        (2, 3),
        tuple(np.broadcast_to(crop, (1, 4))[0].astype(int)),
        groups,
    )
    assert_same(run(net, x=IMAGE), expected)


@pytest.mark.parametrize("method", ["max", "avg"])
@pytest.mark.parametrize("padding", [(0, 1, 0, 1), (1, 0, 2, 1)])
def test_pooling(tmp_path, method, padding) -> None:
    options = {"poolSize": [[2.0, 3]], "pad": [list(map(float, padding))], "stride": [[2.0, 1]]}
    layer = dag_layer("p", "dagnn.Pooling", "x", "y", method=method, **options)
    assert_same(run(network(tmp_path, [layer]), x=IMAGE - 5), pool(IMAGE - 5, (2, 3), (2, 1), padding, method))


def test_layers_without_parameters(tmp_path) -> None:
    layers = [
        dag_layer("r", "dagnn.ReLU", "x", "a", leak=0.2),
        dag_layer("s", "dagnn.Sigmoid", "a", "b"),
        dag_layer("n", "dagnn.LRN", "b", "c", param=[[4.0, 1, 0.3, 0.6]]),
        dag_layer("d", "dagnn.DropOut", "c", "d", rate=0.4),
        dag_layer("m", "dagnn.SoftMax", "d", "e"),
    ]
    x = np.where(IMAGE > 0, IMAGE, 0.2 * IMAGE)
    x = np.exp(lrn(1 / (1 + np.exp(-x)), 4, 1, 0.3, 0.6))
    assert_same(run(network(tmp_path, layers), x=IMAGE), x / x.sum(2, keepdims=True))


@pytest.mark.parametrize("with_moments", [False, True])
def test_batch_norm_reads_sigma(tmp_path, with_moments) -> None:
    g, b, moments = RNG.normal(size=4), RNG.normal(size=4), np.stack([RNG.normal(size=4), RNG.uniform(1, 2, 4)], 1)
    params = {"g": g, "b": b, "m": moments if with_moments else np.zeros((0, 0))}
    layer = dag_layer("n", "dagnn.BatchNorm", "x", "y", ("g", "b", "m"), numChannels=np.zeros((0, 0)), epsilon=1e-3)
    net = network(tmp_path, [layer], params)
    if not with_moments:
        moments = np.stack([IMAGE.mean((0, 1)), np.sqrt(IMAGE.var((0, 1)) + 1e-3)], 1)
    assert_same(run(net, x=IMAGE), (IMAGE - moments[:, 0]) / moments[:, 1] * g + b)
    names = ["g", "b", "m.running_mean", "m.running_var"] if with_moments else ["g", "b"]
    assert list(net.state_dict()) == names


OTHER = RNG.normal(size=(9, 11, 3))


def test_concat_along_channels_height_and_width(tmp_path) -> None:
    for dim, other in ((3, OTHER), (1, IMAGE[:5] * 2), (2, IMAGE[:, :3] * 2)):
        layer = dag_layer("j", "dagnn.Concat", ("x", "z"), "y", dim=float(dim))
        expected = np.concatenate([IMAGE, other], dim - 1)
        assert_same(run(network(tmp_path, [layer]), x=IMAGE, z=other), expected)


def test_a_sum_of_three(tmp_path) -> None:
    net = network(tmp_path, [dag_layer("s", "dagnn.Sum", ("x", "z", "u"), "y")])
    assert_same(run(net, x=IMAGE, z=IMAGE**2, u=np.sin(IMAGE)), IMAGE + IMAGE**2 + np.sin(IMAGE))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 4), (9, 11, 4), (9, 1, 1), (1, 11)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_scale_spreads_as_matlab_does(tmp_path, size, with_bias) -> None:
    w, b = RNG.normal(size=size), RNG.normal(size=(1, 1, 4))
    names = ("w", "b")[: 1 + with_bias]
    net = network(
        tmp_path, [dag_layer("s", "dagnn.Scale", "x", "y", names, hasBias=float(with_bias))], {"w": w, "b": b}
    )
    w = w.reshape(w.shape + (1,) * (3 - w.ndim))
    assert_same(run(net, x=IMAGE), IMAGE * w + (b if with_bias else 0))


def test_factors_may_come_as_a_variable(tmp_path) -> None:
    net = network(tmp_path, [dag_layer("s", "dagnn.Scale", ("x", "gate"), "y", hasBias=0.0)])
    gate = RNG.normal(size=(1, 1, 4))
    assert_same(run(net, x=IMAGE, gate=gate), IMAGE * gate)


@pytest.mark.parametrize("offset", [(0, 0), (2, 1), (7, 9)])
def test_crop_to_the_size_of_another(tmp_path, offset) -> None:
    net = network(tmp_path, [dag_layer("k", "dagnn.Crop", ("x", "z"), "y", crop=[list(map(float, offset))])])
    top, left = min(offset[0], 9 - 4), min(offset[1], 11 - 6)
    assert_same(run(net, x=IMAGE, z=OTHER[:4, :6]), IMAGE[top : top + 4, left : left + 6])


def test_pixels_of_channels_and_a_constant_factor(tmp_path) -> None:
    image = RNG.normal(size=(3, 5, 18))
    up = dag_layer("u", "dagnn.SubP", "x", "a", scale=3.0)
    down = dag_layer("v", "dagnn.SubP", "a", "b", scale=1 / 3)
    times = dag_layer("t", "dagnn.MulConst", "a", "c", ("k",))
    net = network(tmp_path, [up, down, times], {"k": np.array([[-1.5]])})
    found = net.to_module()(tensor(image))
    assert_same(array(found["c"]), -1.5 * sub_pixels(image, 3))
    assert_same(array(found["b"]), image)


def two_branches() -> list[dict]:
    """In no order that runs: the trunk comes last, and a loss and a metric lie in between."""
    return [
        dag_layer("join", "dagnn.Sum", ("left", "right"), "sum"),
        dag_layer("error", "dagnn.OwnError", ("sum", "label"), "top1"),
        dag_layer("loss", "HuberLoss", ("sum", "label"), "objective", weight=2.0),
        dag_layer("left", "dagnn.Conv", "trunk", "left", ("shared", "b1")),
        dag_layer("right", "dagnn.Conv", "trunk", "right", ("shared",)),
        dag_layer("track", "dagnn.XCorr", ("sum", "template"), "response"),
        dag_layer("trunk", "dagnn.Conv", "in.put", "trunk", ("f", "b")),
    ]


SHARED, B1 = RNG.normal(size=(1, 3, 6, 5)), RNG.normal(size=5)
BRANCHES = PARAMS | {"shared": SHARED, "b1": B1}


def summed(image: NDArray) -> NDArray:
    trunk = conv(image, KERNEL, BIAS)
    return conv(trunk, SHARED, B1) + conv(trunk, SHARED, np.zeros(5))


def test_layers_in_any_order_share_and_lose_their_losses(tmp_path) -> None:
    net = network(tmp_path, [layer for layer in two_branches() if layer["name"] != "track"], BRANCHES)
    assert (net.inputs, net.outputs) == (("in.put",), ("sum",))
    assert [layer.name for layer in net.layers][:2] == ["trunk", "left"]
    assert list(net.state_dict()) == ["f", "b", "shared", "b1"]
    module = net.to_module()
    assert not module.training
    assert module.left.weight is module.right.weight
    assert_same(array(module(in_put=tensor(IMAGE))), summed(IMAGE))
    assert_same(array(module(tensor(IMAGE))), summed(IMAGE))
    module.left.weight.data.zero_()
    assert net.state_dict()["shared"].any()


def test_a_leaf_of_unknown_type_beside_a_real_input_is_taken_for_a_loss_and_can_be_asked_for(tmp_path) -> None:
    """A tracker's join of two inputs cannot be told from a loss; `outputs` decides."""
    net = network(tmp_path, two_branches(), BRANCHES)
    assert net.outputs == ("sum",)
    with pytest.raises(MatConvNetError, match=r"cannot build 'track' \(type 'XCorr'\)"):
        net.to_module(["response"])
    builders = {"XCorr": lambda _layer: lambda features, template: features * template}
    inputs = {"in_put": tensor(IMAGE), "template": torch.full((1, 1, 1, 1), 2.0)}
    assert_same(array(net.to_module(["response"], builders=builders)(**inputs)), 2 * summed(IMAGE))
    assert_same(array(net.to_module(builders=builders)(**inputs)), 2 * summed(IMAGE))


def test_an_unknown_layer_costs_only_what_needs_it(tmp_path) -> None:
    layers = [*two_branches()[:-2], *two_branches()[-1:]]
    layers.append(dag_layer("odd", "dagnn.Odd", ("left", "right"), "strange", scale=3.0))
    layers.append(dag_layer("end", "dagnn.ReLU", "strange", "end"))
    net = network(tmp_path, layers, BRANCHES)
    assert set(net.outputs) == {"sum", "end"}
    with pytest.raises(MatConvNetError, match=r"cannot build 'odd' \(type 'Odd'\).*builders=\{'Odd': function\}"):
        net.to_module()
    found = net.to_module(["sum"])(tensor(IMAGE))
    assert_same(array(found), summed(IMAGE))
    assert set(net.to_module(outputs=("left", "sum"))(tensor(IMAGE))) == {"left", "sum"}
    assert not hasattr(net.to_module(["trunk"]), "left")
    seen = []

    def build(layer):
        seen.append((layer.name, layer.options["scale"], layer.inputs))
        return lambda left, right: left - 3 * right

    both = net.to_module(builders={"Odd": build})(tensor(IMAGE))
    trunk = conv(IMAGE, KERNEL, BIAS)
    odd = conv(trunk, SHARED, B1) - 3 * conv(trunk, SHARED, np.zeros(5))
    assert_same(array(both["end"]), np.maximum(odd, 0))
    assert seen == [("odd", 3, ("left", "right"))]

    class Minus(nn.Module):
        def forward(self, left, right):
            return left - right

    module = net.to_module(["strange"], builders={"Odd": lambda _layer: Minus()})
    assert isinstance(module.odd, Minus)
    with pytest.raises(MatConvNetError, match="gave a int for layer 'odd'"):
        net.to_module(builders={"Odd": lambda _layer: 3})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([CONV, dag_layer("d", "dagnn.ReLU", "x", "y")], "layers 'c' and 'd' both write 'y'"),
        ([dag_layer("a", "dagnn.ReLU", "q", "p"), dag_layer("b", "dagnn.ReLU", "p", "q")], "in a circle, 'a' among"),
        ([dag_layer("c", "dagnn.Conv", "x", "y", ("gone",))], "layer 1 .c, conv.: its parameter 'gone' is not in"),
        ([dag_layer("c", "dagnn.Conv", "x", "y")], "layer 1 .c, conv.: expected a kernel"),
        ([CONV | {"type": 3.0}], "layer 1 .c. has no type"),
        ([CONV | {"inputs": np.ones((1, 1))}], "its inputs are"),
    ],
)
def test_what_is_no_graph_is_named(tmp_path, layers, message) -> None:
    with pytest.raises(MatConvNetError, match=message):
        network(tmp_path, layers, PARAMS)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (dag_layer("r", "dagnn.ReLU", ("y", "x"), "z"), "'r' .relu. takes 2 variables, not one"),
        (dag_layer("r", "dagnn.ReLU", "y", ("z", "u")), "'r' .relu. gives 2 variables, not one"),
        (dag_layer("n", "dagnn.Conv", "y", "z", ("f", "b")), "layer 'n': 6 channels arrive"),
        (dag_layer("n", "dagnn.Sum", ("y", "w"), "z"), "'n' .sum. joins 6, 5 channels, which do not spread"),
        (dag_layer("n", "dagnn.Scale", ("y", "w"), "z"), "'n' .scale. joins 6, 5 channels, which do not spread"),
        (dag_layer("n", "dagnn.Sum", (), "z"), "'n' .sum. takes no variables, not at least one"),
        (dag_layer("n", "dagnn.Crop", "y", "z"), "'n' .crop. takes 1 variables, not two"),
        (dag_layer("n", "dagnn.Scale", "y", "z"), "'n' .scale. has 1 inputs and 0 parameters"),
        (dag_layer("n", "dagnn.SubP", "y", "z", scale=2.5), "scale 2.5"),
        (dag_layer("n", "dagnn.SubP", "y", "z", scale=2.0), "2 x 2 pixels of 6 channels"),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path, layer, message) -> None:
    five = dag_layer("five", "dagnn.Conv", "y", "w", ("shared",))
    net = network(tmp_path, [CONV, five, layer], BRANCHES)
    with pytest.raises(MatConvNetError, match=message):
        net.to_module()


def test_a_map_of_one_channel_spreads_to_many(tmp_path) -> None:
    """As in MATLAB, and the conv behind it is built for the many."""
    one, many, last = RNG.normal(size=(1, 1, 4, 1)), RNG.normal(size=(1, 1, 4, 3)), RNG.normal(size=(1, 1, 3, 2))
    factors = RNG.normal(size=(1, 1, 3))
    layers = [
        dag_layer("a", "dagnn.Conv", "x", "a", ("one",)),
        dag_layer("b", "dagnn.Conv", "x", "b", ("many",)),
        dag_layer("s", "dagnn.Sum", ("a", "b"), "s"),
        dag_layer("m", "dagnn.Scale", ("a", "s"), "m"),
        dag_layer("f", "dagnn.Scale", "a", "f", ("factors",), hasBias=0.0),
        dag_layer("j", "dagnn.Sum", ("m", "f"), "j"),
        dag_layer("c", "dagnn.Conv", "j", "y", ("last",)),
    ]
    params = {"one": one, "many": many, "factors": factors, "last": last}
    a, b = (conv(IMAGE, kernel, np.zeros(3)) for kernel in (one, many))
    expected = conv(a * (a + b) + a * factors, last, np.zeros(2))
    assert_same(run(network(tmp_path, layers, params), x=IMAGE), expected)


def test_factors_that_do_not_spread_are_named(tmp_path) -> None:
    layer = dag_layer("f", "dagnn.Scale", "x", "y", ("factors",), hasBias=0.0)
    module = network(tmp_path, [layer], {"factors": RNG.normal(size=(4, 1))}).to_module()
    with pytest.raises(MatConvNetError, match=r"\(1, 1, 4, 1\) do not spread to \(1, 4, 9, 11\)"):
        module(tensor(IMAGE))


def test_a_window_that_is_not_given_is_one_pixel(tmp_path) -> None:
    layer = dag_layer("p", "dagnn.Pooling", "x", "y", stride=[[2.0, 3]])
    assert_same(run(network(tmp_path, [layer]), x=IMAGE), IMAGE[::2, ::3])


def test_a_sum_of_losses_is_told_what_comes_before(tmp_path) -> None:
    losses = [dag_layer(f"l{i}", "dagnn.MyLoss", ("y", f"labels{i}"), f"l{i}") for i in range(2)]
    net = network(tmp_path, [CONV, *losses, dag_layer("all", "dagnn.Sum", ("l0", "l1"), "objective")], PARAMS)
    with pytest.raises(MatConvNetError, match=re.escape("what comes before, to_module(outputs=['y'])")):
        net.to_module()
    module = net.to_module(outputs=["y"])
    assert_same(array(module(tensor(IMAGE))), conv(IMAGE, KERNEL, BIAS, (2, 1), (1, 0, 2, 1)))


@pytest.mark.parametrize("outputs", ["y", [], ["nope"], 3])
def test_outputs_are_names_that_there_are(tmp_path, outputs) -> None:
    with pytest.raises(MatConvNetError, match=r"outputs is a list|no layer gives 'nope'"):
        network(tmp_path, [CONV], PARAMS).to_module(outputs)


def test_the_table_shows_what_each_layer_takes(tmp_path) -> None:
    said = repr(network(tmp_path, two_branches()[:5] + two_branches()[6:], BRANCHES))
    assert re.search(r"^join +sum +left, right$", said, re.MULTILINE)
    assert said.splitlines()[-1].startswith("6 layers, 245 parameters")


def test_a_parameter_in_doubles_is_one_tensor_for_all_that_share_it(tmp_path) -> None:
    kernel, moments = RNG.normal(size=(2, 3, 4, 6)), np.stack([RNG.normal(size=6), np.full(6, 0.3)], 1)
    layers = [dag_layer(f"c{i}", "dagnn.Conv", "x", f"y{i}", ("f", f"b{i}")) for i in (1, 2)]
    layers.append(dag_layer("n", "dagnn.BatchNorm", "y1", "z", ("g", "g", "m"), epsilon=0.0))
    params = {"f": kernel, "b1": np.ones(6), "b2": np.zeros(6), "g": np.ones(6), "m": moments}
    net = network(tmp_path, layers, params)
    first, second = net["c1"].params["weight"], net["c2"].params["weight"]
    assert first.data_ptr() == second.data_ptr()
    np.testing.assert_array_equal(first.numpy(), kernel.transpose(3, 2, 0, 1).astype(np.float32))
    assert net["n"].params["running_var"][0].item() == np.float32(0.3**2)  # squared in float64


def test_losses_on_losses_are_left_out_one_after_the_other(tmp_path) -> None:
    layers = [dag_layer(f"l{i}", "dagnn.Own", (f"o{i - 1}" if i else "y", f"label{i}"), f"o{i}") for i in range(4)]
    net = network(tmp_path, [CONV, *layers[::-1]], PARAMS)
    assert (net.inputs, net.outputs) == (("x",), ("y",))


def test_what_takes_an_input_of_the_network_is_no_loss_unless_it_is_called_so(tmp_path) -> None:
    """A residual that is taken from the input, as denoisers have it; and the loss of an autoencoder."""
    for kind, outputs in (("dagnn.Minus", ("out",)), ("dagnn.L2Loss", ("y",))):
        net = network(tmp_path, [CONV, dag_layer("last", kind, ("x", "y"), "out")], PARAMS)
        assert net.outputs == outputs
    metrics = [dag_layer(name, "dagnn.Own", ("y", "label"), name) for name in ("objective", "top1")]
    assert network(tmp_path, [CONV, *metrics], PARAMS).outputs == ("y",)


def test_names_that_would_hide_one_another(tmp_path) -> None:
    up = {"upsample": [[2.0, 2]], "crop": [[0.0, 1, 0, 1]]}
    layers = [
        dag_layer("up", "dagnn.ConvTranspose", "x", "u", ("w",), **up),
        dag_layer("up_crop", "dagnn.ReLU", "u", "v"),
    ]
    weight = RNG.normal(size=(3, 3, 2, 4))
    found = run(network(tmp_path, layers, {"w": weight}), x=IMAGE)
    assert_same(found, np.maximum(convt(IMAGE, weight, np.zeros(2), (2, 2), (0, 1, 0, 1)), 0))
    layers = [
        dag_layer("up_crop", "dagnn.ReLU", "x", "r"),
        dag_layer("up", "dagnn.ConvTranspose", "r", "u", ("w",), **up),
    ]
    found = run(network(tmp_path, layers, {"w": weight}), x=IMAGE)
    assert_same(found, convt(np.maximum(IMAGE, 0), weight, np.zeros(2), (2, 2), (0, 1, 0, 1)))
    both = network(tmp_path, [dag_layer("self", "dagnn.Sum", ("a.b", "a_b"), "y")]).to_module()
    assert_same(array(both(tensor(IMAGE), tensor(2 * IMAGE))), 3 * IMAGE)


def test_options_that_come_last_are_refused_and_a_bias_that_is_switched_off_is_none(tmp_path) -> None:
    harmless = network(tmp_path, [CONV | {"block": struct(opts=cell("CuDNN"), hasBias=0.0)}], PARAMS)
    assert_same(run(harmless, x=IMAGE), conv(IMAGE, KERNEL, np.zeros(6)))
    with pytest.raises(MatConvNetError, match=r"'c' .conv. has opts that change what it computes: dilate"):
        network(tmp_path, [CONV | {"block": struct(opts=cell("dilate", 2.0))}], PARAMS).to_module()


def test_norms_that_share_parameters_and_not_epsilon(tmp_path) -> None:
    moments = np.stack([np.zeros(4), np.full(4, 0.2)], 1)
    layers = [dag_layer(f"n{e}", "dagnn.BatchNorm", "x", f"y{e}", ("g", "b", "m"), epsilon=10.0**-e) for e in (2, 5)]
    found = network(tmp_path, layers, {"g": np.ones(4), "b": np.zeros(4), "m": moments}).to_module()(tensor(IMAGE))
    for name in ("y2", "y5"):
        assert_same(array(found[name]), IMAGE / 0.2)


def test_outputs_of_a_chain_and_a_name_for_each_parameter(tmp_path) -> None:
    first, second = struct(type="conv", name="c", weights=cell(KERNEL, BIAS)), struct(type="relu", name="r")
    found = load_matconvnet(save(tmp_path / "a.mat", layers=cell(first, second))).to_module(["c", "r"])(tensor(IMAGE))
    assert_same(array(found["r"]), np.maximum(array(found["c"]), 0))
    odd = network(
        tmp_path, [dag_layer("o", "dagnn.Own", "x", "y", ("a", "b"))], {"a": np.zeros((0, 0)), "b": BIAS[None]}
    )
    assert list(odd.state_dict()) == ["b"]


def test_a_dimension_is_a_whole_number(tmp_path) -> None:
    with pytest.raises(MatConvNetError, match=r"`dim` is \[2\.5\], and 2\.5 is no whole number"):
        network(tmp_path, [dag_layer("j", "dagnn.Concat", ("x", "z"), "y", dim=2.5)])


def test_class_names_in_cells_of_cells(tmp_path) -> None:
    classes = struct(description=cell(cell("wren", "jenny wren"), "owl"))
    net = network(tmp_path, [CONV], PARAMS, classes=classes)
    assert net.classes == ["wren, jenny wren", "owl"]


# What a SimpleNN may have, too


def test_a_chain_with_convt_concat_sub_pixels_and_a_loss_of_any_type(tmp_path) -> None:
    """As FFDNet: pixels to channels, the level of noise beside them, and back."""
    kernel, up = RNG.normal(size=(3, 2, 9, 8)), RNG.normal(size=(2, 3, 3, 8))
    layers = cell(
        struct(type="SubP", scale=0.5),
        struct(type="concat"),
        struct(type="conv", weights=cell(kernel, np.zeros((0, 0)))),
        struct(type="convt", weights=cell(up), upsample=2.0, crop=[[0.0, 1, 1, 0]], numGroups=1.0),
        struct(type="relu"),
        struct(type="myobjective", **{"class": np.zeros((0, 0))}),
    )
    net = load_matconvnet(save(tmp_path / "net.mat", layers=layers))
    assert net.inputs == ("x", "concat1_input")
    image, sigma = RNG.normal(size=(8, 10, 2)), 0.7
    pixels = np.empty((4, 5, 8))
    for c, place in np.ndindex(2, 4):
        pixels[..., 4 * c + place] = image[place % 2 :: 2, place // 2 :: 2, c]
    assert_same(sub_pixels(pixels, 2), image)
    y = conv(np.concatenate([pixels, np.full((4, 5, 1), sigma)], 2), kernel, np.zeros(8))
    y = np.maximum(convt(y, up, np.zeros(3), (2, 2), (0, 1, 1, 0)), 0)
    module = net.to_module()
    assert_same(array(module(tensor(image), torch.tensor([[sigma]]))), y)
    assert_same(array(module(tensor(image), concat1_input=torch.full((1, 1, 4, 5), sigma))), y)


def test_an_unknown_last_layer_is_no_loss_unless_it_says_so(tmp_path) -> None:
    first = struct(type="conv", weights=cell(KERNEL, BIAS))
    odd = load_matconvnet(save(tmp_path / "net.mat", layers=cell(first, struct(type="upsmpl"))))
    with pytest.raises(MatConvNetError, match="cannot build 'upsmpl1'"):
        odd.to_module()
    loss = load_matconvnet(save(tmp_path / "net.mat", layers=cell(first, struct(type="PSNRLoss"))))
    assert loss.outputs == ("conv1",)


def test_net_may_be_the_cell_itself(tmp_path) -> None:
    net = load_matconvnet(save(tmp_path / "net.mat", net=cell(struct(type="relu", leak=0.5), struct(type="sigmoid"))))
    assert [layer.type for layer in net.layers] == ["relu", "sigmoid"]


def test_class_names_are_those_of_which_there_are_as_many_as_outputs(tmp_path) -> None:
    classes = struct(description=cell("all of them"), name=cell(*"abcdef"))
    layers = cell(struct(type="conv", weights=cell(KERNEL, BIAS)), struct(type="softmax"))
    net = load_matconvnet(
        save(tmp_path / "net.mat", layers=layers, meta=struct(classes=classes, inputSize=[[9.0, 11]]))
    )
    assert net.classes == list("abcdef")
    assert net.meta["inputSize"].tolist() == [[9, 11]]


# Networks that this project did not make


@pytest.mark.parametrize(
    ("name", "given", "wanted"), [("LapSRN_x2", "LR", "level1_output"), ("mnist_dagnn_new_net", "data", "ip2")]
)
def test_real_graphs_compute_what_they_should(name, given, wanted) -> None:
    real = folder("REAL_NETWORKS_DIR", f"{name}.mat and expected/{name}.npz")
    net = load_matconvnet(real / f"{name}.mat")
    assert (net.inputs, net.outputs) == ((given,), (wanted,))
    expected = np.load(real / "expected" / f"{name}.npz")
    found = net.to_module()(**{given: torch.from_numpy(expected[f"in_{given}"]).float()}).detach().numpy()
    largest = np.abs(expected[f"out_{wanted}"]).max()
    np.testing.assert_allclose(found, expected[f"out_{wanted}"], rtol=0, atol=1e-4 * largest)


def test_real_digits_are_recognised_and_not_if_height_and_width_are_exchanged() -> None:
    real = folder("REAL_NETWORKS_DIR", "mnist_dagnn_new_net.mat and expected/mnist_dagnn_digits.npz")
    digits = np.load(real / "expected" / "mnist_dagnn_digits.npz")
    module = load_matconvnet(real / "mnist_dagnn_new_net.mat").to_module()
    images, labels = torch.from_numpy(digits["data"]).float(), torch.from_numpy(digits["labels"].ravel())
    scores = []
    with torch.no_grad():
        for x in (images, images.transpose(2, 3)):
            scores.append(float((module(x).flatten(1).argmax(1) == labels).double().mean()))
    assert scores == [0.9795, 0.1725]


def test_a_scale_without_bias_adds_nothing(tmp_path) -> None:
    """It takes two of what it is given, variables before parameters."""
    factors, none = RNG.normal(size=(1, 1, 4)), np.array([[0.0]])
    z, b = RNG.normal(size=(2, 9, 11, 4))
    layer = dag_layer("s", "dagnn.Scale", ("x", "z"), "y", ("w",), hasBias=none)
    assert_same(run(network(tmp_path, [layer], {"w": factors}), x=IMAGE, z=z), IMAGE * z)
    layer = dag_layer("s", "dagnn.Scale", ("x", "z", "b"), "y", hasBias=none)
    assert_same(run(network(tmp_path, [layer]), x=IMAGE, z=z), IMAGE * z)
    layer = dag_layer("s", "dagnn.Scale", ("x", "z", "b"), "y")
    assert_same(run(network(tmp_path, [layer]), x=IMAGE, z=z, b=b), IMAGE * z + b)


def test_what_a_builder_made_keeps_its_weights(tmp_path) -> None:
    """A transposed conv as a conv with flipped kernels, beside a conv of the same parameter."""
    kernel = RNG.normal(size=(3, 3, 4, 4))
    layers = [
        dag_layer("c", "dagnn.Conv", "x", "a", ("w",), hasBias=0.0),
        dag_layer("t", "dagnn.ConvTranspose", "a", "y", ("w",), hasBias=0.0),
    ]
    net = network(tmp_path, layers, {"w": kernel})

    def build(layer):
        made = nn.Conv2d(4, 4, 3, padding=2, bias=False)
        made.weight.data = layer.params["weight"].flip(2, 3).transpose(0, 1).contiguous()
        return made

    found = net.to_module(builders={"convt": build})(tensor(IMAGE))
    torch.testing.assert_close(found, net.to_module()(tensor(IMAGE)), rtol=1e-4, atol=1e-4)


def test_a_builder_may_give_several_variables(tmp_path) -> None:
    layers = [dag_layer("sp", "Slice", "x", ("a", "b")), dag_layer("r", "dagnn.ReLU", "b", "y")]
    builders = {"Slice": lambda _: lambda x: (x[:, :1], x[:, 1:])}
    net = network(tmp_path, layers)
    found = net.to_module(builders=builders)(tensor(IMAGE))
    assert found.keys() == {"a", "y"}
    assert_same(array(found["y"]), np.maximum(IMAGE[..., 1:], 0))
    assert_same(array(net.to_module(["b"], builders=builders)(tensor(IMAGE))), IMAGE[..., 1:])


def test_a_layer_that_gives_nothing_is_left_out(tmp_path) -> None:
    net = network(tmp_path, [CONV, dag_layer("show", "Plot", "y", ())], PARAMS)
    assert net.outputs == ("y",)
    assert_same(run(net, x=IMAGE), conv(IMAGE, KERNEL, BIAS, (2, 1), (1, 0, 2, 1)))


def test_a_name_keeps_its_numbers_beside_one_that_has_none(tmp_path) -> None:
    numbers = RNG.normal(size=(2, 2))
    net = network(tmp_path, [dag_layer("q", "Mine", "x", "y", ("a", "b"))], {"a": "text", "b": numbers})
    assert list(net.state_dict()) == ["b"]
    np.testing.assert_allclose(net.state_dict()["b"].numpy(), numbers, rtol=1e-6)


def test_losses_that_read_features_one_after_the_other_take_no_time(tmp_path) -> None:
    """Each frees the next: what reads an input that features read is no loss."""
    layers = [dag_layer("c", "dagnn.ReLU", "x", "f")]
    layers += [dag_layer(f"q{i}", "Mine", ("f", f"l{i}", f"l{i + 1}"), f"o{i}") for i in range(2000)]
    layers.append(dag_layer("z", "dagnn.Sum", ("x", "l2000"), "y"))
    net = network(tmp_path, layers)
    start = time.perf_counter()
    assert len(net.inputs) == 2002
    assert time.perf_counter() - start < 2


def test_a_graph_is_not_written_as_a_chain(tmp_path) -> None:
    layers = [dag_layer("a", "dagnn.ReLU", "x", "ya"), dag_layer("b", "dagnn.ReLU", "x", "yb")]
    net = network(tmp_path, layers)
    with pytest.raises(MatConvNetError, match="a graph cannot be written as a chain"):
        save_matconvnet(tmp_path / "a.mat", net.layers, classes=[], normalization={})
    layers[1] = dag_layer("b", "dagnn.ReLU", "ya", "yb")
    save_matconvnet(tmp_path / "a.mat", network(tmp_path, layers).layers, classes=[], normalization={})
