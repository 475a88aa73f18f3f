"""Where the system has no flock of its own, no statvfs, no /proc and no SIGUSR1, as macOS and Windows lack some of
them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import filelock, os, pathlib, signal, sys  # filelock has locks for each system
sys.modules["fcntl"] = None
del os.statvfs, signal.SIGUSR1
read = pathlib.Path.read_text
def read_text(path, *arguments, **options):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(2, "no such file or directory", str(path))
    return read(path, *arguments, **options)
pathlib.Path.read_text = read_text
from gendiff.commands import command_line
from tests.runs import toy
sample = "sample RUN --num 3 --steps 2 --shard-size 2 --out SHARDS"
for line in ("run toy --smoke --out RUN", sample, "report RUN", "evaluate RUN", "list"):
    code = command_line.main(line.split(), {"toy": toy.EXPERIMENT})
    assert code == 0, (line, code)
"""


@pytest.mark.slow
def test_a_run_is_trained_drawn_from_and_judged_without_what_only_linux_has(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "RUN" / "report.html").exists() and len(list((tmp_path / "SHARDS").iterdir())) >= 2
