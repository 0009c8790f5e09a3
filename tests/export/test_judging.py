"""An answer that tries to get points, or to harm, in other ways than by being right."""

from pathlib import Path

import pytest

from workbook.exercises import find
from workbook.export import judging
from workbook.export.answers import Answer
from workbook.export.judging import Verdict, best, judged
from workbook.places import NOTEBOOKS


def verdict(code: str, *hidden: Path, seconds: float = 60) -> Verdict:
    return judged(Answer("2.2", code, "unwrap"), hidden, seconds)


def body(lines: str) -> str:
    return "def unwrap(checkpoint):\n" + "\n".join(f"    {line}" for line in lines.split("\n"))


@pytest.fixture(scope="module")
def right() -> str:
    import nbformat

    from workbook.export.answers import answers_in

    path = next((NOTEBOOKS / "solutions").glob("02_*.ipynb"))
    return answers_in(nbformat.read(path, as_version=4), {"2.2": "unwrap"})["2.2"][0].code


def test_a_right_answer_passes_whatever_it_prints_and_changes(right) -> None:
    noisy = "import sys, torch\nprint('x' * 10**6)\nsys.stderr.write('y' * 10**6)\ntorch.set_grad_enabled(False)\n"
    found = verdict(noisy + right)
    assert (found.state, found.seconds > 0) == ("passed", True), found


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (body("..."), "replace the dots"),
        (body("return checkpoint"), "is nested"),
        (body("import os\nos._exit(0)"), "your code ended the process"),
        (body("raise SystemExit(0)"), "SystemExit"),
        (body("import os\nos.kill(os.getppid(), 9)"), "may not do this while it is judged: os.kill"),
        (body("import subprocess\nsubprocess.run(['ls'])"), "may not do this while it is judged: subprocess.Popen"),
        (body("import os\nos.system('ls')"), "may not do this while it is judged: os.system"),
        (body("import numpy\nreturn numpy.zeros(6 * 2**30, numpy.uint8)"), "MemoryError"),
        (body("import workbook.exercises.checking"), "ModuleNotFoundError"),
        (body("from workbook.feedback import judge"), "ModuleNotFoundError"),
        (body("import importlib, sys\nsys.modules.clear()\nimportlib.import_module('workbook.exercises')"), ""),
        ("unwrap = __import__('workbook.exercises').exercises.find('2.2').right", "ModuleNotFoundError"),
        ("import torch\ntorch.equal = torch.allclose = lambda *a, **k: True\n" + body("return checkpoint"), ""),
        ("unwrap = 3", "hand in the function itself"),
        ("raise KeyboardInterrupt", "stopped before it was checked"),
        ("import builtins\nbuiltins.isinstance = lambda *a: True\n" + body("return checkpoint"), ""),
    ],
)
def test_what_is_not_right_does_not_pass_and_is_told_why(code, said) -> None:
    found = verdict(code)
    assert found.state != "passed"
    assert said in found.text


def test_what_does_not_end_is_broken_off() -> None:
    assert verdict(body("while True: pass"), seconds=3).text == "your code was still running after 3 seconds."
    assert verdict("while True: pass", seconds=3).text == "your code was still running after 3 seconds."


def test_solutions_exercises_and_classmates_cannot_be_read(tmp_path) -> None:
    (tmp_path / "anna").mkdir()
    secret = tmp_path / "anna/answer.py"
    secret.write_text("1")
    for path in (
        secret,
        next((NOTEBOOKS / "solutions").glob("02_*")),
        NOTEBOOKS.parent / "workbook/exercises/checking.py",
    ):
        assert "read what is hidden" in verdict(body(f"return open({str(path)!r}).read()"), tmp_path / "anna").text


def test_nothing_outside_is_written_or_deleted(tmp_path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("1")
    for line in (
        f"open({str(mine)!r}, 'w')", f"os.remove({str(mine)!r})", f"shutil.rmtree({str(tmp_path)!r})",
        f"os.rename({str(mine)!r}, 'there')", f"os.open({str(mine)!r}, os.O_TRUNC | os.O_WRONLY)",
    ):  # fmt: skip
        assert "may not do this" in verdict(body(f"import os, shutil\n{line}")).text, line
    assert mine.read_text() == "1"


def test_an_answer_that_exchanges_what_judges_it_is_found_out(right) -> None:
    found = verdict(right + "\nimport torch\ntorch.equal = lambda *a: True\n")
    assert found.text == "your code exchanges torch.equal, which is not its own."
    patched = "\nimport torch.nn\ntorch.nn.Module.load_state_dict.__code__ = (lambda *a, **k: None).__code__\n"
    assert "Module.load_state_dict, which is not its own" in verdict(right + patched).text


def test_of_several_answers_the_best_counts(right) -> None:
    stub, wrong = (Answer("2.2", body(line), "unwrap") for line in ("...", "return 3"))
    assert best([stub, wrong, Answer("2.2", right, "unwrap")]).state == "passed"
    assert best([stub, wrong]).state == "not yet"
    assert best([stub]).state == "not attempted"
    assert best([]).state == "missing"
    assert (
        best([Answer("2.2", "", "unwrap", "line 3 of its cell: x")]).text == "this is no Python: line 3 of its cell: x"
    )


def test_an_answer_may_show_things_and_define_classes_as_in_a_notebook(right) -> None:
    own = "from dataclasses import dataclass\n@dataclass\nclass Own:\n    x: 'int' = 3\n"
    shows = "\n_unwrap = unwrap\ndef unwrap(checkpoint):\n    display(Own())\n    return _unwrap(checkpoint)\n"
    pickled = "import pickle\nassert pickle.loads(pickle.dumps(Own())) == Own()\n"
    assert verdict("from __future__ import annotations\n" + own + pickled + right + shows).state == "passed"


def test_a_check_that_lets_wrong_answers_pass_is_found_out() -> None:
    exercise = find("2.2")
    mistakes = {mistake.cause: mistake.answer for mistake in exercise.mistakes}
    assert judging._still_refuses(exercise.verify, mistakes)
    assert not judging._still_refuses(lambda answer: None, mistakes)
