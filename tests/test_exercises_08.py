"""The checks of lesson 08 on stubs, right answers and named mistakes."""

import contextlib
import copy
import io
import os
import pickle
import random
import shutil
import tempfile
import zipfile
from os import fsync, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson import expect_not_yet, expect_passed, mistakes, outcome
from torch import nn

from helpers.checks.lesson_08 import EXERCISES, states_now

# ruff: noqa: NPY002, PTH105, RET502, RET503  answers are written as learners write them


def written_as_a_stub(state, path):
    """a dictionary, a pathlib.Path -> None"""


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def test_stubs_as_the_lesson_gives_them_are_not_attempted() -> None:
    def random_states(states=None):
        """nothing -> a dictionary; or such a dictionary -> None"""

    assert outcome("8.1", written_as_a_stub)[0] == "not attempted"
    assert outcome("8.1", lambda state, path: os.replace(..., path))[0] == "not attempted"
    assert outcome("8.2", random_states)[0] == "not attempted"
    assert outcome("8.2", lambda states=None: {"torch": torch.get_rng_state(), "numpy": ...})[0] == "not attempted"
    assert outcome("8.3", written_as_a_stub)[0] == "not attempted"


def beside(path):
    return path.with_name(f"{path.name}.tmp")


def save_safely(state, path):
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_by_a_descriptor(state, path):
    number, name = tempfile.mkstemp(dir=path.parent)
    os.close(number)
    try:
        torch.save(state, name)
        number = os.open(name, os.O_RDONLY)
        fsync(number)
        os.close(number)
        replace(name, path)
    except BaseException:
        Path(name).unlink()
        raise


def save_through_memory(state, path):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("wb", buffering=0) as file:
            file.write(buffer.getvalue())
            os.fdatasync(file)
        temporary.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def saving(sync=True, name=beside, before=None, put=os.path, clean=True, after=None, inside=None):
    """An answer like `save_safely`, with a mistake in it."""

    def answer(state, path):
        temporary = name(path)
        try:
            if before:
                before(path)
            with temporary.open("wb") as file:
                torch.save(state, file)
                if sync:
                    os.fsync(file.fileno())
                if inside:
                    inside(temporary, path)
            if put is os.path:
                os.replace(temporary, path)
            elif put:
                put(temporary, path)
            if after:
                after(path)
        finally:
            if clean:
                temporary.unlink(missing_ok=True)

    return answer


def straight(state, path):
    torch.save(state, path)


def straight_and_synced(state, path):
    with path.open("wb") as file:
        torch.save(state, file)
        os.fsync(file.fileno())


def opens_and_keeps_a_copy(state, path):
    if path.exists():
        shutil.copy(path, beside(path))
    torch.save(state, path)


def from_memory(state, path):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(buffer.getvalue())


def from_memory_without_flush(state, path):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    temporary = beside(path)
    try:
        with temporary.open("wb", buffering=100_000) as file:
            file.write(buffer.getvalue())
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def from_memory_with_a_strict_unlink(state, path):
    temporary = beside(path)
    try:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with temporary.open("wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception:
        temporary.unlink()
        raise


def syncs_before_writing(state, path):
    temporary = beside(path)
    with temporary.open("wb") as file:
        os.fsync(file.fileno())
    torch.save(state, temporary)
    os.replace(temporary, path)


def renames_before_writing(state, path):
    temporary = beside(path)
    with temporary.open("wb") as file:
        os.fsync(file.fileno())
        os.replace(temporary, path)
        torch.save(state, file)


def sync(path):
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(temporary, path):
    number = os.open(path.parent, os.O_RDONLY)
    os.fsync(number)
    os.close(number)
    os.replace(temporary, path)


def swallows(state, path):
    with contextlib.suppress(Exception):
        save_safely(state, path)


def prints_the_error(state, path):
    try:
        save_safely(state, path)
    except Exception as error:
        return str(error) and None


def another_error(state, path):
    try:
        save_safely(state, path)
    except Exception as error:
        raise ValueError("not saved") from error


def only_around_the_writing(state, path):
    temporary = beside(path)
    try:
        torch.save(state, temporary)
    except Exception:
        temporary.unlink()
        raise
    sync(temporary)
    os.replace(temporary, path)


def strict_unlink(state, path):
    temporary = beside(path)
    try:
        torch.save(state, temporary)
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink()


def loses_the_old_one(state, path):
    try:
        save_safely(state, path)
    except Exception:
        path.unlink()
        raise


def closed(state, path):
    with beside(path).open("wb") as file:
        torch.save(state, file)
    os.fsync(file.fileno())


def clears_the_folder(state, path):
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()
    save_safely(state, path)


def moves_away(path):
    if path.exists():
        path.rename(path.with_suffix(".old"))


def in_a_named_temporary(delete):
    def answer(state, path):
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=delete) as file:
            try:
                torch.save(state, file)
                os.fsync(file)
                os.replace(file.name, path)
            except Exception:
                Path(file.name).unlink()
                raise

    return answer


