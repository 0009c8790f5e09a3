"""Exercise 9.1: load Wren from either of its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from helpers.matconvnet import load_matconvnet

from ...data import CIFAR10_CLASSES, DATA
from ...wren import BLOCKS, Wren
from ..checking import Exercise, Mistake, NotYet, because, call
from .networks import KEEP_NAMES, NAMES_OF_THE_MAT, RETURN_NETWORK, close, expect_wren, pretrained, weights

ORDER = (*BLOCKS[:4], "settle", "refine")  # what the numbers of the checkpoint's lists stand for


def right() -> Wren:
    return from_checkpoint(convs=ORDER, norms=ORDER)


def from_checkpoint(convs: Sequence[str], norms: Sequence[str]) -> Wren:
    renamed = {}
    for key, tensor in checkpoint_weights().items():
        name = re.sub(r"module\.convs\.(\d)", lambda found: f"{convs[int(found[1])]}.conv", key)
        name = re.sub(r"module\.norms\.(\d)", lambda found: f"{norms[int(found[1])]}.norm", name)
        renamed[name.replace("module.classify", "score")] = tensor
    wren = Wren()
    wren.load_state_dict(renamed)
    return wren.eval()


def checkpoint_weights() -> dict[str, Tensor]:
    return torch.load(DATA / "wren.ckpt")["nets"]["student"]["weights"]


def from_mat(scale: float) -> Wren:
    """From the other file, with its first kernel times `scale`."""
    wren = Wren()
    state = load_matconvnet(DATA / "wren.mat").state_dict_for(wren)
    state["stem.conv.weight"] = state["stem.conv.weight"] * scale
    wren.load_state_dict(state, strict=False)
    return wren.eval()


def with_names_of_the_checkpoint() -> Wren:
    wren = Wren()
    wren.load_state_dict(checkpoint_weights())
    return wren


def with_kernels_turned() -> Wren:
    state = right().state_dict()
    for block in BLOCKS:
        state[f"{block}.conv.weight"] = state[f"{block}.conv.weight"].transpose(2, 3)
    return loaded(state)


def in_bgr() -> Wren:
    state = right().state_dict()
    state["stem.conv.weight"] = state["stem.conv.weight"].flip(1)
    return loaded(state)


def without_buffers() -> Wren:
    return loaded(dict(right().named_parameters()))


def with_sigma_for_variance() -> Wren:
    state = right().state_dict()
    for block in BLOCKS:
        state[f"{block}.norm.running_var"] = (state[f"{block}.norm.running_var"] + 1e-5).sqrt()
    return loaded(state)


def in_the_order_of_cifar10() -> Wren:
    classes = torch.load(DATA / "wren.ckpt")["classes"]
    rows = [classes.index(name) for name in CIFAR10_CLASSES]
    state = right().state_dict()
    for key in ("score.weight", "score.bias"):
        state[key] = state[key][rows]
    return loaded(state)


def loaded(state: dict[str, Tensor]) -> Wren:
    wren = Wren()
    wren.load_state_dict(state, strict=False)
    return wren.eval()


@cache
def one_for_all() -> Wren:
    return right()


CHANGED_PLACES = "two layers of the same shape have changed places, and no shape can tell."
GREY_LEVELS = (
    "this kernel takes 0 to 255; Wren is to take what `prepare` gives, in which a step of one grey level is "
    "1 / (255 * 0.25)."
)
SCALE = "times what it should be: multiply what the .mat has by 255 * 0.25, once."
BGR = "red and blue have changed places."
TURNED = "height and width of the kernels have changed places."
SIGMA = "MatConvNet stores the standard deviation; the variance is its square."
BUFFERS = "this is what a new BatchNorm begins with: buffers were not loaded, parameters alone were."
OTHER_CLASSES = "the rows are in another order; the classes are to stay in the order of the files."
NOT_LOADED = "it was not loaded, or from another place; compare the keys before and after renaming."
CHECKPOINT_NAMES = "the names are still the checkpoint's; rename them first."
SAME_MEMORY = "two calls give networks with the same memory; make a new Wren in your function."

FLOAT32 = "Wren computes in float32, as torch does by default."
A_WREN = "take Wren() as it is: its layers, settings and forward, without hooks."


def changed(how: Callable[[Any], object]) -> Any:
    """A network with the right weights that computes something else."""

    def load_wren() -> nn.Module:
        model = pretrained()
        how(model)
        return model

    return load_wren


def without_relu(model: Any) -> None:
    model.settle[-1] = nn.Identity()


def with_other_eps(model: Any) -> None:
    model.settle.norm.eps = 0.1


MISTAKES = (
    Mistake(A_WREN, changed(without_relu)),
    Mistake(A_WREN, changed(with_other_eps)),
    Mistake(A_WREN, changed(lambda model: model.register_forward_hook(lambda module, given, out: out / 2))),
    Mistake(FLOAT32, changed(lambda model: model.double())),
    Mistake(CHANGED_PLACES, lambda: from_checkpoint(convs=BLOCKS, norms=BLOCKS)),
    Mistake(f"these are settle.norm.weight: {CHANGED_PLACES}", lambda: from_checkpoint(convs=ORDER, norms=BLOCKS)),
    Mistake(f"these are settle.conv.weight: {CHANGED_PLACES}", lambda: from_checkpoint(convs=BLOCKS, norms=ORDER)),
    Mistake(GREY_LEVELS, lambda: from_mat(scale=1)),
    Mistake(f"it is 4 {SCALE}", lambda: from_mat(scale=255)),
    Mistake(SCALE, lambda: from_mat(scale=1 / (255 * 0.25))),
    Mistake(TURNED, with_kernels_turned),
    Mistake(BGR, in_bgr),
    Mistake(BUFFERS, without_buffers),
    Mistake(SIGMA, with_sigma_for_variance),
    Mistake(OTHER_CLASSES, in_the_order_of_cifar10),
    Mistake(NOT_LOADED, lambda: Wren()),
    Mistake(CHECKPOINT_NAMES, with_names_of_the_checkpoint),
    Mistake(RETURN_NETWORK, lambda: right().state_dict()),
    Mistake(KEEP_NAMES, lambda: nn.Sequential(right())),
    Mistake(NAMES_OF_THE_MAT, lambda: load_matconvnet(DATA / "wren.mat").to_module()),
    Mistake(SAME_MEMORY, lambda: one_for_all()),
)

CRASHES = (
    ("Missing key(s) in state_dict", CHECKPOINT_NAMES),
    ("size mismatch", "a tensor has got the name of another; print both shapes."),
    ("FileNotFoundError", "the files lie in data.DATA."),
)


def verify(answer: Any) -> None:
    """`load_wren() -> Wren`."""
    if isinstance(answer, nn.Module):
        raise NotYet("this is a network; hand in the function that makes it: check('9.1', load_wren), no brackets.")
    got = call(answer, crashes=CRASHES)
    expect_wren(got, in_channels=3, num_classes=10)
    state = got.state_dict()
    for key, expected in weights().items():
        if not close(state[key], expected):
            raise NotYet(f"{key} has other numbers than the files.{because(why_other(key, state[key]))}")
    dtypes = {str(tensor.dtype) for tensor in got.state_dict().values() if tensor.is_floating_point()}
    if dtypes != {"torch.float32"}:
        raise NotYet(f"its numbers are {', '.join(sorted(dtypes))}.{because(FLOAT32)}")
    expect_outputs(got)
    if got.score.weight.data_ptr() == call(answer, crashes=CRASHES).score.weight.data_ptr():
        raise NotYet(SAME_MEMORY)


@torch.no_grad()
def expect_outputs(got: nn.Module) -> None:
    """`NotYet` unless it computes what a Wren with these weights computes."""
    x = torch.randn(3, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    expected, found = pretrained()(x), got.eval()(x)
    if found.shape != expected.shape:
        raise NotYet(f"three images give {tuple(found.shape)}, not {tuple(expected.shape)}.{because(A_WREN)}")
    if not close(found, expected):
        off = (found - expected).abs().max()
        raise NotYet(f"the weights are right, and what comes out is up to {off:.2g} off.{because(A_WREN)}")


def why_other(key: str, got: Tensor) -> str:
    block, _, leaf = key.partition(".")
    expected = weights()[key]
    twin = {"refine": "settle", "settle": "refine"}.get(block)
    if twin and close(got, weights()[f"{twin}.{leaf}"]):
        return f"these are {twin}.{leaf}: {CHANGED_PLACES}"
    if key == "stem.conv.weight" and (why := why_other_colours(got, expected)):
        return why
    if got.ndim == 4 and got.shape[-1] > 1 and close(got.transpose(2, 3), expected):
        return TURNED
    if leaf == "norm.running_var" and close(got, (expected + 1e-5).sqrt()):
        return SIGMA
    if leaf.startswith("norm.running_") and not (got - got[0]).any():
        return BUFFERS
    if block == "score" and got.shape == expected.shape and has_its_rows(got, expected):
        return OTHER_CLASSES
    if close(got.flip(0), expected):
        return "its first axis runs backwards."
    return NOT_LOADED


def why_other_colours(got: Tensor, expected: Tensor) -> str | None:
    if close(got * (255 * 0.25), expected):
        return GREY_LEVELS
    if ratio := times(got, expected):
        return f"it is {ratio:.4g} {SCALE}"
    if close(got.flip(1), expected):
        return BGR
    return None


def times(got: Tensor, expected: Tensor) -> float | None:
    """How many times `expected` it is, if it is that everywhere."""
    ratio = (got * expected).sum() / expected.square().sum()
    return ratio.item() if ratio and (got / ratio - expected).norm() < 1e-3 * expected.norm() else None


def has_its_rows(got: Tensor, expected: Tensor) -> bool:
    """Whether each row of the one is a row of the other, in whatever order."""
    rows = got.reshape(len(got), -1), expected.reshape(len(expected), -1)
    return bool((torch.cdist(*rows).amin(1) < 1e-4).all())


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Either file will do. The .mat knows its order; the checkpoint only numbers its lists.",
        "net.state_dict_for(Wren()) pairs the layers of the .mat in the order in which they run, and helps with "
        "its sigma. What is left is the scale of its input: prepare(x) is (x - 127.5) / 63.75.",
        "From the checkpoint: module.convs.5 is refine and module.convs.4 is settle, and the norms with them, as "
        "the interactive shows. A dictionary of block names and re.sub do the rest.",
    ),
    praise="all 32 tensors are where the files have them, in the order in which the network runs.",
)
