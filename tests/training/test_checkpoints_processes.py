"""Faults that need a process of their own: one with eight devices is resumed here, one is killed while it saves, a disk is full."""

import os
import random
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.training.checkpoints import Checkpoints
from tests.training import linear
from tests.training.linear import finish, python

pytestmark = pytest.mark.slow

SAVE_FOR_EVER = """
import sys
import jax.numpy as jnp
from gendiff.training.checkpoints import Checkpoints

with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    step = 0 if checkpoints.latest() is None else checkpoints.latest()
    while True:
        step += 1
        checkpoints.save(step, {str(leaf): jnp.full((64, 1024), step) for leaf in range(8)})
        print(step, flush=True)
"""

EIGHT_DEVICES = """
import sys
from gendiff.training import sharding
from gendiff.training.checkpoints import Checkpoints
from tests.training import linear

with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(3, sharding.replicate(linear.train(linear.start(), 0, 3), sharding.mesh()))
"""

FULL_DISK = """
import resource, sys
import jax.numpy as jnp
import numpy as np
from gendiff.training.checkpoints import Checkpoints

state = lambda size: {"w": jnp.asarray(np.random.default_rng(0).normal(size=size))}
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(1, state(10))
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        checkpoints.save(2, state(1_000_000))
        checkpoints.wait()
    except OSError as error:
        print(error)
    else:
        raise SystemExit("no error")
    print(checkpoints.steps())
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("intact", checkpoints.restore(None, state(10)).step)
    checkpoints.save(3, state(1_000_000))
print("left", checkpoints.steps())
"""


@pytest.mark.fault("other device or process count on restore")
def test_run_of_another_process_with_eight_devices_is_resumed_on_one_and_equals_an_uninterrupted_one_bitwise(tmp_path):
    finish(python(EIGHT_DEVICES, tmp_path, flags="--xla_force_host_platform_device_count=8"))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(None, linear.start(seed=4)).state
    linear.assert_bitwise_equal(restored, linear.train(linear.start(), 0, 3))
    linear.assert_bitwise_equal(linear.train(restored, 3, 8), linear.train(linear.start(), 0, 8))


@pytest.mark.fault("kill -9 during save")
@pytest.mark.parametrize("attempt", range(2))
def test_newest_complete_step_survives_a_kill_during_a_save(tmp_path, attempt):
    process = python(SAVE_FOR_EVER, tmp_path)
    for _ in range(4):
        assert process.stdout.readline()
    time.sleep(random.Random(attempt).uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    begun = max(map(int, out.split()), default=4) + 1
    with Checkpoints(tmp_path) as checkpoints:
        newest = checkpoints.latest()
        assert begun - 2 <= newest <= begun
        restored = checkpoints.restore(None, {str(leaf): jax.ShapeDtypeStruct((64, 1024), jnp.int32) for leaf in range(8)})
        assert all(np.all(np.asarray(leaf) == newest) for leaf in restored.state.values())
        assert checkpoints.save(newest + 1, restored.state)
    assert not [name for name in os.listdir(tmp_path) if not name.isdecimal()]


@pytest.mark.fault("disk full")
def test_full_disk_is_an_error_at_wait_and_older_steps_stay(tmp_path):
    error, *_, steps, intact, left = finish(python(FULL_DISK, tmp_path)).strip().splitlines()
    assert str(tmp_path) in error and "step 2 could not be saved" in error and "are free" in error
    assert steps == "[1]" and intact == "intact 1" and left == "left [1, 3]"
    assert not [name for name in os.listdir(tmp_path) if not name.isdecimal()]
