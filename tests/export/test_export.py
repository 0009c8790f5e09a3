"""What a teacher hands out, and what nbgrader makes of the course: released, solved, graded."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from setuptools import find_packages

from workbook import export
from workbook.export.__main__ import main
from workbook.export.handout import with_live_links
from workbook.export.nbgrader_judge import JudgeAnswers
from workbook.lessons import LESSONS as MAP
from workbook.my_lessons import without_outputs
from workbook.places import NOTEBOOKS
from workbook.places import WORKBOOK as ROOT

LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
README = (ROOT / "README.md").read_text()
REGION = re.compile(r"^( +)### BEGIN SOLUTION\n.*?\n +### END SOLUTION$", flags=re.M | re.S)


@pytest.fixture(scope="module")
def handout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "handout"
    main(["handout", str(folder)])
    return folder


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "course"
    main(["course", str(folder)])
    return folder


def read(path: Path) -> list[NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def committed(name: str) -> list[NotebookNode]:
    return read(ROOT / "notebooks" / name)


def assignment(course: Path, name: str) -> list[NotebookNode]:
    return read(course / "source" / name.removesuffix(".ipynb") / name)


def stubs(name: str) -> dict[str, tuple[str, str]]:
    """Exercise -> the source of its cell in the lesson, and the name of what it checks."""
    found = {}
    for cell in committed(name):
        asked = re.search(r'^check\("(\d+\.\d+)", (\w+)\)$', cell.source, flags=re.M)
        if cell.cell_type == "code" and asked and "\n    ...\n" in cell.source:
            found[asked[1]] = cell.source, asked[2]
    return found


def minutes(name: str) -> dict[str, int]:
    text = "\n".join(cell.source for cell in committed(name) if cell.cell_type == "markdown")
    return {exercise: int(stated) for exercise, stated in re.findall(r"### Exercise (\S+) .*\((\d+) minutes\)", text)}


def text_of(path: Path) -> str:
    if path.suffix == ".ipynb":
        return "\n".join(cell.source for cell in read(path))
    return path.read_text(encoding="utf-8") if path.suffix in (".py", ".md") else ""


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def dead_links(folder: Path) -> list[str]:
    """Links of all lessons and .md files to local files that are not there."""
    found = []
    for path in [*folder.rglob("*.md"), *folder.rglob("*.ipynb")]:
        cells = [cell.source for cell in read(path) if cell.cell_type == "markdown"] if path.suffix == ".ipynb" else []
        text = re.sub(r"```.*?```|`[^`]*`", "", "\n".join(cells) or path.read_text(), flags=re.S)
        links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not link.startswith("https://")]
        found += [f"{path.name}: {link}" for link in links if not (path.parent / link).exists()]
    return found


# the handout


def test_a_handout_is_a_workbook_without_solutions_tests_and_caches(handout) -> None:
    top = {path.name for path in handout.iterdir()}
    files = {".gitattributes", ".gitignore", "LICENSE", "LICENSE-TEXT", "Makefile", "README.md", "environment.yml"}
    folders = {"tools", "benchmarks", "data", "helpers", "workbook", "notebooks"}
    assert top == files | folders | {"pyproject.toml", "constraints.txt", ".handout.json"}
    assert {path.name for path in (handout / "tools").iterdir()} == {"setup.py", "lab.py"}
    assert sorted(path.name for path in (handout / "notebooks").iterdir()) == LESSONS
    forbidden = {"solutions", "tests", "__pycache__", ".ipynb_checkpoints", ".progress", ".git", ".venv"}
    assert not [path for path in handout.rglob("*") if forbidden & set(path.relative_to(handout).parts)]
    folders = ["data", "helpers", "workbook", "tools/setup.py", "tools/lab.py", "Makefile", "constraints.txt"]
    tracked = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    assert all((handout / name).read_bytes() == (ROOT / name).read_bytes() for name in tracked.split())


def test_every_package_is_in_the_handout(handout) -> None:
    def packages(folder: Path) -> list[str]:
        return sorted(set(find_packages(str(folder), include=["helpers*", "workbook*"])))

    assert packages(handout) == packages(ROOT)
    assert {"helpers.heads", "workbook.exercises.lesson_05", "workbook.export"} < set(packages(ROOT))


@pytest.mark.parametrize("name", LESSONS)
def test_a_handed_out_lesson_is_the_lesson_as_nobody_has_run_it(handout, name) -> None:
    cells = read(handout / "notebooks" / name)
    for cell, original in zip(cells, committed(name), strict=True):
        assert (cell.id, cell.metadata, cell.cell_type) == (original.id, original.metadata, original.cell_type)
        if cell.cell_type == "code":
            assert (cell.source, cell.outputs, cell.execution_count) == (original.source, [], None)
        else:  # links to solutions have become words
            assert re.sub(r"\]\(\S*\)|\[", "", cell.source) == re.sub(r"\]\(\S*\)|\[", "", original.source)


def test_no_local_link_is_dead(handout, course) -> None:
    assert dead_links(ROOT / "data") == []
    assert dead_links(handout) == []
    assert dead_links(course) == []


def test_no_solution_is_in_the_handout(handout, course) -> None:
    # the checks have to know what is right: there, somebody who wants to can read it
    exercises = handout / "workbook/exercises"
    texts = {path: squeezed(text_of(path)) for path in handout.rglob("*") if exercises not in path.parents}
    lessons = {path: text for path, text in texts.items() if path.parent.name == "notebooks"}
    known = squeezed("\n".join(cell.source for name in LESSONS for cell in committed(name)))
    distinctive = 0
    for name in LESSONS:
        for cell in assignment(course, name):
            for region in REGION.finditer(cell.source):
                inside = region[0].splitlines()[1:-1]
                for line in (squeezed(line).strip() for line in inside):
                    if len(line) > 20 and line not in known:
                        distinctive += 1
                        assert not [path for path, text in lessons.items() if line in text], line
                if len(inside) > 2:
                    whole = squeezed("\n".join(inside)).strip()
                    assert not [path for path, text in texts.items() if whole in text], whole
    assert distinctive > 100


def test_the_readme_says_how_to_start_and_what_there_is(handout) -> None:
    text, own = (handout / "README.md").read_text().split("\n## Handing in\n")
    assert "hand in its file from `my_lessons`" in own
    assert text.startswith("# Pretrained weights: a workbook\n")
    assert "\nmake lab " in text
    assert "\njupyter lab " in text
    for said in (
        "make test",
        "recipes.ipynb",
        "solutions",
        "If you **teach**",
        "CONTRIBUTING",
        "three kinds",
        "orange",
    ):
        assert said not in text
    assert set(re.findall(r"^#+ (.+)$", text, flags=re.M)) < set(re.findall(r"^#+ (.+)$", README, flags=re.M))
    for lesson in MAP:
        assert f"(notebooks/{lesson.notebook})" in text
    assert "[MIT licence](LICENSE)" in text
    assert set(text.strip().split("\n\n")) <= set(README.strip().split("\n\n"))  # nothing is reworded


def test_a_page_keeps_what_links_to_what_is_there(tmp_path) -> None:
    (tmp_path / "a.md").touch()
    table = "| head |\n|---|\n| [here](a.md) |\n| [gone](b.md#part) |"
    section = "## [Gone](b.md)\n\nwords\n\n### Deeper\n\n[here](a.md)"
    gone = "## Gone\n\n### Deeper\n\n[gone](b.md) and [here](a.md)\n\n| head |\n|---|\n| [gone](b.md) |"
    last = "## Last\n\n![gone](c.png)"
    text = f"# Title\n\n{section}\n\n{gone}\n\n## Kept\n\n[web](https://b.md), [here](a.md)\n\n{table}\n\n{last}\n"
    kept = "# Title\n\n## Kept\n\n[web](https://b.md), [here](a.md)\n\n| head |\n|---|\n| [here](a.md) |\n"
    assert with_live_links(text, tmp_path) == kept


def opened_by_lab(folder: Path) -> str:
    """What `make lab` would open in this folder."""
    asked = "import lab; print(lab.command(['--no-browser'])[-1])"
    command = [sys.executable, "-c", asked]
    environment = os.environ | {"PYTHONPATH": str(folder / "tools")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(os.name != "posix" or not shutil.which("make"), reason="make is for POSIX")
def test_make_lab_opens_the_first_lesson_and_make_test_says_that_there_are_none(handout) -> None:
    def make(*target: str) -> subprocess.CompletedProcess:
        command = ["make", "--no-print-directory", *target]  # `make test` may run this test
        return subprocess.run(command, cwd=handout, capture_output=True, text=True, check=False)

    assert "tools/lab.py" in make("-n", "lab").stdout
    assert opened_by_lab(handout) == "my_lessons/00_start_here.ipynb"
    for target in ("test", "test-all", "lesson", "notebooks", "readme", "coverage"):
        done = make(target)
        assert done.returncode != 0
        assert done.stderr.startswith("a handout has no tests")
        assert done.stdout == ""


def test_the_first_lesson_runs_with_the_helpers_of_the_handout(handout, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(handout))
    lesson = nbformat.read(handout / "notebooks/00_start_here.ipynb", as_version=4)
    last = 'print(helpers.__file__, workbook.__file__)\nfor _ in range(9):\n    said = hint("0.1")'
    lesson.cells.append(nbformat.v4.new_code_cell(last))
    NotebookClient(lesson, timeout=120, resources={"metadata": {"path": str(handout / "notebooks")}}).execute()
    printed, *said = lesson.cells[-1].outputs
    assert printed.text.split() == [str(handout / name / "__init__.py") for name in ("helpers", "workbook")]
    assert said[-1].data["text/plain"] == "0.1 hint: that was the last one; your teacher has the solution."
    (asked,) = [cell for cell in lesson.cells if 'check("0.1", count_parameters)' in cell.source]
    assert asked.outputs[0].data["text/plain"].startswith("0.1 not attempted")


def test_some_lessons_only(tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    main(["handout", str(tmp_path / "empty"), "03", "01", "01"])
    names = ["01_load_a_matconvnet_network_into_pytorch.ipynb", "03_load_the_part_that_fits.ipynb"]
    assert capsys.readouterr().out == f"exported to {tmp_path / 'empty'}: {', '.join(names)}\n"
    assert sorted(path.name for path in (tmp_path / "empty/notebooks").iterdir()) == names
    readme = (tmp_path / "empty/README.md").read_text()
    assert re.findall(r"\(notebooks/(\w+\.ipynb)\)", readme) == names
    assert opened_by_lab(tmp_path / "empty") == f"my_lessons/{names[0]}"
    assert dead_links(tmp_path) == []


# errors


def fails(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    usage, _, message = said.err.rpartition("error: ")
    assert usage.startswith("usage: python -m workbook.export")
    assert message.count("\n") == 1
    return message.strip()


@pytest.mark.parametrize("what", ["handout", "course"])
def test_a_folder_that_is_not_fit(tmp_path, capsys, what) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    there_already = "is there already, and is not an empty folder"
    for folder in (tmp_path / "full", tmp_path / "full/notes.txt"):
        assert fails(capsys, what, str(folder)) == f"{folder} {there_already}"
    nowhere = tmp_path / "nowhere/handout"
    assert fails(capsys, what, str(nowhere)) == f"there is no folder {nowhere.parent}"
    for folder in (ROOT, ROOT / "handout", ROOT / "helpers/handout"):
        assert "is inside the workbook" in fails(capsys, what, str(folder))
    assert sorted(tmp_path.rglob("*")) == before
    assert not (ROOT / "handout").exists()
    assert not (ROOT / "helpers/handout").exists()


@pytest.mark.parametrize("number", ["42", "1", "01_load_matconvnet"])
def test_a_lesson_that_is_not_there(tmp_path, capsys, number) -> None:
    message = fails(capsys, "handout", str(tmp_path / "handout"), "01", number)
    assert message.startswith(f"there is no lesson '{number}'; there are 00, 01, 02,")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["handout", "course"])
@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_nothing_is_left_half_written(tmp_path, capsys, monkeypatch, what, error) -> None:
    written, write = [], nbformat.write

    def write_two(notebook: NotebookNode, path: Path) -> None:
        if len(written) == 2:
            raise error
        written.append(path)
        write(notebook, path)

    monkeypatch.setattr(nbformat, "write", write_two)
    folder = tmp_path / "handout"
    if isinstance(error, OSError):
        assert fails(capsys, what, str(folder)) == "the disk is full"
    else:
        with pytest.raises(KeyboardInterrupt):
            main([what, str(folder)])
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_course_without_solutions(handout, tmp_path) -> None:
    """As in a handout, whose own export command is started here."""
    command = [sys.executable, "-m", "workbook.export", "course", str(tmp_path / "course")]
    done = subprocess.run(command, cwd=handout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("error: the solutions of 00_start_here.ipynb are not here\n")
    assert list(tmp_path.iterdir()) == []


# the course


def is_valid(cell: NotebookNode) -> bool:
    """Version 3 of nbgrader's schema, as far as this course uses it."""
    data = dict(cell.metadata["nbgrader"])
    points = data.pop("points", None)
    return (
        set(data) == {"schema_version", "grade", "solution", "locked", "task", "grade_id", "cell_type"}
        and data["schema_version"] == 3
        and all(isinstance(data[key], bool) for key in ("grade", "solution", "locked", "task"))
        and re.fullmatch(r"[\w-]+", data["grade_id"], flags=re.A) is not None
        and data["cell_type"] == cell.cell_type == "code"
        and data["task"] is False
        and (data["grade"], data["locked"], data["solution"]) in ((True, True, False), (False, False, True))
        and (type(points) is int and points > 0 if data["grade"] else points is None)
    )


