"""The page for teachers: up to date, and a plan that can be kept."""

import json
import re

import pytest

from workbook.export.teaching import SIX_WEEKS, TWELVE_WEEKS, teaching_page
from workbook.lessons import LESSONS
from workbook.places import NOTEBOOKS, WORKBOOK


def prose(lesson) -> str:
    cells = json.loads((NOTEBOOKS / lesson.notebook).read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_the_page_is_that_of_the_lessons() -> None:
    page = (WORKBOOK / "TEACHING.md").read_text(encoding="utf-8")
    assert page == teaching_page(), "make readme writes it"
    assert all(f"**{exercise} " in page for lesson in LESSONS for exercise in lesson.exercises)
    minutes = re.findall(r"^### Exercise .*\((\d+) minutes\)", "\n".join(map(prose, LESSONS)), flags=re.M)
    assert f"{sum(map(int, minutes))} in all." in page
    assert page.count("\n- ") > 100


@pytest.mark.parametrize("weeks", [SIX_WEEKS, TWELVE_WEEKS])
def test_in_a_plan_no_lesson_comes_before_what_it_needs(weeks) -> None:
    begins: dict[str, int] = {}
    for week, numbers in enumerate(weeks):
        for number in numbers:
            begins.setdefault(number, week)
    for lesson in LESSONS:
        if lesson.number in begins:
            assert all(begins[need] <= begins[lesson.number] for need in lesson.needs), lesson.number
    assert set(begins) == {lesson.number for lesson in LESSONS} or weeks is SIX_WEEKS
