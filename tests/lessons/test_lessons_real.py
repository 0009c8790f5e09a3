"""The switch REAL of each lesson: it runs on networks of the published sizes.

The published weights are not here, so random ones take their place in the caches of this workbook and of torchvision;
what a download does is tested in test_download.py. All this is in one file, which one worker runs, so that no two
full-size networks want memory at once and their weights are written once. Scores mean nothing with random weights, so
the lessons get fewer images here: from 20 and 10 of them to 8 and 4.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from lesson import printed_with_real
from matlab import save, struct
from torch import nn

from helpers.matconvnet import save_matconvnet
from workbook import networks
from workbook.data import DATA

pytestmark = [pytest.mark.slow, pytest.mark.long]


def save_as_trained(make: Callable[[], nn.Module], path: Path) -> None:
    """As the published files are: from before version 1.6, and no tensor, biases neither, is what a fresh one is."""
    torch.manual_seed(0)
    state_dict = make().state_dict()
    changed = {key: t + 0.01 * torch.rand_like(t) if key.endswith("bias") else t for key, t in state_dict.items()}
    path.parent.mkdir(parents=True)
    torch.save(changed, path, _use_new_zipfile_serialization=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Iterator[Path]:
    """Where the lessons find VGG16 and ResNet-18: in `hub` as torchvision does, beside it as this workbook does."""
    folder = tmp_path_factory.mktemp("cache")
    own, hub = folder / "pretrained-weights-workbook", folder / "hub/checkpoints"
    save_as_trained(torchvision.models.vgg16, own / "vgg16-397923af.pth")
    save_as_trained(torchvision.models.resnet18, hub / "resnet18-f37072fd.pth")
    (hub / "vgg16-397923af.pth").hardlink_to(own / "vgg16-397923af.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("TORCH_HOME", str(folder))
        yield folder


def test_lesson_06(cache) -> None:
    # the first, for it needs most memory, and the other worker is then still at what needs little
    printed = printed_with_real("06_turn_vgg16_into_an_fcn.ipynb", {"range(10)": "range(2)"})
    assert "Linear(in_features=25088, out_features=4096, bias=True) -> Conv2d(512, 4096, kernel_size=(7, 7)" in printed
    assert "\n(8, 15)\n" in printed  # 14 x 21 maps, windows of 7 x 7
    assert printed.count("19 cut:") == 2
    assert "two images, one answer: True" in printed
    assert printed.count("of pixels right, mean IoU") == 5


def write_matconvnet(path: Path) -> None:
    """A VGG16 with its metadata under `meta`, as vl_simplenn_tidy leaves it and newer files have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DATA))
        from make import matconvnet_layers

        source, contents = networks.vgg16(1000, width=1, fc_width=4096, image_size=224), {}
        patch.setattr(scipy.io, "savemat", lambda _, written, **options: contents.update(written))
        average = np.array([123.68, 116.779, 103.939]).reshape(1, 1, 3)
        normalization = {"averageImage": average, "imageSize": np.array([[224.0, 224.0, 3.0]])}
        names = [f"class {i}" for i in range(1000)]
        save_matconvnet(path, matconvnet_layers(source), classes=names, normalization=normalization)
    meta = struct(classes=contents["classes"], normalization=contents["normalization"])
    save(path, layers=contents["layers"], meta=meta)


def test_lesson_01(cache) -> None:
    write_matconvnet(cache / "pretrained-weights-workbook/imagenet-vgg-verydeep-16.mat")
    printed = printed_with_real("01_load_a_matconvnet_network_into_pytorch.ipynb", {"[::25]": "[::70]"})
    assert "16 layers: conv1_1" in printed
    assert "224x224 pixels" in printed
    assert "32 of 32 tensors are equal" in printed


def test_lesson_02(cache) -> None:
    printed = printed_with_real("02_load_all_of_a_state_dict.ipynb", {"[::50]": "[::125]"})
    assert "vgg16-397923af-zip.pth: left [], largest difference 0.0" in printed
    assert "32 loaded (100.0% of the numbers)" in printed


def test_lesson_03(cache) -> None:
    printed = printed_with_real("03_load_the_part_that_fits.ipynb", {"[::50]": "[::125]"})
    assert "torch.Size([4, 4096]) largest difference 0.0" in printed
    assert "30 of 32 tensors are the checkpoint's" in printed
    assert printed.count("32 loaded (100.0% of the numbers)") == 3


def test_lesson_04(cache) -> None:
    printed = printed_with_real("04_adapt_the_first_conv.ipynb")
    assert "sum: 1.00 times as strong" in printed
    assert "mean: 0.33 times as strong" in printed
    assert "folded, then summed" in printed


def test_lesson_05(cache) -> None:
    printed = printed_with_real("05_replace_the_head.ipynb")
    assert "Linear(in_features=512, out_features=1000, bias=True)" in printed
    assert "changed: ['fc.weight', 'fc.bias']\nlargest difference 0.0\n" in printed
    assert "\n15 of 17 parameters get a gradient; batches counted: 2\n" in printed
    assert "\n0 of 17 parameters get a gradient; batches counted: 1\n" in printed
    assert printed.count(": pretrained ") == 6


def test_lesson_07(cache) -> None:
    printed = printed_with_real("07_freeze_the_layers_you_keep.ipynb")
    assert "\n0 parameters moved\n60 buffers moved\n" in printed
    assert "\n0 tensors moved\nlargest difference 0.0\nNone:  0 moved\nzeros: 60 moved\n" in printed
    assert printed.count(": head alone ") == 2
