"""The digits experiment from the command line in a clean folder, and its measures on sets whose answer is known."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.diffusion import digits, image_draws, image_judge

ROOT = Path(__file__).parents[3]


def command(folder, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    return subprocess.run(
        [sys.executable, "-m", "experiments", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    done = command(folder, "run", "digits", "--smoke")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bench():
    return image_judge.Bench(draws=3, size=600)


def test_a_smoke_run_leaves_everything_and_proves_nothing(run):
    left = run / "runs" / "digits-smoke"
    results = json.loads((left / "results.json").read_text())
    assert results["verdict"] == "INCONCLUSIVE"
    names = {"config.json", "metrics.jsonl", "report.html", "real.png", "guidance_1.png", "guidance_2.png", "denoising.png", "loss.png"}
    assert names <= {path.name for path in left.iterdir()}
    limits = {field.name for field in dataclasses.fields(digits.Thresholds)}
    assert {claim["threshold_name"] for claim in results["claims"]} == limits - {"shuffled_accuracy"}


def test_a_finished_run_is_left_alone_and_can_be_sampled(run):
    assert command(run, "run", "digits", "--smoke").returncode == 0
    words = ("sample", "runs/digits-smoke", "--label", "3", "--num", "4", "--steps", "2", "--guidance", "3", "--out", "three.npz")
    done = command(run, *words)
    assert done.returncode == 0, done.stderr
    drawn = np.load(run / "three.npz")["images"]
    assert drawn.shape == (4, 8, 8, 1)


def test_real_digits_reach_the_floor_and_pass_every_claim(bench):
    real = bench.measure(bench.split.train_images, bench.split.train_labels)
    assert real.frechet[0] == pytest.approx(1.0)
    assert real.accuracy[0] > 0.98
    assert min(real.precision[0], real.recall[0]) > 0.8
    assert real.copies[0] == 1.0  # they are the training digits


def test_noise_fails_every_claim_but_that_of_near_copies(bench):
    noise = np.random.default_rng(0).standard_normal((1200, 8, 8, 1)).astype(np.float32)
    measured = bench.measure(noise, image_draws.labels(1200, 10))
    assert measured.frechet[1] > 10
    assert measured.accuracy[2] < 0.3
    assert measured.precision[0] == 0.0
    assert measured.copies[0] == 0.0


def test_labels_go_through_the_classes_in_turn():
    assert image_draws.labels(12, 10).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_presets_share_thresholds_and_only_the_demo_leaves_out_the_second_training():
    presets = digits.EXPERIMENT.presets
    assert presets["demo"].thresholds == presets["full"].thresholds == digits.Thresholds()
    assert presets["full"].shuffled_steps > 0 and presets["demo"].shuffled_steps == 0
    assert presets["full"].control_samples > presets["full"].draw_size  # equal sizes would make all draws one
