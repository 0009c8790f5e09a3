"""Save a whole training in one file that no crash can damage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..atomic_files import also_publish, flush_to_disk, replacing, target_of
from ..errors import CheckpointError
from ..random_states import random_state
from ..state_dict import StateDictError
from ..state_dict.reading import load_safely
from .batches import ResumableBatches
from .content import FORMAT, VERSION, check_parts, of_model, of_optimizer, of_scheduler, refuse_unreadable


def save_checkpoint(
    path: str | Path,
    *,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    scheduler: Any | None = None,
    epoch: int = 0,
    batches: ResumableBatches | None = None,
    generator: torch.Generator | None = None,
    keep: int = 0,
    best: float | None = None,
    **extra: Any,
) -> Path:
    """Write everything that training needs to go on bit by bit as if it had never been interrupted.

    The file is written beside `path`, flushed to the disk, and takes its name in one step: whenever the process is
    killed, `path` is a whole checkpoint, the old one or the new one. What a killed save leaves behind
    (`.NAME.PID.NUMBER.tmp`) is deleted by the next save of the same path. Random states of torch, numpy's global
    functions, Python's `random` and, if it is in use, CUDA are saved, too. Buffers that are not persistent are not.

    For `run.pt`, `keep` and `best` write the names `run-epoch3.pt` and `run-best.pt`. They are hard links to the same
    bytes, which cost no space until `run.pt` is the next one; so do not write over a checkpoint in place, as
    `torch.save` does. Where the file system has no links, they are copies.

    Args:
        path: the file, by custom `*.pt`. Its folder must exist.
        model: its state_dict, which parameters take gradients, the modes of its modules, and which stay in eval mode.
        optimizer: with its state and the parameters of each group.
        scheduler: anything with a state_dict.
        epoch: epochs that are done, which is also the number of the one that is running.
        batches: saves where in the epoch the loop is, and the generator of its loader.
        generator: a random generator of your own, such as the DataLoader's if you use no `ResumableBatches`.
        keep: of the files `run-epoch*.pt`, the latest of each epoch, the `keep` last written stay, with this one. 0
            writes none and deletes none.
        best: a score, higher is better. If it is above that of `run-best.pt`, or there is none yet, this becomes it.
        extra: anything else, of tensors, numbers, strings, lists and dictionaries, such as
            `scaler=scaler.state_dict()`.

    Returns:
        The path.

    Raises:
        CheckpointError: something could not be read back, or `run-best.pt` is no checkpoint: nothing is written. Or the
            disk is full: the old file is still there, and nothing else is.
        FileNotFoundError: there is no such folder.
    """
    check_parts(model, optimizer, scheduler, batches, generator)
    target = target_of(path, CheckpointError)
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        **of_model(model),
        "optimizer": of_optimizer(optimizer, model) if optimizer is not None else None,
        "scheduler": of_scheduler(scheduler) if scheduler is not None else None,
        "epoch": _whole(epoch, "epoch"),
        "random": random_state(),
        "generator": generator.get_state() if generator is not None else None,
        "batches": batches.state_dict() if batches is not None else None,
        "score": _score(best),
        "extra": extra,
    }
    for key, value in content.items():
        if key != "extra":
            refuse_unreadable(dict(value) if key == "model" else value, key)
    for key, value in extra.items():
        refuse_unreadable(value, key)
    keep = _whole(keep, "keep")
    seconds = [target_of(_beside(target, f"epoch{epoch}"), CheckpointError)] if keep else []
    best_path = _beside(target, "best")
    if best is not None:
        target_of(best_path, CheckpointError)
    if best is not None and _is_best(content["score"], best_path):
        seconds.append(best_path)
    _write(content, target, seconds)
    if keep:
        _delete_older(target, seconds[0], keep)
    return path


def _write(content: dict[str, Any], path: Path, seconds: list[Path]) -> None:
    with replacing(path, CheckpointError) as place:
        with place.open("wb") as file:  # given an open file, torch writes large pieces: the flush is quicker
            torch.save(content, file)
        flush_to_disk(place)
        for second in seconds:
            also_publish(place, path, second)


def _whole(number: int, what: str) -> int:
    if type(number) is not int or number < 0:
        raise CheckpointError(f"{what} must be a whole number from 0, not {number!r} ({type(number).__name__})")
    return number


def _score(best: object) -> float | None:
    if best is None:
        return None
    if isinstance(best, (str, bytes)):
        raise CheckpointError(f"best is {best!r}: give a number")
    try:
        return float(best)  # type: ignore[arg-type]  # numpy's and torch's numbers, too
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"best is a {type(best).__name__} ({error}): give one number") from error


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}-{what}{path.suffix}")


def _is_best(score: float, path: Path) -> bool:
    """Whether a score is above that of a stored checkpoint; one that is not a number never is."""
    if score != score:
        return False
    if not path.exists():
        return True
    try:
        stored = load_safely(path, verify=False)  # mapped: its tensors are not read
    except StateDictError as error:
        raise CheckpointError(f"{error}; delete or move it, and the next best one takes its place") from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT or not isinstance(stored.get("score"), float):
        raise CheckpointError(f"{path.name} is no checkpoint with a score; move it, or save under another name")
    return score > stored["score"]


def _delete_older(path: Path, newest: Path, keep: int) -> None:
    """Delete all but the last written of the files `NAME-epoch3.pt`; a clock that was put back does not matter."""
    pattern = re.compile(re.escape(f"{path.stem}-epoch") + r"(\d+)" + re.escape(path.suffix))
    found = []
    for other in path.parent.iterdir():
        match = pattern.fullmatch(other.name)
        if match:
            found.append((other == newest, other.stat().st_mtime_ns, int(match[1]), other))
    for *_, other in sorted(found)[:-keep]:
        other.unlink(missing_ok=True)
