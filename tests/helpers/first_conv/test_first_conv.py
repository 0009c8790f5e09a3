"""First-conv surgery against plain loops; test_torchvision_models.py has it on every model of torchvision."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from helpers.first_conv import RULES, FirstConvError, adapt_conv, adapt_first_conv, find_first_conv, fold_normalization
from workbook.networks import resnet18, vgg16


def conv(in_channels: int = 3, **options) -> nn.Conv2d:
    """Every dimension another."""
    torch.manual_seed(0)
    return nn.Conv2d(in_channels, 7, (2, 5), **options)


def by_loops(weight: torch.Tensor, in_channels: int, rule: str) -> torch.Tensor:
    """The rules, a number at a time."""
    outputs, old, height, width = weight.shape
    new = torch.zeros(outputs, in_channels, height, width)
    for o, i, h, w in torch.cartesian_prod(*map(torch.arange, new.shape)).tolist():
        channels = [weight[o, c, h, w].item() for c in range(old)]
        new[o, i, h, w] = {
            "sum": sum(channels) / in_channels,
            "mean": sum(channels) / old,
            "tile": channels[i % old] * old / in_channels,
            "zeros": channels[i] if i < old else 0,
            "mean_extra": channels[i] if i < old else sum(channels) / old,
        }[rule]
    return new


@pytest.mark.parametrize("in_channels", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("rule", ["sum", "mean", "tile", "zeros", "mean_extra"])
def test_rules_are_what_plain_loops_give(rule, in_channels) -> None:
    layer = conv()
    old = layer.weight.detach().clone()
    if in_channels < 3 and rule in ("zeros", "mean_extra"):
        with pytest.raises(FirstConvError, match=f"keeps all 3 old channels, and {in_channels} are fewer: use 'sum'"):
            adapt_conv(layer, in_channels, rule)
        assert torch.equal(layer.weight, old)
        assert layer.in_channels == 3
        return
    adapt_conv(layer, in_channels, rule)
    torch.testing.assert_close(layer.weight, by_loops(old, in_channels, rule))


@pytest.mark.parametrize("in_channels", [1, 2, 5])
def test_sum_keeps_the_response_to_grey_and_mean_scales_it(in_channels) -> None:
    grey = torch.rand(2, 1, 6, 9)
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), conv(bias=False).weight)
    for rule, factor in (("sum", 1), ("mean", in_channels / 3)):
        layer = conv(bias=False)
        adapt_conv(layer, in_channels, rule)
        torch.testing.assert_close(layer(grey.expand(-1, in_channels, -1, -1)), factor * expected)


def test_zeros_ignore_what_new_channels_show_and_mean_extra_does_not() -> None:
    image = torch.rand(2, 5, 6, 9)
    for rule, silent in (("zeros", True), ("mean_extra", False), ("default", True)):
        layer = conv()
        before = layer(image[:, :3])
        adapt_conv(layer, 5, rule)
        assert torch.allclose(layer(image), before, atol=1e-6) == silent
    layer = conv()
    adapt_conv(layer, 3)
    assert torch.equal(layer.weight, conv().weight)


def test_all_else_stays() -> None:
    options = {"stride": (2, 3), "padding": (1, 4), "dilation": (1, 2), "padding_mode": "reflect"}
    layer = conv(**options).to(torch.bfloat16).to(memory_format=torch.channels_last).requires_grad_(False)
    bias, training = layer.bias, layer.eval().training
    adapt_conv(layer, 4, "tile")
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.bias is bias
    assert (layer.weight.dtype, layer.weight.requires_grad, layer.training) == (torch.bfloat16, False, training)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert (layer.stride, layer.padding, layer.dilation, layer.padding_mode) == tuple(options.values())
    assert (
        layer(torch.rand(1, 4, 9, 30, dtype=torch.bfloat16)).shape
        == F.conv2d(torch.zeros(1, 4, 11, 38), torch.zeros(7, 4, 2, 5), None, (2, 3), 0, (1, 2)).shape
    )


def test_half_precision_is_added_in_single() -> None:
    layer = nn.Conv2d(3, 1, 1, bias=False).half()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2048.0, 1.0, 1.0]).view(1, 3, 1, 1))
    adapt_conv(layer, 1, "sum")
    assert layer.weight.item() == 2050


def test_a_rule_may_be_a_function() -> None:
    layer = conv()
    adapt_conv(layer, 2, lambda weight, in_channels: weight[:, [2, 0]] * in_channels)
    assert torch.equal(layer.weight, conv().weight[:, [2, 0]] * 2)
    with pytest.raises(FirstConvError, match=r"gave 'this conv' a weight of shape \(7, 2, 2\), not \(7, 5, 2, 5\)"):
        adapt_conv(layer, 5, lambda weight, _: weight[..., 0])
    assert layer.in_channels == 2


@pytest.mark.parametrize(
    ("layer", "in_channels", "rule", "message"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), 5, "sum", "'this conv' has 2 groups, so each kernel sees 2 of 4 channels"),
        (parametrizations.weight_norm(nn.Conv2d(3, 6, 3)), 5, "sum", "is made from other tensors"),
        (nn.LazyConv2d(6, 3), 5, "sum", "made from other tensors .* or it is lazy"),
        (nn.Conv2d(3, 6, 3), 5, "median", "there is no rule 'median'; there are default, sum, mean"),
        (nn.Conv2d(3, 6, 3), 0, "sum", "whole number above 0, not 0"),
    ],
)
def test_what_cannot_be_adapted_is_told_so(layer, in_channels, rule, message) -> None:
    with pytest.raises(FirstConvError, match=message):
        adapt_conv(layer, in_channels, rule)


class Reversed(nn.Module):
    """Its first conv is defined last, behind a normalisation that has buffers but no parameters."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.second = nn.Conv2d(5, 6, 3)
        self.norm = nn.BatchNorm2d(5)
        self.stem = nn.ModuleDict({"first": nn.Conv2d(channels, 5, 3)})
        self.register_buffer("mean", torch.tensor(0.5))

    def forward(self, x):
        return self.second(self.norm(self.stem["first"]((x - self.mean).flip(-1))))


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_the_first_conv_is_the_one_that_meets_the_input(channels) -> None:
    model = Reversed(channels).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    name, found = find_first_conv(model)
    assert (name, found) == ("stem.first", model.stem["first"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert adapt_first_conv(model, 4, "tile") == "stem.first"
    assert model(torch.rand(2, 4, 9, 9)).shape == (2, 6, 5, 5)


def test_an_example_is_needed_where_sizes_are_unusual() -> None:
    class Sound(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv1d(2, 4, 3), nn.Linear(4 * 48, 5)

        def forward(self, x):
            assert x.shape[-1] == 50, "50 samples are wanted"
            return self.head(self.conv(x).flatten(1))

    model = Sound()
    with pytest.raises(FirstConvError, match=r"AssertionError: 50 samples are wanted\); give an `example`"):
        find_first_conv(model)
    assert adapt_first_conv(model, 7, example=torch.zeros(1, 2, 50)) == "conv"
    assert model(torch.zeros(3, 7, 50)).shape == (3, 5)


def test_models_that_look_at_numbers_are_run_on_the_example() -> None:
    class Curious(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x / 255 if x.max().item() > 1 else x)

    assert find_first_conv(Curious(), torch.full((1, 3, 8, 8), 200.0))[0] == "conv"


def test_no_conv_and_several_convs_are_told_so() -> None:
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fast, self.slow = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)

        def forward(self, x):
            return self.fast(x) + self.slow(x)

    with pytest.raises(FirstConvError, match="several convs meet the input: fast, slow; use adapt_conv on each"):
        find_first_conv(Two())
    with pytest.raises(FirstConvError, match="no conv meets the input of this Sequential"):
        find_first_conv(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)))
    with pytest.raises(FirstConvError, match="no conv meets the input"):
        find_first_conv(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)))


