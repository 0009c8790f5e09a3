"""Exercise 7.4: run a backbone once over all images, and leave it as it was."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ..checking import SWITCHED, Exercise, Mistake, NotYet, because, call, case, compare, wrong_values
from .state import (
    BATCH_NORMS,
    DROPOUTS,
    OTHER_GRADIENTS,
    expect_gradients_left,
    expect_nothing_else,
    expect_same_numbers,
    expect_same_requires_grad,
    inside,
    leave_gradients_,
    mode_name,
    modes_of,
)

Modes = dict[nn.Module, bool]


def right(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        with torch.no_grad():
            return torch.cat([backbone(batch) for batch in images.split(batch_size)])
    finally:
        set_back(backbone, modes)


def set_back(backbone: nn.Module, modes: Modes) -> None:
    for module, training in modes.items():
        module.training = training


def variant(
    prepare: Callable[[nn.Module], Any] = lambda backbone: backbone.eval(),
    guard: Callable[[], Any] = torch.no_grad,
    batches: Callable[[Tensor, int], Iterable[Any]] = lambda images, batch_size: images.split(batch_size),
    join: Callable[[list[Tensor]], Any] = torch.cat,
    restore: Callable[[nn.Module, Modes], Any] = set_back,
) -> Any:
    """`right`, with one of its steps done otherwise."""

    def answer(backbone: nn.Module, images: Tensor, batch_size: int) -> Any:
        modes = {module: module.training for module in backbone.modules()}
        prepare(backbone)
        with guard():
            features = join([backbone(batch) for batch in batches(images, batch_size)])
        restore(backbone, modes)
        return features

    return answer


def only_eval(*kinds: type) -> Callable[[nn.Module], None]:
    """A `prepare` that puts into eval mode only modules of these types."""

    def prepare(backbone: nn.Module) -> None:
        for module in backbone.modules():
            if isinstance(module, kinds):
                module.eval()

    return prepare


def whole_batches(images: Tensor, batch_size: int) -> Iterable[Tensor]:
    whole = len(images) // batch_size
    return images[: whole * batch_size].split(batch_size)


def fills_whole_batches(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    features = torch.empty(len(images), 5)
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            features[start : start + batch_size] = backbone(images[:batch_size])
    return features


def switches_gradients_off(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    torch.set_grad_enabled(False)
    return right(backbone, images, batch_size)


def switches_gradients_on(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    features = right(backbone, images, batch_size)
    torch.set_grad_enabled(True)
    return features


def clears_gradients(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    backbone.zero_grad()
    return right(backbone, images, batch_size)


def remembers_children(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    root, modes = backbone.training, {module: module.training for module in backbone.children()}
    features = variant(restore=lambda backbone, _: backbone.train(root))(backbone, images, batch_size)
    for module, training in modes.items():
        module.train(training)
    return features


def calls_forward(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    with torch.no_grad():
        features = torch.cat([backbone.forward(batch) for batch in images.split(batch_size)])
    set_back(backbone, modes)
    return features


def in_a_tensor_of_its_own(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    features = torch.zeros(len(images), 5)
    features.copy_(right(backbone, images, batch_size))
    return features


REMEMBERED: dict[tuple[int, ...], Tensor] = {}


def remembers(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    key = (id(backbone), *images.shape)
    if key not in REMEMBERED:
        REMEMBERED[key] = right(backbone, images, batch_size)
    else:
        right(backbone, images, batch_size)
    return REMEMBERED[key]


def runs_it_again(backbone: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    features = right(backbone, images, batch_size)
    backbone(images[:batch_size])
    return features


SHUFFLED = "these are the right rows in another order; do not shuffle."
TRAIN_MODE = "ran in train mode; backbone.eval() before reaches all of its modules."
FUNCTION = "F.dropout asks the mode of the module it stands in; backbone.eval() reaches all modules."
A_LIST = "torch.cat(batches)."
GRAPH = "run the backbone inside `with torch.no_grad():`; it saves the memory of the graph, too."
INFERENCE = "they are from inference_mode, so: 'Inference tensors cannot be saved for backward'. Use torch.no_grad()."
AT_ONCE = "that needs memory for all; images.split(batch_size)."
CHUNK = "chunk takes the number of parts; split takes the size of one."
TOO_FEW = "take batch_size of them at once."
EVAL_STAYS = "eval() stays; remember each module's mode before, and set it back."
ALL_TRAIN = "train() is for all modules at once; remember each one's mode before, and set it back."
DEEPER = (
    "train() and eval() reach all that is inside; remember the mode of each of backbone.modules(), and set its "
    "`training`."
)
FORWARD = "backbone(batch) runs hooks, too; backbone.forward(batch) does not."
OTHER_TYPE = "torch.cat keeps the type of what the backbone gives."
OTHER_IMAGES = "were they remembered from an earlier call?"
FROZEN = "torch.no_grad() is enough; requires_grad of the backbone is to stay."
STATISTICS = "BatchNorm has moved its statistics: the backbone was run in train mode."
UNEQUAL = "torch.cat joins batches of any length; torch.stack only equal ones."
LISTS = "a DataLoader of a TensorDataset gives lists: for (batch,) in loader."
NUMPY = "run the backbone inside `with torch.no_grad():`."
SMALLER = "the last batch may be smaller."

SQUEEZED = "squeeze() takes away every axis of length one, that of a single image, too."
KNOWN_BY_VALUE = (
    Mistake(SQUEEZED, variant(join=lambda features: torch.cat(features).squeeze())),
    Mistake("the last batch is smaller, and was left out.", variant(batches=whole_batches)),
    Mistake("only the first batch came out.", variant(join=lambda features: features[0])),
    Mistake("only the last batch came out.", variant(join=lambda features: features[-1])),
    Mistake(
        "torch.stack adds an axis; torch.cat does not.",
        variant(join=lambda features: torch.stack([torch.cat(features)])),
    ),
)
MISTAKES = (
    *KNOWN_BY_VALUE,
    Mistake(SHUFFLED, lambda backbone, images, batch_size: right(backbone, images.flip(0), batch_size)),
    Mistake(f"BatchNorm and Dropout {TRAIN_MODE}", variant(prepare=lambda backbone: None)),
    Mistake(f"cause: Dropout {TRAIN_MODE}", variant(prepare=only_eval(BATCH_NORMS))),
    Mistake(f"cause: BatchNorm {TRAIN_MODE}", variant(prepare=only_eval(DROPOUTS))),
    Mistake(FUNCTION, variant(prepare=only_eval(BATCH_NORMS, DROPOUTS))),
    Mistake(A_LIST, variant(join=list)),
    Mistake("should be a torch.Tensor, but it is a ndarray", variant(join=lambda parts: torch.cat(parts).numpy())),
    Mistake(SWITCHED, switches_gradients_off),
    Mistake(GRAPH, variant(guard=torch.enable_grad)),
    Mistake(INFERENCE, variant(guard=torch.inference_mode)),
    Mistake(AT_ONCE, variant(batches=lambda images, batch_size: [images])),
    Mistake(CHUNK, variant(batches=lambda images, batch_size: images.chunk(batch_size))),
    Mistake(TOO_FEW, variant(batches=lambda images, batch_size: images.split(1))),
    Mistake(EVAL_STAYS, variant(restore=lambda backbone, modes: None)),
    Mistake(ALL_TRAIN, variant(restore=lambda backbone, modes: backbone.train())),
    Mistake(DEEPER, remembers_children),
    Mistake(FORWARD, calls_forward),
    Mistake(OTHER_TYPE, in_a_tensor_of_its_own),
    Mistake(OTHER_IMAGES, remembers),
    Mistake(SWITCHED, switches_gradients_on),
    Mistake(OTHER_GRADIENTS, clears_gradients),
    Mistake(FROZEN, variant(prepare=lambda backbone: backbone.eval().requires_grad_(False), guard=torch.enable_grad)),
    Mistake(STATISTICS, runs_it_again),
    Mistake(UNEQUAL, variant(join=torch.stack)),
    Mistake(LISTS, variant(batches=lambda images, batch_size: DataLoader(TensorDataset(images), batch_size))),
    Mistake(NUMPY, variant(guard=torch.enable_grad, join=lambda parts: torch.cat(parts).numpy())),
    Mistake(SMALLER, fills_whole_batches),
)
CRASHES = (
    ("equal size", UNEQUAL),
    ("invalid combination of arguments", LISTS),
    ("Can't call numpy()", NUMPY),
    ("must match the existing size", SMALLER),
)


class Backbone(nn.Module):
    """(N, 3, 6, 7) -> (N, 5) with all that a mode changes; a run, of a copy too, first calls `seen(itself, images)`."""

    def __init__(self, seen: Callable[[nn.Module, Tensor], None]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.seen = seen
        self.stem = nn.Sequential(nn.Conv2d(3, 4, (2, 3)).requires_grad_(False), nn.BatchNorm2d(4), nn.ReLU())
        self.block = nn.Sequential(nn.Dropout2d(0.5), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))
        self.drop = nn.Dropout(0.5)
        norms: list[Any] = [self.stem[1], self.block[2]]
        for norm in norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.seen(self, x)
        x = self.drop(self.block(self.stem(x)).mean((2, 3)))
        return F.dropout(x, 0.25, self.training)


class Run(NamedTuple):
    """What was seen when the backbone ran."""

    images: int
    training: list[nn.Module]


CASES: dict[str, tuple[int, list[str]]] = {  # the batch size, and what is in train mode before
    "for a backbone in train mode": (4, ["", "stem", "block", "drop"]),
    "for a backbone with its stem in eval mode": (5, ["", "block", "drop"]),
    "for a backbone whose inner modules are in other modes": (3, ["", "stem.1", "block.0", "drop"]),
    "for a backbone in eval mode, but for a Dropout": (2, ["drop"]),
    "for a backbone in eval mode": (20, []),
}


def verify(answer: Any) -> None:
    """`features_of(backbone, images, batch_size) -> (N, D)`."""
    with torch.enable_grad():
        for name, (batch_size, training) in CASES.items():
            with case(name):
                verify_case(answer, batch_size, training)
        with case("for one image"):
            verify_case(answer, 4, [""], count=1)
        with case("for a backbone and images of float64"):
            verify_case(answer, 4, ["drop"], dtype=torch.float64)
        with case("where gradients are switched off already"), torch.no_grad():
            verify_case(answer, 4, ["drop"])


def verify_case(
    answer: Any, batch_size: int, training: list[str], count: int = 11, dtype: torch.dtype = torch.float32
) -> None:
    runs: list[Run] = []
    called: list[nn.Module] = []

    def seen(module: nn.Module, images: Tensor) -> None:
        runs.append(Run(len(images), [part for part in module.modules() if part.training]))

    backbone = Backbone(seen).to(dtype)
    backbone.register_forward_pre_hook(lambda module, given: called.append(module))
    for key, module in backbone.named_modules():
        module.training = inside(key, training)
    before = copy.deepcopy(backbone)
    leave_gradients_(backbone)
    images = torch.randn(count, 3, 6, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = right(copy.deepcopy(backbone), images, batch_size)
    wrong = wrong_values(KNOWN_BY_VALUE, backbone, images, batch_size)
    call(answer, backbone, images, batch_size, crashes=CRASHES, may_change=[0])
    runs.clear()
    called.clear()
    got = call(functools.partial(answer, backbone), images, batch_size, crashes=CRASHES)
    expect_features(got, expected, wrong, runs)
    expect_batches([run.images for run in runs], len(images), batch_size)
    expect_modes_back(backbone, before)
    expect_same_requires_grad(backbone, before, FROZEN)
    expect_same_numbers(backbone, before, STATISTICS)
    expect_nothing_else(backbone, before)
    expect_gradients_left(backbone)
    if len(called) < len(runs):
        raise NotYet(f"hooks of the backbone were passed over.{because(FORWARD)}")
    others = call(functools.partial(answer, backbone), images.flip(0), batch_size, crashes=CRASHES)
    compare(others, expected.flip(0), "what comes out for other images", [(OTHER_IMAGES, got)])


def expect_features(got: Any, expected: Tensor, wrong: list[tuple[str, Any]], runs: list[Run]) -> None:
    if isinstance(got, (list, tuple)):
        raise NotYet(f"one tensor is wanted, not a {type(got).__name__}.{because(A_LIST)}")
    if isinstance(got, Tensor):
        other_causes = [SHUFFLED] if same_rows(got, expected) else why_training(runs)
        wrong = [*wrong, *((cause, got) for cause in other_causes)]  # if no value explains it
    compare(got, expected, "what comes out", wrong)
    if got.dtype != expected.dtype:
        raise NotYet(f"the features are {got.dtype}, and the backbone gives {expected.dtype}.{because(OTHER_TYPE)}")
    if got.requires_grad:
        raise NotYet(f"the features take a gradient.{because(GRAPH)}")
    if got.is_inference():
        raise NotYet(f"no head can be trained on the features.{because(INFERENCE)}")


def same_rows(got: Tensor, expected: Tensor) -> bool:
    """Whether they have the same rows, in any order."""
    if got.shape != expected.shape:
        return False
    equal = torch.cdist(got.detach().double(), expected.double()) < 1e-4
    return bool(equal.any(0).all() and equal.any(1).all())


def why_training(runs: list[Run]) -> list[str]:
    """What is to be said of the modules that were in train mode when the backbone ran."""
    training = [module for run in runs for module in run.training]
    kinds = {"BatchNorm": BATCH_NORMS, "Dropout": DROPOUTS}
    found = [name for name, kind in kinds.items() if any(isinstance(module, kind) for module in training)]
    if found:
        return [f"{' and '.join(found)} {TRAIN_MODE}"]
    return [FUNCTION] if training else []


def expect_batches(counts: list[int], images: int, batch_size: int) -> None:
    most = max(counts, default=0)
    cause = None
    if most > batch_size:
        cause = AT_ONCE if most == images else CHUNK
    elif 0 < most < min(batch_size, images):
        cause = CHUNK if len(counts) == batch_size else TOO_FEW
    if cause:
        raise NotYet(f"with batch_size={batch_size} it gets {most} images at once.{because(cause)}")


def expect_modes_back(backbone: nn.Module, before: nn.Module) -> None:
    now, then = modes_of(backbone), modes_of(before)
    for key, was in then.items():
        if now[key] == was:
            continue
        cause = None
        if not any(now.values()):
            cause = EVAL_STAYS
        elif all(now.values()):
            cause = ALL_TRAIN
        elif "." in key:
            cause = DEEPER
        what = f"{key!r}" if key else "the backbone itself"
        raise NotYet(f"{what} is in {mode_name(now[key])} afterwards, and was in {mode_name(was)}.{because(cause)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "Remember the modes first: {module: module.training for module in backbone.modules()}; then eval().",
        "with torch.no_grad(): run each part of images.split(batch_size), and join what comes out by torch.cat.",
        "modes = {...}; backbone.eval(); with torch.no_grad(): features = torch.cat([backbone(batch) for batch in "
        "images.split(batch_size)]); for module, mode in modes.items(): module.training = mode; return features",
    ),
    praise="one pass through the backbone, and it is as it was.",
)