def test_a_course_has_one_assignment_for_each_lesson(course) -> None:
    files = [f"source/{name.removesuffix('.ipynb')}/{name}" for name in LESSONS]
    found = sorted(str(path.relative_to(course)) for path in course.rglob("*") if path.is_file())
    assert found == ["nbgrader_config.py", *files]


@pytest.mark.parametrize("name", LESSONS)
def test_an_assignment_is_the_lesson_with_solutions_and_points(course, name) -> None:
    """Everything between the marks replaced by dots gives the lesson's cell; a cell for the points follows each."""
    cells, asked = assignment(course, name), stubs(name)
    marked = [cell for cell in cells if "nbgrader" in cell.metadata]
    assert all(map(is_valid, marked))
    ids = [cell.metadata.nbgrader.grade_id for cell in marked]
    assert ids == [f"{kind}-{number.replace('.', '-')}" for number in asked for kind in ("answer", "points")]
    assert len(set(ids)) == len(ids) == 2 * len(asked) > 0
    points = {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.get("points") for cell in marked[1::2]}
    assert points == {f"points-{number.replace('.', '-')}": worth for number, worth in minutes(name).items()}
    for cell, (stub, _) in zip(marked[::2], asked.values(), strict=True):
        assert REGION.sub(r"\1...", cell.source) == stub
        assert cells[cells.index(cell) + 1] is marked[marked.index(cell) + 1]
    for cell in marked[1::2]:
        assert cell.metadata.tags == ["raises-exception"]


