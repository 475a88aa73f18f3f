"""A long-lived process of one side: it answers lines of JSON and is idle between them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.reporting.environment import PROJECT

OURS = "experiments.benchmarks.ours"
PEER = "experiments.benchmarks.peers.torch_side"


class SideError(RuntimeError):
    """An operation of a side failed there, or its process ended."""


class SideProcess:
    """One process. Use it as a context, at whose end it ends.

    command: what to start. variables: added to the environment. name: how messages call it. project: the checkout whose code it runs.
    """

    def __init__(
        self, command: Sequence[str], variables: Mapping[str, str] | None = None, name: str = "side", project: Path = PROJECT
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project), "PYTHONUNBUFFERED": "1", **(variables or {})},
        )

    def __enter__(self) -> "SideProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            raise SideError(f"{self.name} ended with code {process.returncode} in {op!r}: {self._last_words()}")
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

    def close(self) -> None:
        """Ends the process, kindly first."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return " | ".join(self._errors.read().splitlines()[-4:])


def start(
    module: str, python: str | Path = sys.executable, variables: Mapping[str, str] | None = None, project: Path = PROJECT
) -> SideProcess:
    """A side as a module of `project` that calls `protocol.serve`, in the environment of `python`."""
    return SideProcess([str(python), "-m", module], variables, module.rpartition(".")[2], project)
