"""FCN32s, 16s and 8s against a plain re-implementation of the published networks, and what fills them."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from helpers.fcn import FCN8s, FCN16s, FCN32s, FCNError, copy_coarser_, copy_vgg16_, linear_to_conv
from workbook import networks

NETWORKS = (FCN32s, FCN16s, FCN8s)
THIN = {"width": 0.25, "fc_width": 256, "image_size": 64}
TINY = {"width": 0.0625, "fc_width": 24, "image_size": 64}
PUBLISHED = {  # what is cut off, as the published networks have it
    FCN32s: {"upscore": 19},
    FCN16s: {"score_pool4": 5, "upscore16": 27},
    FCN8s: {"score_pool4": 5, "score_pool3": 9, "upscore8": 31},
}


def randomize_(fcn: nn.Module) -> nn.Module:
    """Scores and upsampling with random numbers, so that no exchange of them can hide."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in fcn.named_parameters():
            if "score" in name:
                parameter.normal_(std=0.05)
    return fcn.eval()


class Plain:
    """The published networks as their prototxt files have them, from a state_dict and functions alone."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, padding: int = 0) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], padding=padding)

    def up(self, x: Tensor, name: str, stride: int) -> Tensor:
        return F.conv_transpose2d(x, self.state[f"{name}.weight"], stride=stride)

    def trunk(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, pools = image, []
        for block, convs in enumerate((2, 2, 3, 3, 3), start=1):
            for place in range(1, convs + 1):
                x = self.conv(x, f"conv{block}_{place}", padding=100 if block == place == 1 else 1).relu()
            pools.append(x := F.max_pool2d(x, 2, 2, ceil_mode=True))
        return pools[2], pools[3], self.conv(self.conv(x, "fc6").relu(), "fc7").relu()

    def fcn32s(self, image: Tensor) -> Tensor:
        *_, fc7 = self.trunk(image)
        return self.cut(self.up(self.conv(fc7, "score_fr"), "upscore", 32), 19, image)

    def fcn16s(self, image: Tensor) -> Tensor:
        _, pool4, fc7 = self.trunk(image)
        scores = self.up(self.conv(fc7, "score_fr"), "upscore2", 2)
        scores = scores + self.cut(self.conv(pool4, "score_pool4"), 5, scores)
        return self.cut(self.up(scores, "upscore16", 16), 27, image)

    def fcn8s(self, image: Tensor, at_once: bool = False) -> Tensor:
        pool3, pool4, fc7 = self.trunk(image)
        if at_once:
            pool3, pool4 = 0.0001 * pool3, 0.01 * pool4
        scores = self.up(self.conv(fc7, "score_fr"), "upscore2", 2)
        scores = scores + self.cut(self.conv(pool4, "score_pool4"), 5, scores)
        scores = self.up(scores, "upscore_pool4", 2)
        scores = scores + self.cut(self.conv(pool3, "score_pool3"), 9, scores)
        return self.cut(self.up(scores, "upscore8", 8), 31, image)

    @staticmethod
    def cut(x: Tensor, offset: int, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return x[:, :, offset : offset + height, offset : offset + width]


@pytest.fixture(scope="module")
def vgg16() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.vgg16(weights=None)


@pytest.mark.parametrize("make", [*(pytest.param(coarser, marks=pytest.mark.long) for coarser in NETWORKS[:2]), FCN8s])
def test_full_size_networks_equal_the_published_ones(make, vgg16) -> None:
    fcn = make()
    copy_vgg16_(fcn, vgg16)
    randomize_(fcn)
    assert fcn.offsets == PUBLISHED[make]
    plain = getattr(Plain(fcn.state_dict()), make.__name__.lower())
    for size in ((224, 224), (375, 500)):
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            got, expected = fcn(image), plain(image)
        assert got.shape == (1, 21, *size)
        difference = (got - expected).abs().max().item()
        print(f"{make.__name__} {size}: logits to {expected.abs().max():.2f}, largest difference {difference:.1e}")
        assert expected.std() > 0.01
        assert difference < 1e-4


def test_at_once_scales_the_pools() -> None:
    fcn = randomize_(FCN8s(5, width=0.0625, fc_width=24, at_once=True))
    image = torch.randn(2, 3, 70, 97)
    with torch.no_grad():
        torch.testing.assert_close(fcn(image), Plain(fcn.state_dict()).fcn8s(image, at_once=True))
        assert not torch.allclose(fcn(image), Plain(fcn.state_dict()).fcn8s(image))


@pytest.mark.parametrize(("make", "first_padding"), list(itertools.product(NETWORKS, (1, 81, 100))))
@pytest.mark.parametrize("image_size", [64, 224])
@pytest.mark.parametrize("upsampling", ["grouped", "exact"])
def test_the_output_has_the_size_of_the_image(make, first_padding, image_size, upsampling) -> None:
    options = {**TINY, "image_size": image_size, "first_padding": first_padding, "upsampling": upsampling}
    fcn = randomize_(make(3, **options))
    assert first_padding != 1 or set(fcn.offsets.values()) == {0}
    least = 64 if first_padding == 81 else 1  # what is padded less must be larger
    for size in ((least, least + 1), (63 + least // 64, 97), (95, 130)):
        assert fcn(torch.zeros(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize(("make", "image_size", "padding"), list(itertools.product(NETWORKS, (64, 224), (1, 100))))
def test_scores_lie_where_they_were_found(make, image_size, padding) -> None:
    """An image mirrored in both directions gives the mirrored scores, if its layers are: so nothing is shifted."""
    torch.manual_seed(0)
    fcn = randomize_(
        make(3, **{**TINY, "image_size": image_size}, first_padding=padding, upsampling="grouped")
    ).double()
    with torch.no_grad():
        for conv in (module for module in fcn.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)):
            conv.weight.copy_((conv.weight + conv.weight.flip(2, 3)) / 2)
    larger = 2 * (padding - 1)  # the first conv adds so much, and pools are symmetric only if nothing is left over
    image = torch.randn(1, 3, 320 - larger, 352 - larger, dtype=torch.float64)
    with torch.no_grad():
        there, back = fcn(image), fcn(image.flip(2, 3)).flip(2, 3)
    assert there.std() > 0
    torch.testing.assert_close(there, back)


@pytest.mark.parametrize("make", NETWORKS)
def test_upsampling_in_four_ways_begins_as_the_same_function(make) -> None:
    image, outputs, networks = torch.randn(2, 3, 70, 97), [], {}
    for upsampling in ("dense", "grouped", "frozen", "exact"):
        fcn = networks[upsampling] = make(5, **TINY, first_padding=1, upsampling=upsampling)
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in fcn.named_parameters():
                if not name.startswith("up"):
                    parameter.normal_(std=0.1)
        outputs.append(fcn.eval()(image))
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], rtol=1e-5, atol=1e-6 * outputs[0].abs().max().item())
    trained = {kind: {n for n, p in fcn.named_parameters() if p.requires_grad} for kind, fcn in networks.items()}
    up = {name for name in trained["dense"] if name.startswith("up")}
    assert up
    assert trained["grouped"] == trained["dense"]
    assert trained["frozen"] == trained["exact"] == trained["dense"] - up
    assert not [key for key in networks["exact"].state_dict() if key.startswith("up")]


def test_a_published_checkpoint_loads_by_name() -> None:
    widths = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
    shapes, channels = {}, 3
    for block, convs in enumerate((2, 2, 3, 3, 3), start=1):
        for place in range(1, convs + 1):
            shapes[f"conv{block}_{place}.weight"] = (widths[block], channels, 3, 3)
            shapes[f"conv{block}_{place}.bias"] = (widths[block],)
            channels = widths[block]
    shapes |= {"fc6.weight": (4096, 512, 7, 7), "fc6.bias": (4096,), "fc7.weight": (4096, 4096, 1, 1)}
    shapes |= {"fc7.bias": (4096,), "score_fr.weight": (21, 4096, 1, 1), "score_fr.bias": (21,)}
    pool4 = {"score_pool4.weight": (21, 512, 1, 1), "score_pool4.bias": (21,), "upscore2.weight": (21, 21, 4, 4)}
    pool3 = {"score_pool3.weight": (21, 256, 1, 1), "score_pool3.bias": (21,), "upscore_pool4.weight": (21, 21, 4, 4)}
    published = {
        FCN32s: shapes | {"upscore.weight": (21, 21, 64, 64)},
        FCN16s: shapes | pool4 | {"upscore16.weight": (21, 21, 32, 32)},
        FCN8s: shapes | pool4 | pool3 | {"upscore8.weight": (21, 21, 16, 16)},
    }
    for make, wanted in published.items():
        with torch.device("meta"):
            assert {key: tuple(tensor.shape) for key, tensor in make().state_dict().items()} == wanted


@pytest.mark.parametrize("make", NETWORKS)
def test_every_conv_is_copied_and_none_is_shared(make) -> None:
    source = networks.vgg16(7)
    before = copy.deepcopy(source.state_dict())
    fcn = make(4, **THIN, first_padding=1, upsampling="grouped")
    with torch.no_grad():
        for parameter in fcn.parameters():
            parameter.fill_(float("nan"))
    copy_vgg16_(fcn, source)
    left = {name.split(".")[0] for name, parameter in fcn.named_parameters() if parameter.isnan().any()}
    assert left == {name for name, _ in fcn.named_children() if "score" in name}
    convs = [layer for layer in source.modules() if isinstance(layer, nn.Conv2d)]
    names = [f"conv{block}_{i}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1)]
    for name, conv in zip(names, convs, strict=True):
        assert torch.equal(fcn.get_submodule(name).weight, conv.weight)
        assert torch.equal(fcn.get_submodule(name).bias, conv.bias)
    mine, theirs = ({t.untyped_storage().data_ptr() for t in net.parameters()} for net in (fcn, source))
    assert not mine & theirs
    assert all(torch.equal(tensor, before[key]) for key, tensor in source.state_dict().items())


@pytest.mark.parametrize("make", NETWORKS)
def test_training_the_fcn_leaves_the_source_bit_equal(make) -> None:
    torch.manual_seed(0)
    source = networks.vgg16(7)
    before = copy.deepcopy(source.state_dict())
    fcn = make(4, **THIN, first_padding=1)
    copy_vgg16_(fcn, source)
    start = copy.deepcopy(fcn.state_dict())
    optimizer = torch.optim.SGD(fcn.parameters(), lr=0.05, momentum=0.9)
    for _ in range(2):  # the scores begin as zero, so in the first step nothing else moves
        loss = F.cross_entropy(fcn(torch.randn(2, 3, 64, 96)), torch.randint(4, (2, 64, 96)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not torch.equal(fcn.conv1_1.weight, start["conv1_1.weight"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in source.state_dict().items())


@pytest.mark.parametrize(("bias", "dtype"), [(True, torch.float32), (False, torch.float64)])
def test_a_linear_as_a_conv_slides(bias, dtype) -> None:
    linear = nn.Linear(3 * 4 * 4, 5, bias=bias, dtype=dtype)
    conv = linear_to_conv(linear, 4, padding=1)
    maps = torch.randn(2, 3, 6, 7, dtype=dtype)
    framed = F.pad(maps, (1, 1, 1, 1))
    with torch.no_grad():
        got = conv(maps)
        assert got.shape == (2, 5, 5, 6)
        for y in range(5):
            for x in range(6):
                torch.testing.assert_close(got[:, :, y, x], linear(framed[:, :, y : y + 4, x : x + 4].flatten(1)))
    assert conv.weight.data_ptr() != linear.weight.data_ptr()
    assert conv.weight.requires_grad
    with pytest.raises(FCNError, match="48 features are not so many maps of 5x5"):
        linear_to_conv(linear, 5)


def test_one_unit_of_the_fcn_is_the_classifier() -> None:
    """fc6 and fc7 as convs say of an image that fits just once what the Linears say."""
    torch.manual_seed(0)
    source = networks.vgg16(7, image_size=96).eval()
    fcn = FCN32s(4, width=0.25, fc_width=256, image_size=96, first_padding=100).eval()
    copy_vgg16_(fcn, source)
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = source.classifier[:5](source.features(image).flatten(1))
        pooled = F.max_pool2d(source.features[:-1](image), 2)
        got = fcn.relu7(fcn.fc7(fcn.relu6(fcn.fc6(pooled))))
    torch.testing.assert_close(got.flatten(1), expected)


@pytest.mark.parametrize(("coarse", "fine"), [(FCN32s, FCN16s), (FCN16s, FCN8s), (FCN32s, FCN8s)])
@pytest.mark.parametrize("padding", [1, 100])
def test_a_finer_network_begins_where_the_coarser_one_stopped(coarse, fine, padding) -> None:
    coarser = randomize_(coarse(5, **TINY, first_padding=padding))
    finer = fine(5, **TINY, first_padding=padding).eval()
    copy_coarser_(finer, coarser)
    last = next(reversed(coarser.offsets))
    before = coarser.state_dict()
    for key, tensor in finer.state_dict().items():
        if key in before:
            assert torch.equal(tensor, before[key])
    assert all(key in finer.state_dict() for key in before if not key.startswith(last))
    with torch.no_grad():  # with the last upsampling as bilinear again, they say nearly the same
        coarser.get_submodule(last).weight.copy_(type(coarser)(5, **TINY).get_submodule(last).weight)
        one, other = (fcn(image).flatten() for image in [torch.randn(1, 3, 96, 128)] for fcn in (coarser, finer))
    assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.95


def unchanged_after(fcn: nn.Module, refused, match: str) -> None:
    before = copy.deepcopy(fcn.state_dict())
    with pytest.raises(FCNError, match=match):
        refused()
    assert all(torch.equal(tensor, before[key]) for key, tensor in fcn.state_dict().items())


def test_what_does_not_fit_is_refused_and_nothing_is_written() -> None:
    fcn = FCN32s(4, **THIN)
    for source, match in (
        (networks.vgg16(batch_norm=True), r"features\.1 is a BatchNorm, which the FCN has not"),
        (networks.vgg16(width=0.5), r"features\.0 \(32, 3, 3, 3\) does not fill conv1_1 \(16, 3, 3, 3\); make the FCN"),
        (networks.vgg16(image_size=96), r"classifier\.0 \(256, 1152\) does not fill fc6 \(256, 128, 2, 2\)"),
        (networks.vgg16(fc_width=128), r"classifier\.0 \(128, 512\) does not fill fc6 \(256, 128, 2, 2\)"),
        (networks.resnet18(), "BatchNorm"),
        (networks.vgg16().features, "15 layers with weights in front of its last, not 12"),
    ):
        unchanged_after(fcn, lambda source=source: copy_vgg16_(fcn, source), match)
    unchanged_after(
        fcn, lambda: copy_coarser_(fcn, FCN16s(4, **THIN)), r"FCN32s has no upscore2\.weight; copy from the coarser"
    )
    other = FCN16s(5, **THIN)
    unchanged_after(
        other, lambda: copy_coarser_(other, fcn), r"score_fr\.weight \(4, 256, 1, 1\) does not fill \(5, 256, 1, 1\)"
    )


def test_impossible_options_are_refused() -> None:
    with pytest.raises(FCNError, match="upsampling is one of dense, grouped, frozen, exact, not 'nearest'"):
        FCN32s(4, **TINY, upsampling="nearest")
    for make, least in ((FCN32s, 81), (FCN16s, 73), (FCN8s, 69)):
        for padding in (2, least - 1):
            with pytest.raises(FCNError, match=f"{padding} leaves the borders bare; take {least} or more, or 1"):
                make(4, width=0.0625, fc_width=24, first_padding=padding)
        assert make(4, width=0.0625, fc_width=24, first_padding=least).offsets[next(reversed(PUBLISHED[make]))] == 0