@pytest.mark.parametrize("name", LESSONS)
def test_the_rest_of_an_assignment_is_the_lesson(course, name) -> None:
    original = committed(name)
    kept = [cell for cell in assignment(course, name) if not cell.metadata.get("nbgrader", {}).get("grade")]
    assert [cell.id for cell in kept] == [cell.id for cell in original]
    assert [cell.metadata.get("tags") for cell in kept] == [cell.metadata.get("tags") for cell in original]
    code = [(cell, before) for cell, before in zip(kept, original, strict=True) if cell.cell_type == "code"]
    assert all((cell.outputs, cell.execution_count) == ([], None) for cell, _ in code)
    assert all(cell.source == old.source for cell, old in code if "nbgrader" not in cell.metadata)


def namespace_of(cells: list[NotebookNode]) -> dict[str, Any]:
    """What the set-up cell of a lesson imports, without what it sets."""
    setup = next(cell.source for cell in cells if cell.cell_type == "code")
    imports = [node for node in ast.parse(setup).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found: dict[str, Any] = {}
    exec(ast.unparse(ast.Module(imports, [])), found)
    return found


def long_if_it_trains(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.long) if name.startswith("09") else name


@pytest.mark.parametrize("name", list(map(long_if_it_trains, LESSONS)))
def test_solutions_get_the_points_and_stubs_do_not(course, name) -> None:
    cells = assignment(course, name)
    marked = [cell.source for cell in cells if "nbgrader" in cell.metadata]
    for (number, (stub, answer)), solved, test in zip(stubs(name).items(), marked[::2], marked[1::2], strict=True):
        namespace = namespace_of(cells)  # a new one for each: no solution may need another one
        namespace["check"] = lambda *_: None  # the cell for the points has its own, and once is enough
        exec(solved, namespace)
        exec(test, namespace)
        assert namespace["feedback"].kind == "passed"
        exec(stub, namespace)
        with pytest.raises(AssertionError, match=f"^{re.escape(number)} not attempted: replace the dots"):
            exec(test, namespace)
        namespace[answer] = lambda *given: f"{len(given)} wrong"
        with pytest.raises(AssertionError, match=f"^{re.escape(number)} not yet: "):
            exec(test, namespace)


@pytest.fixture
def points_cell(course) -> Callable[[str], dict[str, Any]]:
    """Runs the cell for the points of exercise 0.1 after an answer."""
    (test,) = [cell.source for cell in assignment(course, LESSONS[0]) if cell.id == "points-0-1"]

    def run(answer: str) -> dict[str, Any]:
        namespace: dict[str, Any] = {}
        exec(answer, namespace)
        exec(test, namespace)
        return namespace

    return run


RIGHT = "def count_parameters(model):\n    return sum(p.numel() for p in model.parameters())\n"


def test_a_check_of_ones_own_gives_no_points(points_cell) -> None:
    forged = "from types import SimpleNamespace\ncheck = lambda *_: SimpleNamespace(kind='passed')\n"
    assert points_cell(RIGHT + forged)["feedback"].kind == "passed"
    with pytest.raises(AssertionError, match=r"^0\.1 not yet"):
        points_cell(forged + "def count_parameters(model):\n    return 1\n")


def test_a_right_answer_that_warns_leaves_nothing_that_nbgrader_takes_for_an_error(points_cell, capsys) -> None:
    warns = RIGHT.replace("    return", "    print('careful', file=__import__('sys').stderr)\n    return")
    assert points_cell(warns)["feedback"].kind == "passed"
    assert capsys.readouterr() == ("", "")


def test_the_settings_keep_the_stub_and_let_our_judge_give_the_points(course, monkeypatch) -> None:
    parts = ("CourseDirectory", "ClearSolutions", "Autograde", "JudgeAnswers")
    c = SimpleNamespace(**{part: SimpleNamespace() for part in parts})
    source = (course / "nbgrader_config.py").read_text()
    exec(source, {"get_config": lambda: c})
    assert c.CourseDirectory.course_id == "course"
    assert c.ClearSolutions.code_stub == {"python": "..."}
    judge, *others = c.Autograde.autograde_preprocessors
    assert judge == f"{JudgeAnswers.__module__}.{JudgeAnswers.__name__}"
    assert c.JudgeAnswers.hidden == [os.getcwd()]  # noqa: PTH109 - as the file has it
    assert JudgeAnswers().enabled  # nbconvert leaves out what is not, and then everybody would have all points
    assert not any("Execute" in name for name in others)
    monkeypatch.setitem(sys.modules, "workbook.export", None)
    with pytest.raises(SystemExit, match="has no workbook"):
        exec(source, {"get_config": lambda: c})


# merging

STUB = '''def larger(numbers, least=0):
    """a list, an int -> a list"""
    ...


check("1.1", larger)'''


@pytest.mark.parametrize(
    "solution",
    [
        "def larger(numbers, least=0):\n    return [n for n in numbers if n > least]",
        "def larger(numbers, least=0):\n    # a comment\n    found = filter(lambda n: n > least, numbers)\n\n"
        "    return list(found)\n\n\ncheck('1.1', larger)",
        'def larger(numbers, least=0):\n    """of\n    two lines"""\n    # a comment\n'
        "    return [n for n in numbers if n > least]",
        "import functools\nONE = 1\n\n\ndef above(n, least):\n    return n >= least + ONE\n\n\n"
        "@functools.lru_cache\ndef twice(least):\n    return above(least + ONE, least)\n\n\n"
        "def larger(numbers, least=0):\n    return [n for n in numbers if above(n, least) and twice(least)]",
        "import functools\n\n\n@functools.wraps(list)\ndef larger(numbers, least=0):\n"
        "    return [n for n in numbers if n > least]",
    ],
    ids=["no docstring", "comment", "long docstring", "other definitions", "decorator"],
)
def test_merging_leaves_the_stub_and_computes_the_same(solution) -> None:
    merged = export.merge(STUB, solution, "larger", export.definitions([solution]))
    assert REGION.sub(r"\1...", merged) == STUB
    assert merged.count("# a comment") == solution.count("# a comment")
    namespace: dict[str, Any] = {"check": lambda *_: None}
    exec(merged, namespace)
    assert namespace["larger"]([1, 5, 2, 7], 2) == [5, 7]
    assert namespace["larger"]([-1, 3]) == [3]


def test_merging_takes_only_what_is_needed() -> None:
    extra = export.definitions(
        ["import os, sys as system\nfrom math import pi as number, tau\nimport torch.nn.functional as F\nA = B = 1"]
    )
    assert extra == {
        "os": "import os",
        "system": "import sys as system",
        "number": "from math import pi as number",
        "tau": "from math import tau",
        "F": "import torch.nn.functional as F",
    }
    extra |= dict.fromkeys(("numbers", "found", "n"), "raise AssertionError")  # its own arguments and variables
    solution = STUB.replace("...", "found = number\n    return found, system, lambda n: n")
    merged = export.merge(STUB, solution, "larger", extra)
    inside = merged.split("### BEGIN SOLUTION\n")[1].split("    ### END")[0]
    needed = "    import sys as system\n    from math import pi as number\n"
    assert inside == needed + "\n    found = number\n    return found, system, lambda n: n\n"


@pytest.mark.parametrize(
    ("stub", "solution", "said"),
    [
        (STUB.replace("    ...", "    ...\n    ..."), "def larger(numbers, least=0): pass", "one line of dots"),
        (STUB.replace("    ...", "    return numbers"), "def larger(numbers, least=0): pass", "one line of dots"),
        (STUB.replace("def larger", "def smaller"), "def larger(numbers, least=0): pass", "define larger in the cell"),
        (STUB, "", "should define larger once"),
        (STUB, "def larger(numbers, least=1):\n    pass", "with the arguments of the lesson"),
        (STUB, "def larger(values, least=0):\n    pass", "with the arguments of the lesson"),
    ],
    ids=["two lines of dots", "no dots", "another function", "no solution", "other default", "other names"],
)
def test_what_cannot_be_merged(stub, solution, said) -> None:
    with pytest.raises(export.ExportError, match=said):
        export.merge(stub, solution, "larger", {})


# with nbgrader itself

GRADED = "02_load_all_of_a_state_dict"


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Runs nbgrader in a folder; skipped where it is not installed, unless CLASSROOM_TESTS=required."""
    if not importlib.util.find_spec("nbgrader"):
        assert os.environ.get("CLASSROOM_TESTS") != "required", "CLASSROOM_TESTS=required, but there is no nbgrader"
        pytest.skip("nbgrader is not installed: .venv/bin/python -m pip install --editable '.[classroom]'")
    own = tmp_path_factory.mktemp("jupyter")
    folders = {"JUPYTER_CONFIG_DIR": str(own / "config"), "JUPYTER_RUNTIME_DIR": str(own / "runtime")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic by its name

    def run(folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "nbgrader", *arguments]
        env = os.environ | folders | {"PATH": path, "WORKBOOK_PROGRESS": str(folder / "progress")}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return run


def sources(cells: list[NotebookNode]) -> dict[str, str]:
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in cells if "nbgrader" in cell.metadata}


def hand_in(course: Path, student: str, answers: dict[str, str], own: str = "fresh") -> None:
    """A submission: the released lesson without its other cells, except one of their own, which fails."""
    path = course / "submitted" / student / GRADED / f"{GRADED}.ipynb"
    path.parent.mkdir(parents=True)
    lesson = nbformat.read(course / "release" / GRADED / path.name, as_version=4)
    first = next(cell for cell in lesson.cells if cell.cell_type == "code")
    fails = nbformat.v4.new_code_cell(own, metadata={"tags": ["raises-exception"]})
    marked = [cell for cell in lesson.cells if "nbgrader" in cell.metadata]
    for cell in marked:
        cell.source = answers.get(cell.metadata.nbgrader.grade_id, cell.source)
    lesson.cells = [first, fails, *marked]
    nbformat.write(lesson, path)


def scores(course: Path) -> dict[str, dict[str, float]]:
    """Student -> cell -> points, from nbgrader's data base."""
    query = """
        SELECT submitted_assignment.student_id, base_cell.name, grade.auto_score FROM grade
        JOIN base_cell ON base_cell.id = grade.cell_id
        JOIN submitted_notebook ON submitted_notebook.id = grade.notebook_id
        JOIN submitted_assignment ON submitted_assignment.id = submitted_notebook.assignment_id
    """
    connection = sqlite3.connect(course / "gradebook.db")
    rows = connection.execute(query).fetchall()
    connection.close()
    found: dict[str, dict[str, float]] = {}
    for student, cell, score in rows:
        found.setdefault(student, {})[cell] = score
    return found


@pytest.mark.slow
def test_nbgrader_releases_the_stubs_and_gives_each_exercise_its_points(nbgrader, tmp_path) -> None:
    course, name = tmp_path / "course", f"{GRADED}.ipynb"
    export.export(course, [GRADED[:2]], nbgrader=True)
    nbgrader(course, "generate_assignment", GRADED)
    released = read(course / "release" / GRADED / name)
    blank = {f"answer-{number.replace('.', '-')}": stub for number, (stub, _) in stubs(name).items()}
    assert {key: source for key, source in sources(released).items() if key.startswith("answer")} == blank

    right = sources(assignment(course, name))
    wrong = {"answer-2-2": blank["answer-2-2"].replace("...", "return checkpoint")}
    forged = {"points-2-2": "pass", "points-2-3": "pass"}
    hand_in(course, "right", right)
    hand_in(course, "half", {"answer-2-1": right["answer-2-1"]} | wrong | forged)
    hand_in(course, "blank", {})
    thief = f"return open({str(course / 'source' / GRADED / name)!r}).read()"
    hand_in(course, "thief", {"answer-2-2": blank["answer-2-2"].replace("...", thief)})
    hand_in(course, "forger", {}, "import workbook.feedback as f\nf.judge = lambda *_: f.Feedback('', 'passed', '')")
    handout = tmp_path / "submitted/anna"
    handout.mkdir(parents=True)
    lesson = without_outputs(NOTEBOOKS / name)
    for cell in lesson.cells:
        cell.source = cell.source.replace(blank["answer-2-1"], right["answer-2-1"])
    nbformat.write(lesson, handout / "my answers.ipynb")
    assert export.collect(tmp_path / "submitted", course) == ["anna: 02 (it was called my answers.ipynb)"]
    nbgrader(course, "autograde", GRADED)
    assert scores(course) == {
        "right": {"points-2-1": 6, "points-2-2": 10, "points-2-3": 9},
        "half": {"points-2-1": 6, "points-2-2": 0, "points-2-3": 0},
        "blank": {"points-2-1": 0, "points-2-2": 0, "points-2-3": 0},
        "thief": {"points-2-1": 0, "points-2-2": 0, "points-2-3": 0},
        "forger": {"points-2-1": 0, "points-2-2": 0, "points-2-3": 0},
        "anna": {"points-2-1": 6, "points-2-2": 0, "points-2-3": 0},
    }
    said = {cell.metadata.nbgrader.grade_id: cell.outputs for cell in graded_cells(course, "half")}
    assert said["points-2-1"] == []
    assert said["points-2-2"][0].evalue.startswith("2.2 not yet: for a checkpoint that is nested")
    assert said["points-2-3"][0].evalue.startswith("2.3 not attempted: ")
    stolen = next(cell for cell in graded_cells(course, "thief") if cell.metadata.nbgrader.grade_id == "points-2-2")
    assert "read what is hidden" in stolen.outputs[0].evalue
    assert not (course / "progress").exists()


def graded_cells(course: Path, student: str) -> Iterator[NotebookNode]:
    path = course / "autograded" / student / GRADED / f"{GRADED}.ipynb"
    return (cell for cell in nbformat.read(path, as_version=4).cells if cell.metadata.get("nbgrader", {}).get("grade"))
