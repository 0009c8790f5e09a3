"""The first conv and the head of every classification model of torchvision, mostly on shapes alone.

Each run of a model takes up to a second even so. Therefore both surgeries are done to the same one, and channels
alternate between fewer and more, so that most kinds of networks meet both.
"""

import itertools
from typing import Any

import pytest
import torch
import torchvision
from every_model import NAMES, case
from torch import nn
from torch.overrides import TorchFunctionMode

from helpers.first_conv import adapt_conv, adapt_first_conv
from helpers.heads import find_head, find_heads, replace_head


class WithoutMemory(TorchFunctionMode):
    """Parameters go to the meta device. All else stays, for RegNet computes with tensors while it is built."""

    def __torch_function__(self, function, types, args=(), kwargs=None) -> Any:
        return function(*args, **(kwargs or {}) | ({"device": "meta"} if function is torch.empty else {}))


def build(name: str) -> nn.Module:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with WithoutMemory():
        return torchvision.models.get_model(name, weights=None, **options)


def output_shape(model: nn.Module, *shape: int) -> torch.Size:
    tensors = {key: t.to("meta") for key, t in [*model.named_parameters(), *model.named_buffers()]}
    return torch.func.functional_call(model.eval(), tensors, (torch.zeros(shape, device="meta"),)).shape


@pytest.mark.parametrize(("name", "in_channels"), list(map(case, NAMES, itertools.cycle((1, 12)))))
def test_every_model_takes_other_channels_and_classes(name, in_channels) -> None:
    model = build(name)
    before = {key: (tensor, tensor._version) for key, tensor in model.named_parameters()}
    heads = replace_head(model, 7)
    first = adapt_first_conv(model, in_channels, "tile")
    layer, kernels = model.get_submodule(first), before[f"{first}.weight"][0].shape
    assert layer.weight.shape == (kernels[0], in_channels, *kernels[2:])
    assert output_shape(model, 2, in_channels, 224, 224) == (2, 7)
    changed = {f"{first}.weight", *(f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias"))}
    assert before.keys() == dict(model.named_parameters()).keys()
    for key, tensor in model.named_parameters():
        assert (tensor is before[key][0] and tensor._version == before[key][1]) != (key in changed)
    # with real numbers in that conv, and in that alone
    layer.weight, layer.in_channels = nn.Parameter(torch.randn(kernels)), 3
    layer.bias = None if layer.bias is None else nn.Parameter(torch.randn(layer.bias.shape))
    grey = torch.randn(2, 1, 33, 47)
    expected = layer(grey.expand(-1, 3, -1, -1))
    adapt_conv(layer, 1, "sum")
    torch.testing.assert_close(layer(grey), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_auxiliary_classifiers_are_heads() -> None:
    assert set(find_heads(build("inception_v3"))) == {"fc", "AuxLogits.fc"}
    assert set(find_heads(build("googlenet"))) == {"fc", "aux1.fc2", "aux2.fc2"}
    assert find_head(build("googlenet"))[0] == "fc"


def test_an_auxiliary_head_is_found_with_an_example_of_one() -> None:
    model = build("inception_v3")
    assert set(replace_head(model, 10, example=torch.zeros(1, 3, 299, 299))) == {"fc", "AuxLogits.fc"}