def other_folder(path):
    return Path(tempfile.gettempdir()) / path.name


WRONG_SAVES = {
    "straight": (straight, "torch.save writes straight to it"),
    "straight and synced": (straight_and_synced, "torch.save writes straight to it"),
    "a copy of the old one": (opens_and_keeps_a_copy, "torch.save writes straight to it"),
    "from memory": (from_memory, "shutil.copy and write_bytes write to it bit by bit"),
    "copy": (saving(put=shutil.copy), "os.replace(temporary, path) is one step"),
    "copyfile": (saving(put=shutil.copyfile, clean=False), "os.replace(temporary, path) is one step"),
    "no fsync": (saving(sync=False), "a power cut loses them"),
    "fsync afterwards": (saving(sync=False, after=sync), "the new name could be on the disk before the bytes"),
    "fsync of the folder": (saving(sync=False, put=sync_folder), "called for something else, the folder"),
    "sync": (saving(sync=False, inside=lambda temporary, path: os.sync()), "need not wait until it is done"),
    "fsync before": (syncs_before_writing, "the file had 0 of"),
    "no flush": (from_memory_without_flush, "file.flush(), then os.fsync"),
    "fsync of a path": (lambda s, p: (torch.save(s, beside(p)), os.fsync(beside(p)))[0], "os.fsync(file.fileno())"),
    "fsync of a closed file": (closed, "the file is closed already"),
    "named before": (renames_before_writing, "before torch.save has written it"),
    "unlink first": (saving(before=lambda path: path.unlink(missing_ok=True)), "while torch.save writes, there is no"),
    "unlink late": (
        saving(inside=lambda temporary, path: path.unlink(missing_ok=True)),
        "just before a file gets the name, there is no 'last.pt'",
    ),
    "moved away": (saving(before=moves_away), "do not remove it or move it away before"),
    "emptied": (saving(inside=lambda temporary, path: path.write_bytes(b"")), "it was written or copied to"),
    "another folder": (saving(name=other_folder), "the other folder may be on another disk"),
    "the folder one is in": (saving(name=lambda path: Path("a.tmp")), "path.with_name is in the same one"),
    "never named": (
        saving(put=None, clean=False),
        "there is no 'last.pt' afterwards; beside it there is 'last.pt.tmp'",
    ),
    "removed": (
        saving(put=None),
        "there is no 'last.pt' afterwards.\nLikely cause: os.replace(temporary, path) is missing",
    ),
    "never named, once there is one": (
        lambda s, p: saving(put=None, clean=False)(s, p) if p.exists() else save_safely(s, p),
        "'last.pt' is still the old file afterwards; beside it",
    ),
    "another name": (
        saving(put=lambda temporary, path: os.replace(temporary, path.with_suffix(".pth"))),
        "what is saved gets the name 'last.pth'",
    ),
    "leftover": (saving(clean=False), "the temporary is to be removed"),
    "leftover of fsync": (only_around_the_writing, "at whatever step"),
    "leftover beside": (saving(after=lambda path: shutil.copy(path, path.with_suffix(".old"))), "'last.old' is left"),
    "swallowed": (swallows, "no error reaches the caller"),
    "printed": (prints_the_error, "no error reaches the caller"),
    "another error": (another_error, "`raise` alone hands on the error"),
    "strict unlink": (strict_unlink, "unlink(missing_ok=True)"),
    "strict unlink where nothing is": (from_memory_with_a_strict_unlink, "there need not be a temporary yet"),
    "the old one removed": (loses_the_old_one, "is not the old file any more"),
    "neighbours removed": (clears_the_folder, "'best.pt' of the same folder"),
    "a part": (lambda s, p: save_safely({"epoch": s["epoch"]}, p), "something else than the dictionary"),
    "a part, and all": (
        lambda s, p: (pickle.dumps(s), save_safely({"epoch": s["epoch"]}, p))[1],
        "something else than the dictionary",
    ),
    "returns the path": (lambda s, p: (save_safely(s, p), p)[1], "nothing is asked for"),
    "removes itself": (in_a_named_temporary(delete=True), "NamedTemporaryFile(delete=False)"),
    "a string": (lambda s, p: save_safely(s, p + ".tmp"), "a path is no string"),
}


