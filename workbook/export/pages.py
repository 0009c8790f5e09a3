"""Pages of HTML for students and for their teacher: what was handed in, and what the checks say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from .grades import Grade

CAUSE = "Likely cause: "
STYLE = (
    ":root { color-scheme: light dark } body { font: 1rem/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; "
    "padding: 0 1rem } table { border-collapse: collapse } th, td { text-align: left; vertical-align: top; "
    "padding: 0.3rem 0.8rem; border-bottom: 1px solid } td { overflow-wrap: anywhere; white-space: pre-line } "
    "td:first-child { white-space: nowrap }"
)


def student_page(name: str, grades: Sequence[Grade], remarks: Sequence[str]) -> str:
    """What one student gets: for each exercise its points and what the check says."""
    rows = [(f"Exercise {g.exercise}", f"{g.points} of {g.of}", g.state, g.text) for g in grades]
    total = f"<p>{sum(g.points for g in grades)} of {sum(g.of for g in grades)} points.</p>"
    notes = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    found = f"<h2>What was found in the files</h2><ul>{notes}</ul>" if notes else ""
    return _page(name, total + _table(("exercise", "points", "state", "what the check says"), rows) + found)


def class_page(grades: Sequence[Grade]) -> str:
    """What the teacher gets: how many passed each exercise, where the others stand, and who has how many points."""
    exercises = list(dict.fromkeys(g.exercise for g in grades))
    counted, mistakes = [], []
    for exercise in exercises:
        same = [g for g in grades if g.exercise == exercise]
        states = Counter(g.state for g in same)
        others = ", ".join(f"{number} {state}" for state, number in states.most_common() if state != "passed")
        counted.append((f"Exercise {exercise}", f"{states['passed']} of {len(same)}", others))
        named = Counter(_mistake(g.text) for g in same if g.state == "not yet")
        mistakes += [(f"Exercise {exercise}", str(number), said) for said, number in named.most_common()]
    everybody = dict.fromkeys(g.student for g in grades)
    rows = [(name, *_sums([g for g in grades if g.student == name])) for name in everybody]
    return _page(
        "The class",
        "<h2>Exercises</h2>"
        + _table(("exercise", "passed", "the others"), counted)
        + "<h2>Where the class is stuck</h2>"
        + _table(("exercise", "answers", "what the check says"), mistakes)
        + "<h2>Students</h2>"
        + _table(("student", "points", "not handed in, unreadable or not judged"), rows),
    )


def _sums(grades: Sequence[Grade]) -> tuple[str, str]:
    absent = [g.exercise for g in grades if g.state in ("not handed in", "unreadable", "not judged")]
    return f"{sum(g.points for g in grades)} of {sum(g.of for g in grades)}", ", ".join(absent)


def _mistake(text: str) -> str:
    """The cause if the check knows it, or else its first line."""
    return text.split(CAUSE, 1)[1] if CAUSE in text else text.split("\n", 1)[0]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>Nothing.</p>"
    cells = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _page(title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
