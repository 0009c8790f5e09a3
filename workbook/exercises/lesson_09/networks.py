"""Wren as its files have it, and what a network has of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from helpers.matconvnet import load_matconvnet

from ...data import DATA
from ...wren import Wren
from ..checking import NotYet, because

RETURN_NETWORK = "return the network itself."
NAMES_OF_THE_MAT = "its layers have the names of the .mat; net.state_dict_for(Wren()) gives them Wren's."
KEEP_NAMES = "keep its names: replace layers where they stand, and do not wrap it."
NOT_LIKE_WREN = "its first kernels are not like Wren's, so it began with random weights, or its rate was too high."


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


def close(first: Tensor, second: Tensor) -> bool:
    """Whether they are equal, but for the rounding of another file format or order of sums."""
    return first.shape == second.shape and torch.allclose(first.double(), second.double(), rtol=1e-3, atol=1e-5)


def expect_wren(got: Any, in_channels: int, num_classes: int) -> None:
    """`NotYet` unless it is a Wren with these channels and classes."""
    if not isinstance(got, nn.Module):
        raise NotYet(f"a Wren is wanted, not a {type(got).__name__}.{because(RETURN_NETWORK)}")
    missing = Wren().state_dict().keys() - got.state_dict().keys()
    if missing:
        # a GraphModule is what network.to_module() gives
        why = because(NAMES_OF_THE_MAT if isinstance(got, GraphModule) else KEEP_NAMES)
        raise NotYet(f"a Wren has {min(missing)}, but what you return, a {type(got).__name__}, does not.{why}")
    for name, axis, wanted, what in (
        ("stem.conv", 1, in_channels, "input channels"),
        ("score", 0, num_classes, "classes"),
    ):
        shape = tuple(got.state_dict()[f"{name}.weight"].shape)
        if shape[axis] != wanted:
            raise NotYet(f"the weight of {name} is {shape}; {wanted} {what} are wanted.")


def unlike_wren(model: nn.Module) -> bool:
    """Whether it has Wren's first conv, but most of its kernels point elsewhere than the pretrained ones."""
    pretrained_kernels = weights()["stem.conv.weight"]
    kernels = model.state_dict().get("stem.conv.weight", torch.empty(0, 0))[:, :3]
    if kernels.shape != pretrained_kernels.shape:
        return False
    likeness = torch.cosine_similarity(kernels.flatten(1), pretrained_kernels.flatten(1))
    return likeness.median().item() <= 0.7
