"""Exercise 8.2: the random states of torch, numpy and Python, kept in a file and set again."""

from __future__ import annotations

import builtins
import io
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..checking import Exercise, Mistake, NotAttempted, NotYet, because, call, case

# ruff: noqa: NPY002  the global random numbers of numpy are what trainings use

States = dict[str, Any]
Change = Callable[[States], States]


def right(states: States | None = None) -> Any:
    if states is None:
        name, keys, *rest = np.random.get_state()
        numpy = (name, torch.from_numpy(keys), *rest)
        return {"torch": torch.get_rng_state(), "numpy": numpy, "python": random.getstate()}
    torch.set_rng_state(states["torch"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy(), *rest))
    random.setstate(states["python"])
    return None


def unchanged(states: States) -> States:
    return states


def changing(made: Change = unchanged, given: Change = unchanged) -> Any:
    """An answer like `right`, which changes the dictionary that it has made, or the one that it is given."""

    def answer(states: States | None = None) -> Any:
        if states is None:
            return made(right())
        return right(given(states))

    return answer


def part(name: str, change: Callable[[Any], Any]) -> Change:
    """Changes what stands under this name."""
    return lambda states: {**states, name: change(states[name])}


def as_it_is_now(name: str) -> Change:
    """Forgets what stands under this name."""
    return lambda states: {**states, name: right()[name]}


def keys_as(dtype: torch.dtype) -> Change:
    return part("numpy", lambda state: (state[0], state[1].to(torch.int64).to(dtype), *state[2:]))


def numpys_own(states: States | None = None) -> Any:
    if states is None:
        return {**right(), "numpy": np.random.get_state()}
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    return None


def seeds(states: States | None = None) -> Any:
    if states is None:
        return {"torch": torch.initial_seed(), "numpy": 3, "python": 4}
    torch.manual_seed(states["torch"])
    np.random.seed(states["numpy"])
    random.seed(states["python"])
    return None


def numpys_first_key(states: States | None = None) -> Any:
    if states is None:
        state: Any = np.random.get_state()
        return {**right(), "numpy": int(state[1][0])}
    torch.set_rng_state(states["torch"])
    np.random.seed(states["numpy"])
    random.setstate(states["python"])
    return None


def draws_a_seed(states: States | None = None) -> Any:
    if states is None:
        return {"seed": random.getrandbits(32)}
    random.seed(states["seed"])
    return None


def empties(states: States | None = None) -> Any:
    if states is None:
        return right()
    copied = dict(states)
    states.pop("python")
    return right(copied)


def returns_them(states: States | None = None) -> Any:
    if states is None:
        return right()
    right(states)
    return states


def unpickled(state: Any) -> Any:
    return pickle.loads(state)


def allows_more(states: States | None = None) -> Any:
    torch.serialization.add_safe_globals([random.Random])
    return right(states)


def remembering() -> Any:
    """An answer that keeps the states itself, and sets the last ones."""
    kept: States = {}

    def answer(states: States | None = None) -> Any:
        if states is None:
            kept.update(right())
            return dict(kept)
        return right(kept)

    return answer


def one_dictionary() -> Any:
    """An answer that fills the same dictionary each time."""
    kept: States = {}

    def answer(states: States | None = None) -> Any:
        if states is None:
            kept.update(right())
            return kept
        return right(states)

    return answer


def draws_afterwards(states: States | None = None) -> Any:
    found = right(states)
    if states is not None:
        random.random()
        torch.rand(1)
    return found


def from_text(read: Callable[[str], Any]) -> Any:
    return changing(part("python", repr), part("python", read))


def by_eval(text: str) -> Any:
    return eval(text)


def by_pickle(text: str) -> Any:
    return pickle.loads(bytes.fromhex(text))


GETTERS = {"torch": "torch.get_rng_state()", "numpy": "np.random.get_state()", "Python": "random.getstate()"}
SETTERS = {"torch": "torch.set_rng_state", "numpy": "np.random.set_state", "Python": "random.setstate"}


def forgotten(generator: str) -> str:
    more = " (np.random.default_rng makes another generator.)" if generator == "numpy" else ""
    return f"{generator} is forgotten, in the dictionary or in setting it: {SETTERS[generator]}.{more}"


def seeded(generator: str) -> str:
    return f"a seed says where it began, not where it is now; {GETTERS[generator]}."


DRAWN = "a number is drawn after the state was set."
REMEMBERED = "what is set is what the dictionary has that comes in; nothing else is kept."
ONE_DICTIONARY = "both calls gave the same dictionary; each is to make a new one."
PROGRAM = "eval and pickle.loads run what the text says, and the file may come from anybody; store numbers and tensors."


