"""What several rooms measure with: networks, and the limit of all that reads or writes a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torchvision
from torch import nn

from workbook import networks


def vgg16(quick: bool) -> Callable[[], nn.Module]:
    """Makes torchvision's VGG16 (553 MB), or the thin one of the lessons (9 MB)."""
    return networks.vgg16 if quick else torchvision.models.vgg16


def read(path: Path) -> bytearray:
    """All bytes of a file, in memory of one's own."""
    buffer = bytearray(path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        file.readinto(buffer)
    return buffer


def write(path: Path, content: memoryview) -> None:
    """All bytes onto the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
