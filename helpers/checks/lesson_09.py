"""Lesson 09: what the milestones ask. Those that are trained stand in `lesson_09_training.py`."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from ..datasets import DATA
from ..matconvnet import load_matconvnet
from ..wren import Wren
from .feedback import Exercise, NotYet, because, call
from .lesson_09_training import verify_learn, verify_learn_masks

LAST = ("refine", "settle")


@cache
def weights() -> dict[str, Tensor]:
    """Wren's own, for images as `prepare` gives them, from the `.mat`, whose order is that in which it runs."""
    network = load_matconvnet(DATA / "wren.mat")
    state = network.state_dict_for(Wren())
    state["stem.conv.weight"] = state["stem.conv.weight"] * (255 * 0.25)
    return state


def pretrained() -> Wren:
    """A `Wren` of one's own with those weights."""
    model = Wren()
    model.load_state_dict(weights(), strict=False)  # the .mat counts no batches
    return model.eval()


def verify_load(answer: Any) -> None:
    """9.1 `load_wren() -> Wren`."""
    if isinstance(answer, nn.Module):
        raise NotYet("this is a network; hand in the function that makes it: check('9.1', load_wren), no brackets.")
    got = call(answer, crashes=LOAD_CRASHES)
    expect_wren(got, in_channels=3, num_classes=10)
    state = got.state_dict()
    for key, expected in weights().items():
        if not _close(state[key], expected):
            raise NotYet(f"{key} has other numbers than the files.{because(_why_other(key, state))}")
    if got.score.weight.data_ptr() == call(answer, crashes=LOAD_CRASHES).score.weight.data_ptr():
        raise NotYet("two calls give networks with the same memory; make a new Wren in your function.")


def _why_other(key: str, state: dict[str, Tensor]) -> str | None:
    block, _, leaf = key.partition(".")
    expected, got = weights(), state[key]
    other = key.replace(block, LAST[block == LAST[0]]) if block in LAST else key
    if block in LAST and _close(got, expected[other]):
        return f"these are {other}: two layers of the same shape have changed places, and no shape can tell."
    if key == "stem.conv.weight" and _close(got * (255 * 0.25), expected[key]):
        return (
            "this kernel takes 0 to 255; Wren is to take what `prepare` gives, in which a step of one grey level is "
            "1 / (255 * 0.25)."
        )
    if key == "stem.conv.weight" and (ratio := _ratio(got, expected[key])):
        return f"it is {ratio:.4g} times what it should be: multiply what the .mat has by 255 * 0.25, once."
    if key == "stem.conv.weight" and _close(got.flip(1), expected[key]):
        return "red and blue have changed places."
    if got.ndim == 4 and got.shape[-1] > 1 and _close(got.transpose(2, 3), expected[key]):
        return "height and width of the kernels have changed places."
    if leaf == "norm.running_var" and _close(got, (expected[key] + 1e-5).sqrt()):
        return "MatConvNet stores the standard deviation; the variance is its square."
    if leaf.startswith("norm.running_") and not (got - got[0]).any():
        return "this is what a new BatchNorm begins with: buffers were not loaded, parameters alone were."
    if block == "score" and got.shape == expected[key].shape and _same_rows(got, expected[key]):
        return "the rows are in another order; the classes are to stay in the order of the files."
    if _close(got.flip(0), expected[key]):
        return "its first axis runs backwards."
    return "it was not loaded, or from another place; compare the keys before and after renaming."


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-5)


def _ratio(a: Tensor, b: Tensor) -> float | None:
    """How many times b a is, if it is that everywhere."""
    ratio = (a * b).sum() / b.square().sum()
    return ratio.item() if ratio and (a / ratio - b).norm() < 1e-3 * b.norm() else None


def _same_rows(a: Tensor, b: Tensor) -> bool:
    rows = (t.flatten(1) if t.ndim > 1 else t[:, None] for t in (a, b))
    return bool((torch.cdist(*rows).amin(1) < 1e-4).all())


LOAD_CRASHES = (
    ("Missing key(s) in state_dict", "the names are still the checkpoint's; rename them first."),
    ("size mismatch", "a tensor has got the name of another; print both shapes."),
    ("FileNotFoundError", "the files lie in datasets.DATA."),
)


def expect_wren(got: Any, in_channels: int, num_classes: int) -> None:
    """`NotYet` unless it is a Wren with these channels and classes."""
    if not isinstance(got, nn.Module):
        raise NotYet(f"a Wren is wanted, not a {type(got).__name__}.{because('return the network itself.')}")
    missing = Wren().state_dict().keys() - got.state_dict().keys()
    if missing:
        why = because(
            "its layers have the names of the .mat; net.state_dict_for(Wren()) gives them Wren's."
            if isinstance(got, GraphModule)  # what network.to_module() gives
            else "keep its names: replace layers where they stand, and do not wrap it."
        )
        raise NotYet(f"a Wren has {min(missing)}, but what you return, a {type(got).__name__}, does not.{why}")
    for name, axis, wanted, what in (("stem.conv", 1, in_channels, "input channels"), ("score", 0, num_classes, "")):
        shape = tuple(got.get_submodule(name).weight.shape)
        if shape[axis] != wanted:
            raise NotYet(f"the weight of {name} is {shape}; {wanted} {what or 'classes'} are wanted.")


