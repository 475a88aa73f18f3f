"""The digits experiment: its measures on sets whose answer is known, and a smoke run from the command line in a clean folder."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import catalogue
from experiments.diffusion import digits, image_draws
from experiments.diffusion.image_judge import DigitsJudge
from experiments.framework import command_line


@pytest.fixture(scope="module")
def judge():
    return DigitsJudge(draws=3, size=600)


def test_real_digits_reach_the_floor_and_pass_every_claim(judge):
    real = judge.measure(judge.split.train_images, judge.split.train_labels)
    assert real.frechet[0] == pytest.approx(1.0)
    assert real.accuracy[0] > 0.98
    assert min(real.precision[0], real.recall[0]) > 0.8
    assert real.copies[0] == 1.0  # they are the training digits


def test_noise_fails_every_claim_but_that_of_near_copies(judge):
    noise = np.random.default_rng(0).standard_normal((1200, 8, 8, 1)).astype(np.float32)
    measured = judge.measure(noise, image_draws.labels(1200, 10))
    assert measured.frechet[1] > 10
    assert measured.accuracy[2] < 0.3
    assert measured.precision[0] == measured.copies[0] == 0.0


def test_labels_go_through_the_classes_in_turn():
    assert image_draws.labels(12, 10).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_presets_share_thresholds_and_only_the_demo_leaves_out_the_second_training():
    presets = digits.EXPERIMENT.presets
    assert presets["demo"].thresholds == presets["full"].thresholds == digits.Thresholds()
    assert presets["full"].shuffled_steps > 0 and presets["demo"].shuffled_steps == 0
    assert presets["full"].control_samples > presets["full"].draw_size  # equal sizes would make all draws one


@pytest.mark.slow
def test_a_smoke_run_leaves_everything_proves_nothing_and_can_be_sampled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*words):
        assert command_line.main(words, catalogue.EXPERIMENTS) == 0

    command("run", "digits", "--smoke", "--shuffled-steps", "2")
    left = tmp_path / "runs" / "digits-smoke"
    results = json.loads((left / "results.json").read_text())
    assert results["verdict"] == "INCONCLUSIVE"
    names = {"config.json", "metrics.jsonl", "report.html", "real.png", "guidance_1.png", "guidance_2.png", "denoising.png", "loss.png"}
    assert names <= {path.name for path in left.iterdir()}
    assert {claim["threshold_name"] for claim in results["claims"]} == {field.name for field in dataclasses.fields(digits.Thresholds)}
    command("run", "digits", "--smoke", "--shuffled-steps", "2")  # a finished run is left alone
    assert json.loads((left / "results.json").read_text()) == results
    words = ("--label", "3", "--num", "4", "--steps", "2", "--guidance", "3", "--out", "three.npz")
    command("sample", "runs/digits-smoke", *words)
    assert np.load(tmp_path / "three.npz")["images"].shape == (4, 8, 8, 1)
