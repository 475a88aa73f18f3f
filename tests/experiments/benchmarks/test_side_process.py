"""A side's process: its answers, its failures, and its idleness."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import inputs, side_process
from experiments.benchmarks.side_process import SideError, SideProcess
from experiments.benchmarks.workloads import Workload

PEER = "tests.experiments.benchmarks.fake_peer"


@pytest.fixture(scope="module")
def peer() -> Iterator[SideProcess]:
    with side_process.start(PEER) as process:
        yield process


def test_arrays_pass_as_files_and_prints_are_no_answers(peer: SideProcess, tmp_path: Path):
    workload = Workload("matmul", size=3)
    arrays = inputs.write(workload, tmp_path / "in.npz")
    assert peer.ask("prepare", workload=workload.as_json(), arrays=str(arrays)) == {"parameters": 0}
    assert peer.ask("run", mode="eager", repeats=5) >= 0.01
    peer.ask("output", mode="eager", to=str(tmp_path / "out.npz"))
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["output"], 2 * np.load(arrays)["x"])


def test_a_failed_operation_is_told_and_the_process_goes_on(peer: SideProcess):
    with pytest.raises(SideError, match="fake_peer could not run: ValueError: no such mode"):
        peer.ask("run", mode="broken")
    with pytest.raises(SideError, match="KeyError"):
        peer.ask("unknown")
    assert peer.ask("run", mode="eager") > 0


@pytest.mark.parametrize(
    ("request_", "why"),
    [({"mode": "dies"}, "ended with code 1 in 'run': .*gone"), ({"mode": "eager", "repeats": 10_000, "limit": 0.5}, "ended with code -9")],
)
def test_a_process_that_ends_or_takes_too_long_is_told_with_its_last_words(request_, why):
    with side_process.start(PEER) as process, pytest.raises(SideError, match=why):
        process.ask("run", **request_)


def test_a_process_that_waits_uses_no_processor_time(peer: SideProcess):
    peer.ask("spin")
    worked = peer.cpu_seconds()
    peer.settle()
    before = peer.cpu_seconds()
    peer.settle()
    assert worked > 0
    assert peer.cpu_seconds() - before <= 0.02
