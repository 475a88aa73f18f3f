"""A side's process: its answers, its failures, and its idleness."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.bench import duel, single_calls
from experiments.bench.side import Side, SideError, SideProcess
from experiments.bench.workloads import Way, Workload
from gendiff.runs.reporting.environment import PROJECT
from tests.tables import table

SQUARE = Workload("matmul", size=3)


class FakePeer(Side):
    """A peer without torch: doubles the numbers that it is given."""

    def prepare(self, workload: dict[str, Any], arrays: str, weights: str, name: str) -> None:
        print("a library that talks")  # must not be taken for an answer
        with np.load(arrays) as stored:
            doubled = 2 * stored["x"]
        self.ways = {name: Way(lambda: time.sleep(0.002) or doubled), "dies": Way(lambda: sys.exit("gone"))}

    def spin(self) -> int:
        return sum(range(10**7))

    def cores(self) -> int:
        return len(os.sched_getaffinity(0))


def start(folder: Path) -> SideProcess:
    process = SideProcess(["tests.experiments.studies.bench.test_side"], PROJECT, variables={"BENCH_THREADS": "1"})
    assert process.ask("prepare", **duel.request(SQUARE, single_calls.inputs(SQUARE), folder), name="eager") is None
    return process


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideProcess]:
    with start(tmp_path_factory.mktemp("peer")) as process:
        yield process


def test_arrays_pass_as_files_prints_are_no_answers_and_cores_are_limited(peer: SideProcess, tmp_path: Path):
    assert peer.ask("run", name="eager", repeats=5) >= 0.01
    peer.ask("output", name="eager", to=str(tmp_path / "out.npz"))
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["output"], 2 * single_calls.inputs(SQUARE)["x"])
    assert peer.ask("cores") == 1


def test_a_failed_operation_is_told_and_the_process_goes_on(peer: SideProcess):
    for op, why in (("run", "test_side could not run: KeyError: 'broken'"), ("unknown", "AttributeError")):
        with pytest.raises(SideError, match=why):
            peer.ask(op, name="broken")
    assert peer.ask("run", name="eager") > 0


@table(
    ("request_", "why"),
    [
        ({"name": "dies"}, "ended with code 1 in 'run': .*gone"),
        ({"name": "eager", "repeats": 10_000, "limit": 0.5}, "ended with code -9"),
    ],
)
def test_a_process_that_ends_or_takes_too_long_is_told_with_its_last_words(tmp_path: Path, request_, why):
    with start(tmp_path) as process, pytest.raises(SideError, match=why):
        process.ask("run", **request_)


def test_a_process_that_waits_uses_no_processor_time(peer: SideProcess):
    peer.ask("spin")
    worked = peer.cpu_seconds()
    peer.settle()
    before = peer.cpu_seconds()
    peer.settle()
    assert worked > 0
    assert peer.cpu_seconds() - before <= 0.02


if __name__ == "__main__":
    FakePeer().serve()
