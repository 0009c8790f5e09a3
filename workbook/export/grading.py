"""A class graded: every answer of every student judged in a process of its own, and what came of it written down.

It can be broken off and started again: a verdict is written down as soon as it is known, and an answer that has one
is not judged again. Equal answers, blank ones for instance, are judged once.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from functools import cache
from pathlib import Path

from helpers.atomic_files import replacing

from ..places import WORKBOOK
from .answers import Answer, answers_in
from .errors import ExportError
from .grades import Grade
from .judging import SECONDS, Verdict, best
from .notebooks import exercises_of_lessons, points
from .pages import class_page, student_page
from .submissions import OWN, Submission, students, submissions_of

VERDICTS = ".verdicts.jsonl"  # in the folder: a line for each answer that was judged
PAGES = OWN[0]


def grade(folder: Path, numbers: Sequence[str] = (), jobs: int | None = None, seconds: float = SECONDS) -> list[Grade]:
    """Judge what lies in a folder, see `submissions`, and write `grades.csv` and the pages into it.

    Args:
        folder: with a folder for each student.
        numbers: of lessons, such as "02"; all that anybody handed in if there are none.
        jobs: answers that are judged at one time; as many as there are cores if not given.
        seconds: after which an answer is broken off.

    Raises:
        ExportError: there are no students, or there is no such lesson.
        OSError: it cannot be written.
    """
    known, classmates = exercises_of_lessons(), students(folder)
    handed_in = {student.name: submissions_of(student, known) for student in classmates}
    chosen = _chosen(numbers, known, [each.lesson for found in handed_in.values() for each in found])
    answers = {
        (name, lesson): _answers(each, known[lesson])
        for name, found in handed_in.items()
        for each in found
        if (lesson := each.lesson) in chosen
    }
    waiting = {_key(a): a for found in answers.values() for a in found.values()}
    verdicts = _judge_all(folder, waiting, jobs or os.cpu_count() or 1, seconds)
    grades = []
    for name, found in handed_in.items():
        for lesson in chosen:
            submission = next((each for each in found if each.lesson == lesson), None)
            grades += _grades(name, lesson, submission, answers.get((name, lesson), {}), verdicts)
    _write(folder, grades, handed_in)
    return grades


def _answers(submission: Submission, asked: Mapping[str, str]) -> dict[str, list[Answer]]:
    """Of all files of a lesson, those of the one that stands for it first."""
    readable = [each for each in (submission, *submission.others) if each.notebook and not each.problem]
    found = [answers_in(each.notebook, asked) for each in readable if each.notebook]
    return {number: [a for one in found for a in one[number]] for number in asked} if found else {}


def _chosen(numbers: Sequence[str], known: Mapping[str, object], handed_in: Sequence[str]) -> list[str]:
    for number in numbers:
        if not any(lesson.startswith(f"{number}_") for lesson in known):
            raise ExportError(
                f"there is no lesson {number!r} with exercises; there are {', '.join(n[:2] for n in known)}"
            )
    if not numbers:
        return [lesson for lesson in known if lesson in handed_in]
    return [lesson for lesson in known if lesson[:2] in numbers]


def _grades(
    student: str,
    lesson: str,
    submission: Submission | None,
    answers: Mapping[str, list[Answer]],
    verdicts: Mapping[str, Verdict],
) -> list[Grade]:
    grades = []
    for exercise, of in points(lesson).items():
        if submission is None:
            found = Verdict("not handed in", "")
        elif submission.problem:
            found = Verdict("unreadable", f"{submission.path.name} {submission.problem}")
        else:
            found = verdicts[_key(answers[exercise])]
        given = of if found.state == "passed" else 0
        grades.append(Grade(student, lesson[:2], exercise, given, of, found.state, found.text))
    return grades


def _judge_all(folder: Path, waiting: Mapping[str, list[Answer]], jobs: int, seconds: float) -> dict[str, Verdict]:
    """A verdict for each key, those of an earlier start among them."""
    verdicts = {key: verdict for key, verdict in _earlier(folder / VERDICTS).items() if key in waiting}
    left = [key for key in waiting if key not in verdicts]
    with ThreadPoolExecutor(jobs) as pool, (folder / VERDICTS).open("a", encoding="utf-8") as log:
        futures = {pool.submit(best, waiting[key], (folder,), seconds): key for key in left}
        for future in as_completed(futures):
            key = futures[future]
            verdicts[key] = future.result()
            if verdicts[key].state != "not judged":  # another time it may be
                log.write(json.dumps({"key": key} | asdict(verdicts[key])) + "\n")
                log.flush()
            _progress(len(verdicts), len(waiting))
    return verdicts


def _earlier(path: Path) -> dict[str, Verdict]:
    """What was written down by an earlier start; a line that was broken off is left out."""
    found = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for line in lines:
        try:
            read = json.loads(line)
            found[read["key"]] = Verdict(read["state"], read["text"], read["seconds"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _key(answers: Sequence[Answer]) -> str:
    """Equal for equal answers to one exercise, as long as nothing that judges them changes."""
    return hashlib.sha256(
        json.dumps([_version(), *([a.exercise, a.code, a.handed_in, a.problem] for a in answers)]).encode()
    ).hexdigest()


@cache
def _version() -> str:
    """Of all that judges."""
    digest = hashlib.sha256()
    for path in sorted([*WORKBOOK.glob("workbook/**/*.py"), *WORKBOOK.glob("helpers/**/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        bar = "#" * (40 * done // of)
        print(f"\r{bar:.<40} {done} of {of} answers", end="\n" if done == of else "", file=sys.stderr, flush=True)


def _write(folder: Path, grades: Sequence[Grade], handed_in: Mapping[str, Sequence[Submission]]) -> None:
    pages = folder / PAGES
    pages.mkdir(exist_ok=True)
    with replacing(folder / "grades.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["student", "lesson", "exercise", "points", "of", "state"])
        for each in grades:
            table.writerow([_harmless(each.student), each.lesson, each.exercise, each.points, each.of, each.state])
    for name, found in handed_in.items():
        remarks = [
            f"{each.path.name}: {remark}" for each in found for remark in (each.problem, *each.remarks) if remark
        ]
        own = [each for each in grades if each.student == name]
        with replacing(pages / _page_name(name)) as temporary:
            temporary.write_text(student_page(name, own, remarks), encoding="utf-8")
    with replacing(folder / "class.html") as temporary:
        temporary.write_text(class_page(grades), encoding="utf-8")


def _page_name(student: str) -> str:
    """That of the folder, unless with its ending it would be too long for a file."""
    if len(student.encode()) < 200:
        return f"{student}.html"
    return f"{student[:40]}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.html"


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
