"""The policy for notebooks and modules: what every lesson has, and what none may have.

That the stored outputs are still what the cells print is nbval's part (`make test`).
"""

import base64
import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from anatomy import PROOF, RECIPE, anatomy
from nbformat import NotebookNode

from workbook import widgets
from workbook.exercises import numbers
from workbook.lessons import LESSONS as MAP
from workbook.lessons import markdown_table
from workbook.places import NOTEBOOKS
from workbook.places import WORKBOOK as ROOT

LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
SECONDS = {  # that each lesson runs on two cores
    "00": 8,
    "01": 28,
    "02": 22,
    "03": 22,
    "04": 34,
    "05": 31,
    "06": 70,
    "07": 40,
    "08": 40,
    "09": 20,
}
IMG = r'class=\\"plot\\"[^>]*src=\\"data:image/png;base64,([^"\\]+)'  # in the JSON of a notebook
SETUP = "for house in (helpers, workbook):\n    assert workbook.is_here(house), "


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def cells(path: Path, kind: str) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind and cell.source.strip()]


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def lines(cell: NotebookNode) -> int:
    return sum(1 for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#"))


def checks(path: Path) -> dict[str, str]:
    """Exercise -> what its check printed. A check of an answer that shows a mistake on purpose does not count."""
    found = {}
    for cell in cells(path, "code"):
        for exercise, answer in re.findall(r'^check\("([\d.]+)", (\w+)\)$', cell.source, flags=re.M):
            if not answer.startswith("wrong"):
                assert exercise not in found, f"{exercise} is checked twice"
                found[exercise] = "".join(output.data["text/plain"] for output in cell.outputs if "data" in output)
    return found


def test_there_are_lessons_and_solutions() -> None:
    assert [path.name for path in LESSONS] == [path.name for path in SOLUTIONS]
    assert LESSONS[0].name == "00_start_here.ipynb"


def test_every_notebook_says_what_it_is_and_is_called_by_its_title() -> None:
    assert [lesson.notebook for lesson in MAP] == [path.name for path in LESSONS]
    assert [lesson.number for lesson in MAP] == [f"{number:02d}" for number in range(len(MAP))]
    for lesson in MAP:
        assert lesson.question.endswith("?")
        assert set(lesson.needs) <= {other.number for other in MAP if other.number < lesson.number}
    assert all(lesson.needs for lesson in MAP[1:])


def test_the_readme_has_the_table_that_is_made_from_the_lessons() -> None:
    assert f"\n\n{markdown_table(MAP)}\n\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_every_interactive_of_a_lesson_is_driven_in_a_browser(path) -> None:
    shown = {
        found for cell in cells(path, "code") for found in re.findall(r"widgets\.([A-Z]\w*[a-z]\w*)\(", cell.source)
    }
    driver = ROOT / "tests/browser" / f"test_browser_{path.name[:2]}.py"
    driven = driver.read_text() if shown else ""
    for interactive in shown:
        assert f'interactive("{getattr(widgets, interactive).name}")' in driven


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_a_lesson_is_light(path) -> None:
    found = anatomy(path, SECONDS[path.name[:2]])
    assert found.words <= 1500
    assert found.minutes <= 60
    assert len(found.names) <= 12, found.names
    assert found.longest_line <= 90
    assert found.longest_cell <= 10
    assert found.open_asserts == 0
    assert found.silent_pictures == 0


@pytest.mark.parametrize("path", LESSONS[1:], ids=name)
def test_a_lesson_has_its_parts(path) -> None:
    text = prose(path)
    assert 3 <= len(checks(path)) <= 4
    for part in ("**In short.**", "**You need**", "**Predict:**", "## Which case do I have?", "## The recipe"):
        assert part in text, f"{part} is missing"
    for part in ("## Proof of transfer", "## Exercises", "## In practice", "**Sources:**", "(#The-recipe)"):
        assert part in text, f"{part} is missing"
    assert 3 <= text.count("## Trap") <= 4
    code = cells(path, "code")
    assert sum("widgets." in cell.source and "make_" not in cell.source for cell in code) <= 1
    assert [cell for cell in code if RECIPE in cell.metadata.get("tags", [])]
    for cell in code:
        is_proof = PROOF in cell.metadata.get("tags", [])
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == is_proof
        assert cell.source.startswith("# proof\n") == is_proof


@pytest.mark.parametrize("path", LESSONS[1:], ids=name)
def test_a_lesson_says_how_long_it_takes(path) -> None:
    (lesson,) = [lesson for lesson in MAP if lesson.notebook == path.name]
    exercises = [int(minutes) for minutes in re.findall(r"^### Exercise .*\((\d+) minutes\)$", prose(path), flags=re.M)]
    assert f"{sum(exercises)} of them for the exercises" in prose(path)
    assert abs(lesson.minutes - sum(exercises) - anatomy(path, SECONDS[path.name[:2]]).minutes) <= 5


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=name)
def test_every_cell_was_run_in_order_and_is_short(path) -> None:
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert max(lines(cell) for cell in code if RECIPE not in cell.metadata.get("tags", [])) <= 20
    assert SETUP in code[0].source


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=name)
def test_errors_are_announced_and_nothing_is_hidden_from_nbval(path) -> None:
    for cell in cells(path, "code"):
        tags = set(cell.metadata.get("tags", []))
        known = {"raises-exception", "nbval-ignore-output", "long", PROOF, RECIPE}
        assert all(tag in known or tag.startswith("picture-") for tag in tags)
        assert any(output.output_type == "error" for output in cell.outputs) == ("raises-exception" in tags)
        assert not any(output.get("name") == "stderr" for output in cell.outputs)


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=name)
def test_every_picture_has_a_text(path) -> None:
    for cell in cells(path, "code"):
        for output in cell.outputs:
            assert "image/png" not in output.get("data", {})
            for tag in re.findall(r"<img[^>]*>", output.get("data", {}).get("text/html", "")):
                assert len(re.search(r'alt="([^"]*)"', tag)[1]) > 5, tag[:200]


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=name)
def test_nothing_names_this_machine(path) -> None:
    assert not re.search(r"/(home|root|tmp|Users|usr|var)/|\\\\Users\\\\|site-packages", path.read_text())


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_exercises_are_open_in_the_lesson_and_passed_in_its_solution(path) -> None:
    number = path.name[:2]
    exercises = numbers(number)
    solution = NOTEBOOKS / "solutions" / path.name
    open_ones, solved = checks(path), checks(solution)
    assert sorted(open_ones) == sorted(solved) == sorted(exercises)
    for exercise in exercises:
        assert exercise.startswith(f"{int(number)}.")
        assert open_ones[exercise].startswith(f"{exercise} not attempted")
        assert solved[exercise].startswith(f"{exercise} passed")


def test_exercise_numbers_are_unique() -> None:
    numbers = Counter(exercise for path in LESSONS for exercise in checks(path))
    assert max(numbers.values()) == 1


@pytest.mark.parametrize(
    "path", [*LESSONS, *SOLUTIONS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md"], ids=name
)
def test_local_links_lead_somewhere(path) -> None:
    text = prose(path) if path.suffix == ".ipynb" else path.read_text()
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_the_readme_has_the_question_of_every_recipe_in_order() -> None:
    asked = re.findall("^### (.+)$", prose(NOTEBOOKS / "recipes.ipynb"), flags=re.M)
    section = (ROOT / "README.md").read_text().split(" by question\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \w[\w ]+ \| (.+) \|$", section, flags=re.M)
    assert [question for row in rows for question in row.split("<br>")] == asked


@pytest.mark.parametrize("picture", sorted((NOTEBOOKS / "pictures").iterdir()), ids=name)
def test_pictures_of_the_readme_are_what_a_lesson_drew(picture) -> None:
    drawn = [base64.b64decode(found) for path in LESSONS for found in re.findall(IMG, path.read_text())]
    assert picture.read_bytes() in drawn
    assert f"(notebooks/pictures/{picture.name})" in (ROOT / "README.md").read_text()