def random_states(states=None):
    if states is None:
        name, keys, *rest = np.random.get_state()
        numpy = (name, torch.from_numpy(keys), *rest)
        return {"torch": torch.get_rng_state(), "numpy": numpy, "python": random.getstate()}
    name, keys, *rest = states["numpy"]
    torch.set_rng_state(states["torch"])
    np.random.set_state((name, keys.numpy(), *rest))
    random.setstate(states["python"])
    return None


def random_states_of_numbers(states=None):
    if states is not None:
        torch.set_rng_state(torch.tensor(states["t"], dtype=torch.uint8))
        np.random.set_state({**states["n"], "state": {"key": np.array(states["k"]), "pos": states["p"]}})
        version, numbers, gauss = states["r"]
        random.setstate((version, tuple(numbers), gauss))
        return
    numpy = np.random.get_state(legacy=False)
    version, numbers, gauss = random.getstate()
    return {
        "t": torch.get_rng_state().tolist(),
        "n": {key: numpy[key] for key in ("bit_generator", "has_gauss", "gauss")},
        "k": numpy["state"]["key"].tolist(),
        "p": numpy["state"]["pos"],
        "r": [version, list(numbers), gauss],
    }


def states_of(capture=None, restore=None, leave=()):
    """An answer like `random_states`, which captures or restores something otherwise."""

    def answer(states=None):
        if states is None:
            return (capture or (lambda found: found))(random_states())
        now = {key: value for key, value in random_states().items() if key in leave}
        return random_states((restore or (lambda found: found))({**states, **now}))

    return answer


def changed(name, change):
    return lambda found: {**found, name: change(found[name])}


def raw_numpy(states=None):
    if states is None:
        return {**random_states(), "numpy": np.random.get_state()}
    torch.set_rng_state(states["torch"])


def seeds(states=None):
    if states is None:
        return {"torch": torch.initial_seed(), "numpy": 3, "python": 4}
    torch.default_generator.manual_seed(states["torch"])
    np.random.seed(states["numpy"])
    random.seed(states["python"])


def numpy_seed(states=None):
    if states is None:
        return {**random_states(), "seed": int(np.random.get_state()[1][0])}
    random_states({key: value for key, value in states.items() if key != "seed"})
    np.random.seed(states["seed"])


def python_seed(states=None):
    if states is None:
        return {**random_states(), "seed": random.getstate()[1][0]}
    random_states(states)
    random.seed(states["seed"])


def draws_seeds(states=None):
    if states is None:
        return {"seed": random.getrandbits(32)}
    random.seed(states["seed"])


def sets_a_seed(states=None):
    if states is None:
        torch.default_generator.manual_seed(3)
    return random_states(states)


def pops(states=None):
    if states is None:
        return random_states()
    copied = dict(states)
    states.pop("python")
    return random_states(copied)


