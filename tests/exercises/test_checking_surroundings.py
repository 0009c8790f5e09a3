"""No answer makes `check` raise, say too much, or change what later cells stand on."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from workbook.exercises import FOLDER, find, numbers
from workbook.feedback import judge

NUMBERS = [number for folder in sorted(FOLDER.glob("lesson_*")) for number in numbers(folder.name[-2:])]
LONG = 10**6 * "x"


class Mute(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("it has no text")


class Hostile:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it compares with nothing")

    def __bool__(self) -> bool:
        raise RuntimeError("it is neither true nor false")

    def __repr__(self) -> str:
        raise RuntimeError("it cannot be shown")

    __hash__ = None


def stops_with(error: BaseException):
    def answer(*inputs, **options):
        raise error

    return answer


ANSWERS = {
    "an error without a text": stops_with(Mute()),
    "an error with a long text": stops_with(KeyError(LONG)),
    "GeneratorExit": stops_with(GeneratorExit()),
    "SystemExit": stops_with(SystemExit(1)),
    "hostile": Hostile(),
    "hostile result": lambda *inputs, **options: Hostile(),
    "a type with a long name": type(LONG, (), {})(),
    "a result of a type with a long name": lambda *inputs, **options: type(LONG, (), {})(),
    "a long key": lambda *inputs, **options: {LONG: torch.ones(1)},
    "a result on meta": lambda *inputs, **options: torch.ones(2, device="meta"),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("number", NUMBERS)
def test_an_answer_of_the_worst_kind_is_not_yet_right_and_said_in_short(number, answer) -> None:
    feedback = judge(number, ANSWERS[answer])
    assert feedback.kind == "not yet"
    assert len(feedback.text) < 2500


def test_a_long_message_keeps_its_beginning_and_its_cause() -> None:
    from workbook.exercises.checking import shorten

    whole = f"the key {LONG} is wrong.\nLikely cause: this one."
    text = shorten(whole)
    assert text.startswith("the key xxx")
    assert text.endswith("is wrong.\nLikely cause: this one.")
    assert f" ... ({len(whole):,} characters) ... " in text
    assert shorten("short") == "short"


def test_the_learner_can_stop_a_check() -> None:
    with pytest.raises(KeyboardInterrupt):
        judge("1.1", stops_with(KeyboardInterrupt()))


def surroundings() -> list[object]:
    return [
        str(torch.get_default_device()),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_anomaly_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        np.geterr(),
        Path.cwd(),
    ]


@pytest.mark.parametrize("number", NUMBERS)
def test_what_an_answer_does_to_what_is_global_ends_with_the_check(number) -> None:
    def spoils(*inputs, **options):
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        torch.autograd.set_detect_anomaly(True)
        torch.use_deterministic_algorithms(True)
        np.seterr(all="raise")
        os.chdir("/")
        return inputs

    before = surroundings()
    judge(number, spoils)
    assert surroundings() == before


def test_after_an_answer_that_spoils_all_a_right_one_still_passes() -> None:
    judge("1.1", lambda *inputs: torch.set_default_device("meta"))
    assert judge("1.1", find("1.1").right).kind == "passed"
