"""The lessons of the workbook, as the map in lesson 00 and the tests know them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        number: two digits, as in the name of its notebook.
        notebook: file name in `notebooks/`.
        title: as its first heading says it.
        question: what it answers, in the words of somebody who has not read it.
        minutes: to read it and solve its exercises.
        needs: numbers of the lessons it builds on directly.
    """

    number: str
    notebook: str
    title: str
    question: str
    minutes: int
    needs: tuple[str, ...] = ()

    @property
    def exercises(self) -> tuple[str, ...]:
        """Numbers of its exercises, such as "1.2"."""
        return tuple(import_module(f"{__package__}.checks.lesson_{self.number}").EXERCISES)


LESSONS = (
    Lesson(
        "00",
        "00_start_here.ipynb",
        "Start here",
        "Does everything run? How do exercises work?",
        minutes=10,
    ),
    Lesson(
        "01",
        "01_load_matconvnet.ipynb",
        "Load a MatConvNet network into PyTorch",
        "A .mat file from MATLAB holds the weights I want. How do they get into PyTorch, and how do I know that they "
        "arrived?",
        minutes=90,
        needs=("00",),
    ),
    Lesson(
        "02",
        "02_load_state_dict.ipynb",
        "Load all of a state_dict",
        "My checkpoint does not load, or loads and computes nonsense. What is in it, and which lines are wrong?",
        minutes=75,
        needs=("01",),
    ),
    Lesson(
        "03",
        "03_load_partial_state_dict.ipynb",
        "Load the part that fits",
        "My network is no longer the checkpoint's. How do I load what still fits, and how do I know what stayed "
        "random?",
        minutes=80,
        needs=("02",),
    ),
    Lesson(
        "04",
        "04_adapt_first_conv.ipynb",
        "Adapt the first conv",
        "My images are grey, or have four channels or twelve, and the weights are for RGB. What becomes of the first "
        "conv?",
        minutes=85,
        needs=("03",),
    ),
    Lesson(
        "05",
        "05_replace_head.ipynb",
        "Replace the head",
        "My classes are others, or I want several answers at once. Where do I cut, what do I keep, and what do two "
        "heads share in secret?",
        minutes=90,
        needs=("04",),
    ),
    Lesson(
        "06",
        "06_initialize_fcn_upsampling.ipynb",
        "Turn VGG16 into an FCN",
        "My network says what is in an image, and I want to know where. How does a classifier come to name pixels, and "
        "where does its upsampling begin?",
        minutes=95,
        needs=("05",),
    ),
    Lesson(
        "07",
        "07_freeze_layers.ipynb",
        "Freeze the layers you keep",
        "I want to train some layers and keep the rest as they are. What moves although it is frozen, and what does "
        "freezing save?",
        minutes=85,
        needs=("05",),
    ),
    Lesson(
        "08",
        "08_save_and_resume.ipynb",
        "Save and resume without losing anything",
        "My training was killed. What must a checkpoint hold so that it goes on as if nothing had happened, and what "
        "if the file itself is damaged?",
        minutes=75,
        needs=("07",),
    ),
    Lesson(
        "09",
        "09_capstone.ipynb",
        "Move in a network you have not met",
        "Nobody can explain this network to me any more, I have sixty pictures, and my camera has four channels. Can I "
        "make it work, and prove it?",
        minutes=120,
        needs=("06", "08"),
    ),
)


def on_the_way(number: str) -> tuple[Lesson, ...]:
    """The lesson and all lessons that it builds on, first one first; KeyError if there is no such lesson."""
    by_number = {lesson.number: lesson for lesson in LESSONS}
    wanted, found = [number], set()
    while wanted:
        lesson = by_number[wanted.pop()]
        found.add(lesson)
        wanted += lesson.needs
    return tuple(lesson for lesson in LESSONS if lesson in found)
