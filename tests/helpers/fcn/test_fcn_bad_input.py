"""What the FCN room was not made for: one FCNError that names it, and nothing half-done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from helpers.fcn import (
    BilinearUpsampling,
    FCN8s,
    FCN16s,
    FCN32s,
    FCNError,
    confusion_matrix,
    copy_coarser_,
    copy_vgg16_,
    crop_offset,
    init_bilinear_,
    linear_to_conv,
    receptive_field,
    upsample_bilinear,
)
from workbook import networks

THIN = {"width": 0.25, "fc_width": 256, "image_size": 64}
MADE = "made from other tensors"


def expanded(layer: nn.Module) -> None:
    layer.weight = nn.Parameter(torch.ones(1, 1, 1, 1).expand(layer.weight.shape))


def on_meta(layer: nn.Module, kind: str) -> None:
    setattr(layer, kind, nn.Parameter(getattr(layer, kind).detach().to("meta")))


def sparse(layer: nn.Module) -> None:
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse())


def stale(layer: nn.Module) -> None:
    """Its attribute `weight` is the one of the last forward, and another one than its weight_g says."""
    weight_norm(layer)
    layer.weight_g.data.mul_(2)


TARGETS: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "parametrised": (lambda conv: parametrize.register_parametrization(conv, "weight", nn.Identity()), MADE),
    "weight_norm": (parametrizations.weight_norm, MADE),
    "pruned": (lambda conv: prune.random_unstructured(conv, "weight", 0.5), MADE),
    "expanded": (expanded, "several numbers in the weight of conv4_2 share one place"),
    "weight on meta": (lambda conv: on_meta(conv, "weight"), "the weight of conv4_2 is on the meta device"),
    "bias on meta": (lambda conv: on_meta(conv, "bias"), "the bias of conv4_2 is on the meta device"),
    "without bias": (lambda conv: conv.register_parameter("bias", None), r"conv4_2 has no bias, and features\.19 has"),
    "complex": (
        lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight + 1j)),
        "the weight of conv4_2 is complex",
    ),
}
SOURCES: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "stale": (stale, MADE),
    "meta": (lambda conv: on_meta(conv, "weight"), r"the weight of features\.19 is on the meta device"),
    "sparse": (sparse, r"the weight of features\.19 is stored as torch\.sparse_coo"),
    "bias of another shape": (
        lambda conv: setattr(conv, "bias", nn.Parameter(torch.ones(1))),
        r"the bias of features\.19 \(1,\) does not fill that of conv4_2 \(128,\)",
    ),
    "dilated": (lambda conv: setattr(conv, "dilation", (2, 1)), r"features\.19 has stride and dilation .*\(2, 1\)"),
    "float8": (lambda conv: conv.to(torch.float8_e4m3fn), r"the weight of features\.19 is quantised"),
}


def refused(fcn: nn.Module, copy: Callable[[], None], said: str) -> None:
    """With this message, and no tensor changed."""
    before = {name: tensor.clone() for name, tensor in fcn.state_dict().items()}
    with pytest.raises(FCNError, match=said):
        copy()
    after = fcn.state_dict()
    assert list(after) == list(before)
    assert all(tensor.is_meta or torch.equal(tensor, before[name]) for name, tensor in after.items())


@pytest.mark.parametrize("kind", TARGETS)
def test_a_layer_in_the_middle_that_cannot_be_filled_leaves_all_as_they_were(kind) -> None:
    spoil, said = TARGETS[kind]
    fcn, vgg16 = FCN32s(4, **THIN), networks.vgg16()
    spoil(fcn.conv4_2)
    refused(fcn, lambda: copy_vgg16_(fcn, vgg16), said)
    if kind != "without bias":
        finer = FCN16s(4, **THIN)
        spoil(finer.conv4_2)
        refused(finer, lambda: copy_coarser_(finer, FCN32s(4, **THIN)), said)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")  # those who load old networks use it still
@pytest.mark.parametrize("kind", SOURCES)
def test_a_layer_in_the_middle_that_cannot_be_copied_leaves_all_as_they_were(kind) -> None:
    spoil, said = SOURCES[kind]
    fcn, vgg16 = FCN32s(4, **THIN), networks.vgg16()
    spoil(vgg16.features[19])
    refused(fcn, lambda: copy_vgg16_(fcn, vgg16), said)


def test_layers_with_weights_that_a_vgg16_has_not_and_what_is_no_network() -> None:
    fcn = FCN32s(4, **THIN)
    for layer, said in (
        (nn.PReLU(16), "a PReLU"),
        (nn.GroupNorm(2, 16), "a GroupNorm"),
        (nn.BatchNorm2d(16), "a Batch"),
    ):
        vgg16 = networks.vgg16()
        vgg16.features[1] = layer
        refused(fcn, lambda vgg16=vgg16: copy_vgg16_(fcn, vgg16), rf"features\.1 is {said}")
    for wrong in (None, "vgg16", torch.ones(2), torch.compile(networks.vgg16())):
        refused(fcn, lambda wrong=wrong: copy_vgg16_(fcn, wrong), "the model (must be|is compiled)")
        with pytest.raises(FCNError, match="into or from an FCN32s, FCN16s or FCN8s, not a"):
            copy_vgg16_(wrong, networks.vgg16())
        with pytest.raises(FCNError, match="into or from an FCN32s, FCN16s or FCN8s, not a"):
            copy_coarser_(fcn, wrong)


def test_tied_convs_are_named() -> None:
    fcn = FCN32s(4, **THIN)
    fcn.conv5_2.weight = fcn.conv5_1.weight
    refused(fcn, lambda: copy_vgg16_(fcn, networks.vgg16()), "the weight of conv5_1 is that of 'conv5_2', too")


def test_a_weight_whose_numbers_share_a_place_or_are_none_begins_nothing() -> None:
    conv = nn.ConvTranspose2d(3, 3, 4)
    expanded(conv)
    with pytest.raises(FCNError, match="several numbers in the weight of this conv share one place"):
        init_bilinear_(conv)
    assert conv.weight.unique().tolist() == [1]
    with pytest.raises(FCNError, match="the weight of this conv is on the meta device"):
        init_bilinear_(nn.ConvTranspose2d(3, 3, 4, device="meta"))


@pytest.mark.parametrize("make", [FCN32s, FCN16s, FCN8s])
def test_a_network_may_still_be_built_without_numbers(make) -> None:
    with torch.device("meta"):
        fcn = make(4, **THIN)
    assert {tensor.device.type for tensor in fcn.state_dict().values()} == {"meta"}


@pytest.mark.parametrize(
    "option",
    [
        *({"num_classes": wrong} for wrong in (0, -1, 2.0, True, "4", float("nan"))),
        *({"width": wrong} for wrong in (0, -1, 1e-9, float("nan"), float("inf"), "wide", True)),
        *({"fc_width": wrong} for wrong in (0, 2.5)),
        *({"image_size": wrong} for wrong in (31, -64, 64.0)),
        *({"first_padding": wrong} for wrong in (-1, 1.5, True)),
        *({"dropout": wrong} for wrong in (-0.1, 1.1, "half", float("nan"))),
        *({"upsampling": wrong} for wrong in (None, ["dense"])),
    ],
    ids=str,
)
def test_an_option_is_named_with_what_it_was(option) -> None:
    ((name, value),) = option.items()
    with pytest.raises(FCNError, match=f"^{name} .*, not ") as caught:
        FCN32s(**{"num_classes": 4} | THIN | option)
    assert repr(value) in str(caught.value)


def test_maps_that_cannot_be_upsampled() -> None:
    for wrong in (None, torch.ones(3, 3), torch.ones(1, 2, 3, 3).long(), torch.ones(1, 2, 0, 3)):
        with pytest.raises(FCNError, match="maps are"):
            upsample_bilinear(wrong, 2)
    layer = BilinearUpsampling(2, 4)
    assert layer(torch.ones(1, 2, 5, 6)).shape == (1, 2, 4, 6)
    with pytest.raises(FCNError, match=r"padding 4 leaves nothing of \(8, 14\)"):
        layer(torch.ones(1, 2, 3, 6))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((nn.Conv2d(3, 5, 2), 2), "not a Conv2d"),
        ((nn.LazyLinear(5), 2), "lazy"),
        ((nn.Linear(12, 5, device="meta"), 2), "on the meta device"),
        ((parametrizations.weight_norm(nn.Linear(12, 5)), 2), MADE),
        ((nn.Linear(12, 5), 0), "at least one, not 0"),
        ((nn.Linear(12, 5), (2, 2)), r"not \(2, 2\)"),
        ((nn.Linear(12, 5), 2, -1), "0 or more, not -1"),
        ((nn.Linear(12, 5), 2, 1.5), "0 or more, not 1.5"),
    ],
    ids=str,
)
def test_what_becomes_no_conv(arguments, said) -> None:
    with pytest.raises(FCNError, match=said):
        linear_to_conv(*arguments)


def test_what_has_no_grid() -> None:
    for wrong in (None, nn.Conv2d(3, 4, 3)):
        with pytest.raises(FCNError, match="layers one after the other, not a"):
            receptive_field(wrong)
        with pytest.raises(FCNError, match="this needs a Grid"):
            crop_offset(wrong)
    with pytest.raises(FCNError, match="no layer 'pool9'; it has conv1_1, "):
        FCN32s(4, **THIN).grid("pool9")


def test_what_no_confusion_can_be_counted_of() -> None:
    class Scores(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    x, masks = torch.rand(3, 2, 4, 5), torch.zeros(3, 4, 5, dtype=torch.uint8)
    for model, inputs in ((None, x), (Scores, x), (Scores(), x.numpy()), (Scores(), [x])):
        with pytest.raises(FCNError, match=r"this needs an nn\.Module and a tensor"):
            confusion_matrix(model, inputs, masks)
    for wrong in (2.0, True, "255"):
        with pytest.raises(FCNError, match="ignore_index is a whole number"):
            confusion_matrix(Scores(), x, masks, ignore_index=wrong)
