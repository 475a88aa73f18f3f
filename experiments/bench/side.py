"""Long-lived processes that do the work of one side, and how the bench talks to them.

python -m experiments.bench.side ours|torch|llama_cpp    (started by SideProcess)

A request is a line {"op": NAME, …arguments}; an answer is a line {"ok": …} or {"error": TEXT}. Arrays lie in .npz files
that the lines name. Between requests a process is blocked in a read. A later bench also talks to `ours` of earlier
checkouts, so what exists stays. Ours imports no torch, and theirs no JAX.
"""

import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import workloads
from experiments.bench.lazily import compile_cache, environment, jax, llama_cpp_side, torch
from experiments.bench.workloads import Way


class SideError(RuntimeError):
    """An operation of a side failed there, or its process ended."""


class Side:
    """What a process holds between requests: ways to do work, by name. Its public methods are the operations."""

    def __init__(self) -> None:
        self.ways: dict[str, Way] = {}

    def prepare(
        self, workload: dict[str, Any], arrays: str, weights: str, name: str, to: str = "", **options: Any
    ) -> dict[str, float]:
        """Makes a work ready by doing it once: seconds, compilation included, and peak memory until then.

        to: where what it answers is written, as `output` does. options: of `ours` or `theirs` of the workload's family.
        """
        requested = workloads.from_json(workload)
        with np.load(arrays) as stored:
            by_name = {key: self._array(stored[key]) for key in stored.files}
        begin = time.perf_counter()
        self.ways[name] = self._way(requested, by_name, weights, **options)
        done = self.ways[name].run()
        self._wait(done)
        first = {"first": time.perf_counter() - begin, "peak_mib": self._peak()}
        if to:
            self._save(to, self.ways[name].answer(done))
        return first

    def run(self, name: str, repeats: int = 1) -> float:
        """Seconds of `repeats` times the work."""
        begin = time.perf_counter()
        for _ in range(repeats):
            done = self.ways[name].run()
        self._wait(done)
        return time.perf_counter() - begin

    def output(self, to: str, name: str) -> None:
        """Writes what the work answers, images channels last, into the .npz file `to`."""
        self._save(to, self.ways[name].answer(self.ways[name].run()))

    def _save(self, to: str, answer: Mapping[str, Any]) -> None:
        np.savez(to, allow_pickle=False, **{key: self._numpy(value) for key, value in answer.items()})

    def _way(self, workload: workloads.Workload, arrays: dict[str, Any], weights: str, **options: Any) -> Way:
        return workload.family.ours(workload, arrays, weights, **options)

    def _array(self, stored: np.ndarray) -> Any:
        return stored

    def _wait(self, result: Any) -> None:
        """Returns when the device has done all work. No operation leaves any behind."""

    def _numpy(self, result: Any) -> np.ndarray:
        array = np.asarray(result)
        return array if array.dtype.kind in "iub" else array.astype(np.float32)

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


class OurSide(Side):
    """gendiff alone."""

    def about(self) -> dict[str, Any]:
        """Versions, devices and precision."""
        return {**environment.versions(), **environment.machine()}

    def rates(self, workload: dict[str, Any], **numbers: Any) -> dict[str, Any]:
        """What `device_rates.measured` says of a workload. numbers: of it."""
        requested = workloads.from_json(workload)
        answer: dict[str, Any] = requested.family.measured(requested, **numbers)
        return answer

    def _array(self, stored: np.ndarray) -> Any:
        return jax.device_put(stored)

    def _wait(self, result: Any) -> None:
        jax.block_until_ready(result)

    def _peak(self) -> float:
        statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
        return statistics["peak_bytes_in_use"] / 2**20 if statistics else super()._peak()


class TorchSide(Side):
    """Torch, with diffusers and transformers, in the mode "eager", "channels_last", "static_cache" or "compiled"."""

    def __init__(self) -> None:
        super().__init__()
        self.device = os.environ.get("BENCH_DEVICE", "cpu")
        torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "0")) or torch.get_num_threads())
        torch.set_float32_matmul_precision("highest")

    def about(self) -> dict[str, Any]:
        """Versions and settings."""
        packages = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "numpy")}
        device = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"python": sys.version.split()[0], **packages, "threads": torch.get_num_threads(), "device": device}

    def _way(
        self, workload: workloads.Workload, arrays: dict[str, Any], weights: str, mode: str = "eager", **options: Any
    ) -> Way:
        torch.manual_seed(0)
        return workload.family.theirs(workload, arrays, weights, mode, **options)

    def _array(self, stored: np.ndarray) -> Any:
        return torch.from_numpy(stored.copy()).to(self.device)

    def _wait(self, result: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _numpy(self, result: Any) -> np.ndarray:
        if isinstance(result, torch.Tensor):
            result = result.detach().cpu()
            result = result.float() if result.is_floating_point() else result
        return super()._numpy(result)

    def _peak(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else super()._peak()


class SideProcess:
    """One process in which a `Side` serves. Use it as a context, at whose end it ends.

    command: a module of the checkout `project`, and its arguments. python: its interpreter. variables: added to its
    environment; BENCH_THREADS counts its cores.
    """

    def __init__(
        self,
        command: Sequence[str],
        project: Path,
        python: str | Path = sys.executable,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = command[-1].rpartition(".")[2]
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [str(python), "-m", *command],
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
        """The answer to one request. Raises SideError for an operation that failed, a process that ended, or no answer
        in `limit` s.
        """
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


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        compile_cache.use()
    {"ours": OurSide, "torch": TorchSide, "llama_cpp": lambda: llama_cpp_side.LlamaSide()}[sys.argv[1]]().serve()
