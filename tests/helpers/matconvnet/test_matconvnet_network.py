"""What a `Network` offers: keys, tables, preprocessing, weights for somebody else's model."""

import numpy as np
import pytest
import torch
from matlab import cell, save, struct
from torch import nn

from helpers.matconvnet import Layer, MatConvNetError, Network, load_matconvnet

TORCH = torch.Generator().manual_seed(3)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=TORCH)


def conv(name: str, *shape: int) -> Layer:
    options = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilate": (1, 1)}
    return Layer(name, "conv", {"weight": randn(*shape), "bias": randn(shape[0])}, options)


def test_state_dict_keys_and_lookup() -> None:
    net = Network([conv("a", 4, 3, 2, 5), Layer("r", "relu"), conv("b", 6, 4, 1, 1)])
    assert list(net.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert net["b"] is net.layers[2]
    with pytest.raises(KeyError, match="no layer 'c'; the layers are a, r, b"):
        net["c"]


def test_tables_for_terminal_and_notebook() -> None:
    net = Network([conv("a<b", 4, 3, 2, 5), Layer("pool", "pool", {}, {"pad": (0, 1, 0, 1)})], ["x", "y"])
    text, html = repr(net), net._repr_html_()
    assert "weight 4x3x2x5, bias 4" in text
    assert "pad 0 1 0 1" in text
    assert "2 layers, 124 parameters, 2 classes, preprocessing not in the file" in text
    assert ">a&lt;b</td>" in html
    assert "weight 4x3x2x5" in html


AVERAGE = np.array([10.0, 20.0, 30.0])


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), (1, 1, 3)])
def test_preprocess_takes_the_average_from_each_channel(shape) -> None:
    net = Network([], normalization={"averageImage": AVERAGE.reshape(shape), "imageSize": (4, 5, 3)})
    images = torch.randint(0, 256, (2, 3, 4, 5), generator=TORCH, dtype=torch.uint8)
    ready = net.preprocess(images)
    assert ready.dtype == torch.float32
    for n, c, h, w in np.ndindex(2, 3, 4, 5):
        assert ready[n, c, h, w] == images[n, c, h, w].item() - AVERAGE[c]
    torch.testing.assert_close(net.preprocess(images[0]), ready[:1])


def test_preprocess_with_a_full_average_image() -> None:
    average = np.arange(4 * 5 * 3, dtype=float).reshape(4, 5, 3)
    net = Network([], normalization={"averageImage": average})
    images = randn(2, 3, 4, 5) * 40 + 100
    ready = net.preprocess(images)
    for c, h, w in np.ndindex(3, 4, 5):
        assert ready[1, c, h, w] == images[1, c, h, w] - average[h, w, c]
    with pytest.raises(MatConvNetError, match=r"averageImage is \(3, 4, 5\) but the resized images are \(3, 6, 5\)"):
        net.preprocess(torch.full((1, 3, 6, 5), 9))


def test_preprocess_with_a_grey_average_image() -> None:
    average = np.arange(20.0).reshape(4, 5)
    ready = Network([], normalization={"averageImage": average}).preprocess(torch.full((1, 1, 4, 5), 50))
    assert ready[0, 0].tolist() == (50 - average).tolist()


@pytest.mark.parametrize("average", [np.zeros((1, 2)), np.zeros((0, 0)), np.zeros(3)])
def test_preprocess_with_an_average_of_zeros_takes_nothing_away(average) -> None:
    images = torch.full((2, 3, 4, 5), 7, dtype=torch.uint8)
    assert Network([], normalization={"averageImage": average}).preprocess(images).eq(7).all()


def test_preprocess_with_one_average_for_all_channels() -> None:
    images = torch.full((2, 3, 4, 5), 7, dtype=torch.uint8)
    assert Network([], normalization={"averageImage": np.array([[5.0]])}).preprocess(images).eq(2).all()


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1, 3)])
def test_preprocess_of_networks_that_came_from_pytorch(shape) -> None:
    average, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    net = Network([], normalization={"averageImage": average.reshape(shape), "imageStd": deviation.reshape(shape)})
    images = torch.tensor([51, 102, 204], dtype=torch.uint8)[:, None, None].expand(3, 4, 5)
    expected = (np.array([0.2, 0.4, 0.8]) - average) / deviation
    torch.testing.assert_close(net.preprocess(images)[0, :, 2, 3], torch.tensor(expected).float())


