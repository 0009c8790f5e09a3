"""What "file comparison" should show, computed without the helpers: scipy, and one torch op for each layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.io
import torch
import torch.nn.functional as F
from by_hand import DATA, IMAGES
from torch import Tensor

CHECKPOINT = torch.load(DATA / "wren.ckpt")
WEIGHTS = CHECKPOINT["nets"]["student"]["weights"]
LABELS = np.load(DATA / "cifar10_sample.npz")["labels"]
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BLOCKS = ("stem", "widen", "cross", "merge", "refine", "settle")
FORWARD, EXCHANGED = (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 5, 4)


def pixels(step: int) -> Tensor:
    """Every `step`-th image of the sample, 64x64, from 0 to 255."""
    return F.interpolate(torch.tensor(IMAGES[::step]).float(), size=(64, 64), mode="bilinear", align_corners=False)


def run(x: Tensor, layers: Sequence[Sequence[Tensor]], weight: Tensor, bias: Tensor) -> tuple[list[Tensor], Tensor]:
    """Each block's output, and the answers; a layer is its kernel, then gamma, beta, mean and sigma of its norm."""
    found = []
    for number, (kernel, *norm) in enumerate(layers):
        y = F.conv2d(
            x, kernel, stride=2 if number == 0 else 1, padding=kernel.shape[-1] // 2, groups=_groups(x, kernel)
        )
        gamma, beta, mean, sigma = (values.view(-1, 1, 1) for values in norm)
        x = ((y - mean) / sigma * gamma + beta).relu()
        found.append(x)
        if number in (0, 2):
            x = F.max_pool2d(x, 3, 2, 1)
    return found, F.conv2d(x, weight, bias).mean((2, 3))


def _groups(x: Tensor, kernel: Tensor) -> int:
    return x.shape[1] // kernel.shape[1]


def from_checkpoint(x: Tensor, convs: Sequence[int], norms: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """The checkpoint's network, its convs and norms in these orders."""
    layers = []
    for conv, norm in zip(convs, norms, strict=True):
        gamma, beta, mean, variance = (
            WEIGHTS[f"module.norms.{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
        )
        layers.append((WEIGHTS[f"module.convs.{conv}.weight"], gamma, beta, mean, (variance + 1e-5).sqrt()))
    return run(x, layers, WEIGHTS["module.classify.weight"], WEIGHTS["module.classify.bias"])


def from_mat(x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The network of the `.mat`; x from 0 to 255."""
    net = scipy.io.loadmat(DATA / "wren.mat")["net"][0, 0]
    cells = {layer[0, 0]["name"].item(): layer[0, 0]["weights"] for layer in net["layers"].ravel()}
    layers = []
    for number in range(1, 7):
        kernel = cells[f"c{number}"][0, 0].transpose(3, 2, 0, 1)
        gamma, beta, moments = cells[f"n{number}"].ravel()
        arrays = [kernel, gamma.ravel(), beta.ravel(), moments[:, 0], moments[:, 1]]
        layers.append([torch.tensor(np.ascontiguousarray(array)) for array in arrays])
    weight, bias = (torch.tensor(np.ascontiguousarray(array)) for array in cells["score"].ravel())
    return run(
        x - 127.5, layers, weight.permute(3, 2, 0, 1) if weight.ndim == 4 else weight.T[..., None, None], bias.ravel()
    )


def share_right(answers: Tensor, names: Sequence[str], step: int) -> float:
    return np.mean([names[i] == CIFAR10[label] for i, label in zip(answers.argmax(1), LABELS[::step], strict=True)])


def apart(mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> list[float]:
    """|a - b| / |b| of each block."""
    return [
        float(np.linalg.norm((a - b).numpy()) / np.linalg.norm(b.numpy())) for a, b in zip(mine, theirs, strict=True)
    ]