def moved_on(generator: str) -> str:
    return f"a number is drawn, or a seed is set; {GETTERS[generator]} only reads."


PICKLED = "to read them pickle.loads runs what the file says, whoever wrote it; store tensors, numbers and strings."
SAFE_GLOBALS = "add_safe_globals lasts as long as this process; a fresh one could not load the file."
NUMPYS_OWN = "store numpy's keys as a tensor, and its numbers as int and float, not the tuple as it is."
STRANGE = "only tensors, numbers, strings, and lists, tuples and dictionaries of them can be read back."
KEYS = "these are other keys: a seed says only where it began, and float32 rounds the keys; int64 does not."
POSITION = "the keys are right, but not the position, the third value of np.random.get_state()."
NUMPYS_GAUSS = (
    "has_gauss and the number kept for the next call, the last two of np.random.get_state(), are left out or rounded."
)
PYTHONS_GAUSS = (
    "the last of the three values of random.getstate(), a number kept for the next gauss(), is left out or rounded."
)
NOT_SET = "with a dictionary it is to set the states: if states is not None."
ONE_FUNCTION = "one function does both: def random_states(states=None)."
NOTHING_TO_SET = "without an argument there is nothing to set: if states is None, return the dictionary."
TUPLE = "random.setstate wants a tuple of numbers inside: (version, tuple(numbers), gauss)."
ALL_THREE = "random.setstate wants all three of random.getstate()."
INT32 = "numpy's keys go up to 2**32 - 1, int32 only to half of that: uint32 or int64."
BYTES = "torch.set_rng_state wants the tensor of torch.get_rng_state(), of dtype uint8."
WHOLE = "torch.set_rng_state wants the whole tensor of torch.get_rng_state()."
SAME_NAMES = "set what the dictionary has, by the same names."

MISTAKES = (
    Mistake(f"its ['numpy'][1] is a numpy.ndarray.{because(NUMPYS_OWN)}", numpys_own),
    Mistake(
        f"its ['python'] is a random.Random.{because(STRANGE)}",
        changing(part("python", lambda state: random.Random(3))),
    ),
    Mistake(PICKLED, changing(part("python", pickle.dumps), part("python", unpickled))),
    Mistake(SAFE_GLOBALS, allows_more),
    Mistake(PROGRAM, from_text(by_eval)),
    Mistake(PROGRAM, changing(part("python", lambda state: pickle.dumps(state).hex()), part("python", by_pickle))),
    Mistake(REMEMBERED, remembering()),
    Mistake(ONE_DICTIONARY, one_dictionary()),
    Mistake(DRAWN, draws_afterwards),
    Mistake("or rounded", changing(part("numpy", lambda state: (*state[:4], round(state[4], 3))))),
    Mistake(forgotten("torch"), changing(given=as_it_is_now("torch"))),
    Mistake(forgotten("numpy"), changing(given=as_it_is_now("numpy"))),
    Mistake(forgotten("Python"), changing(given=as_it_is_now("python"))),
    Mistake(seeded("torch"), seeds),
    Mistake(KEYS, numpys_first_key),
    Mistake(KEYS, changing(keys_as(torch.float32), keys_as(torch.int64))),
    Mistake(INT32, changing(keys_as(torch.int32))),
    Mistake(POSITION, changing(part("numpy", lambda state: (*state[:2], 624, *state[3:])))),
    Mistake(NUMPYS_GAUSS, changing(part("numpy", lambda state: (*state[:3], 0, 0.0)))),
    Mistake(PYTHONS_GAUSS, changing(part("python", lambda state: (*state[:2], None)))),
    Mistake(TUPLE, changing(given=part("python", lambda state: (state[0], list(state[1]), state[2])))),
    Mistake(ALL_THREE, changing(part("python", lambda state: state[:2]))),
    Mistake(BYTES, changing(part("torch", lambda state: state.long()))),
    Mistake(WHOLE, changing(part("torch", lambda state: state[:9].clone()))),
    Mistake(SAME_NAMES, changing(given=lambda states: {"torch": states["torch"]})),
    Mistake(moved_on("Python"), draws_a_seed),
    Mistake(NOT_SET, lambda states=None: right()),
    Mistake("None is wanted, but a dict comes", returns_them),
    Mistake(ONE_FUNCTION, lambda states: right(states)),
    Mistake(ONE_FUNCTION, lambda: right()),
    Mistake(NOTHING_TO_SET, lambda states=None: states["torch"]),
    Mistake("changes what it was given", empties),
    Mistake("a dictionary is wanted, not a tuple", lambda states=None: tuple(right().values())),
)

