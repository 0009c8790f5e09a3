"""Tables and a picture of what was measured."""

from __future__ import annotations

import math
import os
import platform
import re
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from measuring import ROUNDS, Case, Row

Found = list[tuple[Case, list[Row]]]
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "isal", "timm", "segmentation-models-pytorch")


def head(quick: bool) -> str:
    """When, where and with what."""
    packages = "; ".join(f"{name} {_version(name)}" for name in PACKAGES)
    rounds = "one round of small models: **these figures say nothing**" if quick else f"medians of {ROUNDS} rounds"
    return (
        f"Measured by `make bench` on {date.today():%d %B %Y}: {rounds}, each way in its turn and in a process of its "
        f"own. In brackets stand the fastest and the slowest round. Memory is the peak of what no file backs, above "
        f"what the process had before.\n\n{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{platform.system()}, Python {platform.python_version()}; {packages}.\n"
    )


def table(found: Found) -> str:
    """One table for all rooms; a row's ratios are those of medians."""
    lines = []
    for case, rows in found:
        recipe, limit = rows[0].median, limit_of(rows)
        lines.append(f"\n**{rows[0].room}: {case.question}**\n")
        lines.append("| way | time | of the recipe | of the limit | private memory |\n|---|---|---|---|---|")
        for row in rows:
            of_limit = ratio(row.median / limit.median) if limit else ""
            spread = f"{duration(row.median)} ({duration(min(row.seconds))} to {duration(max(row.seconds))})"
            memory = "" if math.isnan(row.megabytes) else f"{row.megabytes:.1f} MB"
            lines.append(f"| {row.way} | {spread} | {ratio(row.median / recipe)} | {of_limit} | {memory} |")
    return "\n".join(lines) + "\n"


def growth(found: Found) -> str:
    """Cases that differ in size alone, a line for each way, with the power of the size that the time grows with."""
    series: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for case, rows in found:
        for row in rows if case.series else []:
            series.setdefault((row.room, case.series, row.way), []).append((case.size, row.median))
    if not series:
        return ""
    lines = ["\n## Growth\n", "| room | size | way | time at each size | grows as |\n|---|---|---|---|---|"]
    for (room, unit, way), points in series.items():
        (first, t_first), (last, t_last) = points[0], points[-1]
        power = math.log(t_last / t_first) / math.log(last / first)
        sizes = " / ".join(f"{size:,.0f}" for size, _ in points)
        times = " / ".join(duration(seconds) for _, seconds in points)
        lines.append(f"| {room} | {sizes} {unit} | {way} | {times} | size to the power {power:.2f} |")
    return "\n".join(lines) + "\n"


def goals_kept(found: Found) -> str:
    """Each goal beside its figure."""
    lines = []
    for case, rows in found:
        for goal in case.goals:
            (row,) = [row for row in rows if row.way == goal.way]
            limit = limit_of(rows)
            figure = {
                "of the recipe": row.median / rows[0].median,
                "of the limit": row.median / limit.median if limit else math.nan,
                "seconds": row.median,
                "MB": row.megabytes,
            }[goal.measure]
            kept = "yes" if figure <= goal.at_most else "**no**"
            lines.append(
                f"| {case.question}: {goal.way} | {ratio(goal.at_most)} {goal.measure} | {ratio(figure)} | {kept} |"
            )
    return (
        "\n## Goals\n\n| what | at most | measured | kept |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
        if lines
        else ""
    )


def draw(found: Found, path: Path) -> None:
    """Bars of the times of each case, on a scale of powers of ten."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    shown = [(case, rows) for case, rows in found if not case.series]
    heights = [len(rows) + 1.2 for _, rows in shown]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(
            len(shown), figsize=(9, 0.26 * sum(heights)), height_ratios=heights, sharex=True, layout="constrained"
        )
        for axis, (case, rows) in zip(axes, shown, strict=True):
            for place, row in enumerate(rows):
                colour = "#999999" if place == 0 or row.way.startswith("limit") else "#3b6ea8"
                axis.barh(place, row.median, color=colour)
                axis.text(row.median * 1.15, place, duration(row.median), va="center", fontsize=8)
            axis.set_yticks(range(len(rows)), [row.way for row in rows], fontsize=8)
            axis.invert_yaxis()
            axis.set_xscale("log")
            axis.set_title(f"{rows[0].room}: {case.question}", loc="left", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
        axes[-1].set_xlabel("seconds (recipe and limit in grey)")
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def limit_of(rows: list[Row]) -> Row | None:
    """The row that nobody can be faster than, if the case has one."""
    return rows[-1] if rows[-1].way.startswith("limit") else None


def ratio(number: float) -> str:
    """Three digits: 0.0123, 1.23, 123."""
    return f"{number:#.3g}".rstrip(".")


def duration(seconds: float) -> str:
    """1.23 s or 12.3 ms."""
    if seconds >= 1:
        return f"{seconds:#.3g} s".replace(". s", " s")
    return f"{1000 * seconds:#.3g} ms".replace(". ms", " ms")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        said = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        said = None
    return said[1] if said else platform.processor()
