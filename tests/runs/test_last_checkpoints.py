"""A run is judged by the last checkpoint of each of its trainings, or not at all."""

import dataclasses
import json
import re
import shutil

import pytest

from gendiff.commands import command_line
from gendiff.runs import configuration, runner
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files, results
from gendiff.runs.run_folder import RunFolder
from gendiff.training import digests
from gendiff.training.checkpoints import Checkpoints
from tests.runs import toy

CONTROL, STEPS = "control", 8


def train(config, folder, progress):
    """The toy's training, and a shorter one in a part of the run's folder."""
    toy.train(config, folder, progress)
    toy.train(dataclasses.replace(config, train_steps=STEPS - 2), folder.inside(CONTROL), progress)


PARTS = dataclasses.replace(toy.EXPERIMENT, train=train)
OPTIONS = ("--train-steps", str(STEPS), "--checkpoint-every", "3", "--seeds", "3", "4")


def call(*words):
    return command_line.main(list(map(str, words)), {"toy": PARTS})


def run(folder):
    return call("run", "toy", "--out", folder, *OPTIONS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(folder) == 0
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_results_hold_step_and_digest_of_every_judged_checkpoint(copy):
    expected = [
        results.Checkpoint(
            part, seed, step, digests.folder_digest(copy / part / "checkpoints" / f"seed_{seed}" / str(step))
        )
        for part, step in (("", STEPS), (CONTROL, STEPS - 2))
        for seed in (3, 4)
    ]
    assert list(results.read(copy).checkpoints) == expected
    assert call("evaluate", copy) == 0 and list(results.read(copy).checkpoints) == expected


@pytest.mark.parametrize(("part", "newest"), [("", STEPS), (CONTROL, STEPS - 2)])
def test_evaluate_refuses_an_older_checkpoint_and_names_the_command_that_trains_the_rest(part, newest, copy, capsys):
    before = json.loads((copy / "results.json").read_text())
    shutil.rmtree(copy / part / "checkpoints" / "seed_4" / str(newest))
    older = max(int(each.name) for each in (copy / part / "checkpoints" / "seed_4").iterdir())
    capsys.readouterr()
    assert call("evaluate", copy) == 65
    message = capsys.readouterr().err
    assert (
        f"step {older}" in message
        and f"step {newest}" in message
        and len(message.splitlines()) <= command_line.MOST_LINES
    )
    assert json.loads((copy / "results.json").read_text()) == before
    (copy / "results.json").unlink()
    assert call(*message.split("python -m experiments ")[1].split()) == 0
    assert [each.step for each in results.read(copy).checkpoints] == [STEPS, STEPS, STEPS - 2, STEPS - 2]


@pytest.mark.fault("evaluate without the last checkpoint")
def test_evaluate_refuses_a_training_whose_checkpoints_or_metrics_are_gone(copy, capsys):
    shutil.move(copy / CONTROL / "metrics.jsonl", copy / "metrics")
    assert call("evaluate", copy) == 65 and "metrics.jsonl: " in capsys.readouterr().err
    shutil.move(copy / "metrics", copy / CONTROL / "metrics.jsonl")
    shutil.rmtree(copy / CONTROL / "checkpoints")
    assert call("evaluate", copy) == 65 and "no checkpoint" in capsys.readouterr().err


@pytest.mark.fault("config.json is changed after training")
def test_evaluate_refuses_a_configuration_that_was_changed_after_training(copy, capsys):
    stored = json.loads((copy / "config.json").read_text())
    stored["config"]["train_steps"] += 4
    json_files.write(copy / "config.json", stored)
    assert call("evaluate", copy) == 65
    message = capsys.readouterr().err
    assert ["train_steps", str(STEPS), str(STEPS + 4)] in map(
        str.split, message.splitlines()
    ) and "config.json" in message
    assert results.read(copy).config["train_steps"] == STEPS


def changed_metrics(copy):
    text = (copy / "metrics.jsonl").read_text()
    (copy / "metrics.jsonl").write_text(text.replace('"loss": 0.', '"loss": 9.', 1))


def changed_config(copy):
    stored = json.loads((copy / "config.json").read_text())
    stored["config"]["learning_rate"] = 0.5
    json_files.write(copy / "config.json", stored)


@pytest.mark.fault("sample or report of a run that is not as its training left it")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda copy: shutil.rmtree(copy / "checkpoints" / "seed_3" / str(STEPS)),
            f"its newest checkpoint is that of step 6, and its metrics end at step {STEPS}",
        ),
        (changed_config, f"differs from what step {STEPS} of {{}} has: learning_rate = 0.5 in place of 0.01"),
        (changed_metrics, "metrics.jsonl: line 1 (step 1 of seed 3) does not fit its digest"),
        (lambda copy: (copy / "metrics.jsonl").unlink(), "metrics.jsonl: holds no step of seed 3"),
    ],
    ids=["older checkpoint", "config", "metrics", "no metrics"],
)
def test_sample_and_report_say_what_is_not_as_the_training_left_it(change, words, copy, capsys, monkeypatch):
    assert call("report", copy) == 0 and "Note: " not in capsys.readouterr().out
    assert call("sample", copy, "--num", "1", "--steps", "2") == 0 and "note: /" not in capsys.readouterr().out
    change(copy)
    words = words.format(copy / "checkpoints" / "seed_3")
    assert call("report", copy) == 0 and words in " ".join(capsys.readouterr().out.split())
    assert words in " ".join(re.sub("<[^>]*>", "", (copy / "report.html").read_text()).split())
    monkeypatch.setattr(runner, "shortfall", lambda outcome: "")
    assert call("report", copy, "--strict") == 1 and words in capsys.readouterr().err
    assert call("sample", copy, "--num", "2", "--steps", "2", "--force") == 0
    assert words in capsys.readouterr().out