CRASHES_MAKING = [
    ("missing 1 required positional argument", ONE_FUNCTION),
    ("'NoneType'", NOTHING_TO_SET),
    ("float() argument", "the last value of random.getstate() is a number or None; leave it as it is."),
    ("Overflow", "numpy's keys go up to 2**32 - 1: uint32 or int64."),
]
CRASHES_SETTING = [
    ("takes 0 positional arguments", ONE_FUNCTION),
    ("state vector must be a tuple", TUPLE),
    ("passed to Random.setstate", ALL_THREE),
    ("values to unpack", ALL_THREE),
    ("state must be a dict or a tuple", "np.random.set_state wants a tuple: (name, keys, position, has_gauss, gauss)."),
    ("uint32", INT32),
    ("ByteTensor", BYTES),
    ("CPUGeneratorImplState", WHOLE),
    ("KeyError", SAME_NAMES),
]


def verify(answer: Any) -> None:
    """`random_states() -> a dictionary`, `random_states(states) -> None`."""
    earlier: list[tuple[Any, dict[str, list[float]]]] = []
    for name, drawn in (("after an odd number of draws", 3), ("after an even number of draws", 4)):
        with case(name):
            begin(820, drawn)
            before = states_now()
            with no_safe_globals():
                got = call(answer, crashes=CRASHES_MAKING)
            if isinstance(got, Mapping) and any(value is ... for value in got.values()):
                raise NotAttempted
            expect_untouched(before)
            loaded = saved_and_loaded(got)
            expected = draws()
            for what, states in (("the dictionary", got), ("the dictionary from torch.load", loaded)):
                begin(940, 1)
                moved = states_now()
                with case(f"with {what}"):
                    expect_set(answer, states)
                causes = {generator: cause_of_state(generator, moved, before) for generator in GETTERS}
                with case(f"once {what} is set"):
                    expect_draws(expected, causes)
            earlier.append((got, expected))
    expect_each_its_own(answer, earlier)


def expect_each_its_own(answer: Any, earlier: list[tuple[Any, dict[str, list[float]]]]) -> None:
    """An older dictionary still gives the numbers of its own time."""
    (first, expected), (second, _) = earlier
    if first is second:
        raise NotYet(f"the older of two dictionaries has changed.{because(ONE_DICTIONARY)}")
    with case("if the older of two dictionaries is set"):
        expect_set(answer, first)
        expect_draws(expected, dict.fromkeys(GETTERS, REMEMBERED))


