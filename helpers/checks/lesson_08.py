"""Lesson 08: what the exercises ask, and the mistakes that they know."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from .feedback import Exercise, NotAttempted, NotYet, because, call
from .lesson_08_loading import verify_load_whole
from .lesson_08_saving import verify_save_safely

GENERATORS = ("torch", "numpy", "Python")
GETTERS = dict(zip(GENERATORS, ("torch.get_rng_state()", "np.random.get_state()", "random.getstate()"), strict=True))
SETTERS = dict(zip(GENERATORS, ("torch.set_rng_state", "np.random.set_state", "random.setstate"), strict=True))


def states_now() -> dict[str, Any]:
    """As they are, with what is drawn in pairs and kept for the next call."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    numpy = (name, tuple(keys.tolist()), *rest)
    return {"torch": torch.get_rng_state(), "numpy": numpy, "Python": random.getstate()}


def set_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["Python"])


@contextlib.contextmanager
def states_kept() -> Iterator[None]:
    """The learner's random numbers go on as if there had been no check."""
    before = states_now()
    try:
        yield
    finally:
        set_states(before)


def begin(seed: int, drawn: int) -> None:
    """Seed all three and draw; after an odd number of Gaussians, one is kept for the next call."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed + 1)  # noqa: NPY002
    random.seed(seed + 2)
    for _ in range(drawn):
        torch.randn(1)
        np.random.normal()  # noqa: NPY002
        random.gauss(0, 1)


def draws() -> dict[str, list[float]]:
    """What the three give next."""
    return {
        "torch": [torch.randn(1).item(), *torch.rand(3).tolist()],
        "numpy": [np.random.normal(), *np.random.rand(3).tolist()],  # noqa: NPY002
        "Python": [random.gauss(0, 1), *(random.random() for _ in range(3))],
    }


def verify_random_states(answer: Any) -> None:
    """8.2 `random_states() -> a dictionary`, `random_states(states) -> None`."""
    with states_kept():
        for case, drawn in (("after an odd number of draws", 3), ("after an even number of draws", 4)):
            begin(820, drawn)
            before = states_now()
            got = call(answer, case=case, crashes=CAPTURE_CRASHES)
            if isinstance(got, Mapping) and any(value is ... for value in got.values()):
                raise NotAttempted
            expect_untouched(before, case)
            loaded = saved_and_loaded(got)
            expected = draws()
            for what, states in (("the dictionary", got), ("the dictionary from torch.load", loaded)):
                begin(940, 1)
                moved = states_now()
                expect_set(answer, states, f"{case}, with {what}")
                now = states_now()
                why = {name: _why(name, now[name], moved[name], before[name]) for name in GENERATORS}
                expect_draws(draws(), expected, f"{case}, once {what} is set", why)


def expect_draws(found: dict[str, Any], expected: dict[str, Any], case: str, why: dict[str, str]) -> None:
    for name in GENERATORS:
        for place, (number, wanted) in enumerate(zip(found[name], expected[name], strict=True)):
            if number != wanted:
                which = ("first", "second", "third", "fourth")[place]
                raise NotYet(
                    f"{case}, the {which} number of {name} is {number:.4f}, but was {wanted:.4f} when the dictionary "
                    f"was made.{because(why[name])}"
                )


def expect_untouched(before: dict[str, Any], case: str) -> None:
    now = states_now()
    for generator in GENERATORS:
        if not _equal(now[generator], before[generator]):
            why = because(f"a number is drawn, or a seed is set; {GETTERS[generator]} only reads.")
            raise NotYet(f"{case}, making the dictionary changes the random state of {generator}.{why}")


def saved_and_loaded(got: Any) -> Any:
    if not isinstance(got, Mapping):
        raise NotYet(f"without an argument a dictionary is wanted, not a {type(got).__name__}.")
    file = io.BytesIO()
    try:
        torch.save(got, file)
        file.seek(0)
        return torch.load(file, weights_only=True)
    except Exception as error:
        numpy = "store numpy's keys as a tensor, and its numbers as int and float, not the tuple as it is."
        other = "only tensors, numbers, strings, and lists, tuples and dictionaries of them can be read back."
        where, what = _strange(got) or ("", type(error).__name__)
        found = f"its {where} is a {what}" if where else what
        why = because(numpy if "numpy" in what else other)
        raise NotYet(f"torch.load with weights_only=True refuses the dictionary: {found}.{why}") from None


def _strange(value: Any, where: str = "") -> tuple[str, str] | None:
    """The first part that is not made of what can be read back: where it is, and its type."""
    if isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return next((found for key, part in items if (found := _strange(part, f"{where}[{key!r}]"))), None)
    if isinstance(value, torch.Tensor) or type(value) in (int, float, bool, str, bytes, type(None)):
        return None
    return where, f"{type(value).__module__}.{type(value).__name__}"


def expect_set(answer: Any, states: Any, case: str) -> None:
    (returned,) = call(lambda states: (answer(states),), states, case=case, crashes=RESTORE_CRASHES)
    if returned is None:
        return
    asked = "with a dictionary it is to set the states: if states is not None."
    again = isinstance(returned, Mapping) and set(returned) == set(states)
    raise NotYet(f"{case} None is wanted, but a {type(returned).__name__} comes.{because(asked if again else None)}")


def _why(generator: str, now: Any, moved: Any, before: Any) -> str:
    """Why a state is not the one that it was, from what it is now, what it was before setting, and what is right."""
    if _equal(now, moved):
        return f"{generator} is forgotten, in the dictionary or in setting it: {SETTERS[generator]}."
    if generator == "numpy":
        if now[1] != before[1]:
            return "these are other keys: a seed says only where it began, and float32 rounds the keys; int64 does not."
        if now[2] != before[2]:
            return "the keys are right, but not the position, the third value of np.random.get_state()."
        return "has_gauss and the number kept for the next call, the last two of np.random.get_state(), are left out."
    if generator == "Python" and now[:2] == before[:2]:
        return "the last of the three values of random.getstate(), a number kept for the next gauss(), is left out."
    return f"a seed says where it began, not where it is now; {GETTERS[generator]}."


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


CAPTURE_CRASHES = [
    ("missing 1 required positional argument", "one function does both: def random_states(states=None)."),
    ("'NoneType'", "without an argument there is nothing to set: if states is None, return the dictionary."),
    ("float() argument", "the last value of random.getstate() is a number or None; leave it as it is."),
    ("Overflow", "numpy's keys go up to 2**32 - 1: uint32 or int64."),
]
RESTORE_CRASHES = [
    ("takes 0 positional arguments", "one function does both: def random_states(states=None)."),
    (
        "state vector must be a tuple",
        "random.setstate wants a tuple of numbers inside: (version, tuple(numbers), gauss).",
    ),
    ("passed to Random.setstate", "random.setstate wants all three of random.getstate()."),
    ("values to unpack", "random.setstate wants all three of random.getstate()."),
    ("state must be a dict or a tuple", "np.random.set_state wants a tuple: (name, keys, position, has_gauss, gauss)."),
    ("uint32", "numpy's keys go up to 2**32 - 1, int32 only to half of that: uint32 or int64."),
    ("ByteTensor", "torch.set_rng_state wants the tensor of torch.get_rng_state(), of dtype uint8."),
    ("CPUGeneratorImplState", "torch.set_rng_state wants the whole tensor of torch.get_rng_state()."),
    ("KeyError", "set what the dictionary has, by the same names."),
]


EXERCISES = {
    "8.1": Exercise(
        verify_save_safely,
        (
            "path.with_name(path.name + '.tmp') is another name in the same folder; temporary.replace(path), or "
            "os.replace(temporary, path), is the one step.",
            "with temporary.open('wb') as file: torch.save(state, file), and then os.fsync(file.fileno()), which waits "
            "until the bytes are on the disk.",
            "try: write, fsync, and, when the file is closed, os.replace; finally: temporary.unlink(missing_ok=True), "
            "which finds nothing if all went well.",
        ),
        "a crash at any moment leaves a whole file.",
    ),
    "8.2": Exercise(
        verify_random_states,
        (
            "torch.get_rng_state() is a tensor, and random.getstate() is a tuple of numbers; both can be saved as they "
            "are.",
            "np.random.get_state() is (name, keys, position, has_gauss, gauss); only keys is an array: "
            "torch.from_numpy(keys). np.random.set_state takes keys.numpy().",
            "if states is None: name, keys, *rest = np.random.get_state(), and return {'torch': ..., 'numpy': (name, "
            "torch.from_numpy(keys), *rest), 'python': ...}; otherwise the three that set, and no return.",
        ),
        "all three go on where they were, and nothing in the file has to be trusted.",
    ),
    "8.3": Exercise(
        verify_load_whole,
        (
            "Look at everything before the model is touched: zipfile.ZipFile(path).testzip() is None if all checksums "
            "hold, and torch.load(path) reads without loading into the model.",
            "{name: tensor.shape for name, tensor in state.items()} of the file and of model.state_dict() must be "
            "equal; dictionaries compare names in both directions.",
            "try: damaged = zipfile.ZipFile(path).testzip(), state = torch.load(path); except (zipfile.BadZipFile, "
            "RuntimeError, pickle.UnpicklingError) as error: raise ValueError from error. Then if damaged or the "
            "shapes differ: raise ValueError. At last model.load_state_dict(state); return model.",
        ),
        "the model has all of the file, or nothing of it.",
    ),
}
