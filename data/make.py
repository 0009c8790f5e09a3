"""Make the files in this folder: the networks in all their forms, and the samples of images.

    python data/make.py --vgg16 A.pth --resnet18 B.pth --wren C.pth --cifar10 FOLDER --fashion-mnist FOLDER

Only what is named is made. The networks come from `data/train.py`, the folder of CIFAR-10 is one that
`data/cifar10.py` reads, and the one of Fashion-MNIST holds the four `*-ubyte.gz` files, as Debian's package
dataset-fashion-mnist (`/usr/share/datasets/fashion-mnist`) and `torchvision.datasets.FashionMNIST`
(`FashionMNIST/raw`) have them.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import scipy.io
import torch
from cifar10 import load_cifar10
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from helpers.matconvnet import Layer, linear_to_conv, save_matconvnet
from workbook.data import CIFAR10_CLASSES, IMAGENET_MEAN, IMAGENET_STD
from workbook.networks import VGG, resnet18, vgg16
from workbook.wren import BLOCKS, Wren

DATA = Path(__file__).resolve().parent
RESNET_WIDTH = 0.3125


def matconvnet_layers(model: VGG) -> list[Layer]:
    """The layers of a VGG16 under MatConvNet's names, with the input scaling moved into the first conv.

    The model reads (x / 255 - mean) / std, the MatConvNet network x - 255 * mean: the same but for a factor
    1 / (255 * std) on each input channel.
    """
    layers, block, number = [], 1, 0
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            number += 1
            layers.append(_conv(f"conv{block}_{number}", module.weight, module.bias, pad=1))
        elif isinstance(module, nn.ReLU):
            layers.append(Layer(f"relu{block}_{number}", "relu"))
        else:
            options = {"method": "max", "pool": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}
            layers.append(Layer(f"pool{block}", "pool", {}, options))
            block, number = block + 1, 0
    for name, linear in zip(("6", "7", "8"), model.classifier[::3], strict=True):
        size = model.avgpool.output_size if name == "6" else (1, 1)
        layers.append(_conv(f"fc{name}", linear_to_conv(linear.weight, size), linear.bias, pad=0))
        layers.append(Layer(f"relu{name}", "relu") if name != "8" else Layer("prob", "softmax"))
    scale = 255 * torch.tensor(IMAGENET_STD, dtype=torch.float64).view(1, 3, 1, 1)
    layers[0].params["weight"] = (layers[0].params["weight"].double() / scale).float()
    return layers


def _conv(name: str, weight: Tensor, bias: Tensor, pad: int) -> Layer:
    return Layer(
        name, "conv", {"weight": weight.detach(), "bias": bias.detach()}, {"stride": (1, 1), "pad": (pad,) * 4}
    )


def write_vgg16(state: dict[str, Tensor]) -> None:
    model = vgg16()
    model.load_state_dict(state)
    torch.save(state, DATA / "vgg16_thin.pth")
    save_file(state, DATA / "vgg16_thin.safetensors")
    average = np.array(IMAGENET_MEAN, dtype=np.float32).reshape(1, 1, 3) * np.float32(255)
    normalization = {
        "imageSize": np.array([[64.0, 64.0, 3.0]]),
        "averageImage": average,
        "interpolation": "bilinear",
        "keepAspect": np.uint8(1),
        "border": np.array([[0.0, 0.0]]),
    }
    layers = matconvnet_layers(model)
    save_matconvnet(DATA / "vgg16_thin.mat", layers, classes=list(CIFAR10_CLASSES), normalization=normalization)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes: a magic number, its sizes as big-endian int32, its values."""
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    shape = np.frombuffer(data, ">i4", dimensions, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def balanced(labels: NDArray, of_each: int) -> NDArray:
    """The places of the first `of_each` examples of each class, in their old order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:of_each] for label in range(10)]))


def write_resnet18(state: dict[str, Tensor]) -> None:
    resnet18(width=RESNET_WIDTH).load_state_dict(state)
    torch.save(state, DATA / "resnet18_thin.pth")


def write_wren(state: dict[str, Tensor]) -> None:
    """Wren's two files, as two people would have left them. Their classes are in another order than CIFAR-10's."""
    classes = sorted(CIFAR10_CLASSES, key=lambda name: name[::-1])
    rows = [CIFAR10_CLASSES.index(name) for name in classes]
    state = state | {key: state[key][rows] for key in ("score.weight", "score.bias")}
    # half the digits are enough for kernels, and compress to two thirds
    state = {key: tensor.half().float() if tensor.ndim == 4 else tensor for key, tensor in state.items()}
    model = Wren().eval()
    model.load_state_dict(state)
    write_wren_mat(model, classes)
    write_wren_ckpt(model, classes)


def write_wren_mat(model: Wren, classes: list[str]) -> None:
    """As a MatConvNet training saves it: under `net`, with `meta`; it takes 0-255 minus `averageImage`."""
    layers = []
    for number, name in enumerate(BLOCKS, start=1):
        conv, norm, _ = model.get_submodule(name)
        kernel = conv.weight.detach().double() / (255 * 0.25 if number == 1 else 1)
        stride, pad = np.array([conv.stride], dtype=float), np.array([conv.padding * 2], dtype=float)
        sigma = (norm.running_var.double() + norm.eps).sqrt()
        moments = torch.stack([norm.running_mean.double(), sigma], dim=1)
        layers.append(_struct_of(f"c{number}", "conv", [kernel.permute(2, 3, 1, 0)], stride=stride, pad=pad))
        layers.append(_struct_of(f"n{number}", "bnorm", [norm.weight, norm.bias, moments], epsilon=norm.eps))
        layers.append(_struct_of(f"r{number}", "relu", []))
        if name in ("stem", "cross"):
            window = {"method": "max", "pool": [[3.0, 3.0]], "stride": [[2.0, 2.0]], "pad": [[1.0, 1.0, 1.0, 1.0]]}
            layers.append(_struct_of(f"p{number}", "pool", [], **window))
    layers.append(_struct_of("score", "conv", [model.score.weight.permute(2, 3, 1, 0), model.score.bias]))
    layers.append(_struct_of("mean", "pool", [], method="avg", pool=[[8.0, 8.0]]))
    normalization = {"imageSize": [[64.0, 64.0, 3.0]], "averageImage": [[[127.5] * 3]], "interpolation": "bilinear"}
    meta = {"classes": {"name": _cell_of(classes)}, "normalization": normalization}
    scipy.io.savemat(DATA / "wren.mat", {"net": {"layers": _cell_of(layers), "meta": meta}}, do_compression=True)


def write_wren_ckpt(model: Wren, classes: list[str]) -> None:
    """As a training on several GPUs left it: nested, prefixed, and with the last two blocks the other way round.

    Whoever wrote it kept convs and norms in lists, and inserted `refine` when `settle` was there already.
    """
    weights = {}
    for number, name in enumerate((*BLOCKS[:4], "settle", "refine")):
        conv, norm, _ = model.get_submodule(name)
        weights[f"module.convs.{number}.weight"] = conv.weight.detach()
        weights |= {f"module.norms.{number}.{key}": tensor for key, tensor in norm.state_dict().items()}
    weights |= {f"module.classify.{key}": tensor for key, tensor in model.score.state_dict().items()}
    weights = dict(sorted(weights.items()))
    info = {"mean": [0.5] * 3, "std": [0.25] * 3, "range": [0, 1], "order": "RGB", "size": 64}
    content = {"epoch": 16, "classes": classes, "input": info, "nets": {"student": {"weights": weights}}}
    torch.save(content, DATA / "wren.ckpt")


def _struct_of(name: str, kind: str, weights: list[Tensor], **options: object) -> dict[str, object]:
    arrays = [np.asfortranarray(tensor.detach().numpy(), dtype=np.float32) for tensor in weights]
    return {"name": name, "type": kind, "weights": _cell_of(arrays)} | options


def _cell_of(values: list) -> NDArray:
    """A 1xN cell (0x0 if empty); arrays in it stay what they are."""
    cell = np.empty((1, len(values)) if values else (0, 0), dtype=object)
    for i, value in enumerate(values):
        cell[0, i] = value
    return cell


def write_cifar10(folder: Path) -> None:
    images, labels = load_cifar10(folder, train=False)
    chosen = balanced(labels, 50)
    np.savez_compressed(DATA / "cifar10_sample.npz", images=images[chosen].transpose(0, 3, 1, 2), labels=labels[chosen])


def write_fashion_mnist(folder: Path) -> None:
    arrays = {}
    for split, prefix, of_each in (("train", "train", 600), ("test", "t10k", 100)):
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz").astype(np.int64)
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        chosen = balanced(labels, of_each)
        arrays |= {f"{split}_images": images[chosen, None], f"{split}_labels": labels[chosen]}
    np.savez_compressed(DATA / "fashion_mnist.npz", **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("vgg16", "resnet18", "wren", "cifar10", "fashion-mnist"):
        parser.add_argument(f"--{name}", type=Path)
    args = parser.parse_args()
    if args.vgg16:
        write_vgg16(torch.load(args.vgg16))
    if args.resnet18:
        write_resnet18(torch.load(args.resnet18))
    if args.wren:
        write_wren(torch.load(args.wren))
    if args.cifar10:
        write_cifar10(args.cifar10)
    if args.fashion_mnist:
        write_fashion_mnist(args.fashion_mnist)


if __name__ == "__main__":
    main()
