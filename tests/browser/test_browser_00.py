"""Lesson 00 in a browser: the map of the lessons."""

from contextlib import closing

import pytest
from jupyter import Lab, Lesson
from playwright.sync_api import Locator, expect

from workbook.lessons import LESSONS, on_the_way

EXERCISES = sum(len(lesson.exercises) for lesson in LESSONS)


@pytest.fixture(scope="module")
def lesson(open_lesson) -> Lesson:
    return open_lesson("00_start_here.ipynb", to="widgets.LessonMap(")


@pytest.fixture
def lesson_map(lesson: Lesson, lab: Lab):
    lab.forget()
    shown = lesson.interactive("map of the lessons")
    shown.control("I want to reach").select_option("all lessons")
    shown.control("Look again").click()
    expect(shown.view).to_contain_text("0 of")
    return shown


def share(row: Locator) -> float:
    """How much of the bar in a row is filled, as it is on the screen."""
    bar = row.locator("[aria-hidden=true]")
    return bar.locator("div").bounding_box()["width"] / bar.bounding_box()["width"]


def test_all_controls_have_names(lesson_map) -> None:
    assert lesson_map.labels() == ["I want to reach", "Look again", "Start this lesson again", "Forget what I passed"]


def test_it_lists_all_lessons(lesson_map) -> None:
    hours = round(sum(lesson.minutes for lesson in LESSONS) / 60)
    expect(lesson_map.view).to_contain_text(f"0 of {EXERCISES} exercises passed; about {hours} hours of lessons left")
    for lesson in LESSONS:
        cells = lesson_map.row(f"{lesson.number} {lesson.title}")
        assert cells[1:4] == [lesson.question.replace("`", ""), str(lesson.minutes), ", ".join(lesson.needs)]


def test_choosing_a_lesson_leaves_the_way_to_it(lesson_map) -> None:
    first = LESSONS[0]
    lesson_map.control("I want to reach").select_option(f"{first.number} {first.title}")
    expect(lesson_map.view).to_contain_text(
        f"0 of {len(first.exercises)} exercises passed; {first.minutes} minutes of lessons left"
    )
    expect(lesson_map.view.locator("tbody tr")).to_have_count(1)


def test_a_change_is_read_out_in_one_line_that_stays(lesson_map) -> None:
    line = lesson_map.root.locator('[role="status"]')
    expect(line).to_have_count(1)
    element = line.element_handle()
    lesson_map.control("I want to reach").select_option(f"{LESSONS[0].number} {LESSONS[0].title}")
    expect(line).to_have_text(
        f"0 of {len(LESSONS[0].exercises)} exercises passed; {LESSONS[0].minutes} minutes of lessons left."
    )
    assert element.evaluate("line => line.isConnected")


def test_a_passed_exercise_gets_a_tick_and_a_longer_bar(lesson, lab, lesson_map) -> None:
    row = lesson_map.view.locator("tbody tr").nth(1)
    assert share(row) == 0
    lab.remember("1.2")
    lesson_map.control("Look again").click()
    expect(row).to_contain_text("\u25cb\xa01.1 \u2713\xa01.2 \u25cb\xa01.3")
    assert share(row) == pytest.approx(1 / len(LESSONS[1].exercises), abs=0.01)


def test_passing_an_exercise_in_the_lesson_reaches_the_map(lesson, lab, lesson_map) -> None:
    lesson.answer(
        "def count_parameters", "count_parameters = lambda model: sum(p.numel() for p in model.parameters())", "0.1"
    )
    assert [path.name for path in lab.progress.iterdir()] == ["0.1"]
    lesson_map.control("Look again").click()
    expect(lesson_map.view.locator("tbody tr").first).to_contain_text("\u2713\xa00.1")


def test_it_asks_before_it_forgets(lab, lesson_map) -> None:
    lab.remember("0.1")
    lesson_map.control("Forget what I passed").click()
    lesson_map.control("Really forget? Click once more").click()
    expect(lesson_map.control("Forget what I passed")).to_be_visible()
    assert list(lab.progress.iterdir()) == []


def test_it_works_by_keyboard(lesson, lab, lesson_map) -> None:
    lab.remember("0.1")
    cells = lesson.cells()
    needed = sum(len(each.exercises) for each in on_the_way(LESSONS[-1].number))
    lesson_map.control("I want to reach").focus()
    lesson.press("End")
    expect(lesson_map.view).to_contain_text(f"1 of {needed}")
    lesson.press("Tab", "Tab", "Tab", "Enter")
    expect(lesson_map.control("Really forget? Click once more")).to_be_focused()
    lesson.press("Space")
    expect(lesson_map.view).to_contain_text(f"0 of {needed}")
    assert lesson.cells() == cells


def test_a_lesson_opens_from_the_map_in_a_tab_of_its_own(lesson, lesson_map) -> None:
    with lesson.page.expect_popup() as popup:
        lesson_map.view.get_by_role("link", name="01 Load a MatConvNet network into PyTorch").click()
    with closing(popup.value) as page:
        heading = page.get_by_role("heading", name="01 \u00b7 Load a MatConvNet network into PyTorch")
        expect(heading).to_be_visible(timeout=30_000)


def test_it_can_be_read_in_both_themes(lesson, lesson_map) -> None:
    lesson.expect_readable(lesson_map)


def test_before_the_lesson_runs_there_is_a_picture_of_it(open_as_committed) -> None:
    open_as_committed("00_start_here.ipynb").expect_still("map of the lessons", f"0 of {EXERCISES} exercises passed")
