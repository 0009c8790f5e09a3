"""All rooms of helpers beside what people use otherwise, in one table.

usage: python benchmarks [--quick] [--write] [ROOM ...]

A room is a module here with `cases`, such as `state_dict`. --quick takes small models and one round, to see that all of
it runs; its figures say nothing. --write keeps the figures in `benchmarks/results.md` and `results.svg`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))  # helpers and workbook

from measuring import measure, start_server  # noqa: E402
from reporting import draw, goals_kept, growth, head, table  # noqa: E402

ROOMS = ("matconvnet", "state_dict", "first_conv", "heads", "fcn", "freezing", "checkpoint")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python benchmarks", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="small models, one round")
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results.md and .svg")
    parser.add_argument("rooms", nargs="*", choices=[*ROOMS, []], metavar="ROOM", help=", ".join(ROOMS))
    wanted = parser.parse_args()
    start_server(ROOMS, (HERE, HERE.parent))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for room in wanted.rooms or ROOMS:
            for case, rows in measure(room, Path(folder), quick=wanted.quick):
                print(table([(case, rows)]), flush=True)
                found.append((case, rows))
    closing = f"{growth(found)}\n{goals_kept(found)}"
    print(closing)
    if wanted.write:
        report = f"# What it costs\n\n{head(wanted.quick)}\n{PICTURE}\n{table(found)}\n{closing}"
        (HERE / "results.md").write_text(report, encoding="utf-8")
        draw(found, HERE / "results.svg")


PICTURE = "![Time of each way, on a scale of powers of ten; the table below has the numbers](results.svg)\n"

if __name__ == "__main__":
    main()