WRONG_STATES = {
    "numpy's tuple": (raw_numpy, "its ['numpy'][1] is a numpy.ndarray"),
    "numpy's tuple, named": (raw_numpy, "store numpy's keys as a tensor, and its numbers as int and float"),
    "numpy's number": (states_of(changed("numpy", lambda n: (*n[:4], np.float64(n[4])))), "numpy.float64"),
    "an object": (states_of(changed("python", lambda p: random.Random(3))), "['python'] is a random.Random"),
    "torch forgotten": (states_of(leave=["torch"]), "torch is forgotten"),
    "numpy forgotten": (states_of(leave=["numpy"]), "numpy is forgotten"),
    "Python forgotten": (states_of(leave=["python"]), "Python is forgotten"),
    "a list": (
        states_of(restore=changed("python", lambda p: (p[0], list(p[1]), p[2]))),
        "random.setstate wants a tuple",
    ),
    "a tensor": (
        states_of(changed("python", lambda p: [p[0], torch.tensor(p[1]), p[2]])),
        "(version, tuple(numbers), gauss)",
    ),
    "two of three": (states_of(changed("python", lambda p: p[:2])), "all three of random.getstate()"),
    "numbers alone": (states_of(changed("python", lambda p: p[1])), "all three of random.getstate()"),
    "no gauss of numpy": (states_of(changed("numpy", lambda n: (*n[:3], 0, 0.0))), "has_gauss and the number kept"),
    "no gauss of Python": (
        states_of(changed("python", lambda p: (*p[:2], None))),
        "a number kept for the next gauss()",
    ),
    "no position": (states_of(changed("numpy", lambda n: (*n[:2], 624, *n[3:]))), "but not the position"),
    "float keys": (
        states_of(
            changed("numpy", lambda n: (n[0], n[1].to(torch.float32), *n[2:])),
            changed("numpy", lambda n: (n[0], n[1].to(torch.int64), *n[2:])),
        ),
        "float32 rounds the keys",
    ),
    "int32 keys": (
        states_of(changed("numpy", lambda n: (n[0], n[1].to(torch.int64).to(torch.int32), *n[2:]))),
        "int32 only to half of that",
    ),
    "seeds": (seeds, "a seed says where it began"),
    "numpy's seed": (numpy_seed, "a seed says only where it began"),
    "Python's seed": (python_seed, "a seed says where it began"),
    "draws a seed": (draws_seeds, "changes the random state of Python"),
    "sets a seed": (sets_a_seed, "changes the random state of torch"),
    "int64 bytes": (states_of(changed("torch", lambda t: t.long())), "of dtype uint8"),
    "a part": (states_of(changed("torch", lambda t: t[:9].clone())), "the whole tensor"),
    "always new": (lambda states=None: random_states(), "if states is not None"),
    "returns them": (lambda states=None: (random_states(states), states)[states is not None], "None is wanted"),
    "returns True": (lambda states=None: random_states(states) or True, "but a bool comes"),
    "only sets": (lambda states: random_states(states), "def random_states(states=None)"),
    "only gets": (lambda: random_states(), "def random_states(states=None)"),
    "sets nothing": (lambda states=None: states["torch"], "if states is None"),
    "pops": (pops, "changes what it was given"),
    "a tuple": (lambda states=None: tuple(random_states().values()), "a dictionary is wanted, not a tuple"),
    "other names": (states_of(restore=lambda found: {"torch": found["torch"]}), "by the same names"),
}


def load_whole(path, model):
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        state = torch.load(path)
    except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} cannot be read") from error
    if damaged:
        raise ValueError(f"{damaged} in {path} is damaged")
    shapes = {name: tensor.shape for name, tensor in state.items()}
    if shapes != {name: tensor.shape for name, tensor in model.state_dict().items()}:
        raise ValueError(f"{path} does not fit")
    model.load_state_dict(state)
    return model


def load_after_a_rehearsal(path, model):
    try:
        assert zipfile.ZipFile(path).testzip() is None
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        copy.deepcopy(model).load_state_dict(state)
    except Exception as error:
        raise ValueError("no") from error
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(state[name])
    return model


def load_and_undo(path, model):
    before = copy.deepcopy(model.state_dict())
    try:
        if zipfile.ZipFile(path).testzip():
            raise ValueError("damaged")
        model.load_state_dict(torch.load(path))
    except Exception as error:
        model.load_state_dict(before)
        raise ValueError("no") from error
    return model


def checked(path):
    """What is in the file, or a ValueError."""
    try:
        if zipfile.ZipFile(path).testzip():
            raise ValueError("damaged")
        return torch.load(path)
    except Exception as error:
        raise ValueError("no") from error


def shapes_of(state):
    return {name: tensor.shape for name, tensor in state.items()}


def loading(fits=lambda state, own: shapes_of(state) == shapes_of(own), load=None, read=checked, after=None):
    """An answer like `load_whole`, with a mistake in it."""

    def answer(path, model):
        state = read(path)
        if not fits(state, model.state_dict()):
            raise ValueError("it does not fit")
        (load or nn.Module.load_state_dict)(model, state)
        return after(model) if after else model

    return answer


def straight_load(path, model):
    model.load_state_dict(torch.load(path))
    return model


def errors_afterwards(path, model):
    try:
        model.load_state_dict(torch.load(path))
    except Exception as error:
        raise ValueError("no") from error
    return model


def not_strict(model, state):
    model.load_state_dict(state, strict=False)


