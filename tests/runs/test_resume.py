"""Exact resume: a run that was killed and resumed ends bitwise equal to one that was not (promise 4)."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff.commands import command_line
from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.data import batches
from gendiff.runs import devices, training_log, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder, create
from gendiff.training.checkpoints import Checkpoints
from tests.runs import toy

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
STEPS = 40


def start(arguments, **environment):
    everything = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(PROJECT)} | environment
    command = [sys.executable, str(HERE / "toy.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=everything)


def finished(process):
    message, _ = process.communicate(timeout=120)
    assert process.returncode == 0, message
    return message


def leaves(folder, seed=0):
    """Every stored leaf of the newest checkpoint, by path."""
    with Checkpoints(RunFolder(folder).checkpoints(seed), read_only=True) as store:
        state = store.restore(None, store.contents()).state
    raw = (
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in trees.paths(state).values()
    )
    return dict(zip(trees.paths(state), map(np.asarray, raw), strict=True))


def assert_same_run(first, second, seeds=(0,)):
    for seed in seeds:
        one, other = leaves(first, seed), leaves(second, seed)
        assert one.keys() == other.keys() and len(one) > 10
        for path, leaf in one.items():
            assert leaf.dtype == other[path].dtype and leaf.tobytes() == other[path].tobytes(), path
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()


@pytest.mark.fault("kill -9 anywhere, then resume")
@pytest.mark.slow
def test_a_run_killed_anywhere_and_resumed_equals_an_uninterrupted_one_bitwise(tmp_path):
    step = random.SystemRandom().randrange(1, STEPS)
    command = ["run", "toy", "--train-steps", str(STEPS), "--out"]
    uninterrupted = start([*command, str(tmp_path / "whole")])
    killed = start([*command, str(tmp_path / "killed")], TOY_PAUSE="0.02")
    metrics = tmp_path / "killed" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= step):
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.003)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "results.json").exists()
    stored = [
        int(path.name) for path in (tmp_path / "killed" / "checkpoints" / "seed_0").iterdir() if path.name.isdecimal()
    ]

    resumed = finished(start([*command, str(tmp_path / "killed")]))
    finished(uninterrupted)
    first = json.loads(metrics.read_text().splitlines()[0])
    assert first["step"] == 1 and [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [
        *range(1, STEPS + 1)
    ]
    assert (f"from step {max(stored)}" if stored else "over 1 cpu device\n") in resumed
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def run(folder, *options):
    return command_line.main(["run", "toy", "--out", str(folder), *options], {"toy": toy.EXPERIMENT})


SHORT = ("--train-steps", "8", "--checkpoint-every", "3", "--seeds", "3", "4")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """An uninterrupted run of the options SHORT."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(folder, *SHORT) == 0
    return folder


@pytest.mark.fault("kill -9 anywhere, then resume")
@pytest.mark.parametrize("step", [1, 4])
def test_a_run_that_died_without_saving_and_resumed_equals_an_uninterrupted_one_bitwise(
    step, uninterrupted, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="died"):
        patched.setenv("TOY_DIES_AT", str(step))
        run(tmp_path / "died", *SHORT)
    assert run(tmp_path / "died", *SHORT) == 0
    assert_same_run(uninterrupted, tmp_path / "died", (3, 4))


@pytest.mark.fault("SIGTERM at a step")
@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_signal_finishes_the_step_saves_it_and_the_run_goes_on_exactly(
    signal_name, uninterrupted, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TOY_SIGNAL_AT", "5")
    monkeypatch.setenv("TOY_SIGNAL", signal_name)
    assert run(tmp_path / "stopped", *SHORT) == 42
    monkeypatch.delenv("TOY_SIGNAL_AT")
    saved = sorted(int(path.name) for path in (tmp_path / "stopped" / "checkpoints" / "seed_3").iterdir())
    assert saved in ([3, 5], [3, 6])  # the metrics of a step are shown while the next one runs
    assert signal_name in capsys.readouterr().err
    assert run(tmp_path / "stopped", *SHORT) == 0
    assert_same_run(uninterrupted, tmp_path / "stopped", (3, 4))


@pytest.mark.fault("cached and uncached compilation")
def test_a_resume_that_compiles_otherwise_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="died"):
        patched.setenv("TOY_DIES_AT", "2")
        run(tmp_path / "run", "--train-steps", "3")
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["compilation"]
    assert stored["compile cache"] == "off" and stored["jax"] == jax.__version__
    capsys.readouterr()
    monkeypatch.setattr(devices, "compilation", lambda: stored | {"compile cache": "on"})
    assert run(tmp_path / "run", "--train-steps", "3") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and "started with compile cache off, now on" in notes[0] and "bits may differ" in notes[0]


