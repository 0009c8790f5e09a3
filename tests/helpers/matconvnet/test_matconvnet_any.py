"""Networks drawn at random, of all layer types, in every container and wrapper, against numpy in MATLAB's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matlab import cell, conv, convt, dag, dag_layer, lrn, plain, pool, save, struct, sub_pixels
from matlab73 import save73
from numpy.typing import NDArray

from helpers.matconvnet import load_matconvnet

Rng = np.random.Generator


@dataclass
class Made:
    """One layer: its type in either kind of network, its options and arrays, and what it computes."""

    simple: str
    dag: str
    compute: Callable[..., NDArray]
    options: dict[str, Any] = field(default_factory=dict)
    arrays: list[NDArray] = field(default_factory=list)


def row(*numbers: float) -> NDArray:
    return np.array([numbers], float)


def four(rng: Rng, most: int) -> tuple[int, int, int, int]:
    top, bottom, left, right = (int(n) for n in rng.integers(0, most + 1, 4))
    return top, bottom, left, right


def two(rng: Rng, least: int, most: int) -> tuple[int, int]:
    return int(rng.integers(least, most + 1)), int(rng.integers(least, most + 1))


def of_image(rng: Rng, channels: int) -> int:
    """A number of groups for that many channels."""
    return int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))


def make_conv(rng: Rng, x: NDArray) -> Made:
    groups, size, stride, dilate, padding = (
        of_image(rng, x.shape[2]),
        two(rng, 1, 3),
        two(rng, 1, 2),
        two(rng, 1, 2),
        four(rng, 2),
    )
    kernel = rng.normal(size=(*size, x.shape[2] // groups, groups * int(rng.integers(1, 3))))
    bias = rng.normal(size=kernel.shape[3])
    has_bias = rng.random() < 0.7
    options = {"stride": row(*stride), "pad": row(*padding), "dilate": row(*dilate)}
    arrays = [kernel, bias.reshape(rng.choice([1, len(bias)]), -1)][: 1 + has_bias]
    return Made("conv", "Conv", lambda x: conv(x, kernel, bias * has_bias, stride, padding, dilate), options, arrays)


def make_convt(rng: Rng, x: NDArray) -> Made:
    groups, size, upsample, crop = of_image(rng, x.shape[2]), two(rng, 2, 4), two(rng, 1, 2), four(rng, 1)
    kernel = rng.normal(size=(*size, int(rng.integers(1, 4)), x.shape[2]))
    bias = rng.normal(size=kernel.shape[2] * groups)
    options = {"upsample": row(*upsample), "crop": row(*crop), "numGroups": row(groups)}
    return Made(
        "convt",
        "ConvTranspose",
        lambda x: convt(x, kernel, bias, upsample, crop, groups),
        options,
        [kernel, bias[None]],
    )


def make_pool(rng: Rng, x: NDArray) -> Made:
    size, stride, method = two(rng, 2, 3), two(rng, 1, 2), str(rng.choice(["max", "avg"]))
    padding = four(rng, 1)
    options = {"pool": row(*size), "stride": row(*stride), "pad": row(*padding), "method": method}
    return Made("pool", "Pooling", lambda x: pool(x, size, stride, padding, method), options)


def make_bnorm(rng: Rng, x: NDArray) -> Made:
    channels = x.shape[2]
    g, b, mean, sigma = (
        rng.normal(size=channels),
        rng.normal(size=channels),
        rng.normal(size=channels),
        rng.uniform(1, 2, channels),
    )
    arrays = [g[:, None], b[:, None], np.stack([mean, sigma], 1)]
    return Made("bnorm", "BatchNorm", lambda x: (x - mean) / sigma * g + b, {"epsilon": row(1e-3)}, arrays)


def make_lrn(rng: Rng, x: NDArray) -> Made:
    size = int(rng.integers(2, 6))
    return Made("lrn", "LRN", lambda x: lrn(x, size, 2, 0.1, 0.6), {"param": row(size, 2, 0.1, 0.6)})


def make_relu(rng: Rng, x: NDArray) -> Made:
    return Made("relu", "ReLU", lambda x: np.where(x > 0, x, 0.3 * x), {"leak": row(0.3)})


def make_sigmoid(rng: Rng, x: NDArray) -> Made:
    return Made("sigmoid", "Sigmoid", lambda x: 1 / (1 + np.exp(-x)))


def make_dropout(rng: Rng, x: NDArray) -> Made:
    return Made("dropout", "DropOut", lambda x: x, {"rate": row(0.3)})


def make_softmax(rng: Rng, x: NDArray) -> Made:
    def compute(x: NDArray) -> NDArray:
        powers = np.exp(x - x.max(2, keepdims=True))
        return powers / powers.sum(2, keepdims=True)

    return Made("softmax", "SoftMax", compute)


def make_sub_pixels(rng: Rng, x: NDArray) -> Made:
    if x.shape[2] % 4:
        return make_relu(rng, x)
    return Made("SubP", "SubP", lambda x: sub_pixels(x, 2), {"scale": row(2)})


CHAIN = [make_conv, make_conv, make_convt, make_pool, make_bnorm, make_lrn, make_relu, make_sigmoid]
CHAIN += [make_dropout, make_softmax, *[make_sub_pixels] * 3]


def make_scale(rng: Rng, x: NDArray) -> Made:
    w, b = rng.normal(size=(1, 1, x.shape[2])), rng.normal(size=(1, 1, x.shape[2]))
    return Made("", "Scale", lambda x: x * w + b, {"hasBias": row(1)}, [w, b])


def make_constant(rng: Rng, x: NDArray) -> Made:
    return Made("", "MulConst", lambda x: x * -1.5, {}, [row(-1.5)])


ALONE = [*CHAIN, make_scale, make_constant]
JOINS: dict[str, tuple[Callable[..., NDArray], Callable[[NDArray, NDArray], bool], dict[str, Any]]] = {
    "Sum": (lambda x, z: x + z, lambda x, z: x.shape == z.shape, {}),
    "Concat": (lambda x, z: np.concatenate([x, z], 2), lambda x, z: x.shape[:2] == z.shape[:2], {"dim": row(3)}),
    "Scale": (lambda x, z: x * z, lambda x, z: x.shape == z.shape, {"hasBias": row(0)}),
    "Crop": (
        lambda x, z: x[1 if x.shape[0] > z.shape[0] else 0 :, :][: z.shape[0], : z.shape[1]],
        lambda x, z: x.shape[0] >= z.shape[0] and x.shape[1] >= z.shape[1],
        {"crop": row(1, 0)},
    ),
}


def fits(x: NDArray) -> bool:
    """Whether an image is neither empty nor slow to compute with, nor so large that numbers are lost."""
    return 0 < x.size < 1500 and bool(np.abs(x).max() < 100)


def draw(rng: Rng, makers: list[Callable[[Rng, NDArray], Made]], x: NDArray) -> tuple[Made, NDArray]:
    while True:
        made = makers[int(rng.integers(len(makers)))](rng, x)
        size, padding = made.options.get("pool"), made.options.get("pad")
        if size is not None and padding.max() >= size.min():
            continue
        try:
            y = made.compute(x)
        except ValueError:  # smaller than the kernel
            continue
        if fits(y):
            return made, y


WRAPPERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "top": lambda fields: fields,
    "net": lambda fields: {"net": struct(**fields)},
    "net and info": lambda fields: {"info": struct(a=1.0), "net": struct(**fields), "stats": struct(layers_seen=2.0)},
    "another name": lambda fields: {"model": struct(**fields)},
}
CONTAINERS: dict[str, Callable[..., Path]] = {
    "v5": save,
    "v7": lambda path, **variables: save(path, True, **variables),
    "v7.3": lambda path, **variables: save73(path, **{name: plain(value) for name, value in variables.items()}),
}


def tensor(x: NDArray) -> torch.Tensor:
    return torch.from_numpy(x).float().permute(2, 0, 1)[None]


def assert_computes(found: torch.Tensor, expected: NDArray) -> None:
    assert found.shape == (1, expected.shape[2], *expected.shape[:2])
    largest = max(1, np.abs(expected).max())
    np.testing.assert_allclose(found.detach()[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-4 * largest)


def place(seed: int) -> tuple[Callable[..., Path], Callable[[dict[str, Any]], dict[str, Any]]]:
    return list(CONTAINERS.values())[seed % 3], list(WRAPPERS.values())[seed % 4]


@pytest.mark.parametrize("seed", range(24))
def test_any_chain(tmp_path, seed) -> None:
    rng = np.random.default_rng(seed)
    write, wrapped = place(seed)
    image = y = rng.normal(size=(8, 9, int(rng.integers(2, 5))))
    made, layers = [], []
    for number in range(6):
        one, y = draw(rng, CHAIN, y)
        fields = {"name": f"l{number}", "type": one.simple, "weights": cell(*one.arrays)} | one.options
        order = rng.permutation(list(fields))
        layers.append(struct(**{str(name): fields[str(name)] for name in order}))
        made.append(one)
    layers.append(struct(type="ownloss", name="loss", **{"class": np.zeros((0, 0))}))
    variables = {"net": cell(*layers)} if seed % 5 == 4 else wrapped({"layers": cell(*layers)})
    net = load_matconvnet(write(tmp_path / "net.mat", **variables))
    assert [layer.type for layer in net.layers][:-1] == [one.simple for one in made]
    for layer, one in zip(net.layers, made, strict=False):
        if one.simple in ("conv", "convt"):
            assert np.array_equal(
                layer.params["weight"].numpy(), one.arrays[0].transpose(3, 2, 0, 1).astype(np.float32)
            )
    assert_computes(net.to_module()(tensor(image)), y)


def some_graph(rng: Rng, prefix: str) -> tuple[list[dict[str, Any]], dict[str, NDArray], dict[str, NDArray]]:
    """(layers, parameters, values of the variables); the first of those is the input."""
    image = rng.normal(size=(8, 9, int(rng.integers(2, 5))))
    values, params, layers = {"x.1": image}, {}, []
    repeated: list[tuple[Made, tuple[str, ...], int]] = []  # layers whose parameters another one may share
    for number in range(9):
        source = str(rng.choice(list(values)))
        x, to = values[source], f"v{number}"
        joins = [
            (kind, other)
            for kind, (_, may, _) in JOINS.items()
            for other in values
            if other != source and may(x, values[other])
        ]
        again = [(one, names) for one, names, channels in repeated if channels == x.shape[2]]
        if joins and rng.random() < 0.5:
            kind, other = joins[int(rng.integers(len(joins)))]
            compute, _, options = JOINS[kind]
            y = compute(x, values[other])
            layer = dag_layer(f"l{number}", prefix + kind, (source, other), to, **options)
        else:
            y = np.empty((0, 0, 0))
            if again and rng.random() < 0.7 and min(x.shape[:2]) > 5:
                one, names = again[0]
                y = one.compute(x)
            if not fits(y):
                one, y = draw(rng, ALONE, x)
                names = tuple(f"p{number}_{i}" for i in range(len(one.arrays)))
                params |= dict(zip(names, one.arrays, strict=True))
                repeated += [(one, names, x.shape[2])] if one.dag == "Conv" else []
            options = {{"pool": "poolSize"}.get(key, key): value for key, value in one.options.items()}
            layer = dag_layer(f"l{number}", prefix + one.dag, source, to, names, **options)
        if fits(y):
            values[to] = y
            layers.append(layer)
    return layers, params, values


@pytest.mark.parametrize("seed", range(24))
def test_any_graph(tmp_path, seed) -> None:
    rng = np.random.default_rng(1000 + seed)
    write, wrapped = place(seed)
    layers, params, values = some_graph(rng, "dagnn." if seed % 2 else "")
    layers.insert(0, dag_layer("loss", "dagnn.OwnLoss", (str(rng.choice(list(values)[1:])), "label"), "objective"))
    shuffled = [layers[i] for i in rng.permutation(len(layers))]
    net = load_matconvnet(write(tmp_path / "net.mat", **wrapped(dag(shuffled, params))))
    used = {name for layer in layers for name in layer["params"].ravel()}
    stored = {name.split(".running")[0] for name in net.state_dict()}
    assert stored == used
    assert net.inputs == ("x.1",)
    asked = [name for name in values if name != "x.1"]
    found = net.to_module(outputs=asked)(x_1=tensor(values["x.1"]))
    for name in asked:
        assert_computes(found[name] if len(asked) > 1 else found, values[name])


def test_all_that_should_be_drawn_is_drawn() -> None:
    """A generator that stops drawing something would go unseen."""
    graphs = [some_graph(np.random.default_rng(1000 + seed), "") for seed in range(24)]
    layers = [layer for graph, _, _ in graphs for layer in graph]
    expected = {"Conv", "ConvTranspose", "Pooling", "BatchNorm", "LRN", "ReLU", "Sigmoid", "DropOut", "SoftMax", "SubP"}
    assert {layer["type"] for layer in layers} == expected | {"MulConst", "Scale", "Sum", "Concat", "Crop"}
    groups = [layer["block"]["numGroups"][0, 0].item() for layer in layers if layer["type"] == "ConvTranspose"]
    assert max(groups) > 1
    names = [name for layer in layers for name in layer["params"].ravel()]
    of_graphs = sum(len(params) for _, params, _ in graphs)
    assert len(names) > of_graphs  # some are shared