def begin(seed: int, drawn: int) -> None:
    """Seed all three and draw; after an odd number of Gaussians, one is kept for the next call."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed + 1)
    random.seed(seed + 2)
    for _ in range(drawn):
        torch.randn(1)
        np.random.normal()
        random.gauss(0, 1)


def states_now() -> dict[str, Any]:
    """The states, made of what `==` compares."""
    state: Any = np.random.get_state()
    name, keys, *rest = state
    return {"torch": torch.get_rng_state().tolist(), "numpy": (name, keys.tolist(), *rest), "Python": random.getstate()}


def draws() -> dict[str, list[float]]:
    """What the three give next."""
    return {
        "torch": [torch.randn(1).item(), *torch.rand(3).tolist()],
        "numpy": [np.random.normal(), *np.random.rand(3).tolist()],
        "Python": [random.gauss(0, 1), *(random.random() for _ in range(3))],
    }


def expect_untouched(before: dict[str, Any]) -> None:
    now = states_now()
    for generator, state in before.items():
        if now[generator] != state:
            why = because(moved_on(generator))
            raise NotYet(f"making the dictionary changes the random state of {generator}.{why}")


def saved_and_loaded(got: Any) -> Any:
    if not isinstance(got, Mapping):
        raise NotYet(f"without an argument a dictionary is wanted, not a {type(got).__name__}.")
    if where := bytes_in(got):
        raise NotYet(f"its {where} are bytes.{because(PICKLED)}")
    file = io.BytesIO()
    try:
        torch.save(got, file)
        file.seek(0)
        return torch.load(file, weights_only=True)
    except Exception as error:
        where, what = strange_part(got) or ("", type(error).__name__)
        found = f"its {where} is a {what}" if where else what
        why = because(NUMPYS_OWN if "numpy" in what else STRANGE)
        raise NotYet(f"torch.load with weights_only=True refuses the dictionary: {found}.{why}") from None


def bytes_in(value: Any, where: str = "") -> str | None:
    """Where bytes are kept in it."""
    if isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return next((found for key, inner in items if (found := bytes_in(inner, f"{where}[{key!r}]"))), None)
    return where if isinstance(value, (bytes, bytearray)) else None


@contextmanager
def no_safe_globals() -> Iterator[None]:
    """`NotYet` if torch.load is allowed more afterwards; it is forgotten again."""
    before = torch.serialization.get_safe_globals()
    try:
        yield
    finally:
        after = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    if len(after) != len(before):
        raise NotYet(f"torch.load of this process reads more types now than others do.{because(SAFE_GLOBALS)}")


@contextmanager
def no_programs_from_text() -> Iterator[None]:
    """`NotYet` if text is run as a program."""
    places = ((builtins, "eval"), (builtins, "exec"), (pickle, "loads"))
    real = [getattr(module, name) for module, name in places]
    ran = []

    def noting(function: Callable) -> Callable:
        def run(*inputs: Any, **options: Any) -> Any:
            ran.append(function)
            return function(*inputs, **options)

        return run

    try:
        for (module, name), function in zip(places, real, strict=True):
            setattr(module, name, noting(function))
        yield
    finally:
        for (module, name), function in zip(places, real, strict=True):
            setattr(module, name, function)
    if ran:
        raise NotYet(f"{ran[0].__name__} is called to set the states.{because(PROGRAM)}")


def strange_part(value: Any, where: str = "") -> tuple[str, str] | None:
    """The first part that is not made of what can be read back: where it is, and its type."""
    if isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return next((found for key, inner in items if (found := strange_part(inner, f"{where}[{key!r}]"))), None)
    if isinstance(value, torch.Tensor) or type(value) in (int, float, bool, str, bytes, type(None)):
        return None
    return where, f"{type(value).__module__}.{type(value).__name__}"


def expect_set(answer: Any, states: Any) -> None:
    with no_programs_from_text():
        (returned,) = call(lambda states: (answer(states),), states, crashes=CRASHES_SETTING)
    if returned is None:
        return
    again = isinstance(returned, Mapping) and set(returned) == set(states)
    raise NotYet(f"None is wanted, but a {type(returned).__name__} comes.{because(NOT_SET if again else None)}")


def cause_of_state(generator: str, moved: dict[str, Any], before: dict[str, Any]) -> str:
    """Why a state is not the one that it was `before`, if it is not; `moved` is what it was when it was to be set."""
    now, wanted = states_now()[generator], before[generator]
    if now == moved[generator]:
        return forgotten(generator)
    if now == one_later(generator, wanted):
        return DRAWN
    if generator == "numpy":
        if now[1] != wanted[1]:
            return KEYS
        return POSITION if now[2] != wanted[2] else NUMPYS_GAUSS
    if generator == "Python" and now[:2] == wanted[:2]:
        return PYTHONS_GAUSS
    return seeded(generator)


def one_later(generator: str, state: Any) -> Any:
    """The state when one number has been drawn."""
    if generator == "torch":
        other = torch.Generator()
        other.set_state(torch.tensor(state, dtype=torch.uint8))
        torch.rand(1, generator=other)
        return other.get_state().tolist()
    if generator == "Python":
        one = random.Random()
        one.setstate(state)
        one.random()
        return one.getstate()
    many = np.random.RandomState()
    many.set_state((state[0], np.array(state[1], dtype=np.uint32), *state[2:]))
    many.random_sample()
    after: Any = many.get_state()
    name, keys, *rest = after
    return (name, keys.tolist(), *rest)


def expect_draws(expected: dict[str, list[float]], causes: dict[str, str]) -> None:
    found, places = draws(), ("first", "second", "third", "fourth")
    for generator, numbers in expected.items():
        for place, number, wanted in zip(places, found[generator], numbers, strict=True):
            if number != wanted:
                raise NotYet(
                    f"the {place} number of {generator} is {number:.4f}, but was {wanted:.4f} when the dictionary was "
                    f"made.{because(causes[generator])}"
                )


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "torch.get_rng_state() is a tensor, and random.getstate() is a tuple of numbers; both can be saved as they "
        "are.",
        "np.random.get_state() is (name, keys, position, has_gauss, gauss); only keys is an array: "
        "torch.from_numpy(keys). np.random.set_state takes keys.numpy().",
        "if states is None: name, keys, *rest = np.random.get_state(), and return {'torch': ..., 'numpy': (name, "
        "torch.from_numpy(keys), *rest), 'python': ...}; otherwise the three that set, and no return.",
    ),
    praise="all three go on where they were, and nothing in the file has to be trusted.",
)