@pytest.mark.fault("NaN loss or gradient")
def test_a_poisoned_sample_is_skipped_and_counted_and_the_state_stays_finite(tmp_path):
    assert run(tmp_path / "run", "--train-steps", "12", "--poisoned", "1", "--checkpoint-every", "100") == 0
    lines = RunFolder(tmp_path / "run").read_metrics()
    bad = [line["step"] for line in lines if not np.isfinite(line["loss"])]
    assert 1 <= len(bad) < 12 and lines[-1]["skipped"] == len(bad)
    assert all(np.isfinite(leaf).all() for leaf in leaves(tmp_path / "run").values())


@pytest.mark.fault("NaN in many steps in a row")
def test_many_bad_steps_in_a_row_stop_the_run_with_their_batch_and_key(tmp_path, capsys):
    assert run(tmp_path / "run", "--poisoned", "50", "--checkpoint-every", "2") == 3
    assert "3 steps in a row, the last of them step 3" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "run" / "checkpoints" / "seed_0").iterdir() if path.name.isdecimal()]
    with np.load(tmp_path / "run" / "debug" / "seed_0_step_3.npz") as debug:
        assert np.isnan(debug["clean"]).all() and np.array_equal(debug["rows"], batches.batch_at(50, 8, 0, 2))
        assert np.array_equal(debug["key"], jax.random.key_data(jax.random.fold_in(jax.random.key(0), 2)))


@pytest.mark.fault("command line: batch > data")
def test_a_batch_larger_than_the_data_is_refused_before_anything_is_compiled(tmp_path, capsys):
    assert run(tmp_path / "run", "--batch", "51") == 2
    assert "1 … 50" in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.fault("flipped byte in a checkpoint", "newest checkpoint damaged, --resume latest-valid")
