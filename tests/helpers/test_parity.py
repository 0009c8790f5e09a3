"""Where two networks part: found by hooks, compared with a network that is run by hand, layer by layer."""

import copy
import math

import pytest
import torch
from torch import nn

from helpers.errors import WeightsError
from helpers.parity import compare_outputs, outputs_of, relative_difference


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.Flatten()).eval()


def test_outputs_are_those_of_running_by_hand() -> None:
    model, x = chain(), torch.randn(2, 3, 8, 7)
    found = outputs_of(model, ["0", "3", ""], x)
    assert list(found) == ["0", "3", ""]
    step = model[0](x)
    torch.testing.assert_close(found["0"], step)
    torch.testing.assert_close(found["3"], model[3](model[2](model[1](step))))
    torch.testing.assert_close(found[""], model(x))
    assert not any(output.requires_grad for output in found.values())


def test_a_layer_that_works_in_place_does_not_change_what_was_kept() -> None:
    model, x = chain(), torch.randn(2, 3, 8, 7)
    model[1] = nn.ReLU(inplace=True)
    assert outputs_of(model, ["0"], x)["0"].min() < 0


def test_it_leaves_no_hooks_behind_not_even_after_an_error() -> None:
    model = chain()
    outputs_of(model, ["0", "2"], torch.randn(1, 3, 8, 7))
    with pytest.raises(RuntimeError):
        outputs_of(model, ["0", "2"], torch.randn(1, 9, 8, 7))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_first_layer_that_differs_is_where_they_part() -> None:
    model, x = chain(), torch.randn(2, 3, 8, 7)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[2].weight.mul_(2)
        other[2].bias.mul_(2)
    found = compare_outputs(model, other, {"0": "0", "1": "1", "2": "2", "": ""}, x)
    assert list(found) == ["0", "1", "2", ""]
    assert found["0"] == found["1"] == 0
    assert found["2"] == pytest.approx(0.5)
    a, b = model(x), other(x)
    assert found[""] == pytest.approx((((a - b) ** 2).sum() / (b**2).sum()).sqrt().item())


def test_each_network_gets_its_own_inputs() -> None:
    model, x = chain(), torch.rand(2, 3, 8, 7)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.div_(255)
    assert max(compare_outputs(model, other, {"0": "0", "": ""}, x, 255 * x).values()) < 1e-5
    assert compare_outputs(model, other, {"0": "0"}, x)["0"] > 0.5


def test_networks_of_other_names_are_paired_as_told() -> None:
    class Named(nn.Module):
        def __init__(self, layers: nn.Sequential) -> None:
            super().__init__()
            self.first, self.rest = layers[0], layers[1:]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rest(self.first(x))

    model, x = chain(), torch.randn(2, 3, 8, 7)
    found = compare_outputs(model, Named(model), {"0": "first", "3": "rest.2"}, x)
    assert max(found.values()) < 1e-4


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"0": "2"}, r"'0' and '2' have other shapes: \(2, 4, 7, 6\) and \(2, 5, 5, 4\)"),
        ({"4.x": "0"}, "no attribute"),
    ],
)
def test_what_cannot_be_compared_is_refused(pairs, said) -> None:
    model = chain()
    with pytest.raises((ValueError, AttributeError), match=said):
        compare_outputs(model, model, pairs, torch.randn(2, 3, 8, 7))


def test_modules_that_run_twice_or_never_are_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.never, self.pair = nn.Linear(3, 3), nn.Linear(3, 3), nn.GRU(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.pair(self.twice(self.twice(x)))[0]

    x = torch.randn(4, 3)
    for name, said in (
        ("twice", "'twice' ran 2 times"),
        ("never", "'never' ran 0 times"),
        ("pair", "'pair' puts out a t"),
    ):
        with pytest.raises(ValueError, match=said):
            outputs_of(Odd(), [name], x)


def test_relative_differences() -> None:
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert relative_difference(a, b) == pytest.approx(5 / 4)
    assert relative_difference(b, a) == pytest.approx(5 / 3)
    zeros = torch.zeros(2)
    assert relative_difference(zeros, zeros) == 0
    assert relative_difference(a, zeros) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_tenth_apart_is_a_tenth_apart_in_every_type(dtype) -> None:
    b = torch.full((300, 300), 100.0, dtype=dtype)  # whose squares half precision cannot add up
    assert relative_difference(b * 1.125, b) == pytest.approx(0.125, rel=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-300, 3e38, 1e300])
def test_tiny_and_huge_numbers_are_compared(size) -> None:
    b = torch.tensor([3.0, 4.0], dtype=torch.float64) * size
    assert relative_difference(b * 1.5, b) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 5], 2 / math.sqrt(30)),
        ([True, False], [True, True], 1 / math.sqrt(2)),
        ([math.inf, 3.0], [math.inf, 4.0], 0.25),
        ([math.nan, 4.0], [math.nan, 4.0], math.inf),
        ([math.inf, 4.0], [-math.inf, 4.0], math.inf),
        ([math.nan, 4.0], [1.0, 4.0], math.inf),
        ([1.0, 2.0], [math.nan, 2.0], math.inf),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, 0.0], [0.0, 0.0], 1.0),
        ([3 + 4j], [0 + 4j], 0.75),
        ([], [], 0.0),
    ],
)
def test_numbers_of_every_kind_are_compared(a, b, expected) -> None:
    assert relative_difference(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected)


def test_what_holds_no_numbers_is_named() -> None:
    for wrong, message in ((None, "a NoneType, not a tensor"), (torch.ones(2, device="meta"), "meta device")):
        with pytest.raises(WeightsError, match=f"the logits: one is .*{message}"):
            relative_difference(torch.ones(2), wrong, "the logits")


class Several(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.first, self.second, self.make = nn.Linear(3, 4), nn.Linear(3, 2), make

    def forward(self, x: torch.Tensor) -> object:
        return self.make(self.first(x), self.second(x))


@pytest.mark.parametrize("make", [lambda a, b: (a, b), lambda a, b: {"out": a, "aux": [b]}])
def test_several_outputs_differ_as_much_as_the_worst_of_them(make) -> None:
    model = Several(make)
    other = copy.deepcopy(model)
    inputs = torch.randn(5, 3)
    assert compare_outputs(model, other, {"": ""}, inputs) == {"": 0.0}
    with torch.no_grad():
        model.second.weight.mul_(1.5)
        model.second.bias.mul_(1.5)
    assert compare_outputs(model, other, {"": ""}, inputs)[""] == pytest.approx(0.5, rel=1e-5)
    with pytest.raises(WeightsError, match="put out other things"):
        compare_outputs(model, other, {"": "first"}, inputs)
