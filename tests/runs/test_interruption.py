"""A signal is answered at once, also while the main thread runs no Python; the second one ends the process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gendiff.runs import interruption
from gendiff.runs.errors import Preempted

DEAF = """
import hashlib
from gendiff.runs import interruption

with interruption.watch():
    print("deaf", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def waited(condition):
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_signal_is_answered_with_one_line_and_stops(capfd):
    with interruption.watch() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGINT)
        waited(lambda: stop)
        assert str(stop) == "SIGINT"
    assert capfd.readouterr().err == "SIGINT: finishing this step, then saving; once more leaves at once\n"


def test_a_watch_that_leaves_at_once_raises_and_gives_the_signals_back(capfd):
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    with pytest.raises(Preempted, match="SIGTERM"), interruption.watch(at_once=True), interruption.watch(at_once=True):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before and signal.set_wakeup_fd(-1) == -1
    assert capfd.readouterr().err.count("SIGTERM: leaving") == 1


def test_a_watch_that_leaves_at_once_does_so_within_one_that_waits_and_for_the_first_signal_alone():
    cleaned = False
    with interruption.watch() as waiting:
        with pytest.raises(Preempted, match="SIGTERM"), interruption.watch(at_once=True):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except Preempted:
                os.kill(os.getpid(), signal.SIGTERM)  # to its group, which is the same request: what cleans up goes on
                time.sleep(0.02)
                cleaned = True
                raise
        assert cleaned and not waiting


def test_the_same_signal_to_process_and_group_counts_once():
    with interruption.watch() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        waited(lambda: stop)
        time.sleep(0.05)
    assert str(stop) == "SIGTERM"


@pytest.mark.fault("a second signal", "SIGTERM while compiling")
@pytest.mark.slow
def test_a_process_that_runs_no_python_answers_the_first_signal_and_ends_at_the_second():
    words = [sys.executable, "-c", DEAF]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout.readline() == "deaf\n"
    for _ in range(2):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    assert process.wait(5) == 128 + signal.SIGINT
    assert "once more leaves at once" in process.communicate()[1]


@pytest.mark.fault("a second signal")
@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once():
    script = """
import os, signal, time
from gendiff.runs import interruption
with interruption.watch() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    print(bool(stop), stop, flush=True)
    time.sleep(0.3)  # sooner, the same signal counts as one request
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    print("never")
"""
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=variables, check=False)
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, "True SIGTERM\n")


@pytest.mark.fault("SIGTERM before anything has begun")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_while_packages_are_imported_asks_for_another_start(name):
    program = "import os, signal, time; from gendiff.commands import start; start.leave_when_asked(); "
    program += f"os.kill(os.getpid(), signal.{name}); time.sleep(20)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 42 and done.stderr.startswith(f"interrupted by {name}: nothing had begun")