def test_preprocess_divides_by_a_deviation_on_the_scale_of_pixels() -> None:
    net = Network([], normalization={"averageImage": AVERAGE, "imageStd": np.array([[4.0]])})
    images = torch.full((1, 3, 4, 5), 9.0)
    expected = (9 - torch.as_tensor(AVERAGE).float().flatten()) / 4
    torch.testing.assert_close(net.preprocess(images)[0, :, 1, 2], expected)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"averageImage": np.array([0.4, 0.5, 0.6])}, "averageImage goes up to 0.6, so this network does not take"),
        ({"averageImage": AVERAGE, "imageStd": np.ones(2)}, "imageStd is .* not a number for each of 3"),
        ({"averageImage": AVERAGE, "imageStd": np.array([1.0, 0, 2])}, "imageStd is .* cannot be divided by"),
        ({"averageImage": AVERAGE, "imageStd": "large"}, "imageStd is 'large'"),
    ],
)
def test_preprocess_refuses_scales_that_it_does_not_know(more, message) -> None:
    with pytest.raises(MatConvNetError, match=message):
        Network([], normalization=more).preprocess(torch.full((1, 3, 4, 5), 9))


def test_preprocess_resizes_as_matlab_does() -> None:
    bilinear = {"averageImage": np.zeros(3), "interpolation": "bilinear"}
    net = Network([], normalization=bilinear | {"imageSize": (4, 2, 3)})
    ramp = torch.arange(8.0).view(1, 1, 8, 1).expand(1, 3, 8, 4) * 30
    # imresize halves with a triangle 4 pixels wide: weights 1 3 3 1 over 8, cut off and rescaled at the border
    expected = [(3 * 0 + 3 * 1 + 1 * 2) / 7, 2.5, 4.5, (1 * 5 + 3 * 6 + 3 * 7) / 7]
    assert net.preprocess(ramp)[0, 0, :, 0].tolist() == pytest.approx([30 * value for value in expected], rel=1e-5)
    small = torch.tensor([[0.0, 100.0]]).expand(1, 3, 1, 2)
    wide = Network([], normalization=bilinear | {"imageSize": (1, 4, 3)}).preprocess(small)
    assert wide[0, 0, 0].tolist() == pytest.approx([0, 25, 75, 100])
    # without a word in the file it is bicubic: the second pixel lies 0.25 from one value and 0.75 from the other
    near, far = (1.5 * d**3 - 2.5 * d**2 + 1 for d in (0.25, 0.75))
    cubic = Network([], normalization={"averageImage": np.zeros(3), "imageSize": (1, 4, 3)}).preprocess(small)
    assert cubic[0, 0, 0, 1].item() == pytest.approx(100 * far / (near + far), rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "middle"),  # of 16 x 24 pixels for 6 x 4: (top, bottom, left, right)
    [
        ({}, (0, 16, 0, 24)),
        ({"keepAspect": np.array([[1]], np.uint8)}, (0, 16, 6, 17)),  # 16 x 10.67
        ({"cropSize": np.array([[0.75]])}, (2, 14, 8, 16)),
        ({"cropSize": 0.5, "keepAspect": 0}, (4, 12, 6, 18)),
        ({"cropSize": np.array([0.5, 0.75])}, (4, 12, 8, 16)),
        ({"border": np.array([[2, 2]])}, (2, 14, 8, 15)),  # 6 of 8, 4 of 6: 12 x 7.1
        ({"border": np.array([[2, 4]]), "keepAspect": False}, (2, 14, 6, 18)),
        ({"cropSize": 1.0, "border": np.array([[9, 9]])}, (0, 16, 6, 17)),
    ],
)
def test_preprocess_takes_the_middle_that_the_file_names(fields, middle) -> None:
    size = {"averageImage": AVERAGE, "imageSize": (6, 4, 3), "interpolation": "bilinear"}
    images = torch.rand(2, 3, 16, 24, generator=TORCH) * 255
    top, bottom, left, right = middle
    expected = Network([], normalization=size).preprocess(images[:, :, top:bottom, left:right])
    torch.testing.assert_close(Network([], normalization=size | fields).preprocess(images), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cropSize": np.array([224.0])}, r"crops images to \[224.0, 224.0\] of their height"),
        ({"cropSize": "most"}, "cropSize is 'most', not one or two numbers"),
        ({"border": np.array([-3.0, 1])}, "crops images to"),
        ({"border": np.array([3.0]), "imageSize": None}, "border needs an imageSize"),
    ],
)
def test_preprocess_refuses_crops_that_are_none(fields, message) -> None:
    fields = {"averageImage": AVERAGE, "imageSize": (6, 4, 3)} | fields
    with pytest.raises(MatConvNetError, match=message):
        Network([], normalization=fields).preprocess(torch.full((1, 3, 9, 8), 9))