@pytest.mark.parametrize("in_channels", [1, 4])
def test_a_model_that_uses_its_channels_elsewhere_is_refused_and_stays(in_channels) -> None:
    with torch.device("meta"):
        model = torchvision.models.googlenet(weights=None, init_weights=False, transform_input=True)
    before = model.conv1.conv.weight
    with pytest.raises(FirstConvError, match=r"with \d channels the model stops before 'conv1\.conv'.*transform_input"):
        adapt_first_conv(model, in_channels)
    assert model.conv1.conv.weight is before
    assert model.conv1.conv.in_channels == 3
    model.transform_input = False
    assert adapt_first_conv(model, in_channels) == "conv1.conv"


@pytest.mark.parametrize("name", ["squeezenet1_1", "densenet121", "mobilenet_v3_small", "vit_b_32", "swin_t"])
def test_grey_passes_through_whole_networks_as_replicated_grey_did(name) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    grey = torch.rand(2, 1, 224, 224)
    with torch.no_grad():
        expected = model(grey.expand(-1, 3, -1, -1))
        first = adapt_first_conv(model, 1, "sum")
        torch.testing.assert_close(model(grey), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    after = model.state_dict()
    assert {key for key in before if not torch.equal(before[key], after[key])} == {f"{first}.weight"}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_normalization_moves_into_the_conv_and_out_again(bias, groups) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 9, (2, 5), bias=bias, groups=groups)
    raw = torch.rand(2, 3, 6, 9)
    normalised = torch.stack([(raw[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    expected, parameter = layer(normalised), layer.weight
    fold_normalization(layer, mean, std)
    torch.testing.assert_close(layer(raw), expected, rtol=1e-5, atol=1e-5)
    assert layer.weight is parameter
    fold_normalization(layer, mean, std, inverse=True)
    torch.testing.assert_close(layer(normalised), expected, rtol=1e-5, atol=1e-5)


def test_folding_changes_zero_padded_borders_alone() -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    padded, layer = conv(padding=(1, 2)), conv(padding=(1, 2))
    raw = torch.rand(2, 3, 6, 9)
    expected = padded(torch.stack([(raw[:, c] - mean[c]) / std[c] for c in range(3)], 1))
    fold_normalization(layer, mean, std)
    inside = (..., slice(1, -1), slice(2, -2))
    torch.testing.assert_close(layer(raw)[inside], expected[inside], rtol=1e-5, atol=1e-5)
    assert (layer(raw) - expected).abs().max() > 0.1
    with_mean = torch.stack([F.pad(raw[:, c], (2, 2, 1, 1), value=mean[c]) for c in range(3)], 1)
    torch.testing.assert_close(F.conv2d(with_mean, layer.weight, layer.bias), expected, rtol=1e-5, atol=1e-5)


def test_wrong_normalizations_are_refused() -> None:
    layer = conv()
    with pytest.raises(FirstConvError, match="mean has 1 numbers, and the conv takes 3 channels"):
        fold_normalization(layer, (0.5,), (0.2, 0.2, 0.2))
    with pytest.raises(FirstConvError, match="std must be above 0"):
        fold_normalization(layer, (0.5, 0.4, 0.3), (0.2, 0.0, 0.3))
    assert torch.equal(layer.weight, conv().weight)


@pytest.mark.parametrize("build", [vgg16, resnet18])
def test_adapted_models_compile_and_export_in_one_piece(build) -> None:
    model = build().eval()
    adapt_first_conv(model, 2)
    image = torch.rand(2, 2, 64, 64)
    expected = model(image)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(image), expected)
    torch.testing.assert_close(torch.export.export(model, (image,)).module()(image), expected)


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_convs_whose_weight_is_made_are_refused_and_stay(wrap) -> None:
    model = nn.Sequential(wrap(conv())).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(FirstConvError, match="the weight of '0' is made from other tensors"):
        adapt_first_conv(model, 5, example=torch.zeros(1, 3, 8, 8))
    with pytest.raises(FirstConvError, match="the weight of this conv is made from other tensors"):
        fold_normalization(model[0], (0.5,) * 3, (0.2,) * 3)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_a_rule_cannot_spoil_the_weight_it_is_given() -> None:
    layer = conv()
    with pytest.raises(FirstConvError, match="gave 'this conv' a weight of shape"):
        adapt_conv(layer, 4, lambda weight, _: weight.zero_())
    assert torch.equal(layer.weight, conv().weight)


def test_a_weight_that_two_layers_share_is_refused() -> None:
    model = nn.Sequential(conv(7), nn.ReLU(inplace=True), conv(7))
    model[2].weight = model[0].weight
    with pytest.raises(FirstConvError, match="the weight of '0' is that of '2', too: give each its own first"):
        adapt_first_conv(model, 3, example=torch.zeros(2, 7, 9, 20))


def test_all_rules_are_tested() -> None:
    assert set(RULES) == {"default", "sum", "mean", "tile", "zeros", "mean_extra"}
