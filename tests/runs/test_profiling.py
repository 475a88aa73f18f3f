"""`run --profile START:COUNT`: a trace of these steps appears, and nothing else changes."""

import gzip
import json

import pytest

from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs import run_folder
from tests.runs import toy
from tests.runs.test_resume import assert_same_run
from tests.tables import table

SHORT = ("--train-steps", "8", "--checkpoint-every", "3")


def run(folder, *options):
    return command_line.main(["run", "toy", "--out", str(folder), *options], {"toy": toy.EXPERIMENT})


def traced_steps(folder, seed=0):
    """Numbers of the steps in the newest trace of one seed."""
    newest = max(folder.glob(f"profile/seed_{seed}/plugins/profile/*/*.trace.json.gz"))
    assert list(newest.parent.glob("*.xplane.pb"))
    events = json.loads(gzip.decompress(newest.read_bytes()))["traceEvents"]
    return sorted(int(event["args"]["step_num"]) for event in events if event.get("name") == "train")


@table("text", ["", "3", "3:", ":2", "0:2", "3:0", "-1:2", "3:2:1", "a:b", "1.5:2", "3 : 2", "٣:٢"])
def test_a_malformed_span_is_a_usage_error_that_makes_no_folder(text, tmp_path, capsys):
    with pytest.raises(ConfigError, match="START:COUNT"):
        run_folder.span(text)
    assert run(tmp_path / "run", f"--profile={text}", *SHORT) == 2
    assert "START:COUNT" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_steps_that_the_training_does_not_have_are_refused_before_it_begins(tmp_path, capsys):
    assert run(tmp_path / "run", "--profile", "7:3", *SHORT) == 2
    assert "ends at step 9, and the training has 8 steps" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_an_experiment_without_training_has_no_steps_to_trace(tmp_path, capsys):
    bare = toy.dataclasses.replace(toy.EXPERIMENT, train=None)
    assert command_line.main(["run", "toy", "--out", str(tmp_path / "run"), "--profile", "1:1"], {"toy": bare}) == 2
    assert "trains nothing" in capsys.readouterr().err


@pytest.mark.slow
def test_the_trace_holds_the_steps_that_were_named_and_the_run_ends_bitwise_equal(tmp_path, monkeypatch, capsys):
    assert run(tmp_path / "plain", *SHORT) == 0
    monkeypatch.setenv("TOY_SIGNAL_AT", "2")
    assert run(tmp_path / "traced", "--profile", "5:3", *SHORT) == 42
    assert not (tmp_path / "traced" / "profile").exists()
    monkeypatch.delenv("TOY_SIGNAL_AT")
    assert run(tmp_path / "traced", "--profile", "5:3", *SHORT) == 0  # goes on from step 2 or 3
    assert traced_steps(tmp_path / "traced") == [5, 6, 7]
    assert_same_run(tmp_path / "plain", tmp_path / "traced")


@pytest.mark.slow
def test_a_training_that_stops_within_the_span_leaves_a_trace_and_can_be_traced_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TOY_SIGNAL_AT", "3")
    assert run(tmp_path / "run", "--profile", "2:7", *SHORT) == 42
    first = traced_steps(tmp_path / "run")
    assert first[0] == 2 and first[-1] in (3, 4)
    monkeypatch.delenv("TOY_SIGNAL_AT")
    assert run(tmp_path / "run", "--profile", "2:7", *SHORT) == 0
    assert "step 2 is done already" in capsys.readouterr().out
    assert traced_steps(tmp_path / "run") == first