def assign(model, state):
    model.load_state_dict(state, assign=True)


def set_data(model, state):
    for name, parameter in model.named_parameters():
        parameter.data = state[name]
    for name, buffer in model.named_buffers():
        buffer.copy_(state[name])


def only_parameters(model, state):
    for name, parameter in model.named_parameters():
        parameter.data.copy_(state[name])


def by_position(model, state):
    for own, tensor in zip(model.state_dict().values(), state.values(), strict=True):
        own.copy_(tensor)


def what_is_in_both(model, state):
    for name, tensor in model.state_dict().items():
        if name in state:
            tensor.copy_(state[name])


def into_a_copy(model, state):
    copy.deepcopy(model).load_state_dict(state)


def into_the_dictionary(model, state):
    model.state_dict().update(state)


def reads_unchecked(path):
    try:
        return torch.load(path)
    except Exception as error:
        raise ValueError("no") from error


def waits_for_an_error(path):
    try:
        zipfile.ZipFile(path).testzip()
    except zipfile.BadZipFile as error:
        raise ValueError("no") from error
    return reads_unchecked(path)


def reads_anything(path):
    if not zipfile.is_zipfile(path) or zipfile.ZipFile(path).testzip():
        raise ValueError("damaged")
    return torch.load(path, weights_only=False)


def lets_zip_errors_through(path):
    if zipfile.ZipFile(path).testzip():
        raise ValueError("damaged")
    return reads_unchecked(path)


def lets_torch_errors_through(path):
    try:
        if zipfile.ZipFile(path).testzip():
            raise ValueError("damaged")
    except zipfile.BadZipFile as error:
        raise ValueError("no") from error
    return torch.load(path)


def reads_first(path):
    state = torch.load(path)
    if zipfile.ZipFile(path).testzip():
        raise ValueError("damaged")
    return state


def catches_runtime_errors(path):
    try:
        return torch.load(path)
    except RuntimeError as error:
        raise ValueError("no") from error


def asserts(path, model):
    state = checked(path)
    assert shapes_of(state) == shapes_of(model.state_dict())
    model.load_state_dict(state)
    return model


def raises_runtime_errors(path, model):
    copy.deepcopy(model).load_state_dict(checked(path))
    model.load_state_dict(checked(path))
    return model


def names_only(state, own):
    return set(state) == set(own)


def common_shapes(state, own):
    return all(state[name].shape == own[name].shape for name in set(state) & set(own))


def none_missing(state, own):
    return all(name in state and state[name].shape == own[name].shape for name in own)


def counts(state, own):
    return len(state) == len(own)


def sizes(state, own):
    return names_only(state, own) and all(state[name].numel() == own[name].numel() for name in own)


def repeats(model, state):
    for name, tensor in model.state_dict().items():
        tensor.copy_(state[name].reshape(tensor.shape) if state[name].numel() == tensor.numel() else state[name])


def one_value_is_fine(state, own):
    return names_only(state, own) and all(t.shape in (own[name].shape, (1,)) for name, t in state.items())


def in_order(state, own):
    return list(state) == list(own) and shapes_of(state) == shapes_of(own)


