"""Long-lived processes that do the work of one side, and how the bench talks to them.

A request is a line {"op": NAME, …arguments}; an answer is a line {"ok": …} or {"error": TEXT}. Arrays lie in .npz files that the lines
name. Between requests a process is blocked in a read. A later bench also talks to `ours` of earlier checkouts, so what exists stays.
Imports neither JAX nor torch.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class SideError(RuntimeError):
    """An operation of a side failed there, or its process ended."""


class Side:
    """What a process holds between requests: ways to do work, by name. Its public methods are the operations."""

    def __init__(self) -> None:
        self.work: dict[str, Callable[[], Any]] = {}
        self.answers: dict[str, Callable[[Any], dict[str, np.ndarray]]] = {}
        """By name of a work, what of its result is compared, under "output" and other names. Without one it is the result itself."""

    def run(self, name: str = "ours", repeats: int = 1) -> float:
        """Seconds of `repeats` times the work."""
        work = self.work[name]
        begin = time.perf_counter()
        for _ in range(repeats):
            done = work()
        self._wait(done)
        return time.perf_counter() - begin

    def output(self, to: str, name: str = "ours") -> None:
        """Writes what the work answers, images channels last, into the .npz file `to`."""
        result = self.work[name]()
        arrays: dict[str, Any] = self.answers[name](result) if name in self.answers else {"output": self._numpy(result)}
        np.savez(to, **arrays)

    def _first(self, name: str, begin: float) -> dict[str, float]:
        """Does the work once: seconds since `begin`, compilation included, and peak memory until then."""
        self._wait(self.work[name]())
        return {"first": time.perf_counter() - begin, "peak_mib": self._peak()}

    def _wait(self, result: Any) -> None:
        """Returns when the device has done all work. No operation leaves any behind."""

    def _numpy(self, result: Any) -> np.ndarray:
        return np.asarray(result).astype(np.float32)

    def _peak(self) -> float:
        """Largest resident memory of this process so far, in MiB; NaN where the system does not tell."""
        with contextlib.suppress(OSError, StopIteration):
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
        return float("nan")

    def serve(self) -> None:
        """Answers requests from standard input until it closes. What the operations print goes to standard error."""
        answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # other people's libraries print, and a stray line would be taken for an answer
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"ok": getattr(self, request.pop("op"))(**request)}
            except Exception as error:  # whatever it is, the bench must hear of it
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)


class SideProcess:
    """One process that runs a module whose `Side` serves. Use it as a context, at whose end it ends.

    module: of the checkout `project`. python: its interpreter. variables: added to its environment; BENCH_THREADS counts its cores.
    """

    def __init__(self, module: str, project: Path, python: str | Path = sys.executable, variables: Mapping[str, str] | None = None) -> None:
        self.name = module.rpartition(".")[2]
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project), "PYTHONUNBUFFERED": "1", **(variables or {})},
        )
        cores = int((variables or {}).get("BENCH_THREADS", 0))
        if cores and hasattr(os, "sched_setaffinity"):  # at once, before its libraries count them
            os.sched_setaffinity(self._process.pid, sorted(os.sched_getaffinity(0))[:cores])

    def __enter__(self) -> "SideProcess":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=10)  # closes its input, at which it ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def ask(self, op: str, *, limit: float = 600.0, **arguments: Any) -> Any:
        """The answer to one request. Raises SideError for an operation that failed, a process that ended, or no answer in `limit` s."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            process.wait()
            self._errors.seek(0)
            last_words = " | ".join(self._errors.read().splitlines()[-4:])
            raise SideError(f"{self.name} ended with code {process.returncode} in {op!r}: {last_words}")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(f"{self.name} could not {op}: {answer['error']}")
        return answer["ok"]

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self, limit: float = 1.0) -> None:
        """Waits until its threads, which may spin for a while after work, are asleep; at most `limit` seconds."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            before = self.cpu_seconds()
            time.sleep(0.05)
            if not self.cpu_seconds() > before:  # equal, or unknown
                return
