"""What cannot be meant: one error that names it, at once, and a model that is as it was."""

import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from helpers.first_conv import FirstConvError, adapt_conv, adapt_first_conv, find_first_conv, fold_normalization

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.ReLU(), nn.Conv2d(4, 6, 3))


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[key], tensor) for key, tensor in before.items())


ON_MODELS = [find_first_conv, lambda model: adapt_first_conv(model, 5)]


@pytest.mark.parametrize("call", ON_MODELS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "must be a torch.nn.Module, not NoneType"),
        ({}, "not dict"),
        (nn.Conv2d, r"not the class Conv2d: make one first"),
        (torch.ones(3), "not Tensor"),
    ],
)
def test_what_is_no_model_is_refused(call, model, message) -> None:
    with pytest.raises(FirstConvError, match=message):
        call(model)


@pytest.mark.parametrize("call", ON_MODELS)
def test_compiled_models_are_refused_at_once_and_the_way_out_works(call) -> None:
    inner, part = small(), small()
    compiled = torch.compile(inner)
    part[2] = torch.compile(part[2])
    before = time.perf_counter()
    with pytest.raises(FirstConvError, match=r"hand in what was compiled, `model\._orig_mod`"):
        call(compiled)
    with pytest.raises(FirstConvError, match="'2' is compiled; put what was compiled in its place with") as caught:
        call(part)
    assert time.perf_counter() - before < 1
    call(compiled._orig_mod)
    exec(str(caught.value).split("`")[1], {"model": part})
    call(part)


@pytest.mark.parametrize("number", [2.0, True, "7", float("nan"), None, 0, -3, [7], torch.tensor(True), 1j])
def test_numbers_of_channels_are_whole(number) -> None:
    model = small()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for call in (lambda: adapt_first_conv(model, number), lambda: adapt_conv(model[0], number)):
        with pytest.raises(FirstConvError, match="in_channels must be a whole number above 0, not"):
            call()
    assert same(model, before)


@pytest.mark.parametrize("number", [5, np.int64(5), torch.tensor(5)])
def test_any_whole_number_is_one(number) -> None:
    model = small()
    adapt_first_conv(model, number)
    assert (model[0].in_channels, type(model[0].in_channels)) == (5, int)


@pytest.mark.parametrize(
    "conv", [nn.ConvTranspose2d(3, 4, 2), nn.Linear(3, 4), nn.Identity(), nn.Sequential(), None, "conv1", nn.Conv2d]
)
def test_only_convs_are_convs(conv) -> None:
    with pytest.raises(FirstConvError, match="'this conv' must be a Conv1d, Conv2d or Conv3d, not"):
        adapt_conv(conv, 5)
    with pytest.raises(FirstConvError, match="this conv must be a Conv1d, Conv2d or Conv3d, not"):
        fold_normalization(conv, MEAN, STD)


def stops(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    raise KeyError("no such channel")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (None, "there is no rule None; there are default, sum"),
        (["sum"], r"there is no rule \['sum'\]"),
        ("SUM", "there is no rule 'SUM'"),
        (stops, "the rule stopped on 'this conv' with KeyError: 'no such channel'"),
        (lambda weight, n: None, "a weight of shape NoneType, not"),
        (lambda weight, n: weight.mean(1), r"a weight of shape \(4, 2, 5\), not \(4, 5, 2, 5\)"),
        (lambda weight, n: weight[:, [0] * n] / 0, "numbers that are not finite as torch.float32"),
    ],
)
def test_rules_that_cannot_be_are_refused(rule, message) -> None:
    model = small()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(FirstConvError, match=message):
        adapt_conv(model[0], 5, rule)
    assert same(model, before)
    assert model[0].in_channels == 3


def test_sums_too_large_for_half_precision_are_refused() -> None:
    conv = nn.Conv2d(3, 4, 1, bias=False).half()
    with torch.no_grad():
        conv.weight.fill_(40000)
    with pytest.raises(FirstConvError, match=r"numbers that are not finite as torch\.float16"):
        adapt_conv(conv, 1, "sum")
    assert conv.in_channels == 3
    adapt_conv(conv, 4, "sum")
    assert conv.weight.unique().tolist() == [30000]


def test_a_conv_cannot_get_more_channels_than_there_is_memory_for() -> None:
    conv = nn.Conv2d(3, 4, 1)
    weight = conv.weight
    with pytest.raises(FirstConvError, match="the rule stopped on 'this conv' with RuntimeError"):
        adapt_conv(conv, 10**13, "zeros")
    assert conv.weight is weight


