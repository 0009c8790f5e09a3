"""Each exercise on its stub, its right answer, and each of its known mistakes."""

from __future__ import annotations

import random
import re

import nbformat
import numpy as np
import pytest
import torch
from answers import expect_not_attempted, expect_not_yet, expect_passed

from workbook.exercises import FOLDER, find, numbers
from workbook.places import NOTEBOOKS

NUMBERS = [number for folder in sorted(FOLDER.glob("lesson_*")) for number in numbers(folder.name[-2:])]
EXERCISES = {number: find(number) for number in NUMBERS}


def stub_in_the_lesson(number: str) -> object:
    """The function that the lesson gives, with its dots, run alone."""
    (path,) = NOTEBOOKS.glob(f"{int(number.split('.')[0]):02d}_*.ipynb")
    call = re.compile(rf'^check\("{re.escape(number)}", (?!wrong)(\w+)\)$', flags=re.M)
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    ((source, found),) = [(source, match) for source in cells if (match := call.search(source))]
    namespace: dict[str, object] = {"torch": torch}
    exec(source[: found.start()], namespace)
    return namespace[found[1]]


@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_stub_is_not_attempted(number, stub) -> None:
    expect_not_attempted(number, stub)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_of_the_lesson_is_not_attempted(number) -> None:
    expect_not_attempted(number, stub_in_the_lesson(number))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_right_answer_passes_and_nothing_global_changes(number) -> None:
    random.seed(1), np.random.seed(2), torch.manual_seed(3)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    expect_passed(number, EXERCISES[number].right)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert torch.empty(0).device.type == "cpu"
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("number", "mistake"),
    [pytest.param(n, mistake, id=f"{n} {mistake.cause[:50]}") for n, e in EXERCISES.items() for mistake in e.mistakes],
)
def test_a_mistake_is_told_its_cause(number, mistake) -> None:
    expect_not_yet(number, mistake.answer, mistake.cause)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_exercise_has_hints_mistakes_and_praise(number) -> None:
    exercise = EXERCISES[number]
    assert len(exercise.hints) >= 2
    assert len(exercise.mistakes) >= 3
    assert exercise.praise
