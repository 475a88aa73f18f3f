"""A stranger's program has its time, memory and output; the child behind it ends with its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gendiff.core import child_process

PROGRAM = """
import sys, time
def answer(code):
    return list(map(str, eval(code)))
"""
PARENT = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("child_process", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
program = Path(sys.argv[2])
print(module.run(program, "[__import__('os').getpid()]")[0], flush=True)
module.SECONDS = 0.1
module.run(program, "[time.sleep(60)]")
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setattr(child_process, "SECONDS", 30.0)  # no test here may depend on how fast a machine is
    (tmp_path / "program.py").write_text(PROGRAM)
    child = child_process.ChildProcess()
    yield lambda code: child.call(tmp_path / "program.py", code)
    child.close()


def test_a_limit_ends_a_program_and_the_next_one_is_answered(call, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(child_process, "SECONDS", 0.3)
        with pytest.raises(child_process.ChildError, match=r"^takes more than 0\.3 s"):
            call("[all(iter(lambda: 1, 0))]")
    for code, message in (
        ("[1 / 0]", "fails: ZeroDivisionError: division by zero"),
        ("['x' * 10**9]", "crashes, or needs more than 512 MiB of memory"),
        ("['x' * (2**24 + 1)]", "fails: ValueError: an answer of .* bytes"),
        ("[sys.exit(3)]", "fails: SystemExit: 3"),
        (f"[open({str(tmp_path / 'file')!r}, 'wb', 0).write(b'x')]", "fails: OSError: .*File too large"),
    ):
        with pytest.raises(child_process.ChildError, match=f"^{message}"):
            call(code)
        assert call("[1 + 1]") == ["2"]


def test_an_answer_takes_milliseconds_and_the_child_loads_little(call):
    process = call("[__import__('os').getpid()]")
    begin = time.monotonic()
    assert all(call("[__import__('os').getpid()]") == process for _ in range(20)) and time.monotonic() - begin < 1
    assert call("[name in sys.modules for name in ('jax', 'numpy', 'gendiff')]") == ["False"] * 3


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_reaches_the_caller_and_ends_the_child(call, interruptible, monkeypatch):
    monkeypatch.setattr(child_process, "SECONDS", 60.0)
    (process,) = call("[__import__('os').getpid()]")
    threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        call("[time.sleep(60)]")
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_of_a_killed_parent_ends_even_while_it_computes(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, "-c", PARENT, child_process.__file__, str(tmp_path / "program.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        child = Path("/proc", parent.stdout.readline().strip(), "cmdline")
        assert child.read_bytes()
        parent.kill()
    end = time.monotonic() + 10
    while child.exists() and child.read_bytes():  # empty: it is dead, and nobody has asked for its status
        assert time.monotonic() < end
        time.sleep(0.05)
