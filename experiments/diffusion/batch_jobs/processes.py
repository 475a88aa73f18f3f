"""Training on two processes that is preempted or loses one of them, and then goes on with another number."""

import contextlib
import dataclasses
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.diffusion.batch_jobs import lives, soak
from experiments.diffusion.batch_jobs.config import Config
from gendiff.runs import errors
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

COUNTS = (1, 2, 4)
"""Processes that go on, each from a copy of one checkpoint; the losses of the first are compared with those of the
others.
"""


@dataclasses.dataclass(frozen=True)
class Preempted:
    """A training of two processes, of which one got SIGTERM.

    codes: how they ended. steps: the checkpoint that each of them named. losses: of every step, by the number of
        processes that went on.
    """

    codes: list[int]
    steps: list[int]
    losses: dict[int, np.ndarray]

    @property
    def agreed(self) -> bool:
        """Whether all saved one step and asked to be started again."""
        return (
            set(self.codes) == {errors.PREEMPTED} and len(self.steps) == len(self.codes) and len(set(self.steps)) == 1
        )

    @property
    def difference(self) -> float:
        """Largest difference of a loss between one process and more; infinite where steps are missing."""
        first, *others = self.losses.values()
        if any(len(each) != len(first) for each in others):
            return np.inf
        return max(float(np.max(np.abs(each - first))) for each in others)


@dataclasses.dataclass(frozen=True)
class Death:
    """One of two processes is killed with signal 9. seconds: until the other ended. code: how it did."""

    seconds: float
    code: int


def preempt(config: Config, folder: RunFolder, progress: Progress) -> list[Preempted]:
    """Trainings of two processes, each with a seed of its own, preempted at a random step; 1, 2 and 4 processes go
    on.
    """
    rng, problems = np.random.default_rng(2), []
    for seed in range(config.preemptions):
        path = _place(folder, f"preempted_{seed}")
        progress.line(f"two processes, seed {seed}: preempted, then {', '.join(map(str, COUNTS))} go on")
        with several(_words(config, seed, path), 2, path) as (processes, logs):
            _until(processes, path, int(rng.integers(config.moved_steps // 4, config.moved_steps // 2)), logs)
            processes[seed % 2].send_signal(signal.SIGTERM)
            codes = [process.wait() for process in processes]
        text = "".join(log.read_text() for log in logs)
        steps = [int(step) for step in re.findall(r"newest checkpoint is that of step (\d+)", text)]
        losses = {}
        for count in COUNTS:
            copy = path.with_name(f"{path.name}_on_{count}")
            shutil.copytree(path, copy)
            _finish(_words(config, seed, copy), count, copy)
            losses[count] = np.array([line["loss"] for line in RunFolder(copy).read_metrics()])
        problems.append(Preempted(codes, steps, losses))
    return problems


def lose_one(config: Config, folder: RunFolder, progress: Progress) -> tuple[list[Death], int]:
    """(what happened at each death, steps that are missing or doubled): two processes again and again, until one ends
    what they began.
    """
    rng, path, problems = np.random.default_rng(3), _place(folder, "lost"), []
    words = _words(config, 0, path)
    for turn in range(config.deaths):
        progress.line(f"two processes: number {turn % 2} is killed ({turn} of {config.deaths} so far)")
        with several(words, 2, path) as (processes, logs):
            _until(
                processes,
                path,
                _logged(path) + int(rng.integers(2, 2 + config.moved_steps // (2 * config.deaths))),
                logs,
            )
            victim, other = processes[turn % 2], processes[1 - turn % 2]
            victim.kill()
            begin = time.monotonic()
            code = other.wait()
            problems.append(Death(time.monotonic() - begin, code))
    if not problems:
        return [], 0
    _finish(words, 1, path)
    steps = [line["step"] for line in RunFolder(path).read_metrics()]
    all_steps = range(1, config.moved_steps + 1)
    return problems, len(set(all_steps) - set(steps)) + len(steps) - len(set(steps))


def _place(folder: RunFolder, name: str) -> Path:
    path = folder.path / soak.KILLED / name
    path.parent.mkdir(exist_ok=True)
    return path


def _words(config: Config, seed: int, out: Path) -> list[str]:
    """Every step is logged; the network and the batch are those of a smoke run."""
    numbers = ["--train-steps", str(config.moved_steps), "--checkpoint-every", "5", "--log-every", "1"]
    return ["run", "digits", "--smoke", "--quiet", "--seed", str(seed), *numbers, "--out", str(out)]


@contextlib.contextmanager
def several(words: list[str], count: int, path: Path) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[Path]]]:
    """(processes of one command on this machine, the log of each); none of them lives on afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--distributed", "on", "--coordinator", f"127.0.0.1:{port}", "--processes", str(count), "--process"]
    with contextlib.ExitStack() as stack:
        processes, logs = [], []
        for number in range(count):
            logs.append(path.with_name(f"{path.name}_{number}.log"))
            processes.append(stack.enter_context(lives.started([*words, *where, str(number)], logs[-1])))
        yield processes, logs


def _finish(words: list[str], count: int, path: Path) -> None:
    """So many processes go on to the end."""
    if count == 1:
        lives.run(words, path.with_name(f"{path.name}.log"))
        return
    with several(words, count, path) as (processes, logs):
        codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"{' '.join(words)} on {count} processes ended with {codes}: see {logs[0]}")


def _until(processes: list[subprocess.Popen[bytes]], path: Path, step: int, logs: list[Path]) -> None:
    """Waits until so many steps are logged."""
    while _logged(path) < step:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(
                f"a process ended with {[process.poll() for process in processes]} before step {step}: see {logs[0]}"
            )
        time.sleep(0.01)


def _logged(path: Path) -> int:
    metrics = RunFolder(path).metrics
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0
