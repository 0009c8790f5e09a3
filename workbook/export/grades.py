"""What a student got."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grade:
    """What one student got for one exercise; `grades.csv` has these columns, and the pages show `text`, too.

    Attributes:
        student: the name of the folder.
        lesson: its number.
        exercise: its number.
        points: that are given: all or none.
        of: the minutes that the lesson gives the exercise.
        state: "passed", "not yet", "not attempted", "missing" (no cell of the notebook has it), "unreadable",
            "not handed in" (the lesson), or "not judged" (something went wrong here).
        text: what the check says.
    """

    student: str
    lesson: str
    exercise: str
    points: int
    of: int
    state: str
    text: str = ""
