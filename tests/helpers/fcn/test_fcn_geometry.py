"""Receptive fields by arithmetic against where gradients really arrive, and the published offsets of FCN."""

import pytest
import torch
from torch import nn

from helpers.fcn import FCNError, Grid, crop_offset, receptive_field
from workbook.networks import vgg16


def touched(layers: nn.Sequential, unit: int, size: int) -> tuple[int, int]:
    """First and last input column that one unit's value depends on."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.ones_(layer.weight)
    smooth = [nn.AvgPool2d(m.kernel_size, m.stride, m.padding) if isinstance(m, nn.MaxPool2d) else m for m in layers]
    x = torch.ones(1, 1, size, size, requires_grad=True)
    out = nn.Sequential(*smooth).eval()(x)
    out[0, 0, out.shape[2] // 2, unit].backward()
    columns = x.grad[0, 0].sum(0).nonzero().flatten()
    return columns.min().item(), columns.max().item()


NETWORKS = [
    nn.Sequential(
        nn.Conv2d(1, 1, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 3, dilation=2)
    ),
    nn.Sequential(nn.Conv2d(1, 1, 4, padding=2), nn.AvgPool2d(2, 2), nn.Conv2d(1, 1, 2, stride=3)),
    nn.Sequential(nn.MaxPool2d(3, 3, 1), nn.Conv2d(1, 1, 7, padding=3), nn.Dropout(), nn.MaxPool2d(2, 2)),
]


@pytest.mark.parametrize("layers", NETWORKS)
def test_units_look_where_gradients_arrive(layers) -> None:
    grid = receptive_field(layers)
    for unit in (4, 5):  # far enough from the borders
        first, last = touched(layers, unit, 80)
        assert last - first + 1 == grid.size
        assert (first + last) / 2 == grid.start + unit * grid.stride


def published(padding: int) -> list[nn.Module]:
    """FCN's VGG16 up to fc6, whose first conv is padded by so much."""
    layers = [m for m in vgg16().features if not isinstance(m, nn.ReLU)]
    layers[0] = nn.Conv2d(3, 16, 3, padding=padding)
    return [*layers, nn.Conv2d(128, 256, 7)]


def up(scale: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(1, 1, 2 * scale, stride=scale)


@pytest.mark.parametrize("padding", [100, 90, 81])
def test_the_offsets_of_fcn_follow_from_its_layers(padding) -> None:
    layers = published(padding)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    pool3, pool4 = (receptive_field(layers[: pools[i] + 1]) for i in (2, 3))
    fc6 = receptive_field(layers)
    assert crop_offset(fc6.behind(up(32))) == padding - 81
    twice = fc6.behind(up(2))
    assert crop_offset(pool4, onto=twice) == 5
    assert crop_offset(twice.behind(up(16))) == padding - 73
    fused = twice.behind(up(2))
    assert crop_offset(pool3, onto=fused) == 9
    assert crop_offset(fused.behind(up(8))) == padding - 69


def test_padding_that_keeps_sizes_needs_no_crop() -> None:
    layers = [*published(1)[:-1], nn.Conv2d(128, 256, 7, padding=3)]
    assert crop_offset(receptive_field(layers).behind(nn.ConvTranspose2d(1, 1, 64, stride=32, padding=16))) == 0


def test_vgg16_sees_212_pixels_behind_its_last_pool_and_404_behind_fc6() -> None:
    assert receptive_field(published(1)[:-1]).size == 212
    assert receptive_field(published(1)).size == 404


def test_a_grid_says_what_it_is() -> None:
    grid = receptive_field([nn.Conv2d(3, 64, 3, padding=100), nn.MaxPool2d(2, 2)])
    assert str(grid) == "a unit every 2 pixels, the first at -98.5, sees 4"


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(FCNError, match="what a Linear does to places is not known"):
        receptive_field([nn.Linear(2, 3)])
    with pytest.raises(FCNError, match=r"kernel_size is \(2, 3\); this needs one number"):
        receptive_field([nn.Conv2d(1, 1, (2, 3))])
    with pytest.raises(FCNError, match="2 pixels apart cannot be laid upon units 1 apart"):
        crop_offset(receptive_field([nn.MaxPool2d(2, 2)]))
    with pytest.raises(FCNError, match="1/2 units apart"):
        crop_offset(receptive_field([nn.Conv2d(1, 1, 2, padding=1)]))
    with pytest.raises(FCNError, match="begins 1 units too late"):
        crop_offset(Grid(), onto=receptive_field([nn.Conv2d(1, 1, 3, padding=2)]))