def verify_adapt(answer: Any) -> None:
    """9.2 `adapt(wren) -> Wren` of 4 channels and 6 classes."""
    source = pretrained()
    expect_wren(call(answer, source, crashes=ADAPT_CRASHES), in_channels=4, num_classes=6)
    given, got = call(lambda wren: (wren, answer(wren)), source)  # `call` hands out a copy: this is the one
    if _shares(got, given):
        raise NotYet(
            "the new network shares memory with the one you were given, so training one changes the other."
            + because("work on copy.deepcopy(wren).")
        )
    expect_colours_kept(got, source)
    old, new = source.score.weight, got.score.weight
    if torch.equal(new, old[:6]):
        raise NotYet(
            "the head has the first six rows of the old one."
            + because("a bird's row would begin as that of a T-shirt; no class is an old one, so begin with new rows.")
        )
    if not new.any():
        return  # zeros learn, too: their gradient depends on the features, not on them
    if not torch.isfinite(new).all() or new.std() > 1:
        raise NotYet(f"the weights of the new head spread by {new.std():.2g}; nn.Conv2d begins with less than 0.1.")


@torch.no_grad()
def expect_colours_kept(got: Wren, source: Wren) -> None:
    """`NotYet` unless the features of a picture without depth are what they were."""
    colours = torch.randn(3, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(3, 1, 40, 48)
    got, source = got.eval(), source.eval()
    expected = source.features(colours)
    found = got.features(torch.cat([colours, nothing], dim=1))
    if _close(found, expected):
        return
    raise NotYet(
        "where the fourth channel is zero, the features should be those of the colours alone; the largest difference "
        f"is {(found - expected).abs().max():.2g}.{because(_why_not_kept(got, source))}"
    )


def _why_not_kept(got: Wren, source: Wren) -> str:
    for key, tensor in source.state_dict().items():
        other = got.state_dict()[key]
        if key == "stem.conv.weight":
            colours = other[:, :3]
            if _close(other[:, 1:], tensor):
                return "the colours stand in channels 1 to 3, but RGB is 0 to 2 and depth is the last."
            if _close(colours * 4 / 3, tensor):
                return "the kernels of red, green and blue were scaled by 3/4, as if depth repeated a colour."
            if not _close(colours, tensor):
                return "the kernels of red, green and blue are to stay as they are."
        elif not key.startswith("score") and tensor.is_floating_point() and not _close(other, tensor):
            return f"{key} was not taken over."
    conv, old = got.stem.conv, source.stem.conv
    for option in ("stride", "padding"):
        if getattr(conv, option) != getattr(old, option):
            return f"{option} of your first conv is {getattr(conv, option)}, and was {getattr(old, option)}."
    if conv.bias is not None:
        return "your first conv has a bias, and had none."
    return "a layer runs that did not run before."


def _shares(one: nn.Module, other: nn.Module) -> bool:
    places = {tensor.untyped_storage().data_ptr() for tensor in other.state_dict().values()}
    return any(tensor.untyped_storage().data_ptr() in places for tensor in one.state_dict().values())


ADAPT_CRASHES = (
    ("must match", "the kernel of a conv is (out, in, height, width): channels are axis 1."),
    ("Sizes of tensors", "torch.cat along axis 1 adds a channel."),
    ("leaf Variable", "write into a weight inside `with torch.no_grad():`."),
)

EXERCISES = {
    "9.1": Exercise(
        verify_load,
        hints=(
            "Either file will do. The .mat knows its order; the checkpoint only numbers its lists.",
            "net.state_dict_for(Wren()) pairs the layers of the .mat in the order in which they run, and helps with "
            "its sigma. What is left is the scale of its input: prepare(x) is (x - 127.5) / 63.75.",
            "From the checkpoint: module.convs.5 is refine and module.convs.4 is settle, and the norms with them, as "
            "the interactive shows. A dictionary of block names and re.sub do the rest.",
        ),
        praise="all 32 tensors are where the files have them, in the order in which the network runs.",
    ),
    "9.2": Exercise(
        verify_adapt,
        hints=(
            "adapt_first_conv of lesson 04 has a rule that leaves the colours alone; so does torch.cat with a kernel "
            "of zeros, or of the mean over the colours.",
            "new = copy.deepcopy(wren); old = wren.stem.conv; new.stem.conv = nn.Conv2d(4, 32, 5, 2, 2, bias=False), "
            "then copy into new.stem.conv.weight[:, :3], and do not forget what stands in [:, 3:].",
            "The head: new.score = nn.Conv2d(160, 6, 1).",
        ),
        praise="the colours mean what they meant, the fourth channel is ready to learn, and the source is whole.",
    ),
    "9.3": Exercise(
        verify_learn,
        hints=(
            "Start from adapt(load_wren()). All 4 channels, all layers; AdamW or SGD; the head may be faster.",
            "60 pictures are few, so show each of them many times, mirrored and shifted: 40 epochs of `fit` with a "
            "batch of 20 take seconds, and reached 50 to 56 % as they are, up to 66 with copies that differ.",
            "SGD(parameter_groups(model, 0.02, head='score', head_lr=0.1), momentum=0.9), and `fit` on ten copies of "
            "all pictures for 6 epochs; one copy is inputs.roll((5, -3), (2, 3)).flip(-1), and torch.cat joins them.",
        ),
        praise="no path from random weights got there in our runs.",
    ),
    "9.4": Exercise(
        verify_learn_masks,
        hints=(
            "MaskWren(7, in_channels=4) has Wren's names, so a state_dict fits, but for the head: class 0 is the "
            "background now. Straight from Wren we reached 35 to 39 %; let it learn the sixty pictures first.",
            "replace_head knows 1x1 convs: replace_head(model, 7, keep={1: 0, 2: 1, ...}) keeps row i as row i + 1. "
            "Then `fit` on scenes and masks.",
            "export_weights(model, path) writes everything that the state_dict has, buffers too.",
        ),
        praise="a file with the weights of your network, and of nobody else's, says where things are.",
    ),
}
