"""Measures of sets of pictures without labels, and what trainings of networks of pictures share."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Learning
from gendiff.commands.train import STUDY
from gendiff.commands.train.config import GAUSSIAN, MEAN, ONE_STEP, OTHERS, REAL, UNTRAINED, Config
from gendiff.commands.train.measures import Measures, Naming
from gendiff.runs.study import Measured, Measurements


def test_no_interval_of_precision_and_recall_vanishes_where_a_draw_could_be_the_whole_set():
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (90, 4, 4, 1)).astype(np.uint8)
    measures = Measures(Config(features="pixels", samples=30, control_samples=30, draw_size=400), real[:30], real[30:])
    for measure in (measures.real, measures.measure(rng.integers(0, 256, (30, 4, 4, 1)).astype(np.uint8))):
        assert all(measure[name][1] < measure[name][2] for name in ("precision", "recall"))


def test_claims_are_of_committed_sets_and_a_control_that_is_as_near_as_the_samples_fails():
    def judged(entry, control):
        numbers = {"frechet": (2.0, 1.9, 2.1), "excess": (0.0, 0.0, 0.0), "named": (0.6, 0.55, 0.65)}
        far = {"frechet": (control, control - 0.1, control + 0.1), "named": (1 / control, 1 / control, 1 / control)}
        controls = [Measured(f"{entry}: {name}", far, 0, 40) for name in (UNTRAINED, GAUSSIAN, ONE_STEP, MEAN)]
        named = [Measured(f"{entry}: {name}", {"named": far["named"]}, 0, 40) for name in (OTHERS, REAL)]
        measured = Measurements([Measured(entry, numbers, 0, 40), *controls, *named])
        return {claim.id.removeprefix(f"{entry}-"): claim.verdict for claim in STUDY.judge(measured)}

    far = judged("emoji", 8.0)
    assert far.pop("real") == "FAIL" and set(far.values()) == {"PASS"} and len(far) == 9
    assert judged("photos/emoji", 8.0) == {}
    near = judged("textures", 1.0)
    assert [near.pop(id) for id in ("frechet", "copies", "named", "real")] == ["PASS"] * 4
    assert set(near.values()) == {"FAIL"} and len(near) == 6


def test_a_picture_is_named_by_the_nearest_mean_direction_and_each_class_counts_alike():
    rows = np.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0], [-1.0, 0.0]])
    naming = Naming(rows, np.array([0, 0, 3, 3]))
    assert naming.share(rows, np.array([0, 0, 3, 3])) == (1, 1, 1)
    assert naming.share(1e-3 * rows, np.array([0, 0, 3, 3]))[0] == 1, "length says nothing"
    assert naming.share(rows[[0, 0, 0, 2]], np.array([0, 0, 3, 3]))[0] == 0.75
    assert naming.share(rows[[0, 0, 0, 0]], np.array([0, 0, 0, 3]))[0] == 0.5


def test_a_short_log_is_averaged_over_few_lines():
    assert [image_training.smoothed(lines) for lines in (1, 4, 6, 20, 99, 100, 5000)] == [1, 1, 1, 4, 19, 20, 20]


def test_numbers_of_a_training_choose_its_optimizer_and_equal_ones_share_it():
    params = {"kernel": jnp.eye(2), "bias": jnp.ones(2)}
    gradient = {"kernel": jnp.array([[3.0, 0.0], [0.0, 1e-3]]), "bias": jnp.array([1.0, -1.0])}
    numbers = {"warmup": 0, "weight_decay": 0.0, "clip": 10.0, "learning_rate": 0.01}
    steps = {}
    for name in ("adamw", "muon"):
        config = Learning(optimizer=name, muon_learning_rate=0.1, **numbers)
        for optimizer in (image_training.optimizer, image_training.steady_optimizer):
            assert optimizer(config) is optimizer(dataclasses.replace(config))
            steps[name], _ = optimizer(config).update(gradient, optimizer(config).init(params), params)
            np.testing.assert_allclose(steps[name]["bias"], [-0.01, 0.01], rtol=1e-5)
    np.testing.assert_allclose(np.diag(steps["adamw"]["kernel"]), [-0.01, -0.01], rtol=1e-4)
    assert 0.06 < -steps["muon"]["kernel"][0, 0] < 0.13
