"""`to_module` against plain numpy loops, one layer at a time and all together."""

import copy

import numpy as np
import pytest
import torch
from matlab import cell, conv, lrn, pool, save, struct
from numpy.typing import NDArray

from helpers.matconvnet import Layer, MatConvNetError, Network, load_matconvnet

RNG = np.random.default_rng(1)
KERNEL, BIAS = RNG.normal(size=(2, 3, 4, 6)), RNG.normal(size=6)
IMAGE = RNG.normal(size=(9, 11, 4))


def network(tmp_path, *layers: NDArray) -> Network:
    return load_matconvnet(save(tmp_path / "net.mat", layers=cell(*layers)))


def run(net: Network, image: NDArray) -> NDArray:
    """(H, W, C) -> (H', W', C') through the built module."""
    with torch.no_grad():
        y = net.to_module()(torch.from_numpy(image).float().permute(2, 0, 1)[None])
    return y[0].permute(1, 2, 0).numpy()


def conv_layer(kernel: NDArray = KERNEL, bias: NDArray = BIAS, **options) -> NDArray:
    return struct(name="conv", type="conv", weights=cell(kernel, bias), **options)


@pytest.mark.parametrize("stride", [1, [2, 3]])
@pytest.mark.parametrize("padding", [0, 2, [1, 0, 2, 3], [1, 1, 2, 2]])
@pytest.mark.parametrize("dilate", [1, [2, 3]])
def test_conv(tmp_path, stride, padding, dilate) -> None:
    net = network(tmp_path, conv_layer(stride=stride, pad=padding, dilate=dilate))
    expected = conv(
        IMAGE,
        KERNEL,
        BIAS,
        tuple(np.broadcast_to(stride, 2)),
        tuple(np.broadcast_to(padding, 4)),
        tuple(np.broadcast_to(dilate, 2)),
    )
    np.testing.assert_allclose(run(net, IMAGE), expected, rtol=1e-4, atol=1e-4)


def test_grouped_conv_after_a_plain_one(tmp_path) -> None:
    grouped, bias = RNG.normal(size=(3, 2, 3, 8)), RNG.normal(size=8)
    second = struct(name="grouped", type="conv", weights=cell(grouped, bias), pad=0, stride=1)
    net = network(tmp_path, conv_layer(), second)
    assert net.to_module().grouped.groups == 2
    np.testing.assert_allclose(run(net, IMAGE), conv(conv(IMAGE, KERNEL, BIAS), grouped, bias), rtol=1e-4, atol=1e-4)


def test_a_grouped_conv_at_the_input_takes_its_groups_from_what_arrives(tmp_path) -> None:
    net = network(tmp_path, conv_layer(RNG.normal(size=(2, 3, 2, 6)), pad=[[1.0, 0, 0, 2]]))
    kernel = net["conv"].params["weight"].numpy().transpose(2, 3, 1, 0)
    for image in (IMAGE, IMAGE[..., :2], np.concatenate([IMAGE, IMAGE[..., :2]], 2)):  # 2, 1 and 3 groups
        np.testing.assert_allclose(
            run(net, image), conv(image, kernel, BIAS, padding=(1, 0, 0, 2)), rtol=1e-4, atol=1e-4
        )
    assert repr(net.to_module().conv).startswith("Conv2d(2, 6, kernel_size=(2, 3)")


def test_conv_without_bias(tmp_path) -> None:
    net = network(tmp_path, struct(name="conv", type="conv", weights=cell(KERNEL, np.zeros((0, 0)))))
    assert net.to_module().conv.bias is None
    np.testing.assert_allclose(run(net, IMAGE), conv(IMAGE, KERNEL, np.zeros(6)), rtol=1e-4, atol=1e-4)


POOLS = [  # size, padding: none, alike, MatConvNet's usual one, and more than half the window
    ([3, 2], 0),
    ([3, 2], [1, 1, 1, 1]),
    ([3, 2], [0, 1, 0, 1]),
    ([3, 2], [2, 2, 1, 1]),
    ([2, 4], [1, 0, 0, 3]),
    ([2, 4], [1, 1, 2, 2]),
    ([2, 4], [1, 1, 3, 3]),
]


