"""Lesson 08: right answers in unusual styles, wrong ones in foreign spellings, and what a check must leave alone."""

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
from answers import expect_not_attempted, expect_not_yet, expect_passed, named, outcome

from workbook.exercises.lesson_08.exercise_8_1 import beside, in_the_temporary_folder, nothing, saving
from workbook.exercises.lesson_08.exercise_8_1 import right as save_safely
from workbook.exercises.lesson_08.exercise_8_2 import changing, draws_a_seed, part, states_now
from workbook.exercises.lesson_08.exercise_8_2 import right as random_states
from workbook.exercises.lesson_08.exercise_8_3 import (
    fills_what_is_in_both,
    loading,
    read_checked,
    reads_anything,
    same_names,
    same_shapes_in_both,
)
from workbook.exercises.lesson_08.exercise_8_3 import right as load_whole
from workbook.exercises.lesson_08.files import Small, with_a_wrong_bit

# ruff: noqa: NPY002, PTH105, RET502, RET503  answers are written as learners write them


def only_a_docstring(state, path):
    """a dictionary, a pathlib.Path -> None"""


def only_a_docstring_and_a_default(states=None):
    """nothing -> a dictionary; or such a dictionary -> None"""


NOT_ATTEMPTED = [
    ("8.1", only_a_docstring),
    ("8.1", lambda state, path: os.replace(..., path)),
    ("8.2", only_a_docstring_and_a_default),
    ("8.2", lambda states=None: {"torch": torch.get_rng_state(), "numpy": ...}),
    ("8.3", only_a_docstring),
]


@pytest.mark.parametrize(("exercise", "answer"), named(NOT_ATTEMPTED))
def test_answers_with_dots_left_are_not_attempted(exercise, answer) -> None:
    expect_not_attempted(exercise, answer)


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


def in_a_named_temporary(delete):
    def answer(state, path):
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=delete) as file:
            try:
                torch.save(state, file)
                os.fsync(file)
                os.replace(file.name, path)
            except BaseException:  # Ctrl + C, too
                Path(file.name).unlink()
                raise

    return answer


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


RIGHT = [
    ("8.1", saving()),
    ("8.1", save_by_a_descriptor),
    ("8.1", save_through_memory),
    ("8.1", in_a_named_temporary(delete=False)),
    ("8.2", random_states_of_numbers),
    ("8.2", changing(part("numpy", lambda n: [n[0], n[1].to(torch.int64), *n[2:]]), part("numpy", tuple))),
    ("8.3", loading()),
    ("8.3", load_after_a_rehearsal),
    ("8.3", load_and_undo),
]


@pytest.mark.parametrize(("exercise", "answer"), named(RIGHT))
def test_right_answers_in_unusual_styles_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


def straight_and_synced(state, path):
    with path.open("wb") as file:
        torch.save(state, file)
        os.fsync(file.fileno())


def keeps_a_copy_and_saves_straight(state, path):
    if path.exists():
        shutil.copy(path, beside(path))
    torch.save(state, path)


def from_memory(state, path):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(buffer.getvalue())


def syncs_before_writing(state, path):
    temporary = beside(path)
    with temporary.open("wb") as file:
        os.fsync(file.fileno())
    torch.save(state, temporary)
    os.replace(temporary, path)


def unlinks_late(temporary, path):
    path.unlink(missing_ok=True)
    os.replace(temporary, path)


def moves_away(path):
    if path.exists():
        path.rename(path.with_suffix(".old"))


def names_the_first_one_only(state, path):
    if path.exists():
        saving(put=nothing, clean=False)(state, path)
    else:
        save_safely(state, path)


def prints_the_error(state, path):
    try:
        save_safely(state, path)
    except Exception as error:
        print(error)


def pickles_all_and_saves_a_part(state, path):
    pickle.dumps(state)
    save_safely({"epoch": state["epoch"]}, path)


def pythons_first_number(states=None):
    if states is None:
        return {**random_states(), "seed": random.getstate()[1][0]}
    random_states(states)
    random.seed(states["seed"])


def sets_a_seed(states=None):
    if states is None:
        torch.default_generator.manual_seed(3)
    return random_states(states)


def turns_errors_into_value_errors(path, model):
    try:
        model.load_state_dict(torch.load(path))
    except Exception as error:
        raise ValueError("no") from error
    return model


