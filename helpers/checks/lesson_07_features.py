"""Lesson 07: the exercise that runs a backbone once, and leaves it as it was."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .feedback import NotYet, because, call, compare
from .lesson_07_modes import BATCH_NORMS, DROPOUTS, expect_same_requires_grad, mode_name, modes_of
from .lesson_07_names import expect_numbers, inside


class Backbone(nn.Module):
    """(N, 3, 6, 7) -> (N, 5) with all that a mode changes; before each run it calls `seen(itself, images)`."""

    def __init__(self, seen: Callable[[nn.Module, Tensor], None]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.seen = seen
        self.stem = nn.Sequential(nn.Conv2d(3, 4, (2, 3)).requires_grad_(False), nn.BatchNorm2d(4), nn.ReLU())
        self.block = nn.Sequential(nn.Dropout2d(0.5), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))
        self.drop = nn.Dropout(0.5)
        for norm in (self.stem[1], self.block[2]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.seen(self, x)
        x = self.drop(self.block(self.stem(x)).mean((2, 3)))
        return F.dropout(x, 0.25, self.training)


FEATURES_CASES = {  # the batch size, and what is in train mode before
    "for a backbone in train mode": (4, ["", "stem", "block", "drop"]),
    "for a backbone with its stem in eval mode": (5, ["", "block", "drop"]),
    "for a backbone in eval mode, but for a Dropout": (2, ["drop"]),
    "for a backbone in eval mode": (20, []),
}


def verify_features(answer: Any) -> None:
    """7.4 `features_of(backbone, images, batch_size) -> (N, D)`."""
    with torch.enable_grad():
        for case, (batch_size, training) in FEATURES_CASES.items():
            verify_features_of(answer, batch_size, training, case)


def verify_features_of(answer: Any, batch_size: int, training: list[str], case: str) -> None:
    runs: list[tuple[int, list[nn.Module]]] = []

    def seen(module: nn.Module, images: Tensor) -> None:
        runs.append((len(images), [part for part in module.modules() if part.training]))

    backbone = Backbone(seen)
    for key, module in backbone.named_modules():
        module.training = inside(key, training)
    before = copy.deepcopy(backbone)
    images = torch.randn(11, 3, 6, 7, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.cat([copy.deepcopy(backbone).eval()(image) for image in images.split(1)])
    call(answer, backbone, images, batch_size, case=case, crashes=FEATURES_CRASHES, may_change=[0])
    runs.clear()
    got = call(functools.partial(answer, backbone), images, batch_size, case=case, crashes=FEATURES_CRASHES)
    if not torch.is_grad_enabled():
        why = because("set_grad_enabled(False) lasts; `with torch.no_grad():` ends.")
        raise NotYet(f"{case}, gradients are switched off after your function, for all of the notebook.{why}")
    expect_features(got, expected, runs, batch_size, case)
    if got.requires_grad:
        why = because("run the backbone inside `with torch.no_grad():`; it saves the memory of the graph, too.")
        raise NotYet(f"{case}, the features take a gradient.{why}")
    if got.is_inference():
        cause = "they are from inference_mode, so: 'Inference tensors cannot be saved for backward'."
        raise NotYet(f"{case}, no head can be trained on the features.{because(cause + ' Use torch.no_grad().')}")
    expect_batches([count for count, _ in runs], len(images), batch_size, case)
    expect_modes_back(backbone, before, case)
    frozen = "torch.no_grad() is enough; requires_grad of the backbone is to stay."
    expect_same_requires_grad(backbone, before, case, frozen)
    expect_numbers(backbone, before, case, "BatchNorm has moved its statistics: the backbone was run in train mode.")


def expect_features(got: Any, expected: Tensor, runs: list[Any], batch_size: int, case: str) -> None:
    if isinstance(got, (list, tuple)):
        raise NotYet(f"{case}, one tensor is wanted, not a {type(got).__name__}.{because('torch.cat(batches).')}")
    rest = len(expected) % batch_size or batch_size
    causes = [
        ("the last batch is smaller, and was left out.", expected[:-rest]),
        ("only the first batch came out.", expected[:batch_size]),
        ("only the last batch came out.", expected[-rest:]),
        ("torch.stack adds an axis; torch.cat does not.", expected[None]),
    ]
    if isinstance(got, Tensor):
        got = got.detach()
        if got.shape == expected.shape and (torch.cdist(got, expected) < 1e-4).any(1).all():
            causes.append(("these are the right rows in another order; do not shuffle.", got))
        causes += [(text, got) for text in _why_training(runs)]  # if nothing else explains it
    compare(got, expected, f"{case}, what comes out", causes)


def _why_training(runs: list[tuple[int, list[nn.Module]]]) -> list[str]:
    """What is to be said of the modules that were in train mode when the backbone ran."""
    training = [module for _, modules in runs for module in modules]
    kinds = [name for name, kind in (("BatchNorm", BATCH_NORMS), ("Dropout", DROPOUTS)) if _any(training, kind)]
    if kinds:
        return [f"{' and '.join(kinds)} ran in train mode; backbone.eval() before reaches all of its modules."]
    if training:
        return ["F.dropout asks the mode of the module it stands in; backbone.eval() reaches all modules."]
    return []


def _any(modules: list[nn.Module], kind: type) -> bool:
    return any(isinstance(module, kind) for module in modules)


def expect_batches(counts: list[int], images: int, batch_size: int, case: str) -> None:
    chunks = "chunk takes the number of parts; split takes the size of one."
    if counts and max(counts) > batch_size:
        why = "that needs memory for all; images.split(batch_size)." if max(counts) == images else chunks
        raise NotYet(f"{case} and batch_size={batch_size}, it gets {max(counts)} images at once.{because(why)}")
    if counts and max(counts) < min(batch_size, images):
        why = because(chunks if len(counts) == batch_size else "take batch_size of them at once.")
        raise NotYet(f"{case} and batch_size={batch_size}, it gets {max(counts)} images at once.{why}")


def expect_modes_back(backbone: nn.Module, before: nn.Module, case: str) -> None:
    now, then = modes_of(backbone), modes_of(before)
    for key, was in then.items():
        if now[key] == was:
            continue
        cause = None
        if not any(now.values()):
            cause = "eval() stays; remember each module's mode before, and set it back."
        elif all(now.values()):
            cause = "train() is for all modules at once; remember each one's mode before, and set it back."
        what = f"{key!r}" if key else "the backbone itself"
        raise NotYet(
            f"{case}, {what} is in {mode_name(now[key])} afterwards, and was in {mode_name(was)}.{because(cause)}"
        )


FEATURES_CRASHES = [
    ("equal size", "torch.cat joins batches of any length; torch.stack only equal ones."),
    ("invalid combination of arguments", "a DataLoader of a TensorDataset gives lists: for (batch,) in loader."),
    ("Can't call numpy()", "run the backbone inside `with torch.no_grad():`."),
    ("must match the existing size", "the last batch may be smaller."),
]
