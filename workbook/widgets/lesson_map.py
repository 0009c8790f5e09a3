"""Lesson 00: the map of the lessons, with the exercises passed so far."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from html import escape

import ipywidgets

from helpers.errors import WeightsError

from .. import my_lessons, progress
from ..lessons import LESSONS, Lesson, depth, on_the_way
from .interactive import Interactive, bar, table

__all__ = ["LessonMap"]

LINK = "color: var(--jp-content-link-color, #1976d2); text-decoration: underline"
DONE, OPEN = "\u2713", "\u25cb"  # a tick and a ring


class LessonMap(Interactive):
    """What each lesson answers, how long it takes, what it builds on, and what is passed; a lesson as it was."""

    name = "map of the lessons"

    def __init__(self) -> None:
        goals = [("all lessons", "")] + [(f"{lesson.number} {lesson.title}", lesson.number) for lesson in LESSONS]
        super().__init__(goal=ipywidgets.Dropdown(description="I want to reach", options=goals, **WIDE))
        self._look, self._again = self.add_button("Look again"), self.add_button("Start this lesson again")
        self._forget = self.add_button(FORGET)
        self._look.on_click(self.update)
        self._again.on_click(self._start_again)
        self._forget.on_click(self._ask_or_reset)

    def draw(self, goal: str) -> str:
        """The map with the way to lesson `goal`, all lessons if it is empty."""
        return map_html(goal, progress.passed())

    def update(self, _change: object = None) -> None:
        """Draw anew, and no longer be about to forget."""
        self._forget.description = FORGET
        super().update()

    def _start_again(self, _button: ipywidgets.Button) -> None:
        """Give the chosen lesson back as it was; it takes one click, for nothing is lost."""
        chosen = [lesson.notebook for lesson in LESSONS if lesson.number == self.controls["goal"].value]
        try:
            kept = my_lessons.start_again(chosen[0], my_lessons.folder()) if chosen else None
        except (OSError, WeightsError) as error:
            self.show_error(error)
            return
        said = f"{chosen[0]} is as it was." if chosen else "Choose the lesson first."
        if kept is not None:
            said += f" Yours is kept as {kept.name}. If the lesson is open, close its tab first, without saving."
        self.view.value = self._framed(f"<p>{escape(said)}</p>" + self.draw(self.controls["goal"].value))
        self.said.value = self._summary()

    def _ask_or_reset(self, button: ipywidgets.Button) -> None:
        if button.description == FORGET:
            button.description = REALLY
            return
        try:
            progress.reset()
        except OSError as error:
            self.show_error(error)
        else:
            self.update()


WIDE = {"style": {"description_width": "initial"}, "layout": {"width": "auto", "max_width": "100%"}}
FORGET, REALLY = "Forget what I passed", "Really forget? Click once more"


def map_html(goal: str, passed: AbstractSet[str]) -> str:
    """The map.

    Args:
        goal: number of the lesson to reach, such as "01"; empty for all.
        passed: numbers of the exercises that are passed, such as "1.2".
    """
    way = on_the_way(goal) if goal else LESSONS
    rows = [_row(lesson, passed) for lesson in way]
    left = [lesson for lesson in way if not passed >= set(lesson.exercises)]
    minutes = sum(lesson.minutes for lesson in left)
    exercises = [number for lesson in way for number in lesson.exercises]
    done = sum(number in passed for number in exercises)
    return table(("lesson", "the question it answers", "minutes", "builds on", "exercises"), rows) + (
        f"<p>{done} of {len(exercises)} exercises passed; {_time(minutes)} of lessons left.</p>"
    )


def _time(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 120 else f"about {minutes / 60:.0f} hours"


def _row(lesson: Lesson, passed: AbstractSet[str]) -> tuple[str, ...]:
    title = f"{lesson.number} {escape(lesson.title)}"
    # in a tab of its own: JupyterLab would leave this page, and what is not saved
    link = f'<a href="{lesson.notebook}" target="_blank" rel="noopener" style="{LINK}">{title}</a>'
    branch = f'<div style="padding-left: {1.2 * depth(lesson):.1f}em">{link}</div>'
    numbers = lesson.exercises
    marks = " ".join(f"{DONE if number in passed else OPEN}&nbsp;{number}" for number in numbers)
    filled = bar(sum(number in passed for number in numbers) / max(len(numbers), 1))
    return (
        branch,
        escape(lesson.question.replace("`", "")),
        str(lesson.minutes),
        ", ".join(lesson.needs),
        marks + filled,
    )
