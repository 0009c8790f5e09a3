"""VGG16 and ResNet-18 at any width, with torchvision's parameter names and layer order.

Because names and order are torchvision's, whatever a lesson does to a thin network here works,
line for line, on `torchvision.models.vgg16()` or `torchvision.models.resnet18()`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

VGG16_PLAN = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
"""Configuration D of Simonyan & Zisserman, https://arxiv.org/abs/1409.1556, table 1."""


class VGG(nn.Module):
    """The module tree of `torchvision.models.VGG`: `features`, `avgpool`, `classifier`."""

    def __init__(self, features: nn.Sequential, pool_size: int, channels: int, fc_width: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((pool_size, pool_size))
        self.classifier = nn.Sequential(
            nn.Linear(channels * pool_size**2, fc_width),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(fc_width, fc_width),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(fc_width, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, num_classes) logits."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


def vgg16(
    num_classes: int = 10, *, width: float = 0.25, fc_width: int = 256, image_size: int = 64, batch_norm: bool = False
) -> VGG:
    """VGG16 with every conv `width` times as wide as the published one.

    The defaults give `vgg16_thin`: 64x64 images, so five 2x2 pools leave 2x2 for the first Linear.
    `vgg16(1000, width=1, fc_width=4096, image_size=224)` is `torchvision.models.vgg16()`.

    Args:
        num_classes: outputs of the last Linear.
        width: factor on the conv widths 64, 128, 256, 512, 512.
        fc_width: outputs of the first two Linear layers (4096 in the paper).
        image_size: height and width, in pixels, of the images it is meant for; a multiple of 32.
        batch_norm: add a BatchNorm2d after each conv, as `torchvision.models.vgg16_bn` does.

    Raises:
        ValueError: `image_size` is not a positive multiple of 32.
    """
    if image_size < 32 or image_size % 32:
        raise ValueError(f"image_size must be a positive multiple of 32 (five 2x2 pools), got {image_size}")
    layers: list[nn.Module] = []
    channels = 3
    for entry in VGG16_PLAN:
        if isinstance(entry, str):  # "M", a max pooling
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        out_channels = round(entry * width)
        layers.append(nn.Conv2d(channels, out_channels, kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
        channels = out_channels
    model = VGG(nn.Sequential(*layers), image_size // 32, channels, fc_width, num_classes)
    _initialize_(model)
    return model


class ResNet18(nn.Module):
    """The module tree of `torchvision.models.resnet18`, every width `width` times torchvision's."""

    def __init__(self, num_classes: int, width: float) -> None:
        super().__init__()
        stem, *stages = [round(channels * width) for channels in (64, 64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(stem, stages[0], stride=1)
        self.layer2 = _stage(stages[0], stages[1], stride=2)
        self.layer3 = _stage(stages[1], stages[2], stride=2)
        self.layer4 = _stage(stages[2], stages[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(stages[3], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, num_classes) logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(num_classes: int = 10, *, width: float = 0.25) -> ResNet18:
    """ResNet-18 with every conv `width` times as wide as the published one (He et al., arXiv:1512.03385).

    `resnet18(1000, width=1)` is `torchvision.models.resnet18()`; the default gives `resnet18_thin`.
    """
    model = ResNet18(num_classes, width)
    _initialize_(model)
    return model


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = BasicBlock(in_channels, out_channels, stride, downsample)
    return nn.Sequential(first, BasicBlock(out_channels, out_channels))


def _initialize_(model: nn.Module) -> None:
    """Kaiming-normal convs (fan out) with zero biases, as torchvision starts them; the Linears stay as PyTorch does."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