WRONG_LOADS = {
    "straight": (straight_load, "load_state_dict has copied all that fits before it complains"),
    "errors afterwards": (errors_afterwards, "compare first, and load then"),
    "not strict": (loading(common_shapes, not_strict), "strict=False, or a loop over what is in both"),
    "in both": (loading(common_shapes, what_is_in_both), "compare the names in both directions"),
    "none missing": (loading(none_missing, not_strict), "the other way round, too"),
    "counted": (loading(counts, what_is_in_both), "only their number was compared"),
    "names only": (loading(names_only), "load_state_dict has copied all that fits"),
    "shapes of what is in both": (loading(common_shapes), "load_state_dict has copied all that fits"),
    "repeated": (loading(one_value_is_fine, repeats), "copy_ does not complain if it can repeat one"),
    "reshaped": (loading(sizes, repeats), "only the numbers of elements were compared"),
    "in order": (loading(in_order), "the order of the names is free"),
    "by position": (loading(load=by_position), "take them by name"),
    "no checksum": (loading(read=reads_unchecked), "torch.load does not look at the checksums"),
    "testzip for nothing": (loading(read=waits_for_an_error), "testzip() raises nothing, it returns the name"),
    "anything": (loading(read=reads_anything), "weights_only=False runs whatever stands in the file"),
    "BadZipFile": (loading(read=lets_zip_errors_through), "zipfile.BadZipFile is no ValueError"),
    "RuntimeError": (loading(read=reads_first), "RuntimeError, of torch.load or load_state_dict, is no ValueError"),
    "RuntimeError of a rehearsal": (raises_runtime_errors, "a ValueError is wanted, not RuntimeError"),
    "UnpicklingError": (loading(read=lets_torch_errors_through), "pickle.UnpicklingError is no ValueError"),
    "only RuntimeError": (loading(read=catches_runtime_errors), "torch.load does not look at the checksums"),
    "assert": (asserts, "an assert raises an AssertionError"),
    "assigned": (loading(load=assign), "an optimizer that was made before goes on with the old one"),
    "data": (loading(load=set_data), "leaves behind whatever shares memory"),
    "no buffers": (loading(load=only_parameters), "buffers, such as those of a BatchNorm"),
    "a copy loaded": (loading(load=into_a_copy), "the model was left as it was"),
    "a dictionary updated": (loading(load=into_the_dictionary), "the model was left as it was"),
    "a copy returned": (lambda p, m: load_whole(p, copy.deepcopy(m)), "a copy is returned"),
    "nothing": (loading(after=lambda model: None), "returns None"),
    "keys": (lambda p, m: m.load_state_dict(checked(p)), "load_state_dict returns the names that do not fit"),
    "the state": (lambda p, m: checked(p), "the model itself should be returned"),
    "eval": (loading(after=lambda model: model.eval()), "the model is in eval mode now"),
    "train": (loading(after=lambda model: model.train()), "'norm' is in train mode now"),
    "unfrozen": (loading(after=lambda model: model.requires_grad_(True)), "requires_grad of 'conv.weight' is True"),
    "the path": (lambda p, m: m.load_state_dict(p), "not the path"),
}


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("8.1", save_safely),
        ("8.1", save_by_a_descriptor),
        ("8.1", save_through_memory),
        ("8.1", in_a_named_temporary(delete=False)),
        ("8.1", saving()),
        ("8.1", saving(put=shutil.move)),
        ("8.2", random_states),
        ("8.2", random_states_of_numbers),
        ("8.2", states_of(changed("numpy", lambda n: [n[0], n[1].to(torch.int64), *n[2:]]), changed("numpy", tuple))),
        ("8.3", load_whole),
        ("8.3", load_after_a_rehearsal),
        ("8.3", load_and_undo),
        ("8.3", loading()),
    ],
)
def test_right_answers_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


@pytest.mark.parametrize(
    ("exercise", "answer", "cause"),
    mistakes({"8.1": WRONG_SAVES, "8.2": WRONG_STATES, "8.3": WRONG_LOADS}),
)
def test_mistakes_are_not_passed_and_their_cause_is_named(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("8.1", save_by_a_descriptor),
        ("8.1", saving(name=lambda path: Path("a.tmp"), clean=False)),
        ("8.1", saving(name=other_folder, put=shutil.copy, clean=False)),
        ("8.2", random_states),
        ("8.2", draws_seeds),
        ("8.3", load_whole),
        ("8.3", loading(read=reads_anything)),
    ],
)
def test_a_check_leaves_all_as_it_was(tmp_path, monkeypatch, exercise, answer) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    real = os.fsync, os.fdatasync, os.sync, os.replace, os.rename, fsync, replace
    np.random.normal()
    random.gauss(0, 1)
    before = states_now()
    outcome(exercise, answer)
    assert (os.fsync, os.fdatasync, os.sync, os.replace, os.rename, fsync, replace) == real
    assert Path.cwd() == tmp_path
    assert tempfile.tempdir == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    after = states_now()
    assert torch.equal(before.pop("torch"), after.pop("torch"))
    assert before == after


def test_torch_load_does_not_notice_the_wrong_bit(tmp_path) -> None:
    from helpers.checks.lesson_08_loading import Small, damages

    saved = dict(Small(83).state_dict())
    path = tmp_path / "a.pt"
    torch.save(saved, path)
    flip, _ = damages(saved)["for a file with one wrong bit in 'conv.weight'"]
    path.write_bytes(flip(path.read_bytes()))
    found = torch.load(path)
    assert [name for name in saved if not torch.equal(found[name], saved[name])] == ["conv.weight"]
