"""Exercise 9.4: learn masks and write the network to a file; judged by other scenes, and by the file alone."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from helpers.checkpoint import export_weights
from helpers.fcn import confusion_matrix, mean_iou
from helpers.heads import replace_head

from ...wren import KINDS, MaskWren, prepare
from ..checking import Exercise, Mistake, NotAttempted, NotYet, because, is_stub
from .exercise_9_1 import right as load_wren
from .exercise_9_2 import right as adapt
from .exercise_9_2 import with_head
from .exercise_9_3 import learned
from .networks import NOT_LIKE_WREN, unlike_wren
from .pictures import few_pictures, few_scenes, unseen_scenes
from .training import timed, train

LEAST_IOU = 0.38


def right(pictures: Tensor, kinds: Tensor, scenes: Tensor, masks: Tensor, path: Path) -> None:
    start = copy.deepcopy(learned())  # from these pictures and kinds
    replace_head(start, len(KINDS) + 1, keep={kind + 1: kind for kind in range(len(KINDS))})
    model = MaskWren(len(KINDS) + 1, in_channels=4)
    model.load_state_dict(start.state_dict())
    train(model, prepare(scenes), masks, copies=6, epochs=6, batch_size=6)
    export_weights(model, path)


def saving(state: Any) -> Any:
    """An answer that learns nothing, and saves what `state()` returns."""
    return lambda pictures, kinds, scenes, masks, path: safetensors.torch.save_file(state(), path)


def unlearned() -> dict[str, Tensor]:
    """Wren's weights, but for a new head."""
    return with_head(load_wren(), len(KINDS) + 1).state_dict()


def without(part: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in unlearned().items() if part not in key}


def with_torch_save(pictures: Tensor, kinds: Tensor, scenes: Tensor, masks: Tensor, path: Path) -> None:
    torch.save(unlearned(), path)


NO_FILE = "export_weights(model, path) at the end."
OTHER_FILE = "torch.save writes another kind."
BUFFERS = "buffers belong to the weights: save model.state_dict(), not its parameters alone."
BACKGROUND = "7 classes with the background."
CHANNELS = "four channels, as in 9.2."
MORE = "export the network alone."
HARDLY = "it has hardly learned its own 24 scenes: more epochs, or another rate."
NEXT = "let it learn the sixty pictures first, move row i of that head to row i + 1, and mirror and shift the scenes."

MISTAKES = (
    Mistake(NO_FILE, lambda *given: len(given)),
    Mistake(OTHER_FILE, with_torch_save),
    Mistake(BUFFERS, saving(lambda: without("running_"))),
    Mistake("the file lacks score.", saving(lambda: without("score"))),
    Mistake(BACKGROUND, saving(lambda: adapt(load_wren()).state_dict())),
    Mistake(CHANNELS, saving(lambda: MaskWren(7).state_dict())),
    Mistake(MORE, saving(lambda: unlearned() | {"epoch": torch.zeros(1)})),
    Mistake("with 'net.' in front", saving(lambda: {f"net.{key}": t for key, t in unlearned().items()})),
    Mistake(HARDLY, saving(unlearned)),
)


def verify(answer: Any) -> None:
    """`learn_masks(pictures, kinds, scenes, masks, path)`, judged by 60 scenes, and by the file alone."""
    if answer is None or is_stub(answer):
        raise NotAttempted
    shown, masks = few_scenes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks.safetensors"
        timed(lambda *given: (answer(*given),), *few_pictures(), shown, masks, path)  # it may return nothing
        model = loaded(path)
    unseen, truth = unseen_scenes()
    reached = mean_iou(confusion_matrix(model, prepare(unseen), truth))
    if reached < LEAST_IOU:
        known = mean_iou(confusion_matrix(model, prepare(shown), masks))
        raise NotYet(
            f"the network in your file reaches a mean IoU of {reached:.1%} on 60 scenes that were kept back, and "
            f"{known:.0%} on the 24 that it learned from; {LEAST_IOU:.0%} are wanted of the 60."
            f"{because(why_few_hits(model, known))}"
        )


def why_few_hits(model: MaskWren, known: float) -> str:
    if known < LEAST_IOU:
        return HARDLY
    return NOT_LIKE_WREN if unlike_wren(model) else NEXT


def loaded(path: Path) -> MaskWren:
    """A new `MaskWren` with what stands in the file; `NotYet` if that is not all of it."""
    if not path.exists():
        raise NotYet(f"there is no file at `path`.{because(NO_FILE)}")
    try:
        state = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise NotYet(f"the file is no safetensors file ({error}).{because(OTHER_FILE)}") from None
    model = MaskWren(len(KINDS) + 1, in_channels=4)
    expected = model.state_dict()
    for key in expected:
        if key not in state:
            raise NotYet(f"the file lacks {key}.{because(why_lacking(key, state))}")
        if state[key].shape != expected[key].shape:
            shapes = f"{tuple(state[key].shape)} in the file, {tuple(expected[key].shape)}"
            why = because(BACKGROUND if key.startswith("score") else CHANNELS)
            raise NotYet(f"{key} is {shapes} in MaskWren(7, in_channels=4).{why}")
    extra = state.keys() - expected.keys()
    if extra:
        raise NotYet(f"the file has {min(extra)}, which is not in a MaskWren.{because(MORE)}")
    model.load_state_dict(state)
    return model


def why_lacking(key: str, state: Mapping[str, Tensor]) -> str | None:
    if longer := next((name for name in state if name.endswith(f".{key}")), None):
        return f"there is {longer}, with {longer.removesuffix(key)!r} in front; export the network itself."
    return BUFFERS if "running" in key or "num_" in key else None


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "MaskWren(7, in_channels=4) has Wren's names, so a state_dict fits, but for the head: class 0 is the "
        "background now. Straight from Wren we reached 35 to 39 %; let it learn the sixty pictures first.",
        "replace_head knows 1x1 convs: replace_head(model, 7, keep={1: 0, 2: 1, ...}) keeps row i as row i + 1. "
        "Then `fit` on scenes and masks.",
        "export_weights(model, path) writes everything that the state_dict has, buffers too.",
    ),
    praise="a file with the weights of your network, and of nobody else's, says where things are.",
)