def test_damage_is_refused_and_latest_valid_goes_back_past_it(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    options = ("--train-steps", "6", "--checkpoint-every", "2")
    assert run(folder, *options) == 0
    uninterrupted = leaves(folder)
    (folder / "results.json").unlink()
    toy.damage(folder / "checkpoints" / "seed_0" / "6" / "state")
    assert run(folder, *options) == 65
    with pytest.warns(UserWarning, match="going back to an older step"):
        assert run(folder, *options, "--resume", "latest-valid") == 0
    assert all(np.array_equal(leaf, uninterrupted[path]) for path, leaf in leaves(folder).items())
    assert [line["step"] for line in RunFolder(folder).read_metrics()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.fault("metrics file cut or doubled")
@pytest.mark.parametrize("change", [lambda lines: lines[:2] + lines[3:], lambda lines: lines[:3] + lines[2:]])
def test_a_run_does_not_go_on_from_metrics_that_were_cut_or_doubled(
    change, uninterrupted, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    (folder / "results.json").unlink()
    metrics = folder / "metrics.jsonl"
    metrics.write_bytes(b"".join(change(metrics.read_bytes().splitlines(keepends=True))))
    assert run(folder, *SHORT) == 65
    assert "metrics.jsonl: line" in capsys.readouterr().err


@pytest.mark.fault("damaged file of results")
def test_a_flipped_bit_in_the_files_of_a_run_is_an_error_with_its_path_or_a_note(uninterrupted, tmp_path, capsys):
    """Bits of every file that the framework reads again, some at a time; times are no result, and only noted."""
    draw = random.Random(0)
    for name in ("config.json", "results.json", "timings.jsonl", "metrics.jsonl"):
        for _ in range(2):
            folder = tmp_path / "run"
            shutil.copytree(uninterrupted, folder)
            if name != "results.json":
                (folder / "results.json").unlink()
            content = bytearray((folder / name).read_bytes())
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            (folder / name).write_bytes(content)
            code, err = run(folder, *SHORT), capsys.readouterr().err
            assert code in ((0,) if name == "timings.jsonl" else (0, 2, 65)), (name, err)
            assert len(err.splitlines()) <= command_line.MOST_LINES and (code == 0 or str(folder) in err)
            shutil.rmtree(folder)


@pytest.mark.fault("devices: batch not divisible by devices")
@pytest.mark.slow
def test_the_batch_is_sharded_over_all_local_devices_which_must_divide_it(tmp_path):
    eight = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    runs = [start(["run", "toy", "--smoke", "--out", str(tmp_path / "eight")], **eight)]
    runs.append(start(["run", "toy", "--smoke", "--batch", "12", "--out", str(tmp_path / "twelve")], **eight))
    assert "3 steps of 8 samples over 8 cpu devices" in finished(runs[0])
    message, _ = runs[1].communicate(timeout=120)
    assert runs[1].returncode == 2 and "8 or 16" in message
    assert run(tmp_path / "one", "--smoke") == 0
    for many, one in zip(*(RunFolder(tmp_path / name).read_metrics() for name in ("eight", "one")), strict=True):
        assert many["loss"] == pytest.approx(one["loss"], abs=1e-5)


def test_the_last_step_is_logged_whatever_every_how_many_are(tmp_path):
    steps, folder = [], create(tmp_path / "run")
    log = training_log.TrainingLog(folder, seed=3, steps=5, interval=2)
    log.open(
        types.SimpleNamespace(update=lambda step, text: steps.append(step)),
        lambda step, metrics: steps.append(metrics["data_share"]),
    )
    for step in (3, 4, 5):
        log.add(step, {"loss": 1.0, "finite": True, "skipped": 0, "data_share": 0.5})
    assert folder.read_metrics() == [{"seed": 3, "step": step, "skipped": 0, "loss": 1.0} for step in (4, 5)]
    assert steps == [0.5, 4, 0.5, 5] and log.step == 5


def test_steps_are_done_up_to_the_newest_intact_checkpoint(uninterrupted, tmp_path):
    assert training_loop.steps_done(RunFolder(tmp_path), 3) == 0
    shutil.copytree(uninterrupted, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy")
    assert (training_loop.steps_done(copy, 3), training_loop.newest_step(copy, 3)) == (8, 8)
    toy.damage(copy.checkpoints(3) / "8")
    with pytest.warns(UserWarning, match="step 8 is corrupt"):
        assert training_loop.steps_done(copy, 3) == 6
    assert training_loop.newest_step(copy, 3) == 8


def test_data_are_any_pytree_or_a_function_of_the_step(tmp_path):
    data, states = {"tokens": np.arange(24, dtype=np.float32).reshape(12, 2)}, []

    def loss(params, key, batch):
        return ((params["w"] - batch["tokens"]) ** 2).mean(), {}

    def at(step):
        return {"tokens": data["tokens"][batches.batch_at(12, 4, 0, step)]}

    optimizer, init = optax.sgd(0.1), lambda key: {"w": jax.numpy.zeros(())}
    for name, source, batch in (("arrays", data, 4), ("function", at, None)):
        folder = create(tmp_path / name)
        more = {"seed": 0, "steps": 3, "folder": folder, "progress": Progress(quiet=True)}
        program = training_loop.compile_loss(loss, optimizer, init, folder)
        states.append(training_loop.train(program, source, batch=batch, **more))
    assert states[0].params["w"] == states[1].params["w"] != 0
    with pytest.raises(ConfigError, match="function of the step"):
        training_loop.train(program, at, batch=4, **more)


def test_bad_numbers_of_the_loop_are_named(tmp_path):
    folder = create(tmp_path / "run")
    for change in ({"train_steps": 0}, {"log_every": 0}, {"checkpoint_every": 0}, {"seeds": (2**32,)}):
        with pytest.raises(ConfigError):
            toy.train(toy.dataclasses.replace(toy.Config(), **change), folder, Progress(quiet=True))
