"""Kernels that are forks behave as kernels of their own do: folder, variables, interrupts, and an end."""

import json
import sys
import time
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every kernel is one of its own")
ABOUT = """
import json, os, sys
about = [os.getpid(), os.getcwd(), os.environ["ONLY_HERE"], "helpers" in sys.modules, "torch" in sys.modules]
print(json.dumps(about + [open(f"/proc/{os.getppid()}/cmdline").read()]))
"""


@pytest.fixture
def kernel(tmp_path):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(tmp_path), env={"PATH": "/bin", "ONLY_HERE": "yes"})
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def said(client, code: str) -> str:
    texts = []
    client.execute_interactive(code, timeout=30, output_hook=lambda message: texts.append(message["content"]))
    return "".join(content.get("text", "") for content in texts)


def test_it_is_a_fork_with_a_folder_and_variables_of_its_own_and_ends_when_it_is_killed(kernel, tmp_path) -> None:
    manager, client = kernel
    process, folder, variable, has_helpers, has_torch, parent = json.loads(said(client, ABOUT))
    assert folder == str(tmp_path)
    assert variable == "yes"
    assert has_torch
    assert not has_helpers  # a lesson must import its own
    assert "forked_kernel.py\0serve" in parent
    manager.shutdown_kernel(now=True)
    for _ in range(100):
        if not Path(f"/proc/{process}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()


def test_it_can_be_interrupted(kernel) -> None:
    manager, client = kernel
    client.execute("import time\ntime.sleep(60)")
    time.sleep(0.5)
    began = time.monotonic()
    manager.interrupt_kernel()
    while client.get_shell_msg(timeout=30)["content"].get("ename") != "KeyboardInterrupt":
        pass
    assert time.monotonic() - began < 20