@pytest.mark.parametrize("method", ["max", "avg"])
@pytest.mark.parametrize(("size", "padding"), POOLS)
@pytest.mark.parametrize("stride", [2, 3, [1, 2]])
def test_pool(tmp_path, method, size, stride, padding) -> None:
    net = network(tmp_path, struct(name="p", type="pool", method=method, pool=size, stride=stride, pad=padding))
    image = IMAGE - 5  # all negative: a zero that slipped in from the padding would win
    expected = pool(image, tuple(size), tuple(np.broadcast_to(stride, 2)), tuple(np.broadcast_to(padding, 4)), method)
    np.testing.assert_allclose(run(net, image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_lrn_odd_and_even(tmp_path, size) -> None:
    net = network(tmp_path, struct(name="n", type="lrn", param=np.array([size, 1.5, 0.3, 0.75])))
    np.testing.assert_allclose(run(net, IMAGE), lrn(IMAGE, size, 1.5, 0.3, 0.75), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("epsilon", [None, 1e-2])
def test_bnorm_divides_by_sigma_not_by_its_root(tmp_path, epsilon) -> None:
    gain, bias, mean, sigma = RNG.normal(size=(4, 4))
    sigma = np.abs(sigma) + 0.5
    options = {} if epsilon is None else {"epsilon": epsilon}
    weights = cell(gain[:, None], bias[None], np.stack([mean, sigma], axis=1))
    net = network(tmp_path, struct(name="b", type="bnorm", weights=weights, **options))
    np.testing.assert_allclose(run(net, IMAGE), (IMAGE - mean) / sigma * gain + bias, rtol=1e-4, atol=1e-4)


def test_bnorm_without_moments_uses_those_of_the_batch(tmp_path) -> None:
    gain, bias = RNG.normal(size=(2, 4))
    net = network(tmp_path, struct(name="b", type="bnorm", weights=cell(gain[:, None], bias[:, None])))
    mean, variance = IMAGE.mean((0, 1)), IMAGE.var((0, 1))
    expected = (IMAGE - mean) / np.sqrt(variance + 1e-4) * gain + bias
    np.testing.assert_allclose(run(net, IMAGE), expected, rtol=1e-4, atol=1e-4)


def test_relu_leak_sigmoid_softmax_and_dropout(tmp_path) -> None:
    def single(**fields) -> NDArray:
        return run(network(tmp_path, struct(name="a", **fields)), IMAGE)

    np.testing.assert_allclose(single(type="relu"), np.maximum(IMAGE, 0), rtol=1e-6)
    np.testing.assert_allclose(single(type="relu", leak=0.1), np.where(IMAGE > 0, IMAGE, 0.1 * IMAGE), rtol=1e-6)
    np.testing.assert_allclose(single(type="sigmoid"), 1 / (1 + np.exp(-IMAGE)), rtol=1e-5)
    powers = np.exp(IMAGE)
    np.testing.assert_allclose(single(type="softmax"), powers / powers.sum(2, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(single(type="dropout", rate=0.9), IMAGE, rtol=1e-6)


def small_network(tmp_path) -> Network:
    fc = struct(type="conv", weights=cell(RNG.normal(size=(4, 4, 6, 5)), RNG.normal(size=(1, 5))))
    return network(
        tmp_path,
        conv_layer(pad=[1, 0, 1, 1], stride=1),
        struct(name="relu", type="relu"),
        struct(name="pool", type="pool", method="max", pool=[3, 3], stride=2, pad=[0, 1, 0, 1]),
        fc,
        struct(type="softmaxloss"),
    )


def test_loss_layers_are_left_out_and_the_code_reads_like_a_forward(tmp_path) -> None:
    code = small_network(tmp_path).to_module().code
    lines = [line.strip() for line in code.strip().splitlines()]
    assert lines == [
        "def forward(self, x):",
        "x = self.conv_pad(x)",
        "x = self.conv(x)",
        "x = self.relu(x)",
        "x = self.pool_pad(x)",
        "x = self.pool(x)",
        "x = self.conv2(x)",
        "return x",
    ]


def test_module_keys_are_the_networks_keys(tmp_path) -> None:
    net = small_network(tmp_path)
    module = net.to_module()
    assert list(module.state_dict()) == list(net.state_dict())
    module.load_state_dict(net.state_dict())


def test_a_layer_called_like_the_padding_of_another_is_kept(tmp_path) -> None:
    first = struct(name="conv_pad", type="conv", weights=cell(RNG.normal(size=(1, 1, 4, 4)), np.zeros(4)))
    net = network(tmp_path, first, conv_layer(pad=[0, 1, 0, 1], stride=1))
    assert [layer.name for layer in net.layers] == ["conv_pad", "conv_2"]
    assert run(net, IMAGE).shape == (9, 10, 6)


def test_training_the_module_leaves_the_network_as_it_was_read(tmp_path) -> None:
    net = small_network(tmp_path)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    module = net.to_module()
    assert not module.training
    module(torch.randn(2, 4, 8, 9)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=1.0).step()
    assert not torch.equal(module.conv.weight, before["conv.weight"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_copies_compute_the_same(tmp_path) -> None:
    module = small_network(tmp_path).to_module()
    x = torch.randn(2, 4, 8, 9)
    torch.testing.assert_close(copy.deepcopy(module)(x), module(x))


def test_types_that_cannot_be_built_are_named_and_their_weights_stay_readable(tmp_path) -> None:
    array = RNG.normal(size=(2, 3))
    net = network(tmp_path, conv_layer(), struct(name="odd", type="spnorm", weights=cell(array)))
    with pytest.raises(MatConvNetError, match=r"'odd' \(type 'spnorm'\).*known types are SubP, bnorm, concat, conv"):
        net.to_module()
    np.testing.assert_allclose(net["odd"].params["weights_1"], array, rtol=1e-6)


def test_an_unknown_type_may_have_any_options_and_weights(tmp_path) -> None:
    odd = struct(name="odd", type="conv3d", pad=[1, 1, 2, 2, 3, 3], weights=cell(np.zeros((0, 0)), np.ones(3), cell(1)))
    layer = network(tmp_path, odd)["odd"]
    assert layer.options["pad"] == (1, 1, 2, 2, 3, 3)
    assert "weights_2" in layer.params


def test_weights_where_none_belong_are_not_dropped_in_silence(tmp_path) -> None:
    net = network(tmp_path, struct(name="r", type="relu", weights=cell(np.ones(3))))
    with pytest.raises(MatConvNetError, match=r"'r' \(relu\) has weights"):
        net.to_module()


def test_a_second_kernel_is_on_record_and_not_built_in_silence(tmp_path) -> None:
    """As in networks for colour and depth, whose layers have a kernel for each."""
    depth = cell(RNG.normal(size=(2, 3, 1, 6)), RNG.normal(size=(1, 6)))
    momentum = {"weightsMomentum": cell(KERNEL), "weights_depthMomentum": cell(KERNEL)}
    net = network(tmp_path, conv_layer(weights_depth=depth, **momentum))
    params = net["conv"].params
    assert list(params) == ["weight", "bias", "weights_depth_1", "weights_depth_2"]
    np.testing.assert_array_equal(params["weights_depth_1"].numpy(), depth[0, 0].astype(np.float32))
    assert "conv.weights_depth_1" in net.state_dict()
    with pytest.raises(
        MatConvNetError, match=r"'conv' .conv. has weights_depth_1, and nothing is known of its use"
    ) as told:
        net.to_module()
    assert "del network['conv'].params['weights_depth_1']" in str(told.value)
    for key in ("weights_depth_1", "weights_depth_2"):
        del net["conv"].params[key]
    np.testing.assert_allclose(run(net, IMAGE), conv(IMAGE, KERNEL, BIAS), rtol=1e-4, atol=1e-4)


def test_a_bias_of_another_length_is_named(tmp_path) -> None:
    up = struct(name="up", type="convt", weights=cell(RNG.normal(size=(2, 3, 3, 4)), np.ones(3)), numGroups=2.0)
    with pytest.raises(MatConvNetError, match="'up': its bias has 3 values, for 3 channels in 2 groups"):
        network(tmp_path, up).to_module()


def test_layers_that_do_not_follow_on_are_refused(tmp_path) -> None:
    wrong = struct(name="next", type="conv", weights=cell(RNG.normal(size=(3, 2, 5, 8)), RNG.normal(size=8)))
    with pytest.raises(MatConvNetError, match=r"'next': 6 channels arrive.*\(8, 5, 3, 2\) reads 5"):
        network(tmp_path, conv_layer(), wrong).to_module()
    norm = struct(name="b", type="bnorm", weights=cell(np.ones(5), np.ones(5), np.ones((5, 2))))
    with pytest.raises(MatConvNetError, match="'b': 6 channels arrive, but it normalises 5"):
        network(tmp_path, conv_layer(), norm).to_module()
    with pytest.raises(MatConvNetError, match="'p': cannot build pooling method 'sum'"):
        network(tmp_path, struct(name="p", type="pool", method="sum", pool=2)).to_module()


@pytest.mark.parametrize(("sigma", "epsilon"), [(1e-4, 1e-3), (1e-4, 1.0), (0.03, 1e-4)])
def test_a_sigma_far_below_epsilon_keeps_its_digits(tmp_path, sigma, epsilon) -> None:
    mean, sigmas = RNG.normal(size=4), np.array([sigma, 0.7, 2 * sigma, 0.2])
    weights = cell(np.ones((4, 1)), np.zeros((4, 1)), np.stack([mean, sigmas], axis=1))
    net = network(tmp_path, struct(name="b", type="bnorm", weights=weights, epsilon=epsilon))
    np.testing.assert_allclose(run(net, IMAGE), (IMAGE - mean) / sigmas, rtol=2e-5, atol=2e-5 / sigma)


def test_a_variance_of_nothing_beside_epsilon_stays_one(tmp_path) -> None:
    """A dead channel: sigma is the root of epsilon, or a little less by rounding."""
    sigmas = np.sqrt(np.full(4, 1e-3)).astype(np.float32) * np.float32([1, 1 - 1e-6, 30, 1])
    weights = cell(np.ones((4, 1)), np.zeros((4, 1)), np.stack([np.zeros(4), sigmas], axis=1))
    net = network(tmp_path, struct(name="b", type="bnorm", weights=weights, epsilon=1e-3))
    assert net["b"].options["epsilon"] == pytest.approx(1e-3)
    np.testing.assert_allclose(run(net, IMAGE), IMAGE / sigmas, rtol=1e-5)


def test_a_conv_without_kernel_adds_its_bias_at_every_step(tmp_path) -> None:
    bias = RNG.normal(size=4)
    weights = cell(np.zeros((0, 0)), bias[:, None])
    net = network(tmp_path, struct(name="c", type="conv", weights=weights, stride=np.array([2, 3])))
    assert list(net.state_dict()) == ["c.bias"]
    np.testing.assert_allclose(run(net, IMAGE), IMAGE[::2, ::3] + bias, rtol=1e-5)


def test_fields_of_old_trainings_are_no_weights(tmp_path) -> None:
    rates = {f"{array}{what}": 2.0 for array in ("filters", "biases") for what in ("LearningRate", "WeightDecay")}
    kernel, bias = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=5)
    net = network(tmp_path, struct(name="c", type="conv", filters=kernel, biases=bias[None], **rates))
    assert list(net.state_dict()) == ["c.weight", "c.bias"]
    assert not rates.keys() & net["c"].options.keys()
    np.testing.assert_allclose(run(net, IMAGE), conv(IMAGE, kernel, bias), rtol=1e-4, atol=1e-4)


def test_a_leak_below_zero_is_none_in_a_chain(tmp_path) -> None:
    net = network(tmp_path, struct(name="r", type="relu", leak=-0.1))
    np.testing.assert_allclose(run(net, IMAGE), np.maximum(IMAGE, 0))


def test_what_stands_beside_a_concat_is_no_layer(tmp_path) -> None:
    layers = [struct(type="relu", name="k_input"), struct(type="concat", name="k"), struct(type="relu", name="z")]
    net = network(tmp_path, *layers)
    assert net.inputs == ("x", "k_input_")
    beside = torch.rand(1, 2, 9, 8)
    assert net.to_module()(torch.rand(1, 4, 9, 8), beside)[:, 4:].equal(beside)


def test_weights_that_are_nan_are_loaded_whatever_their_type(tmp_path) -> None:
    for dtype in (np.float32, np.float64):
        weights = cell(np.ones((1, 1, 4, 2), dtype), np.full((1, 2), np.nan, dtype))
        assert network(tmp_path, struct(type="conv", weights=weights)).layers[0].params["bias"].isnan().all()


def test_shapes_alone_are_not_built(tmp_path) -> None:
    path = save(
        tmp_path / "a.mat", layers=cell(struct(type="conv", weights=cell(np.ones((3, 3, 64, 64)), np.ones(64))))
    )
    with pytest.raises(MatConvNetError, match="'conv1' were not read: load without only_shapes=True"):
        load_matconvnet(path, only_shapes=True).to_module()


def test_what_show_raises_comes_through(tmp_path) -> None:
    path = save(tmp_path / "a.mat", layers=cell(struct(type="relu", leak=np.zeros((1, 1)))))
    with pytest.raises(ZeroDivisionError):
        load_matconvnet(path, show=lambda share: 1 / 0)
    with pytest.raises(MatConvNetError, match="show is a function"):
        load_matconvnet(path, show=True)


def test_a_network_two_structs_deep_and_one_called_momentum(tmp_path) -> None:
    kernel = RNG.normal(size=(3, 3, 100, 200))
    layers = cell(struct(type="conv", name="c", weights=cell(kernel, np.zeros((1, 200)))))
    path = save(tmp_path / "a.mat", netMomentum=struct(neta=struct(layers=layers)))
    assert load_matconvnet(path)["c"].params["weight"].shape == (200, 100, 3, 3)


def test_layers_made_by_hand_that_lack_something_are_named() -> None:
    for layer, said in (
        (Layer("b", "bnorm", {}), "no weight and bias"),
        (Layer("c", "conv", {"weight": torch.ones(2, 3, 1, 1), "bias": torch.ones(3)}), "3 values, for 2 channels"),
    ):
        with pytest.raises(MatConvNetError, match=said):
            Network([layer]).to_module()
    with pytest.raises(MatConvNetError, match="builders is a dictionary"):
        Network([Layer("r", "relu", {})]).to_module(builders=[1])
    with pytest.raises(MatConvNetError, match="has no shapes yet"):
        Network([Layer("c", "conv", {"weight": torch.ones(2, 3, 1, 1)})]).state_dict_for(torch.nn.LazyConv2d(2, 1))


@pytest.mark.parametrize("average", [np.array([[120.0]]), np.zeros((1, 1, 3))])
def test_images_have_the_channels_that_the_file_says(tmp_path, average) -> None:
    norm = struct(averageImage=average, imageSize=np.array([[8.0, 8, 3]]), imageStd=np.array([[50.0, 60, 70]]))
    net = load_matconvnet(save(tmp_path / "a.mat", layers=cell(struct(type="relu")), normalization=norm))
    images = torch.randint(0, 255, (2, 3, 8, 8))
    expected = (images - float(average.max())) / torch.tensor([50.0, 60, 70]).view(3, 1, 1)
    torch.testing.assert_close(net.preprocess(images), expected)
    with pytest.raises(MatConvNetError, match=r"expected images \(N, 3, H, W\)"):
        net.preprocess(images.permute(0, 2, 3, 1))
