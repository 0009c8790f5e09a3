"""A checkpoint that this project did not make: a CIFAR-10 ResNet-20, nested, prefixed, CUDA-tagged, legacy pickle."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from given import folder
from torch import Tensor, nn

from helpers.state_dict import explain, load_matching, read_state_dict
from workbook.data import DATA, normalize


class Block(nn.Module):
    """Two convs and a shortcut without weights: every other pixel, and zeros for the new channels (He et al., A)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride, self.new = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new // 2))
        return F.relu(shortcut + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet20(nn.Module):
    """ResNet-20 for 32x32 images (https://arxiv.org/abs/1512.03385, section 4.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


@pytest.fixture
def checkpoint() -> Path:
    return folder("REAL_NETWORKS_DIR", "resnet20-12fca82f.th") / "resnet20-12fca82f.th"


def test_it_loads_completely(checkpoint) -> None:
    state_dict = read_state_dict(checkpoint)
    assert state_dict.notes == (
        "unwrapped 'state_dict'; beside it: best_prec1",
        "stripped 'module.' from every name",
    )
    model = ResNet20()
    report = load_matching(model, state_dict, min_coverage=1)
    assert report.coverage == 1
    assert report.unexpected == ()
    assert all(key.endswith("num_batches_tracked") for key in report.missing)  # it is older than they are
    assert not report.mismatched


def test_another_network_is_told_why(checkpoint) -> None:
    model = ResNet20()
    model.linear = nn.Linear(64, 7)
    causes = explain(model, read_state_dict(checkpoint)).causes
    assert causes[0].startswith("Another number of classes: 10 in the checkpoint, 7 in the model (linear).")
    assert causes[1:] == ("Only the model counts batches in its BatchNorms, which does no harm.",)


@pytest.mark.slow
def test_it_scores_what_its_author_says(checkpoint, monkeypatch) -> None:
    cifar10 = folder("CIFAR10_DIR", "CIFAR-10, as data/cifar10.py reads it")
    monkeypatch.syspath_prepend(str(DATA))
    from cifar10 import load_cifar10

    images, labels = load_cifar10(cifar10, train=False)
    x = normalize(torch.from_numpy(images).permute(0, 3, 1, 2), 32)
    model = ResNet20().eval()
    load_matching(model, read_state_dict(checkpoint))
    with torch.no_grad():
        guesses = torch.cat([model(part).argmax(1) for part in x.split(500)])
    accuracy = (guesses.numpy() == labels).mean()
    print(f"resnet20-12fca82f.th: {accuracy:.2%} of {len(labels)} images")
    assert accuracy >= 0.915
