"""`run --log`: metrics go to every sink that is named, and no sink can harm a run."""

import contextlib
import importlib.util
import json
import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs import sinks
from gendiff.runs.run_folder import RunFolder
from tests.runs import toy
from tests.tables import table

HERE = Path(__file__).parent
FAKE = """
calls, fails = [], ""


def call(name, /, *words, **options):
    if name == fails:
        raise RuntimeError(f"{name} does not work\\nand says so at length")
    calls.append((name, words, options))


class Run:
    url, dir = "https://example.org/run", ""

    def log(self, metrics, step):
        call("log", step, metrics)

    def finish(self):
        print("a word to the person at the terminal")
        call("finish")


def init(**options):
    call("init", **options)
    return Run()


def login(prompt):
    return call("login", prompt)


class Settings(dict): ...
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function from the name of a package to a stand-in for it that notes its calls."""
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(packages)

    def package(name):
        (packages / f"{name}.py").write_text(FAKE)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    yield package
    for name in ("wandb", "trackio"):
        sys.modules.pop(name, None)


def run(folder, *options):
    return command_line.main(
        ["run", "toy", "--train-steps", "3", "--out", str(folder), *options], {"toy": toy.EXPERIMENT}
    )


def steps(module):
    return [words[0] for name, words, _ in module.calls if name == "log"]


@table("text", ["", "wand", "wandb,", "tensorboard,tensorboard", "none,tensorboard", "Tensorboard"])
def test_a_name_that_is_no_sink_or_stands_twice_is_a_usage_error(text, tmp_path, capsys):
    with pytest.raises(ConfigError, match="--log"):
        sinks.parse(text)
    assert run(tmp_path / "run", f"--log={text}") == run(tmp_path / "run", f"--log={text}", "--dry-run") == 2
    assert "--log" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_sink_whose_package_is_missing_is_a_usage_error_before_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(tmp_path / "run", "--log", "trackio") == 2
    assert "trackio is not installed; install this project's extra [log]" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_sink_is_told_of_each_step_and_finds_its_run_again_after_an_interruption(
    name, tmp_path, fake, monkeypatch, capsys
):
    module = fake(name)
    monkeypatch.setenv("TOY_SIGNAL_AT", "1")
    assert run(tmp_path / "run", "--log", f"tensorboard,{name}") == 42
    monkeypatch.delenv("TOY_SIGNAL_AT")
    assert run(tmp_path / "run", "--log", f"tensorboard,{name}") == 0
    assert (
        sorted(set(steps(module))) == [1, 2, 3] == [line["step"] for line in RunFolder(tmp_path / "run").read_metrics()]
    )
    first, second = (options for called, _, options in module.calls if called == "init")
    assert first["name"] == second["name"] and first["name"].startswith("run-") and first["name"].endswith("-seed_0")
    assert first["project"] == "gendiff-toy" and first["config"]["train_steps"] == 3 and first["resume"] == "allow"
    assert [called for called, *_ in module.calls].count("finish") == 2
    _, (_, last), _ = [call for call in module.calls if call[0] == "log"][-1]
    assert last["loss"] == RunFolder(tmp_path / "run").read_metrics()[-1]["loss"] and "grad_norm" in last
    assert list((tmp_path / "run" / "tensorboard").rglob("*tfevents*"))


@pytest.mark.fault("the clock of the machine jumps")
def test_a_training_goes_on_where_the_thread_that_writes_for_tensorboard_has_ended(tmp_path, monkeypatch, capsys):
    """A clock that jumps back by weeks ends it, and whoever fills its queue then waits for ever."""
    module = pytest.importorskip("tensorboardX.event_file_writer")
    monkeypatch.setattr(module._EventLoggerThread, "run", lambda self: None)
    assert run(tmp_path / "run", "--train-steps", "6") == 0
    output = capsys.readouterr().out
    assert output.count("--log tensorboard failed, and the run goes on without it: RuntimeError its thread") == 1


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run without a sink."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert run(folder, "--log", "none") == 0
    return folder


