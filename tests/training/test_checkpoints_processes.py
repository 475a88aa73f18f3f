"""Faults that need a process of their own: one with eight devices is resumed here, one is killed while it saves, a disk
is full.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

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


NO_ROOM = """
import itertools, os, sys, threading, time
from pathlib import Path
import jax.numpy as jnp
from gendiff.training.checkpoints import Checkpoints

top, state = Path(sys.argv[1]), {"w": jnp.ones(1000)} | {str(leaf): jnp.ones(3) for leaf in range(8)}
room = lambda: (os.statvfs(top).f_favail, os.statvfs(top).f_bavail * os.statvfs(top).f_bsize)
with Checkpoints(top / "run", keep=100) as checkpoints:
    checkpoints.save(1, state)
    checkpoints.wait()
    begin, failed = time.monotonic(), [0, 0]
    for kind, unit in ((0, 1), (1, 4096)):
        for left in itertools.count():
            (top / "filler").mkdir()
            if kind:
                (top / "filler" / "bytes").write_bytes(bytes(room()[1] - unit * left))
            else:
                for number in range(room()[0] - left):
                    (top / "filler" / str(number)).touch()
            step = 2 + left + 1000 * kind
            try:
                checkpoints.save(step, state)
                checkpoints.wait()
            except OSError as error:
                assert error.errno == 28 and "are free" in str(error), error
                assert f"step {step} could not be saved" in str(error)
                failed[kind] += 1
            for path in (top / "filler").iterdir():
                path.unlink()
            (top / "filler").rmdir()
            assert not list((top / "run").glob("*tmp*")), "left behind"
            checkpoints.verify(1)
            if checkpoints.latest() == step:
                break
    print("seconds", time.monotonic() - begin, "failures", *failed)
    assert min(failed) > 5 and checkpoints.restore(None, state).step == step
"""

NO_PERMISSION = """
import os, sys, time
import jax.numpy as jnp
from gendiff.training.checkpoints import Checkpoints

with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(1, {"w": jnp.ones(2)})
    checkpoints.wait()
    os.chmod(sys.argv[1], 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        checkpoints.save(2, {"w": jnp.ones(2)})
    except PermissionError as error:
        print(error)
    print("intact", checkpoints.restore(None, {"w": jnp.ones(2)}).step)
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
    first = max(map(int, out.split()), default=4) + 1
    with Checkpoints(tmp_path) as checkpoints:
        newest = checkpoints.latest()
        assert first - 2 <= newest <= first
        restored = checkpoints.restore(
            None, {str(leaf): jax.ShapeDtypeStruct((64, 1024), jnp.int32) for leaf in range(8)}
        )
        assert all(np.all(np.asarray(leaf) == newest) for leaf in restored.state.values())
        assert checkpoints.save(newest + 1, restored.state)
    assert not [name for name in os.listdir(tmp_path) if not name.isdecimal()]


@pytest.mark.fault("disk full")
def test_full_disk_is_an_error_at_wait_and_older_steps_stay(tmp_path):
    error, *_, steps, intact, left = finish(python(FULL_DISK, tmp_path)).strip().splitlines()
    assert str(tmp_path) in error and "step 2 could not be saved" in error and "are free" in error
    assert steps == "[1]" and intact == "intact 1" and left == "left [1, 3]"
    assert not [name for name in os.listdir(tmp_path) if not name.isdecimal()]


@pytest.mark.fault("a checkpoint's folder cannot be made", "disk full")
def test_a_disk_that_fills_up_anywhere_in_a_save_is_an_error_within_seconds_that_leaves_nothing(tmp_path):
    """On a file system of its own, with room for a few more files or blocks each time until the save succeeds."""
    mount = 'mount -t tmpfs -o size=400k,nr_inodes=100 tmpfs "$0" && exec "$@"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    process = python(NO_ROOM, tmp_path, before=command)
    out, message = process.communicate(timeout=120)
    assert process.returncode == 0 and len(message.splitlines()) <= 6, message  # the errors tell it all
    assert float(out.split()[1]) < 30


@pytest.mark.fault("a checkpoint's folder cannot be made")
def test_a_folder_without_permission_is_an_error_at_once_and_the_process_ends():
    folder = Path(tempfile.mkdtemp())  # open to others, which tmp_path is not
    folder.chmod(0o755)
    try:
        error, intact = finish(python(NO_PERMISSION, folder)).strip().splitlines()
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert str(folder) in error and "step 2 could not be saved: Permission denied" in error and intact == "intact 1"
