"""Commands that are killed with signal 9 at random moments and started again until they end by themselves."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gendiff.runs import compile_cache
from gendiff.runs.reporting.environment import PROJECT


@contextlib.contextmanager
def started(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m experiments WORDS`, whose output is added to the log. It is killed where the block ends before it
    does.
    """
    clean = os.environ | {compile_cache.VARIABLE: compile_cache.NONE}
    command = [sys.executable, "-m", "experiments", *words]
    with (
        open(log, "ab") as file,
        subprocess.Popen(command, cwd=PROJECT, env=clean, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def run(words: Sequence[str], log: Path, life: float | None = None) -> int | None:
    """Exit code of a command, or None where it was killed after `life` seconds.

    A command that ends with an error raises RuntimeError, which names the log.
    """
    with started(words, log) as process:
        try:
            code = process.wait(life)
        except subprocess.TimeoutExpired:
            return None
    if code != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {code}: see {log}")
    return code


def until_done(
    words: Sequence[str], log: Path, rng: np.random.Generator, most: int, shortest: float, longest: float
) -> list[float]:
    """The lives of the processes that were killed, in seconds, at most so many; the last process ends by itself."""
    lives: list[float] = []
    while len(lives) < most:
        life = float(rng.uniform(shortest, longest))
        if run(words, log, life) is not None:
            return lives
        lives.append(life)
    run(words, log)
    return lives