def test_what_preprocess_does_not_apply_is_said() -> None:
    fields = {"averageImage": AVERAGE, "rgbVariance": np.eye(3), "gamma": 2.2, "order": "BGR"}
    assert repr(Network([], normalization=fields)).endswith("preprocessing known, but gamma, order not applied")


def test_metadata_beside_the_normalization(tmp_path) -> None:
    layer = cell(struct(type="relu"))
    meta = struct(inputSize=[[5.0, 6, 3, 10]], normalization=struct(averageImage=AVERAGE[None]))
    net = load_matconvnet(save(tmp_path / "a.mat", net=struct(layers=layer, meta=meta)))
    assert net.normalization["imageSize"] == (5, 6, 3, 10)
    assert net.preprocess(torch.full((1, 3, 9, 8), 9)).shape == (1, 3, 5, 6)
    unit = load_matconvnet(save(tmp_path / "b.mat", net=struct(layers=layer, imageMean=0.4087)))
    with pytest.raises(
        MatConvNetError, match=r"averageImage goes up to 0\.409, so this network does not take 0 to 255"
    ):
        unit.preprocess(torch.full((1, 3, 9, 8), 9))
    both = struct(layers=layer, imageMean=AVERAGE[None], imageStd=np.full((1, 3), 4.0))
    ready = load_matconvnet(save(tmp_path / "c.mat", net=both)).preprocess(torch.full((1, 3, 1, 2), 50))
    assert ready[0, :, 0, 1].tolist() == [10, 7.5, 5]


def test_preprocess_refuses_what_would_give_silent_nonsense() -> None:
    net = Network([], normalization={"averageImage": AVERAGE})
    with pytest.raises(ValueError, match="negative values"):
        net.preprocess(torch.randn(1, 3, 4, 5))
    with pytest.raises(MatConvNetError, match=r"cannot resize by 'box'; resize to \(8, 9\)"):
        Network([], normalization=net.normalization | {"imageSize": (8, 9), "interpolation": "box"}).preprocess(
            torch.full((1, 3, 4, 5), 9)
        )
    with pytest.raises(ValueError, match="between 0 and 1"):
        net.preprocess(torch.rand(1, 3, 4, 5))
    with pytest.raises(ValueError, match=r"expected images \(N, 3, H, W\) .* got \(1, 4, 5, 3\)"):
        net.preprocess(torch.full((1, 4, 5, 3), 9))
    with pytest.raises(MatConvNetError, match=r"no normalization\.averageImage"):
        Network([]).preprocess(torch.full((1, 3, 4, 5), 9))


def chain() -> tuple[Network, nn.Sequential]:
    """A conv, a bnorm and a fully connected layer, which MatConvNet keeps as a conv."""
    norm = Layer("bn", "bnorm", {"weight": randn(4), "bias": randn(4)}, {"epsilon": 1e-4})
    norm.params.update(running_mean=randn(4), running_var=randn(4).abs() + 0.1)
    net = Network([conv("c", 4, 3, 2, 5), norm, Layer("r", "relu"), conv("fc", 7, 4, 3, 2)])
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 7))
    return net, model.eval()


def test_weights_for_another_model_compute_the_same() -> None:
    net, model = chain()
    model.load_state_dict(net.state_dict_for(model))
    images = randn(2, 3, 4, 6)
    torch.testing.assert_close(model(images), net.to_module()(images).flatten(1))
    assert model[0].weight.data_ptr() != net["c"].params["weight"].data_ptr()


def test_epsilon_of_the_model_is_made_up_for() -> None:
    net, model = chain()
    model[1].eps = 0.05
    model.load_state_dict(net.state_dict_for(model))
    images = randn(2, 3, 4, 6)
    torch.testing.assert_close(model(images), net.to_module()(images).flatten(1))


def test_an_epsilon_of_the_model_that_swallows_variances_is_refused() -> None:
    net, model = chain()
    net["bn"].params["running_var"] = torch.tensor([1e-8, 0.3, 0.2, 0.1]) - 1e-4
    with pytest.raises(MatConvNetError, match="'bn' has variances far below 1e-05, the eps of '1'"):
        net.state_dict_for(model)
    model[1].eps = 0.0
    net["bn"].options["epsilon"], net["bn"].params["running_var"][0] = 1e-4, 0
    assert net.state_dict_for(model)["1.running_var"][0].item() == pytest.approx(1e-4)


