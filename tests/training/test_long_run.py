"""What grows with the number of steps: nothing."""

import os
import sys
from pathlib import Path

import jax
import pytest

from gendiff import training
from tests.training import linear


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.fault("10,000 training steps")
@pytest.mark.skipif(sys.platform != "linux", reason="memory and open files are read from /proc")
def test_memory_open_files_and_live_arrays_are_flat_over_10_000_steps(tmp_path):
    batches, counts = [linear.batch(number) for number in range(8)], {}

    def look(step, metrics):
        if step % 2_000 == 900:  # between two checkpoints
            counts[step] = (resident(), len(os.listdir("/proc/self/fd")), len(jax.live_arrays()))

    fitted = training.fit(
        training.compile_loss(linear.noisy, linear.adamw(), lambda key: linear.params()),
        lambda step: batches[step % 8],
        steps=10_000,
        store=tmp_path,
        on_step=look,
        checkpoint_every=1_000,
    )
    assert int(fitted.state.step) == 10_000
    (first, *_, last), memory = list(counts.values())[1:], 8 * 2**20  # the first look comes before the first checkpoint
    assert last[0] - first[0] < memory, counts
    assert abs(last[1] - first[1]) <= 2 and last[2] <= first[2] + 2, counts
    assert len(os.listdir(tmp_path)) == 2, "steps that were to go"
