"""The code that an answer needs, taken out of a notebook."""

import nbformat
import pytest

from workbook.export.answers import answers_in, asked_in

ASKED = {"2.2": "unwrap"}


def notebook(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def ran(*cells: str, number: int = 0) -> object:
    """What is handed in, called with 5: the code runs alone, with nothing of the notebook around it."""
    answer = answers_in(notebook(*cells), ASKED)["2.2"][number]
    module: dict[str, object] = {}
    exec(answer.code, module)
    return eval(answer.handed_in, module)(5)


CHECK = 'check("2.2", unwrap)'


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([f"def unwrap(x):\n    return x + 1\n{CHECK}"], 6),
        (["import math as m", f"def unwrap(x):\n    return m.floor(x + 0.5)\n{CHECK}"], 5),
        (["def double(x):\n    return 2 * x", f"def unwrap(x):\n    return double(x)\n{CHECK}"], 10),
        (["more = 1", "more = 3", f"def unwrap(x):\n    return x + more\n{CHECK}", "more = 9"], 8),
        (["more = 1", "more = more + 3", f"def unwrap(x):\n    return x + more\n{CHECK}"], 9),
        (["add = []", "add.append(4)", "add[0] += 3", f"def unwrap(x):\n    return x + add[0]\n{CHECK}"], 12),
        ([f"def unwrap(x):\n    return later(x)\n{CHECK}", "def later(x):\n    return -x"], -5),
        (["first = 2\nthen = first + 1\nfirst = 100", f"unwrap = lambda x: x + then\n{CHECK}"], 8),
        (["def mine(x):\n    return x - 1", 'check("2.2", mine)'], 4),
        (["%%time\ndef unwrap(x):\n    return x\n" + CHECK], 5),
        (["!pip list\nfrom __future__ import annotations", f"unwrap = lambda x: x * 3\nfeedback = {CHECK}"], 15),
        (["for more in (1, 2):\n    pass", f"def unwrap(x):\n    return x + more\n{CHECK}"], 7),
        ([f"def unwrap(x):\n    return x + 7\n{CHECK}", "check = print"], 12),
    ],
)
def test_the_code_of_an_answer_runs_alone(cells, expected) -> None:
    assert ran(*cells) == expected


def test_what_an_answer_does_not_need_is_not_run() -> None:
    cells = [
        "from workbook import check, data\nimport torch",
        "unwrap = data.vgg16_pth()  # another thing of this name",
        "1 / 0",
        f"def unwrap(x):\n    return torch.tensor(x)\n{CHECK}",
    ]
    (answer,) = answers_in(notebook(*cells), ASKED)["2.2"]
    assert answer.code == "import torch\ndef unwrap(x):\n    return torch.tensor(x)"


def test_of_several_answers_the_last_comes_first() -> None:
    cells = [f"def unwrap(x):\n    ...\n{CHECK}", "def unwrap(x):\n    return 2 * x"]
    assert [answer.handed_in for answer in answers_in(notebook(*cells), ASKED)["2.2"]] == ["unwrap", "unwrap"]
    assert ran(*cells) == 10
    assert ran(*cells, number=1) is None


def test_a_cell_that_is_no_python_says_so() -> None:
    (answer,) = answers_in(notebook(f"def unwrap(x:\n    return 1\n{CHECK}"), ASKED)["2.2"]
    assert answer.problem == "line 1 of its cell: '(' was never closed"


def test_an_exercise_without_cell_has_no_answer() -> None:
    assert answers_in(notebook("x = 1"), ASKED) == {"2.2": []}


def test_a_lesson_says_what_is_asked_for() -> None:
    lesson = notebook('check("0.1", wrong_attempt)', 'def count(m):\n    ...\n\n\ncheck("0.1", count)')
    assert asked_in(lesson) == {"0.1": "count"}
