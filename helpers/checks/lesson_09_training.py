"""Lesson 09: the two milestones that are trained. The pictures that judge them are painted here, and kept back."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..datasets import garment_scenes
from ..fcn import confusion_matrix, mean_iou
from ..models import accuracy
from ..training import few_of_each
from ..wren import KINDS, MaskWren, Wren, prepare
from .feedback import NotAttempted, NotYet, because, call, is_stub

LEAST_ACCURACY, LEAST_IOU = 0.50, 0.38
SECONDS = 300


@cache
def pictures(count: int, train: bool, seed: int) -> tuple[Tensor, Tensor]:
    """(count, 4, 64, 64) uint8 with one garment each, and which of `KINDS` it is."""
    scenes, masks = garment_scenes(count, (64, 64), train=train, seed=seed, garments=KINDS, most=1, depth=True)
    return scenes, masks.flatten(1).amax(1) - 1


def few(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Ten of each kind to learn from: (60, 4, 64, 64) uint8, (60,)."""
    scenes, kinds = pictures(240, True, 1000 + seed)
    chosen = few_of_each(kinds, 10, seed)
    return scenes[chosen], kinds[chosen]


def scenes(train: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """24 scenes to learn from, or 60 that are kept back: (N, 4, 96, 128) uint8 and their masks."""
    return garment_scenes(24 if train else 60, (96, 128), train=train, seed=2000 + seed, garments=KINDS, depth=True)


def verify_learn(answer: Any) -> None:
    """9.3 `learn(pictures, kinds) -> Wren`, judged by 600 pictures that it has not seen."""
    shown, kinds = few()
    got = timed(answer, shown, kinds)
    if not isinstance(got, nn.Module):
        raise NotYet(f"a network is wanted, not a {type(got).__name__}.")
    unseen, truth = pictures(600, False, 3000)
    inputs = prepare(unseen)
    expect_output(got, inputs[:2], (2, len(KINDS)))
    reached = accuracy(got, inputs, truth)
    if reached < LEAST_ACCURACY:
        known = accuracy(got, prepare(shown), kinds)
        cause = _why_low(got, inputs, truth, reached, known)
        raise NotYet(
            f"of 600 pictures that were kept back it names {reached:.1%}, of the 60 that it learned from {known:.0%}; "
            f"{LEAST_ACCURACY:.0%} are wanted of the 600.{because(cause)}"
        )


def _why_low(got: nn.Module, inputs: Tensor, truth: Tensor, reached: float, known: float) -> str | None:
    if accuracy(got, inputs * 0.25 + 0.5, truth) > reached + 0.1:
        return "it was trained on values from 0 to 1; it gets what `prepare` gives, as Wren always did."
    if known < 0.5:
        return "it has hardly learned its own 60 pictures: more epochs, or another rate."
    stem = getattr(got, "stem", None)
    if isinstance(stem, nn.Module) and not _like_pretrained(stem):
        return "its first kernels are not like Wren's, so it began with random weights, or its rate was too high."
    if isinstance(got, Wren) and _same_features(got):
        return "all its features are Wren's, so only the head has learned; let the blocks learn, too."
    return "the rate, the number of epochs, or what you do to the pictures (mirror, shift)."


def _like_pretrained(stem: nn.Module) -> bool:
    """Whether most kernels of the first conv point where the pretrained ones do."""
    from .lesson_09 import weights

    mine, theirs = stem.conv.weight[:, :3].flatten(1), weights()["stem.conv.weight"].flatten(1)
    return torch.cosine_similarity(mine, theirs).median().item() > 0.7


def _same_features(got: Wren) -> bool:
    from .lesson_09 import weights

    state = got.state_dict()
    return all(
        torch.allclose(state[key], tensor, rtol=1e-3, atol=1e-5)
        for key, tensor in weights().items()
        if key.endswith("conv.weight") and not key.startswith("stem")
    )


def verify_learn_masks(answer: Any) -> None:
    """9.4 `learn_masks(pictures, kinds, scenes, masks, path)`, judged by 60 scenes, and by the file alone."""
    if answer is None or is_stub(answer):
        raise NotAttempted
    shown, masks = scenes(train=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks.safetensors"
        timed(lambda *given: (answer(*given),), *few(), shown, masks, path)  # it may return nothing
        model = loaded(path)
    unseen, truth = scenes(train=False)
    inputs = prepare(unseen)
    reached = mean_iou(confusion_matrix(model, inputs, truth))
    if reached < LEAST_IOU:
        known = mean_iou(confusion_matrix(model, prepare(shown), masks))
        raise NotYet(
            f"the network in your file reaches a mean IoU of {reached:.1%} on 60 scenes that were kept back, and "
            f"{known:.0%} on the 24 that it learned from; {LEAST_IOU:.0%} are wanted of the 60."
            f"{because(_why_few_hits(model, known))}"
        )


def _why_few_hits(model: MaskWren, known: float) -> str:
    if known < LEAST_IOU:
        return "it has hardly learned its own 24 scenes: more epochs, or another rate."
    if not _like_pretrained(model.stem):
        return "its first kernels are not like Wren's, so it began with random weights, or its rate was too high."
    return (
        "let it learn the sixty pictures first, move row i of that head to row i + 1, and mirror and shift the scenes."
    )


def loaded(path: Path) -> MaskWren:
    """A new `MaskWren` with what stands in the file; `NotYet` if that is not all of it."""
    if not path.exists():
        raise NotYet("there is no file at `path`." + because("export_weights(model, path) at the end."))
    try:
        state = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise NotYet(
            f"the file is no safetensors file ({error}).{because('torch.save writes another kind.')}"
        ) from None
    model = MaskWren(len(KINDS) + 1, in_channels=4)
    expected = model.state_dict()
    for key in expected:
        if key not in state:
            raise NotYet(f"the file lacks {key}.{because(_why_lacking(key, state))}")
        if state[key].shape != expected[key].shape:
            shapes = f"{tuple(state[key].shape)} in the file, {tuple(expected[key].shape)}"
            why = "7 classes with the background." if key.startswith("score") else "four channels, as in 9.2."
            raise NotYet(f"{key} is {shapes} in MaskWren(7, in_channels=4).{because(why)}")
    extra = state.keys() - expected.keys()
    if extra:
        raise NotYet(f"the file has {min(extra)}, which is not in a MaskWren.{because('export the network alone.')}")
    model.load_state_dict(state)
    return model


def _why_lacking(key: str, state: Mapping[str, Tensor]) -> str | None:
    if longer := next((name for name in state if name.endswith(f".{key}")), None):
        return f"there is {longer}, with {longer.removesuffix(key)!r} in front; export the network itself."
    if "running" in key or "num_" in key:
        return "buffers belong to the weights: save model.state_dict(), not its parameters alone."
    return None


def timed(answer: Any, *given: Any) -> Any:
    """What the answer returns, if it does so in time; the random state afterwards is what it was before."""
    start = time.process_time()  # of all cores, whatever else they do
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        got = call(answer, *given)
    if time.process_time() - start > SECONDS:
        raise NotYet(f"it took more than {SECONDS} s of all cores together; 60 are enough.")
    return got


@torch.no_grad()
def expect_output(model: nn.Module, inputs: Tensor, shape: tuple[int, ...]) -> None:
    """`NotYet` unless it makes an output of this shape from these inputs."""
    try:
        output = copy.deepcopy(model).eval()(inputs)
    except Exception as error:
        raise NotYet(f"for {tuple(inputs.shape)} your network stops with {type(error).__name__}: {error}") from None
    if tuple(output.shape) != shape:
        raise NotYet(f"for {tuple(inputs.shape)} your network puts out {tuple(output.shape)}, not {shape}.")
