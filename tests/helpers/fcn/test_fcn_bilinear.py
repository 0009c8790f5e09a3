"""Bilinear upsampling against plain loops and torch's own interpolation."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from helpers.fcn import (
    BilinearUpsampling,
    FCNError,
    bilinear_kernel,
    init_bilinear_,
    receptive_field,
    upsample_bilinear,
)

SIZES = [1, 2, 3, 4, 5, 7, 16, 64]


def by_loops(size: int) -> np.ndarray:
    """Each pixel's weight, as Caffe's filler for bilinear upsampling computes it."""
    factor = int(np.ceil(size / 2))
    centre = (2 * factor - 1) / (2 * factor) if size % 2 == 0 else (factor - 1) / factor
    kernel = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            kernel[y, x] = (1 - abs(y / factor - centre)) * (1 - abs(x / factor - centre))
    return kernel


@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_by_plain_loops(size) -> None:
    assert np.allclose(bilinear_kernel(size).numpy(), by_loops(size), atol=1e-7)


@pytest.mark.parametrize(("channels", "groups", "size"), [(5, 1, 4), (5, 5, 4), (3, 1, 7), (3, 3, 2)])
def test_each_channel_is_interpolated_by_itself(channels, groups, size) -> None:
    conv = nn.ConvTranspose2d(channels, channels, size, stride=(size + 1) // 2, groups=groups)
    init_bilinear_(conv)
    expected = torch.zeros(channels, channels // groups, size, size)
    for i in range(channels):
        expected[i, i if groups == 1 else 0] = torch.from_numpy(by_loops(size)).float()
    torch.testing.assert_close(conv.weight.detach(), expected)
    assert not conv.bias.any()
    assert conv.weight.requires_grad


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (nn.ConvTranspose2d(3, 5, 4), "3 channels cannot be interpolated to 5"),
        (nn.ConvTranspose2d(4, 4, (2, 4)), "the kernel is 2x4"),
        (nn.ConvTranspose2d(4, 4, 4, groups=2), "2 groups of 4 channels; take 1 or 4"),
    ],
)
def test_what_cannot_interpolate_is_refused_and_stays(conv, message) -> None:
    before = conv.weight.detach().clone()
    with pytest.raises(FCNError, match=message):
        init_bilinear_(conv)
    assert torch.equal(conv.weight, before)


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 8, 32])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_interpolation_without_a_kernel_equals_the_transposed_conv_everywhere(scale, dtype, tolerance) -> None:
    x = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    conv = nn.ConvTranspose2d(3, 3, 2 * scale - scale % 2, stride=scale, groups=3, bias=False, dtype=dtype)
    init_bilinear_(conv)
    expected = conv(x).detach()
    assert expected.shape[2:] == (5 * scale - scale % 2, 7 * scale - scale % 2)
    torch.testing.assert_close(upsample_bilinear(x, scale), expected, rtol=0, atol=tolerance)


def test_inside_it_is_torchs_interpolation_and_at_the_borders_it_fades() -> None:
    x, scale = torch.ones(1, 1, 5, 7), 32
    full = upsample_bilinear(x, scale)[..., 16:-16, 16:-16]
    plain = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    assert full.shape == plain.shape
    torch.testing.assert_close(full[..., 16:-16, 16:-16], plain[..., 16:-16, 16:-16])
    assert full[0, 0, 0, 100].item() == pytest.approx(0.516, abs=0.001)  # of 1, at the border of one axis
    assert full[0, 0, 0, 0].item() == pytest.approx(0.516**2, abs=0.001)


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_a_scale_is_a_whole_number_above_one(scale) -> None:
    with pytest.raises(FCNError, match="a whole number above 1"):
        upsample_bilinear(torch.zeros(1, 1, 2, 3), scale)


def test_a_kernel_has_a_pixel() -> None:
    for wrong in (0, -1, 2.5, True, "3", float("nan")):
        with pytest.raises(FCNError, match="a whole number of pixels, at least one, not"):
            bilinear_kernel(wrong)


@pytest.mark.parametrize(("scale", "padding"), [(1, 0), (2.0, 0), (True, 0), (2, -1), (2, 0.5), ("2", 0)])
def test_a_layer_without_a_kernel_is_refused_when_it_is_made(scale, padding) -> None:
    with pytest.raises(FCNError, match="must be a whole number"):
        BilinearUpsampling(scale, padding)


def test_maps_have_four_dimensions() -> None:
    with pytest.raises(FCNError, match=r"maps are \(N, C, H, W\), not \(3, 4, 5\)"):
        BilinearUpsampling(2)(torch.ones(3, 4, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: parametrizations.weight_norm(nn.ConvTranspose2d(3, 3, 4)),
        lambda: prune.random_unstructured(nn.ConvTranspose2d(3, 3, 4), "weight", 0.5),
        lambda: parametrizations.spectral_norm(nn.ConvTranspose2d(3, 3, 4)),
        lambda: nn.Conv2d(3, 3, 4),
        lambda: None,
    ],
)
def test_what_cannot_begin_as_bilinear_is_refused_and_stays(make) -> None:
    conv = make()
    before = copy.deepcopy(conv.state_dict()) if conv is not None else {}
    with pytest.raises(FCNError):
        init_bilinear_(conv)
    assert all(torch.equal(conv.state_dict()[key], tensor) for key, tensor in before.items())


@pytest.mark.parametrize(("scale", "padding"), [(2, 0), (2, 1), (5, 3), (8, 8), (32, 19)])
def test_the_layer_without_a_kernel_is_padded_like_a_transposed_conv(scale, padding) -> None:
    layer = BilinearUpsampling(scale, padding)
    conv = nn.ConvTranspose2d(3, 3, layer.kernel_size, scale, padding, groups=3, bias=False)
    init_bilinear_(conv)
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    assert not list(layer.parameters())
    torch.testing.assert_close(layer(x), conv(x).detach(), rtol=0, atol=2e-6)
    assert receptive_field([layer]) == receptive_field([conv])