@table("where", ["init", "log", "finish", "login"])
def test_a_sink_that_fails_is_told_of_once_and_the_run_is_the_same(where, plain, tmp_path, fake, capsys):
    assert not (plain / "tensorboard").exists() and not (plain / ".logged_as").exists()
    module = fake("wandb")
    module.fails = where
    capsys.readouterr()
    assert run(tmp_path / "run", "--log", "wandb,tensorboard") == 0
    output = capsys.readouterr().out
    assert output.count(f"--log wandb failed, and the run goes on without it: RuntimeError {where} does not work") == 1
    assert "at length" not in output
    assert (plain / "metrics.jsonl").read_bytes() == (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert list((tmp_path / "run" / "tensorboard").rglob("*tfevents*"))


def test_wandb_asks_nothing_and_obeys_its_own_variables(tmp_path, fake, monkeypatch):
    module = fake("wandb")
    assert run(tmp_path / "one", "--log", "wandb") == 0
    # no login, so no network
    assert [options for called, _, options in module.calls if called == "init"][0]["mode"] == "offline"
    assert [words for called, words, _ in module.calls if called == "login"] == [(False,)]
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    module.calls.clear()
    assert run(tmp_path / "two", "--log", "wandb") == 0
    (options,) = [options for called, _, options in module.calls if called == "init"]
    assert (options["mode"], options["project"]) == (None, "mine") and options["id"] == options["name"]


def events(file):
    """Those of a file of TensorBoard: each has its length, a checksum, itself and another checksum."""
    event_pb2 = importlib.import_module("tensorboardX.proto.event_pb2")
    content = file.read_bytes()
    while content:
        size = int.from_bytes(content[:8], "little")
        yield event_pb2.Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]


def test_tensorboard_hides_what_was_shown_after_the_step_of_the_last_checkpoint(tmp_path):
    pytest.importorskip("tensorboardX")
    folder = RunFolder(tmp_path / "run", log=("tensorboard",))
    folder.path.mkdir()
    began = []
    for done in (0, 2):  # each of a seed of its own: files are named by the second
        with sinks.opened(sinks.Training(folder, done, done), print) as show:
            show(done + 1, {"loss": 0.5})
        (file,) = (folder.path / "tensorboard" / f"seed_{done}").iterdir()
        written = list(events(file))
        began.append([event.step for event in written if event.HasField("session_log")])
        assert [event.step for event in written if event.HasField("summary")] == [done + 1]
    assert began == [[], [3]]  # a session that starts at step 3 hides what others showed from there on


def test_values_that_are_no_finite_numbers_are_not_shown(tmp_path, fake):
    module = fake("trackio")
    folder = RunFolder(tmp_path / "run", log=("trackio",))
    folder.path.mkdir()
    with sinks.opened(sinks.Training(folder, 0, 0), print) as show:
        show(1, {"loss": math.nan, "norm": math.inf, "levels": [1.0], "error": 0.5})
    assert [call for call in module.calls if call[0] == "log"] == [("log", (1, {"error": 0.5}), {})]
    assert module.calls[0][2]["project"] == "gendiff"  # a folder without a configuration


def lived(tmp_path, *options, **environment):
    everything = (
        os.environ
        | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path])}
        | environment
    )
    command = [
        sys.executable,
        str(HERE / "toy.py"),
        "run",
        "toy",
        "--train-steps",
        "3",
        "--out",
        str(tmp_path / "run"),
        *options,
    ]
    ended = subprocess.run(command, capture_output=True, text=True, env=everything, timeout=120, check=False)
    assert ended.returncode == 0 and "failed" not in ended.stdout, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_weights_and_biases_itself_writes_offline_into_the_run_folder(tmp_path):
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb is not installed")
    assert "offline, in" in lived(tmp_path, "--log", "wandb", WANDB_MODE="offline")
    (stored,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert stored.stat().st_size > 0


@pytest.mark.slow
def test_trackio_itself_keeps_the_metrics_on_this_machine(tmp_path):
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    assert "trackio show" in lived(tmp_path, "--log", "trackio", TRACKIO_DIR=str(tmp_path / "trackio"))
    with contextlib.closing(sqlite3.connect(tmp_path / "trackio" / "gendiff-toy.db")) as database:
        rows = database.execute("select step, metrics from metrics order by step").fetchall()
    assert [step for step, _ in rows] == [1, 2, 3] and "loss" in json.loads(rows[0][1])
