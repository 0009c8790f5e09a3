"""What `make bench` reckons and prints, on ways whose time and memory are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.setup import ROOT

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from measuring import Case, Goal, Row, at_once  # noqa: E402
from reporting import duration, goals_kept, growth, ratio, table  # noqa: E402

KNOWN = """
import time
from measuring import Case, Way, at_once

def fifty():
    return bytearray(b"x") * 50_000_000

def known(kept):
    def prepare():
        held = fifty()  # is there before, so it is no memory of the way
        return lambda: time.sleep(0.05) or kept and fifty()
    return prepare

def cases(folder, quick):
    (folder / "seen").touch()
    ways = [Way("sleeps", known(False)), Way("holds", known(True)), Way("absent", fifty, needs="no_such_package")]
    return [Case("sleeping", ways), Case("warm", at_once({"counts": Counter()}), calls=3, warm=True)]

class Counter:
    # the first call takes long, as a first call does
    def __init__(self): self.calls = 0
    def __call__(self):
        self.calls += 1
        time.sleep(0.3 if self.calls == 1 else 0.01)
"""
ASKED = """
import dataclasses, json, pathlib, sys
from measuring import measure, start_server
here = pathlib.Path(sys.argv[1])
if __name__ == "__main__":
    start_server(("known",), (here, pathlib.Path(sys.argv[2])))
    print(json.dumps([dataclasses.asdict(row) for _, rows in measure("known", here, quick=False) for row in rows]))
"""


def rows(*medians: float) -> list[Row]:
    """Of a recipe, of ours and of a limit; each has a slower and a faster round, too."""
    ways = zip(["recipe", "ours", "limit: none"], medians, strict=False)
    return [Row("room", "?", way, [9 * m, m, m / 2], 10.0 * m) for way, m in ways]


def test_a_process_for_each_way_whose_time_and_memory_are_right(tmp_path: Path) -> None:
    (tmp_path / "known.py").write_text(KNOWN, encoding="utf-8")
    (tmp_path / "asked.py").write_text(ASKED, encoding="utf-8")
    command = [sys.executable, tmp_path / "asked.py", tmp_path, BENCHMARKS]
    paths = os.pathsep.join([str(tmp_path), str(BENCHMARKS)])
    said = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True)
    sleeps, holds, counts = json.loads(said.stdout)
    assert [row["way"] for row in (sleeps, holds, counts)] == ["sleeps", "holds", "counts"]
    assert len(sleeps["seconds"]) == len(counts["seconds"]) == 5
    assert all(0.05 <= seconds < 0.2 for seconds in sleeps["seconds"])
    assert all(0.01 <= seconds < 0.2 for seconds in counts["seconds"])  # 0.3 if the first call counted
    if sys.platform == "linux":
        assert sleeps["megabytes"] < 5
        assert 48 < holds["megabytes"] < 60


def test_ratios_are_those_of_medians() -> None:
    shown = table([(Case("?", []), rows(2.0, 0.5, 0.25))])
    assert "| recipe | 2.00 s (1.00 s to 18.0 s) | 1.00 | 8.00 | 20.0 MB |" in shown
    assert "| ours | 500 ms (250 ms to 4.50 s) | 0.250 | 2.00 | 5.0 MB |" in shown
    without = table([(Case("?", []), rows(2.0, 0.5))])
    assert "| ours | 500 ms (250 ms to 4.50 s) | 0.250 |  | 5.0 MB |" in without


def test_growth_is_the_power_of_the_size() -> None:
    series = [(Case("?", [], series="MB", size=size), rows(3 * size, size**2 / 10, 1.0)) for size in (4, 16, 64)]
    shown = growth([*series, (Case("other", []), rows(1.0, 1.0, 1.0))])
    assert "| room | 4 / 16 / 64 MB | recipe | 12.0 s / 48.0 s / 192 s | size to the power 1.00 |" in shown
    assert "ours | 1.60 s / 25.6 s / 410 s | size to the power 2.00 |" in shown
    assert "limit: none | 1.00 s / 1.00 s / 1.00 s | size to the power 0.00 |" in shown
    assert growth([(Case("other", []), rows(1.0, 1.0, 1.0))]) == ""


@pytest.mark.parametrize(
    ("measure", "figure"), [("of the recipe", 0.25), ("of the limit", 2.0), ("seconds", 0.5), ("MB", 5.0)]
)
def test_goals_stand_beside_their_figures(measure: str, figure: float) -> None:
    for at_most, kept in ((figure, "yes"), (figure * 0.9, "**no**")):
        case = Case("?", [], [Goal("ours", measure, at_most)])
        assert f"| {ratio(at_most)} {measure} | {ratio(figure)} | {kept} |" in goals_kept(
            [(case, rows(2.0, 0.5, 0.25))]
        )


def test_numbers_have_three_digits() -> None:
    assert [ratio(x) for x in (0.012345, 1.0, 12.34, 123.4)] == ["0.0123", "1.00", "12.3", "123"]
    assert [duration(x) for x in (0.0000123, 0.5, 1.0, 123.4)] == ["0.0123 ms", "500 ms", "1.00 s", "123 s"]


def test_each_way_works_by_itself() -> None:
    found = at_once({"one": lambda: 1, "two": lambda: 2})
    assert [(way.name, way.prepare()()) for way in found] == [("one", 1), ("two", 2)]


@pytest.mark.long
def test_all_of_it_runs() -> None:
    """With small models; its figures say nothing."""
    command = [sys.executable, BENCHMARKS, "--quick"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for room in ("matconvnet", "state_dict", "first_conv", "heads", "fcn", "freezing", "checkpoint"):
        assert f"**{room}: " in said
    assert said.count("limit: ") > 10
