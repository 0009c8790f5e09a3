"""Notebook kernels that begin with PyTorch already imported: on two cores, importing it takes longer than most cells.

One process imports what all lessons import and neither belongs to the workbook nor computes anything; each kernel is a
fork of it, with the folder, the variables and the output of the program that stands for it. A kernel of its own is what
learners have, and what `make notebooks` uses.

usage: python forked_kernel.py serve FOLDER PID         the process that is forked, as long as PID lives
       python forked_kernel.py FOLDER PID -f CONNECTION ...     what Jupyter starts and stops as a kernel
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

INLINE = "module://matplotlib_inline.backend_inline"  # as ipykernel sets it, before matplotlib is imported


@contextlib.contextmanager
def kernels_forked(folder: Path) -> Iterator[None]:
    """Meanwhile every kernel called python3 is a fork; where there is no fork to trust (not Linux), nothing changes."""
    if sys.platform != "linux":
        yield
        return
    spec = folder / "kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, __file__, str(folder), str(os.getpid()), "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "server").read_text()), signal.SIGTERM)
        os.environ.pop("JUPYTER_PATH")
        if before is not None:
            os.environ["JUPYTER_PATH"] = before


def connected(folder: Path, parent: str) -> socket.socket:
    """To the process that is forked; the first who asks starts it."""
    import fcntl  # not on Windows, where nothing is forked

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "server").exists():
            command = [sys.executable, __file__, "serve", str(folder), parent]
            variables = os.environ | {"MPLBACKEND": INLINE}
            server = subprocess.Popen(command, env=variables, start_new_session=True)
            (folder / "server").write_text(str(server.pid))
    connection = socket.socket(socket.AF_UNIX)
    for _ in range(1200):  # until it has imported everything
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(str(folder / "socket"))
            return connection
        time.sleep(0.05)
    raise TimeoutError("the process that is to be forked does not answer")


def serve(folder: Path, parent: int) -> None:
    """Fork a kernel for everybody who connects, as long as the parent lives."""
    import ipykernel.kernelapp  # noqa: F401
    import IPython  # noqa: F401
    import ipywidgets  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import torchvision  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        listener.settimeout(5)
        while Path(f"/proc/{parent}").exists():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                become_a_kernel(connection)
            connection.close()


def become_a_kernel(connection: socket.socket) -> None:
    """Be what the program at the other end stands for, until the kernel ends; then the connection closes."""
    from ipykernel.kernelapp import IPKernelApp

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    wanted = json.loads(text)
    connection.sendall(f"{os.getpid()}\n".encode())
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["variables"], JPY_PARENT_PID=str(os.getppid()))  # with which it ends
    sys.path[:] = ["", *wanted["python_path"], *(p for p in sys.path if p != str(Path(__file__).parent))]
    random.seed()
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    IPKernelApp.launch_instance(argv=wanted["arguments"])
    os._exit(0)


def end_with(connection: socket.socket) -> None:
    """End as soon as the program at the other end does: it may have been killed."""
    connection.recv(1)
    os._exit(1)


def stand_for(folder: Path, parent: str, arguments: list[str]) -> None:
    """Have a kernel forked, hand it on what is sent here, and live as long as it does."""
    with connected(folder, parent) as connection:
        python_path = os.environ.get("PYTHONPATH", "")
        wanted = {
            "folder": str(Path.cwd()),
            "variables": dict(os.environ),
            "arguments": arguments,
            "python_path": [part for part in python_path.split(os.pathsep) if part],
        }
        socket.send_fds(connection, [json.dumps(wanted).encode()], [0, 1, 2])
        kernel = int(connection.recv(100))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: os.kill(kernel, number))
        while connection.recv(1):
            pass


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        stand_for(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
