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
    "eight_devices": (r"^8 devices", r"differ by ([0-9.e+-]+)"),
    "one_gpu": (r"no GPU here", r"float32 \(16, 32, 32, 3\), finite: True"),
    "own_network": (r"loss: (\S+) at the start, (\S+) at the end", r"mean and std of 100 samples"),
    "own_sampler": (r"order of ddim: (\S+)", r"order of heun: (\S+)"),
    "resume": (r"restored step 20", r"(\d+) of (\d+) arrays are bitwise equal after step 40"),
}


def output(name: str) -> str:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(SCRIPTS / f"{name}.py")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(name: str) -> list[float]:
    """What the script printed in the places that its promises mark."""
    printed = output(name)
    found = [re.search(promise, printed, re.M) for promise in PROMISES[name]]
    assert all(found), printed
    return [float(group) for match in found if match for group in match.groups()]


def test_every_script_is_tested():
    assert {path.stem for path in SCRIPTS.glob("*.py")} - {"__init__"} == set(PROMISES)


def test_own_network_learns():
    start, end = numbers("own_network")
    assert end < 0.7 * start


def test_own_sampler_is_of_second_order_where_ddim_is_of_first():
    ddim, heun = numbers("own_sampler")
    assert 0.8 < ddim < 1.2
    assert 1.8 < heun < 2.2


def test_resume_is_exact():
    equal, all_of_them = numbers("resume")
    assert equal == all_of_them > 10


def test_one_gpu_runs_without_one():
    assert numbers("one_gpu") == []


def test_eight_devices_draw_the_sample_of_one():
    (difference,) = numbers("eight_devices")
    assert difference < 1e-4