def with_quantised_weight() -> nn.Conv2d:
    conv = nn.Conv2d(3, 4, 1)
    conv.weight = nn.Parameter(torch.ones(4, 3, 1, 1, dtype=torch.int8), requires_grad=False)
    return conv


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (with_quantised_weight(), r"the weight of .* is quantised \(torch.int8\)"),
        (nn.Conv2d(3, 4, 1, dtype=torch.complex64), "the weight of .* is complex"),
        (prune.random_unstructured(nn.Conv2d(3, 4, 1), "bias", 0.5), "the bias of .* is made from other tensors"),
        (parametrizations.weight_norm(nn.Conv2d(3, 4, 1), "bias"), "the bias of .* is made from other tensors"),
        (nn.LazyConv2d(4, 1), "or it is lazy"),
    ],
)
def test_parameters_that_are_not_plain_are_refused(conv, message) -> None:
    before = dict(conv.named_parameters())
    for call in (lambda: adapt_conv(conv, 5), lambda: fold_normalization(conv, MEAN, STD)):
        with pytest.raises(FirstConvError, match=message):
            call()
    assert all(parameter is before[name] for name, parameter in conv.named_parameters())


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((float("nan"), 0, 0), STD, r"mean must be finite, not \[nan, 0.0, 0.0\]"),
        ((0, float("inf"), 0), STD, "mean must be finite"),
        (MEAN, (0.2, float("nan"), 0.3), "std must be finite"),
        (MEAN, (0.2, 0.2, float("inf")), "std must be finite"),
        (MEAN, (0.2, -0.2, 0.3), "std must be above 0"),
        (MEAN, (0.2, 1e-9, 0.3), "std is so small beside mean, .* that rounding in torch.float32 would hide what"),
        ((0, 0, 0), (0.2, 1e-300, 0.3), "are too large for torch.float32"),
        ((0, 0, 0), (0.2, 1e300, 0.3), "the weights of a channel are too small for torch.float32"),
        ((1e300, 0, 0), (1e300, 1, 1), "too small"),
        ("abc", STD, "mean must be 3 numbers, not 'abc'"),
        (None, STD, "mean must be 3 numbers, not None"),
        (MEAN, ["0.2", "0.2", "0.2"], "std must be 3 numbers"),
        (0.5, STD, "mean has 1 numbers, and the conv takes 3 channels"),
        ((), STD, "mean has 0 numbers"),
        (MEAN, torch.ones(3, device="meta"), "std must be 3 numbers"),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_normalizations_that_cannot_be_are_refused(mean, std, message, bias) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, (2, 5), bias=bias)
    before = {key: tensor.clone() for key, tensor in conv.state_dict().items()}
    with pytest.raises(FirstConvError, match=message):
        fold_normalization(conv, mean, std)
    assert same(conv, before)


def test_numbers_too_small_or_too_large_are_those_of_the_type() -> None:
    small_std = (1e-7, 1e-7, 1e-7)
    for dtype, message in ((torch.float16, "too large for torch.float16"), (torch.float32, None)):
        conv = nn.Conv2d(3, 4, 1).to(dtype)
        if message:
            with pytest.raises(FirstConvError, match=message):
                fold_normalization(conv, (0, 0, 0), small_std)
        else:
            fold_normalization(conv, (0, 0, 0), small_std)
            assert conv.weight.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_usual_normalizations_fit_any_type(dtype) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, (2, 5), dtype=dtype)
    for mean, std in (((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((123.68, 116.78, 103.94), (58.4, 57.1, 57.4))):
        before = conv.weight.detach().clone()
        fold_normalization(conv, mean, std)
        torch.testing.assert_close(
            conv.weight.double(), before.double() / torch.tensor(std).view(1, 3, 1, 1), rtol=1e-2, atol=0
        )


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (nn.Conv2d(3, 4, 1, device="meta"), "the weight of this conv is on `meta`"),
        (nn.Conv2d(3, 4, 1), "the bias of this conv is expanded, one number in several places: clone it first"),
    ],
)
def test_what_cannot_be_written_in_place_is_refused_whole(conv, message) -> None:
    if "expanded" in message:
        conv.bias = nn.Parameter(torch.ones(1).expand(4))
    before = conv.weight.detach().clone()
    with pytest.raises(FirstConvError, match=message):
        fold_normalization(conv, MEAN, STD)
    assert conv.weight.is_meta or torch.equal(conv.weight, before)


