"""For teachers: hand out lessons, and grade what comes back; CONTRIBUTING.md says how."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .errors import ExportError
from .exporting import export
from .grading import grade
from .submissions import collect, findings
from .updating import update


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is asked for, and say what was done; a usage error if that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m workbook.export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, says in (
        ("handout", "write the lessons without solutions into a new folder, ready to hand out"),
        ("course", "write them with solutions and points into a new folder, for nbgrader"),
    ):
        command = commands.add_parser(name, help=says, description=says)
        command.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder outside of the workbook")
        command.add_argument("lessons", metavar="LESSON", nargs="*", help="such as 01; all lessons if none is named")
    says = "bring a handout to the version of this workbook; what was changed in it stays"
    command = commands.add_parser("update", help=says, description=says)
    command.add_argument("folder", metavar="DIR", type=Path, help="of a handout")
    command.add_argument("lessons", metavar="LESSON", nargs="*", help="such as 01, that it should have, too")
    for name, says in (
        ("collect", "put right what came back, a line for each student"),
        ("grade", "judge what came back; writes grades.csv, class.html and _pages/NAME.html into the folder"),
    ):
        command = commands.add_parser(name, help=says, description=says)
        command.add_argument("folder", metavar="SUBMITTED", type=Path, help="with NAME/LESSON.ipynb of each student")
        if name == "collect":
            command.add_argument("--course", type=Path, help="of nbgrader; into its `submitted` they are put, too")
        else:
            command.add_argument("lessons", metavar="LESSON", nargs="*", help="such as 01; all that were handed in")
            command.add_argument("--jobs", type=int, help="answers judged at one time; as many as there are cores")
    chosen = parser.parse_args(arguments)
    try:
        print(done(chosen))
    except (ExportError, OSError) as error:
        parser.error(str(error))


def done(chosen: argparse.Namespace) -> str:
    """What a command has to say when it is done."""
    if chosen.command == "collect":
        return "\n".join(collect(chosen.folder, chosen.course))
    if chosen.command == "update":
        return "\n".join(update(chosen.folder, chosen.lessons))
    if chosen.command == "grade":
        said = findings(chosen.folder)
        grades = grade(chosen.folder, chosen.lessons, chosen.jobs)
        students, passed = {each.student for each in grades}, sum(each.state == "passed" for each in grades)
        total = f"{len(students)} students, {passed} of {len(grades)} exercises passed: {chosen.folder / 'grades.csv'}"
        return "\n".join([*said, total])
    exported = export(chosen.folder, chosen.lessons, nbgrader=chosen.command == "course")
    return f"exported to {chosen.folder}: {', '.join(exported)}"


if __name__ == "__main__":
    main()
