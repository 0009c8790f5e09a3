"""Ways to the same thing, side by side: time and memory of each, in processes of their own and in turns.

In each round every way has its turn, in an interpreter that has just started (all is imported, nothing has run in it).
A first round fills the file system's cache, measures the memory of a first call, and is left out of the times.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

Work = Callable[[], object]
ROUNDS = 5
MEGA = 1e6


@dataclass(frozen=True)
class Way:
    """One way to do it. `prepare` is not timed; what it returns is."""

    name: str
    prepare: Callable[[], Work]
    needs: str = ""  # a package that may be absent


def at_once(ways: dict[str, Work]) -> list[Way]:
    """Ways that need no preparation."""
    return [Way(name, lambda work=work: work) for name, work in ways.items()]  # type: ignore[misc]


@dataclass(frozen=True)
class Goal:
    """What a way has to keep: a ratio "of the recipe" or "of the limit", "seconds", or "MB" of private memory."""

    way: str
    measure: str
    at_most: float


@dataclass(frozen=True)
class Case:
    """A question and the ways to answer it. The first is the recipe; the last, if so called, is the limit."""

    question: str
    ways: list[Way]
    goals: list[Goal] = field(default_factory=list)
    calls: int = 1  # timed calls in each process, of which the median counts
    warm: bool = False  # once more before them
    series: str = ""  # cases of one series differ in size alone: the unit of `size`
    size: float = 0


@dataclass(frozen=True)
class Row:
    """What was measured of one way; `seconds` has a number for each round, `megabytes` the peak of private memory."""

    room: str
    question: str
    way: str
    seconds: list[float]
    megabytes: float

    @property
    def median(self) -> float:
        return median(self.seconds)


def measure(room: str, folder: Path, *, quick: bool) -> Iterator[tuple[Case, list[Row]]]:
    """Each case of a room with its rows; those whose package is absent are left out."""
    cases = importlib.import_module(room).cases(folder, quick)
    for number, case in enumerate(cases):
        ways = [i for i, way in enumerate(case.ways) if not way.needs or importlib.util.find_spec(way.needs)]
        seconds: dict[int, list[float]] = {}
        memory: dict[int, float] = {}
        for i in ways:
            taken, memory[i] = in_a_process(room, number, i, folder, quick, watched=True)
            seconds[i] = [taken] if quick else []
        for _ in range(0 if quick else ROUNDS):
            for i in ways:
                seconds[i].append(in_a_process(room, number, i, folder, quick, watched=False)[0])
        yield case, [Row(room, case.question, case.ways[i].name, seconds[i], memory[i]) for i in ways]


def in_a_process(room: str, case: int, way: int, folder: Path, quick: bool, *, watched: bool) -> tuple[float, float]:
    """Seconds of a call; if it is watched, those of a first call, and the megabytes that it needed at its peak."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_work, args=(there, room, case, way, folder, quick, watched))
    process.start()
    there.close()
    here.recv()
    if hasattr(os, "sync"):
        os.sync()  # what the way before has left in memory is not for this one to write
    before = peak = private(process.pid)
    here.send("go")
    while watched and not here.poll(0.001):
        peak = max(peak, private(process.pid))
    taken = here.recv()
    process.join()
    return taken, (peak - before) / MEGA


def _work(connection: Connection, room: str, number: int, way: int, folder: Path, quick: bool, watched: bool) -> None:
    case = importlib.import_module(room).cases(folder, quick)[number]
    if case.ways[way].needs:
        importlib.import_module(case.ways[way].needs)
    work = case.ways[way].prepare()
    if case.warm and not watched:
        work()
    connection.send("ready")
    connection.recv()
    taken = []
    for _ in range(1 if watched else case.calls):
        start = time.perf_counter()
        kept = work()
        taken.append(time.perf_counter() - start)
        if watched:
            time.sleep(0.05)  # what it holds now is seen, too
        del kept
    connection.send(median(taken))


def private(process: int | None) -> float:
    """Bytes in memory that no file backs; not a number where the system does not say (all but Linux)."""
    try:
        said = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return float("nan")
    found = re.search(r"RssAnon:\s+(\d+) kB", said)
    return 1024.0 * int(found[1]) if found else float("nan")


def start_server(modules: tuple[str, ...], folders: tuple[Path, ...]) -> None:
    """Let a server import these modules, found in these folders, and fork each process: that saves seconds a process.

    Where there is no such server (Windows), each process imports them.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, folders))  # it looks nowhere else
    if "forkserver" in METHODS:
        multiprocessing.set_forkserver_preload([*modules])


METHODS = multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")
