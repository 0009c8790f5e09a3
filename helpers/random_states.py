"""All global random states: kept for a while, or as tensors and numbers, which `weights_only=True` reads back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError

RandomState = dict[str, Any]


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Afterwards the global random states of torch (and of CUDA, if in use), numpy and Python are what they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    numpy_state, python_state = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def random_state() -> RandomState:
    """The global random states of torch (with CUDA's, if it is in use), numpy and Python, as they are now.

    Raises:
        CheckpointError: numpy's global generator is not the usual one.
    """
    name, keys, position, has_gauss, gauss = _numpy_state()
    version, numbers, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": {
            "name": name,
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(gauss),
        },
        "python": {"version": version, "numbers": torch.tensor(numbers), "gauss": next_gauss},
    }


def set_random_state(state: RandomState) -> None:
    """Put back what `random_state` found; states of CUDA devices that are not here are left out."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        for device, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda, device)
    np.random.set_state(_numpy_tuple(state["numpy"]))  # noqa: NPY002  the global one is what trainings use
    random.setstate(_python_tuple(state["python"]))


def check_random_state(state: RandomState, file: str) -> None:
    """See to it that `set_random_state` would take a state, without setting it.

    Raises:
        CheckpointError: it would not.
    """
    try:
        torch.Generator().set_state(state["torch"])
        if not 0 <= state["numpy"]["position"] <= 624:  # numpy would read memory that is not its own
            raise ValueError(f"numpy's position is {state['numpy']['position']}")
        np.random.RandomState().set_state(_numpy_tuple(state["numpy"]))
        random.Random().setstate(_python_tuple(state["python"]))
        if not all(isinstance(cuda, Tensor) for cuda in state["cuda"]):
            raise TypeError("a CUDA state is no tensor")
    except Exception as error:  # whatever is wrong with it
        raise CheckpointError(
            f"{file} has random states that cannot be restored ({error}); load it with restore_random=False"
        ) from error


def check_generator_state(generator: torch.Generator, state: Tensor, file: str) -> None:
    """See to it that a generator would take a state, without setting it.

    Raises:
        CheckpointError: it would not.
    """
    try:
        torch.Generator(generator.device).set_state(state)
    except Exception as error:
        raise CheckpointError(
            f"{file} has a state that a generator on {generator.device} does not take ({error}); make the generator on "
            "the same device as before"
        ) from error


def _numpy_state() -> tuple[str, np.ndarray, int, int, float]:
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    if state["bit_generator"] != "MT19937":
        raise CheckpointError(
            f"numpy's global generator is a {state['bit_generator']}, whose state cannot be saved; leave the global "
            "one as it is, and make a numpy.random.Generator of your own"
        )
    inner = state["state"]
    return state["bit_generator"], inner["key"], inner["pos"], state["has_gauss"], state["gauss"]


def _numpy_tuple(state: RandomState) -> tuple[str, np.ndarray, int, int, float]:
    keys = state["keys"].numpy().astype(np.uint32)
    return state["name"], keys, state["position"], state["has_gauss"], state["gauss"]


def _python_tuple(state: RandomState) -> tuple[int, tuple[int, ...], float | None]:
    return state["version"], tuple(state["numbers"].tolist()), state["gauss"]
