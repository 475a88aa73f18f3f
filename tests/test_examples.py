"""The scripts in experiments/examples run as a reader would run them, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "experiments" / "examples"
PROMISES = {
    "eight_devices": ((r"^8 devices", r"differ by ([0-9.e+-]+)"), lambda difference: difference < 1e-4),
    "one_gpu": ((r"no GPU here", r"float32 \(16, 32, 32, 3\), finite: True"), lambda: True),
    "own_network": ((r"loss: (\S+) at the start, (\S+) at the end", r"mean and std of 100 samples"), lambda start, end: end < 0.7 * start),
    "own_sampler": ((r"order of ddim: (\S+)", r"order of heun: (\S+)"), lambda ddim, heun: 0.8 < ddim < 1.2 and 1.8 < heun < 2.2),
    "resume": ((r"restored step 20", r"(\d+) of (\d+) arrays are bitwise equal after step 40"), lambda equal, every: equal == every > 10),
}
"""Script -> what it prints, and what must hold of the numbers in it."""


def test_every_script_is_tested():
    assert {path.stem for path in SCRIPTS.glob("*.py")} - {"__init__"} == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_a_script_prints_what_it_promises(name):
    promised, holds = PROMISES[name]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(SCRIPTS / f"{name}.py")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = [re.search(promise, done.stdout, re.M) for promise in promised]
    assert all(printed), done.stdout
    assert holds(*(float(number) for match in printed if match for number in match.groups())), done.stdout
