"""What the experiment on batch jobs relies on: kills are kills, and a byte that differs is seen."""

import signal
import subprocess

import numpy as np
import pytest

from experiments.diffusion.batch_jobs import lives, processes, soak
from experiments.diffusion.batch_jobs.config import Config
from experiments.diffusion.batch_jobs.processes import Preempted
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training.checkpoints import Checkpoints


def test_a_job_is_killed_until_it_has_been_killed_often_enough(tmp_path, monkeypatch):
    ends = iter([None, None, 0])
    monkeypatch.setattr(lives, "run", lambda words, log, life=None: next(ends))
    killed = lives.until_done(["run"], tmp_path / "log", np.random.default_rng(0), 2, 1.0, 3.0)
    assert len(killed) == 2 and all(1 <= life <= 3 for life in killed)
    assert next(ends, "none left") == "none left"


def test_a_job_that_ends_by_itself_is_killed_no_more(tmp_path, monkeypatch):
    ends = iter([None, 0])
    monkeypatch.setattr(lives, "run", lambda words, log, life=None: next(ends))
    assert len(lives.until_done(["run"], tmp_path / "log", np.random.default_rng(0), 9, 1.0, 3.0)) == 1


@pytest.mark.slow
def test_a_life_ends_by_signal_9_and_an_error_is_raised(tmp_path, monkeypatch):
    ended = []
    real = subprocess.Popen.kill
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: (ended.append(signal.SIGKILL), real(process)))
    assert lives.run(["list"], tmp_path / "log", life=0.01) is None and ended
    assert lives.run(["--version"], tmp_path / "log") == 0
    with pytest.raises(RuntimeError, match="ended with 2"):
        lives.run(["no-such-command"], tmp_path / "log")


def test_one_bit_of_a_state_or_of_its_metrics_counts(tmp_path):
    def run(name: str, value: float, step: int = 3, line: str = '{"step": 1}\n'):
        folder = tmp_path / name
        with Checkpoints(folder / "checkpoints" / "seed_0") as store:
            store.save(step, {"a": np.float32([1, value])})
        (folder / "metrics.jsonl").write_text(line)
        return folder

    first = run("first", 2.0)
    assert soak._trained_differently(0, first, run("equal", 2.0)) == 0
    assert soak._trained_differently(0, first, run("bit", np.nextafter(np.float32(2), np.float32(3)))) == 1
    assert soak._trained_differently(0, first, run("step", 2.0, step=4)) == 1
    assert soak._trained_differently(0, first, run("line", 2.0, line='{"step": 2}\n')) == 1
    assert soak._trained_differently(0, first, run("longer", 2.0, line='{"step": 1}\n{"step": 2}\n')) == 12


def test_processes_agree_where_all_are_preempted_at_one_step_and_their_losses_where_none_is_missing():
    losses = {1: np.array([1.0, 2.0]), 2: np.array([1.0, 2.5]), 4: np.array([1.1, 2.0])}
    assert Preempted([42, 42], [5, 5], losses).agreed and Preempted([42, 42], [5, 5], losses).difference == 0.5
    others = [([42, 42], [5, 6]), ([42, 42], [5]), ([42, 1], [5, 5]), ([0, 0], [])]
    assert not any(Preempted(codes, steps, losses).agreed for codes, steps in others)
    assert Preempted([42, 42], [5, 5], losses | {4: np.array([1.0])}).difference == np.inf


@pytest.mark.slow
def test_processes_are_preempted_and_killed_and_go_on(tmp_path):
    config, folder = Config(preemptions=1, deaths=1, moved_steps=16), RunFolder(tmp_path)
    preempted = processes.preempt(config, folder, Progress(quiet=True))
    assert [each.agreed for each in preempted] == [True]
    assert all(
        len(each.losses[count]) == 16 and each.difference < 1e-5 for each in preempted for count in processes.COUNTS
    )
    deaths, missing = processes.lose_one(config, folder, Progress(quiet=True))
    assert missing == 0 and all(each.seconds < 60 and each.code for each in deaths)
