"""One answer, judged in a process of its own that ends with it.

The process knows the check before it meets the answer. What the answer prints, changes or breaks stays in it; if it
ends the process or does not come to an end, that is the verdict. A verdict "passed" counts only if the same check,
in the same process, still refuses answers that are known to be wrong.
"""

from __future__ import annotations

import linecache
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .. import data, networks, plots, training, widgets  # noqa: F401 - what answers may import must be there before
from ..exercises import find
from ..exercises.checking import NotAttempted, NotYet, describe
from ..feedback import Feedback, verdict
from ..places import NOTEBOOKS, WORKBOOK
from .answers import Answer
from .guarding import exchanged, functions_of, guard, hide_modules, modules_to_watch

SECONDS, MEMORY = 120, 4 * 2**30  # for one answer; bytes on top of what Python and torch take
HOW = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
ENDED = "your code ended the process, with os._exit for instance, or took too much memory."
KNOWN_MISTAKES = 3  # so many wrong answers must be refused after a right one

CONTEXT: Any = multiprocessing.get_context(HOW)
if HOW == "forkserver":
    CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Verdict:
    """What became of one exercise.

    Attributes:
        state: "passed", "not yet", "not attempted", or why there is no answer to judge.
        text: what the check says.
        seconds: of the processor.
    """

    state: str
    text: str
    seconds: float = 0.0


def best(answers: Sequence[Answer], hidden: tuple[Path, ...] = (), seconds: float = SECONDS) -> Verdict:
    """The verdict on the answer that passes; if none does, on the last one of the notebook that was attempted.

    Args:
        answers: to one exercise, as `answers_in` gives them.
        hidden: folders that they may not read, besides solutions and exercises.
        seconds: after which an answer is broken off.
    """
    if not answers:
        return Verdict("missing", "the notebook has neither the check of this exercise nor its function.")
    found = []
    for answer in answers:
        try:
            verdict = judged(answer, hidden, seconds)
        except Exception as error:  # whatever it is, the others are graded
            verdict = Verdict("not judged", f"something went wrong here, not in the answer: {describe(error)}")
        if verdict.state == "passed":
            return verdict
        found.append(verdict)
    return next((verdict for verdict in found if verdict.state != "not attempted"), found[0])


def judged(answer: Answer, hidden: tuple[Path, ...] = (), seconds: float = SECONDS) -> Verdict:
    """What the check says of an answer, found out in a process that ends with it.

    Args:
        answer: see `answers_in`.
        hidden: folders that the answer may not read, besides solutions and exercises.
        seconds: after which it is broken off.
    """
    if answer.problem:
        return Verdict("not yet", f"this is no Python: {answer.problem}")
    here, there = CONTEXT.Pipe(duplex=False)
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="answer-", ignore_cleanup_errors=True) as own:
        process = CONTEXT.Process(target=_judge, args=(answer, there, secret, own, hidden), daemon=True)
        process.start()
        there.close()
        try:
            return _received(here, secret, time.monotonic() + seconds, seconds)
        finally:
            _end(process)
            here.close()


def _received(pipe: Connection, secret: str, until: float, seconds: float) -> Verdict:
    """What the process says of the answer, or that it says nothing."""
    while pipe.poll(max(0.0, until - time.monotonic())):
        try:
            said = pipe.recv_bytes(1_000_000)
        except (EOFError, OSError):
            return Verdict("not yet", ENDED)
        given, state, used, text = said.decode(errors="replace").split("\n", 3)
        if secrets.compare_digest(given, secret):
            return Verdict(state, text, float(used))
    return Verdict("not yet", f"your code was still running after {seconds:g} seconds.", seconds)


def _end(process: Any) -> None:
    """End it and all that it has started."""
    if hasattr(os, "killpg") and process.pid:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _judge(answer: Answer, pipe: Connection, secret: str, own: str, hidden: tuple[Path, ...]) -> None:
    """In the new process."""
    _alone(own)
    feedback = _verdict(answer, Path(own), hidden)
    used = time.process_time()
    pipe.send_bytes(f"{secret}\n{feedback.kind}\n{used}\n{feedback.text[:100_000]}".encode(errors="replace"))
    pipe.close()
    os._exit(0)


def _alone(own: str) -> None:
    """A group of processes, a folder, and limits of its own; nothing to read, and nobody to hear it."""
    if hasattr(os, "setsid"):
        with suppress(OSError):
            os.setsid()
    os.chdir(own)
    tempfile.tempdir = own
    os.environ |= {"TMPDIR": own, "WORKBOOK_PROGRESS": "", "HOME": own}
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    torch.set_num_threads(1)
    if sys.platform == "linux":
        import resource  # not on Windows

        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[5])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _verdict(answer: Answer, own: Path, hidden: tuple[Path, ...]) -> Feedback:
    exercise = find(answer.exercise)
    import workbook  # by its name, as answers import it

    for name in ("check", "hint"):  # an answer may call them; they say nothing here
        setattr(workbook, name, lambda *_: None)
    verdict(
        answer.exercise, exercise, exercise.right
    )  # torch exchanges functions of its own the first time that they are used
    modules = modules_to_watch()
    before = functions_of(modules)
    hide_modules("workbook.exercises", "workbook.feedback", "workbook.export")
    guard(own, (NOTEBOOKS / "solutions", WORKBOOK / "workbook/exercises", *hidden))
    linecache.cache["<answer>"] = (len(answer.code), None, answer.code.splitlines(keepends=True), "<answer>")
    module = sys.modules["__main__"] = ModuleType("__main__")  # as in a notebook, for dataclasses and pickle
    module.display = module.get_ipython = lambda *_, **__: None  # type: ignore[attr-defined]
    try:
        exec(compile(answer.code, "<answer>", "exec"), vars(module))
        handed_in = eval(compile(answer.handed_in, "<answer>", "eval"), vars(module))
    except BaseException as error:  # SystemExit, too
        return Feedback(answer.exercise, "not yet", f"your code stopped before it was checked: {describe(error)}")
    feedback = verdict(answer.exercise, exercise, handed_in)
    if feedback.kind != "passed":
        return feedback
    if name := exchanged(before, modules):
        return Feedback(answer.exercise, "not yet", f"your code exchanges {name}, which is not its own.")
    if not _still_refuses(exercise.verify, {mistake.cause: mistake.answer for mistake in exercise.mistakes}):
        return Feedback(answer.exercise, "not yet", "after your code has run, wrong answers pass, too.")
    return feedback


def _still_refuses(verify: Callable[[Any], None], mistakes: Mapping[str, Any]) -> bool:
    for wrong in list(mistakes.values())[:KNOWN_MISTAKES]:
        try:
            verify(wrong)
        except (NotYet, NotAttempted):
            continue
        return False
    return True