def catches_runtime_errors(path):
    try:
        return torch.load(path)
    except RuntimeError as error:
        raise ValueError("no") from error


def rehearses_uncaught(path, model):
    copy.deepcopy(model).load_state_dict(read_checked(path))
    model.load_state_dict(read_checked(path))
    return model


def returns_nothing_of_a_bad_file(path, model):
    try:
        return load_whole(path, model)
    except ValueError:
        return


def updates_the_dictionary(model, state):
    model.state_dict().update(state)


WRONG = [
    ("8.1", straight_and_synced, "torch.save writes straight to it"),
    ("8.1", keeps_a_copy_and_saves_straight, "torch.save writes straight to it"),
    ("8.1", from_memory, "shutil.copy and write_bytes write to it bit by bit"),
    ("8.1", saving(put=shutil.copyfile, clean=False), "os.replace(temporary, path) is one step"),
    ("8.1", syncs_before_writing, "the file had 0 of"),
    ("8.1", saving(put=unlinks_late), "just before a file gets the name, there is no 'last.pt'"),
    (
        "8.1",
        saving(before=moves_away),
        "with an old file, while torch.save writes, there is no 'last.pt'; an interrupt here loses it.\n"
        "Likely cause: os.replace takes the place of an old file by itself; do not remove it or move it away before.",
    ),
    ("8.1", saving(name=lambda path: Path("a.tmp")), "path.with_name is in the same one"),
    ("8.1", saving(put=nothing, clean=False), "there is no 'last.pt' afterwards; beside it there is 'last.pt.tmp'"),
    ("8.1", names_the_first_one_only, "'last.pt' is still the old file afterwards; beside it"),
    ("8.1", prints_the_error, "no error reaches the caller"),
    ("8.1", pickles_all_and_saves_a_part, "something else than the dictionary"),
    ("8.1", in_a_named_temporary(delete=True), "NamedTemporaryFile(delete=False)"),
    ("8.2", changing(part("numpy", lambda n: (*n[:4], np.float64(n[4])))), "numpy.float64"),
    (
        "8.2",
        changing(part("python", lambda p: [p[0], torch.tensor(p[1]), p[2]])),
        "(version, tuple(numbers), gauss)",
    ),
    ("8.2", changing(part("python", lambda p: p[1])), "all three of random.getstate()"),
    ("8.2", pythons_first_number, "a seed says where it began"),
    ("8.2", sets_a_seed, "changes the random state of torch"),
    ("8.2", lambda states=None: random_states(states) or True, "but a bool comes"),
    ("8.3", turns_errors_into_value_errors, "compare first, and load then"),
    ("8.3", loading(fits=same_names), "load_state_dict has copied all that fits"),
    ("8.3", loading(fits=same_shapes_in_both), "load_state_dict has copied all that fits"),
    (
        "8.3",
        loading(fits=same_shapes_in_both, fill=fills_what_is_in_both),
        "compare the names in both directions",
    ),
    ("8.3", loading(read=catches_runtime_errors), "torch.load does not look at the checksums"),
    ("8.3", rehearses_uncaught, "a ValueError is wanted, not RuntimeError"),
    ("8.3", returns_nothing_of_a_bad_file, "whoever called does not learn that the file is bad"),
    ("8.3", loading(fill=updates_the_dictionary), "the model was left as it was"),
    ("8.3", loading(after=lambda model: model.train()), "'norm' is in train mode now"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), named(WRONG))
def test_wrong_answers_in_foreign_spellings_are_told_why(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)


@pytest.mark.parametrize(
    ("exercise", "answer"),
    named(
        [
            ("8.1", save_by_a_descriptor),
            ("8.1", saving(name=lambda path: Path("a.tmp"), clean=False)),
            ("8.1", saving(name=in_the_temporary_folder, put=shutil.copy, clean=False)),
            ("8.2", random_states),
            ("8.2", draws_a_seed),
            ("8.3", load_whole),
            ("8.3", loading(read=reads_anything)),
        ]
    ),
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
    assert states_now() == before


def test_torch_load_does_not_notice_the_wrong_bit(tmp_path) -> None:
    saved = dict(Small(83).state_dict())
    path = tmp_path / "a.pt"
    torch.save(saved, path)
    path.write_bytes(with_a_wrong_bit(path.read_bytes(), saved["conv.weight"]))
    found = torch.load(path)
    assert [name for name in saved if not torch.equal(found[name], saved[name])] == ["conv.weight"]
