"""A server among 64 clients of all kinds: its memory stays flat, its metrics are exact, and no picture is wrong.

GENDIFF_SOAK_SECONDS=1800 keeps it there for half an hour; a test has 45 seconds.
"""

import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from tests.commands.serve.soak_clients import Crowd  # noqa: E402

ROOT = Path(__file__).parents[3]
SECONDS, EACH = float(os.environ.get("GENDIFF_SOAK_SECONDS", "45")), 16
"""How long, and clients of each of four kinds."""
GROWTH = 16 * 2**20
"""Bytes by which memory may grow between the second fifth and the last: a thousand requests that leave 16 KiB each."""
SERVER = """
import collections, time
from gendiff.commands.serve import command, signalled_server, trusted_hosts, web_app
from gendiff.commands.serve.access_log import AccessLog
from gendiff.commands.serve.batching import Batcher
from tests.commands.serve.fake_program import FakeProgram, served
from tests.commands.serve.test_web_app import LIMITS

class Program(FakeProgram):
    def step(self, rows, done):
        time.sleep(0.002)  # so that clients can leave before the end
        return super().step(rows, done)

program = Program(8)
program.turns = collections.deque(maxlen=1)  # it would remember all of them
app = web_app.web_app(served(), Batcher(program, 48), LIMITS, {*trusted_hosts.LOOPBACK})
with command.listening("127.0.0.1", 0) as listener:
    print(listener.getsockname()[1], flush=True)
    signalled_server.run(app, listener, lambda: None, AccessLog(None))
"""


def memory(process):
    """Bytes that a process holds."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files(process):
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def text_of(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def metrics(port):
    """Numbers by their names, those of requests by their status."""
    lines = re.findall(r'^gendiff_(\w+)(?:{status="(\d+)"})? ([\d.]+)$', text_of(port, "/metrics"), re.MULTILINE)
    return {f"{name} {status}".strip(): float(value) for name, status, value in lines}


def final_metrics(port):
    """The metrics once nothing is on its way."""
    end = time.monotonic() + 60
    while (result := metrics(port))["pictures_waiting"] + result["pictures_drawing"] and time.monotonic() < end:
        time.sleep(0.5)
    return result


@pytest.mark.fault(
    "serve: 64 clients at once that behave, are slow, leave, or mean harm",
    "serve: a request that comes slowly or never ends",
    "serve: a client leaves before its pictures are drawn",
)
@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and files of a process are read from /proc")
def test_memory_is_flat_metrics_are_exact_and_no_picture_is_wrong():
    everything = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=everything) as process:
        try:
            port = int(process.stdout.readline())
            assert text_of(port, "/healthz") == '{"status":"ok"}'
            files, sizes, begin = open_files(process), [], time.monotonic()
            crowd = Crowd(port, begin + SECONDS)
            clients = threading.Thread(target=crowd.run, args=(EACH,))
            clients.start()
            while clients.is_alive():
                assert text_of(port, "/healthz") == '{"status":"ok"}'
                sizes.append(memory(process))
                clients.join(SECONDS / 50)
            counted, seconds = final_metrics(port), time.monotonic() - begin
            fifth = len(sizes) // 5
            before, after = (statistics.median(part) for part in (sizes[fifth : 2 * fifth], sizes[-fifth:]))
            print(f"{seconds:.0f} s, {crowd.pictures} pictures, {dict(crowd.statuses)}, {crowd.unread} left")
            print(f"memory {before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB; {counted}")
            deadline = time.monotonic() + 15  # in which silent connections are closed
            while open_files(process) > files and time.monotonic() < deadline:
                time.sleep(0.5)
            left_open = open_files(process) - files
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0 and not crowd.wrong, crowd.wrong[:9]
    assert crowd.pictures > 100 and min(crowd.statuses[status] for status in (400, 413, 415)) > 3
    answers = {status: counted.get(f"request_seconds_count {status}", 0) for status in (200, 400, 413, 415, 429, 499)}
    assert {status: answers[status] for status in (400, 413, 415)} == {
        status: crowd.statuses[status] for status in (400, 413, 415)
    }
    known = crowd.statuses[200] + crowd.statuses[429] + crowd.unread
    assert answers[200] + answers[429] + answers[499] == known and answers[200] >= crowd.statuses[200]
    assert counted["orders_total"] - counted["orders_cancelled_total"] == answers[200]
    assert counted["orders_full_total"] == answers[429] and counted["orders_failed_total"] == 0
    assert answers[499] > 3 and counted["pictures_total"] >= crowd.pictures and left_open <= 0
    assert after - before < GROWTH
