"""Lesson 08 in a browser: the resume bench."""

import numpy as np
import pytest
from jupyter import Interactive, Lesson
from playwright.sync_api import expect

PARTS = ["weights", "optimizer", "scheduler", "batches", "torch", "numpy", "python"]
EQUAL = "All losses are equal, and in the end all weights are, bit by bit."


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("08_save_and_resume_without_losing_anything.ipynb", to="widgets.ResumeBench(")


@pytest.fixture
def bench(lesson: Lesson) -> Interactive:
    shown = lesson.interactive("resume bench")
    restore(shown, 7, *PARTS)
    expect(shown.view).to_contain_text(EQUAL)
    return shown


def restore(shown: Interactive, stop: int, *parts: str) -> None:
    """Interrupt after a step and restore these parts, and wait until it is drawn."""
    shown.slide(stop)
    for part in PARTS:
        shown.control(part).set_checked(part in parts)
    forgotten = ", ".join(part for part in PARTS if part not in parts) or "nothing"
    expect(shown.view).to_contain_text(f"Interrupted after step {stop}, in epoch")
    expect(shown.view).to_contain_text(f"Forgotten: {forgotten}.")


def without(*parts: str) -> list[str]:
    return [part for part in PARTS if part not in parts]


def test_all_controls_have_names(bench) -> None:
    assert bench.labels() == ["After step", *PARTS]


@pytest.mark.parametrize(("part", "step"), [("weights", 8), ("optimizer", 9), ("scheduler", 12), ("numpy", 8)])
def test_what_is_forgotten_shows(bench, part, step) -> None:
    before = bench.pictures()[0]
    restore(bench, 7, *without(part))
    expect(bench.view).to_contain_text(f"The first other loss is that of step {step}. In the end the weights are up to")
    after = bench.pictures()[0]
    assert after.shape == before.shape
    changed = np.nonzero((after != before).any((0, 2)))[0]
    assert len(changed)
    assert changed.min() >= 30 * (step - 1)  # a line begins to differ behind the last equal loss


def test_forgotten_batches_are_seen_twice(bench) -> None:
    restore(bench, 7, *without("batches"))
    expect(bench.view).to_contain_text("10 steps were taken where 8 were left.")


def test_the_scheduler_may_be_forgotten_before_it_has_counted(bench) -> None:
    restore(bench, 5, *without("scheduler"))
    expect(bench.view).to_contain_text(EQUAL)
    restore(bench, 11, *without("scheduler"))
    expect(bench.view).to_contain_text(EQUAL)


def test_it_works_by_keyboard(lesson, bench) -> None:
    cells = lesson.cells()
    bench.root.get_by_role("slider").first.focus()
    lesson.press("ArrowRight")
    expect(bench.view).to_contain_text("Interrupted after step 8")
    lesson.press("Tab", "Tab", "Space")  # past the number beside the slider
    expect(bench.view).to_contain_text("Forgotten: weights.")
    lesson.press("Escape", "d", "d")
    assert lesson.cells() == cells


def test_it_can_be_read_in_both_themes(lesson, bench) -> None:
    lesson.expect_readable(bench)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("08_save_and_resume_without_losing_anything.ipynb").expect_still("resume bench", EQUAL)