def test_the_report_of_an_unfinished_run_says_the_step_of_its_checkpoint(copy, capsys):
    (copy / "results.json").unlink()
    shutil.rmtree(copy / "checkpoints" / "seed_3" / str(STEPS))
    assert call("report", copy) == 0
    output = capsys.readouterr().out
    assert f"seed 3 is at step {STEPS}, its newest checkpoint is that of step 6" in output and "Note" not in output
    changed_config(copy)
    assert call("report", copy) == 0 and "learning_rate = 0.5 in place of 0.01" in capsys.readouterr().out


def test_the_checkpoints_of_every_part_hold_the_configuration_of_the_run(finished):
    stored = json.loads((finished / "config.json").read_text())["config"]
    for part in ("", CONTROL):
        with Checkpoints(RunFolder(finished / part).checkpoints(3), read_only=True) as store:
            assert store.written_with()["config"] == stored


def test_a_run_is_not_concluded_by_a_checkpoint_that_is_not_the_last(tmp_path, capsys):
    def loses(config, folder, progress):
        train(config, folder, progress)
        shutil.rmtree(folder.checkpoints(3) / str(STEPS))

    losing = dataclasses.replace(PARTS, train=loses)
    assert (
        command_line.main(["run", "toy", "--out", str(tmp_path / "run"), *OPTIONS, "--seeds", "3"], {"toy": losing})
        == 65
    )
    assert f"step {STEPS}" in capsys.readouterr().err and not (tmp_path / "run" / "results.json").exists()


def test_runs_within_the_folder_of_a_run_are_not_judged_with_it(copy):
    shutil.copytree(copy, copy / "killed")
    shutil.rmtree(copy / "killed" / "checkpoints" / "seed_3" / str(STEPS))
    assert call("evaluate", copy) == 0 and len(results.read(copy).checkpoints) == 4


@pytest.mark.fault("evaluate without the last checkpoint")
def test_parts_that_are_run_folders_of_one_entry_are_judged_with_the_run(copy, capsys):
    part, stored = RunFolder(copy / "four"), configuration.read(RunFolder(copy))
    part.path.mkdir()
    config = {**stored.config, "seeds": [4]}
    configuration.settle(part, dataclasses.replace(stored, config=config, entry_of="seeds"))
    options = dataclasses.replace(toy.Config(), train_steps=STEPS, checkpoint_every=3, seeds=(4,))
    toy.train(options, part, Progress())
    assert call("evaluate", copy) == 0
    expected = [("", 3), ("", 4), (CONTROL, 3), (CONTROL, 4), ("four", 4)]
    assert [(each.part, each.seed) for each in results.read(copy).checkpoints] == expected
    shutil.rmtree(part.checkpoints(4) / str(STEPS))
    assert call("evaluate", copy) == 65 and f"end at step {STEPS}; put it back" in capsys.readouterr().err
    (copy / "results.json").unlink()
    assert call("report", copy) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "seed 3 is at step 8, its newest" in output and f"{CONTROL}, seed 4 is at step 6" in output
    assert "four, seed 4 is at step 8, its newest checkpoint is that of step 6" in output and "Note" not in output
    changed_config(copy)
    assert call("report", copy) == 0 and f"step 6 of {part.checkpoints(4)} has: learning" in capsys.readouterr().out


def test_parts_of_older_runs_whose_checkpoints_hold_no_configuration_go_on(tmp_path, monkeypatch):
    """Only with a warning: nothing tells by which configuration they were trained."""
    with monkeypatch.context() as older:
        older.setattr("gendiff.runs.configuration.of_training", lambda folder: None)
        assert call("run", "toy", "--out", tmp_path / "run", *OPTIONS, "--seeds", "3") == 0
    assert call("evaluate", tmp_path / "run") == 0
    (tmp_path / "run" / "results.json").unlink()
    with pytest.warns(UserWarning, match="without a configuration"):
        assert call("run", "toy", "--out", tmp_path / "run", *OPTIONS, "--seeds", "3") == 0
