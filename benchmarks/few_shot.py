"""What the trainings of a lesson give with other images and other seeds: where the bounds that it asserts come from.

usage: python benchmarks/few_shot.py NOTEBOOK [SEEDS]

Runs the lesson up to its trainings, and those cells (which are tagged nbval-ignore-output) once for each seed.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import matplotlib
import nbformat

matplotlib.use("Agg")


def main(path: Path, seeds: int) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    trainings = [i for i, cell in enumerate(cells) if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    os.chdir(path.parent)
    namespace: dict[str, object] = {}
    for cell in cells[: trainings[0]]:
        if "raises-exception" not in cell.metadata.get("tags", []):
            exec(cell.source, namespace)
    for seed in range(seeds):
        print(f"seed {seed}", flush=True)
        for cell in cells[trainings[0] : trainings[-1] + 1]:
            try:
                exec(re.sub(r"(manual_seed\(|seed=)0\b", rf"\g<1>{seed}", cell.source), namespace)
            except AssertionError:
                print("  what the lesson asserts did not hold", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int((sys.argv[2:] or ["6"])[0]))