def test_tensors_made_under_inference_mode_are_refused_whole() -> None:
    conv = nn.Conv2d(3, 4, 1)
    before = conv.weight.detach().clone()
    with torch.inference_mode():
        conv.bias = nn.Parameter(torch.ones(4), requires_grad=False)
    with pytest.raises(FirstConvError, match="the bias of this conv cannot be written in place"):
        fold_normalization(conv, MEAN, STD)
    assert torch.equal(conv.weight, before)


@pytest.mark.parametrize("example", ["x", 3, torch.tensor(3.0), [], {}, [None], [torch.ones(2), "x"]])
def test_examples_that_are_none_are_refused(example) -> None:
    model = small()
    for call in (find_first_conv, lambda model, example: adapt_first_conv(model, 5, example=example)):
        with pytest.raises(FirstConvError, match="an example must be a batch as a tensor, or a list or a dictionary"):
            call(model, example)


def test_a_bias_that_two_layers_share_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    model[2].bias = model[0].bias
    with pytest.raises(FirstConvError, match="the bias of '0' is that of '2', too"):
        adapt_first_conv(model, 5)


def test_lists_and_dictionaries_of_images_are_examples() -> None:
    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, (2, 5))

        def forward(self, images):
            images = images.values() if isinstance(images, dict) else images
            return [self.conv(image) for image in images]

    images = [torch.rand(3, 6, 9), torch.rand(3, 8, 7)]
    for example in (images, tuple(images), {"left": images[0], "right": images[1]}):
        model = Images()
        assert find_first_conv(model, example)[0] == "conv"
        assert adapt_first_conv(model, 5, example=example) == "conv"
        assert [x.shape[0] for x in model([torch.rand(5, 6, 9), torch.rand(5, 8, 7)])] == [4, 4]


class Counting(nn.Module):
    """Checks its channels, as the patch embeddings of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.num_channels, self.patches = 3, nn.Module()
        self.patches.num_channels, self.patches.projection = 3, nn.Conv2d(3, 4, (2, 5))

    def forward(self, x):
        if x.shape[1] != self.patches.num_channels:
            raise ValueError(f"{x.shape[1]} channels, not {self.patches.num_channels}")
        return self.patches.projection(x)


def test_the_number_beside_a_conv_is_told() -> None:
    model = Counting()
    assert adapt_first_conv(model, 5) == "patches.projection"
    assert (model.num_channels, model.patches.num_channels, model.patches.projection.in_channels) == (5, 5, 5)
    assert model(torch.rand(2, 5, 6, 9)).shape == (2, 4, 5, 5)


def test_a_conv_is_adapted_if_the_model_stops_behind_it_as_before() -> None:
    class Unfinished(Counting):
        def forward(self, x):
            raise RuntimeError(f"a second input is missing beside {super().forward(x).shape}")

    model = Unfinished()
    assert adapt_first_conv(model, 5) == "patches.projection"
    assert (model.num_channels, model.patches.projection.in_channels) == (5, 5)


def test_a_model_that_is_refused_keeps_its_numbers() -> None:
    class Weighing(Counting):
        def forward(self, x):
            return super().forward(x * torch.ones(3, 1, 1, device=x.device))

    model = Weighing()
    weight = model.patches.projection.weight
    with pytest.raises(FirstConvError, match=r"with 5 channels the model stops before 'patches\.projection'"):
        adapt_first_conv(model, 5)
    assert (model.num_channels, model.patches.num_channels, model.patches.projection.in_channels) == (3, 3, 3)
    assert model.patches.projection.weight is weight


def test_a_conv_that_is_found_under_no_grad_is_the_same() -> None:
    with torch.no_grad():
        assert find_first_conv(small())[0] == "0"
    with torch.inference_mode():
        assert find_first_conv(small())[0] == "0"


def test_numbers_that_are_not_finite_already_are_no_matter() -> None:
    conv = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight[1, 2] = float("nan")
    adapt_conv(conv, 5)
    assert int(conv.weight.isnan().sum()) == 1
    fold_normalization(conv, (0.5,) * 5, (0.2,) * 5)
    assert int(conv.weight.isnan().sum()) == 1
    assert conv.bias.isnan().tolist() == [False, True, False, False]