def test_a_model_that_does_not_fit_is_told_where() -> None:
    net, model = chain()
    with pytest.raises(MatConvNetError, match=r"3 layers with weights \(c ... fc\), the model has 2 \(0 ... 1\)"):
        net.state_dict_for(model[:3])
    model[4] = nn.Linear(24, 8)
    with pytest.raises(MatConvNetError, match=r"'fc' \(weight \(7, 24\), bias \(7,\)\) does not fit '4', a Linear"):
        net.state_dict_for(model)
    model[4] = nn.Linear(24, 7, bias=False)
    with pytest.raises(MatConvNetError, match=r"does not fit '4', a Linear \(weight \(7, 24\)\)"):
        net.state_dict_for(model)


def test_a_head_with_other_classes_can_be_left_out() -> None:
    net, model = chain()
    expected = {key: tensor.clone() for key, tensor in net.state_dict_for(model).items()}
    model[4] = nn.Linear(24, 9)
    head = model[4].weight.clone()
    missing, unexpected = model.load_state_dict(net.state_dict_for(model, leave_out=["fc"]), strict=False)
    assert (missing, unexpected) == (["4.weight", "4.bias"], [])
    assert torch.equal(model[4].weight, head)
    assert torch.equal(model[0].weight, expected["0.weight"])
    with pytest.raises(MatConvNetError, match="to leave out are called fc8"):
        net.state_dict_for(model, leave_out=["fc8"])


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path) -> None:
    from helpers.matconvnet import save_matconvnet

    dilated = conv("c", 4, 3, 2, 5)
    dilated.options["dilate"] = (2, 2)
    bare = Layer("c", "conv", {"weight": randn(4, 3, 2, 5)}, {"stride": (1, 1), "pad": (0,) * 4})
    for layer in (dilated, bare, Layer("r", "relu", {}, {"leak": 0.1}), Layer("n", "lrn"), Layer("d", "dropout")):
        with pytest.raises(ValueError, match=f"layer '{layer.name}'.*cannot be written"):
            save_matconvnet(tmp_path / "a.mat", [conv("a", 3, 3, 1, 1), layer], classes=["x"], normalization={"a": 1})
    assert list(tmp_path.iterdir()) == []
    wide = conv("c", 4, 3, 2, 5)
    wide.options["stride"] = (300, 1)
    save_matconvnet(tmp_path / "a.mat", [wide], classes=["x"], normalization={"a": 1})
    assert load_matconvnet(tmp_path / "a.mat")["c"].options["stride"] == (300, 1)


def test_what_save_matconvnet_writes_looks_like_the_published_file(tmp_path) -> None:
    from scipy.io import loadmat

    from helpers.matconvnet import save_matconvnet

    layers = [
        conv("conv1_1", 4, 3, 2, 5),
        Layer("relu1_1", "relu"),
        Layer("pool1", "pool", {}, {"method": "max", "pool": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}),
        conv("fc8", 6, 4, 1, 1),
        Layer("prob", "softmax"),
    ]
    normalization = {"imageSize": np.array([[8.0, 9.0, 3.0]]), "averageImage": AVERAGE.reshape(1, 1, 3)}
    path = tmp_path / "a.mat"
    save_matconvnet(path, layers, classes=list("abcdef"), normalization=normalization)
    raw = loadmat(path)
    assert raw["layers"].shape == (1, 5)
    first = raw["layers"][0, 0]
    assert first.shape == (1, 1)
    assert first.dtype.names == (
        "name", "type", "weights", "size", "pad", "stride", "precious", "dilate", "opts",
    )  # fmt: skip
    assert first["weights"][0, 0].shape == (1, 2)
    assert first["weights"][0, 0][0, 0].shape == (2, 5, 3, 4)
    assert first["weights"][0, 0][0, 1].shape == (4, 1)
    assert first["size"][0, 0].tolist() == [[2, 5, 3, 4]]
    assert raw["classes"][0, 0]["description"][0, 2].item() == "c"
    net = load_matconvnet(path)
    assert net.classes == list("abcdef")
    for layer, read in zip(layers, net.layers, strict=True):
        assert (layer.name, layer.type) == (read.name, read.type)
        assert all(torch.equal(tensor, read.params[key]) for key, tensor in layer.params.items())
        assert all(read.options[key] == value for key, value in layer.options.items())


def test_structs_and_cells_of_one(tmp_path) -> None:
    layer = struct(name="c", type="conv", weights=cell(np.ones((2, 3, 4, 5)), np.ones((1, 5))))
    for layers in (cell(layer), layer):
        net = load_matconvnet(save(tmp_path / "a.mat", layers=layers))
        assert [found.name for found in net.layers] == ["c"]
