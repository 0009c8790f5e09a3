"""What exercise 8.3 loads: a model, what harms a file, and a file that does harm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Weights, buffers, a frozen layer, a norm in eval mode; the last tensor is a bias."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv, self.norm = nn.utils.skip_init(nn.Conv2d, 3, 4, (2, 5)), nn.BatchNorm2d(4)
        self.fc = nn.utils.skip_init(nn.Linear, 6, 7)
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.ndim:
                    tensor.copy_(torch.rand(tensor.shape, generator=generator))
                else:
                    tensor.fill_(seed)
        self.conv.requires_grad_(False)
        self.norm.eval()


class RunsSomething:
    """A pickle that makes a folder when it is read, as another one could remove one."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def with_a_wrong_bit(data: bytes, tensor: Tensor) -> bytes:
    """The bytes of a file, one bit of which is another in the middle of this tensor."""
    numbers = tensor.numpy().tobytes()
    place = data.index(numbers) + len(numbers) // 2
    return data[:place] + bytes([data[place] ^ 0b100]) + data[place + 1 :]
