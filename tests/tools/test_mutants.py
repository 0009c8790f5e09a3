"""The tool that changes right answers: its mutants are programs, differ, and a check that is too weak is found out."""

import importlib.util

import pytest

from workbook.exercises import find
from workbook.places import WORKBOOK

spec = importlib.util.spec_from_file_location("mutants", WORKBOOK / "tools/mutants.py")
mutants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutants)


@pytest.mark.parametrize("number", ["2.2", "4.2"])
def test_no_mutant_passes_that_is_not_known(number) -> None:
    tried, left = mutants.survivors(number)
    assert tried >= 3
    assert left == []


def test_a_check_that_asks_nothing_is_found_out(monkeypatch) -> None:
    module = mutants.sys.modules[find("2.1").verify.__module__]
    monkeypatch.setattr(mutants, "passes", lambda verify, answer: True)
    tried, left = mutants.survivors("2.1")
    assert tried == len(left) >= 2
    assert any("clone" in line for line in left)
    assert module.right.__name__ == "right"
