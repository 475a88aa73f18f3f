"""Generations that learn from samples: what each learns from, and that claims tell a loss from none."""

import dataclasses

import numpy as np
import pytest

from experiments.diffusion import synthetic_data
from experiments.diffusion.synthetic_data import ARMS, FIRST, FIRST_GUIDED, FRESH, GUIDED, HALF, KEPT, RETRAINED
from gendiff.core.errors import ConfigError
from gendiff.diffusion.types import Batch
from gendiff.runs.study import Measurements

CONFIG = synthetic_data.Config()
REAL = Batch(np.zeros((50, 8, 8, 1), np.float32) - 1, (np.arange(50, dtype=np.int32) % 10,))
HISTORY = [np.full((40, 8, 8, 1), value, np.float32) for value in (0.25, 0.5)]


@pytest.mark.parametrize("share", (0.0, 0.1, 0.5, 1.0))
def test_a_generation_learns_from_as_many_images_a_share_of_them_real_and_none_twice(share):
    history = [np.arange(40, dtype=np.float32).reshape(40, 1, 1, 1) + np.zeros((40, 8, 8, 1), np.float32)]
    batch = synthetic_data.mixed(REAL, history, share, (0, 1))
    values = batch.clean[:, 0, 0, 0]
    assert len(values) == 40 and (values < 0).sum() == round(40 * share)
    samples = values[values >= 0]
    assert len(set(samples)) == len(samples)
    assert (batch.condition[0][values >= 0] == samples.astype(int) % 10).all()


def test_everything_that_was_learned_from_or_drawn_stays():
    batch = synthetic_data.mixed(REAL, HISTORY, 0.0, (0, 2), everything=True)
    values, counts = np.unique(batch.clean[:, 0, 0, 0], return_counts=True)
    assert values.tolist() == [-1, 0.25, 0.5] and counts.tolist() == [50, 40, 40] and len(batch.condition[0]) == 130


def test_real_digits_are_drawn_anew_with_their_labels():
    real = dataclasses.replace(REAL, clean=REAL.condition[0].reshape(-1, 1, 1, 1) + np.zeros((50, 8, 8, 1)))
    batch = synthetic_data.redrawn(real, 30, 7)
    assert (batch.clean[:, 0, 0, 0] == batch.condition[0]).all() and len(batch.clean) == 30


def verdicts(factors):
    """Claims about arms whose last generation has so many times the distance of the first one, and loses with it."""
    last, seeds = CONFIG.generations, np.array([1.0, 1.01, 0.99])
    rows = {(name, 0): 1.0 for name in (FIRST, FIRST_GUIDED)} | {(name, 0): 1.02 for name in (RETRAINED, FRESH)}
    rows |= {(name, last): factors.get(name, 1.0) for name in ARMS}
    numbers = {
        row: {
            "frechet": (factor * seeds).tolist(),
            "vendi": (20 / factor * seeds).tolist(),
            "recall": (0.9 + 0.01 * seeds - 0.2 * (factor - 1)).tolist(),
            "precision": (0.7 * seeds).tolist(),
        }
        for row, factor in rows.items()
    }
    return {
        each.id: each.verdict
        for each in synthetic_data.STUDY.judge(Measurements(synthetic_data.changes(CONFIG, numbers)))
    }


def test_arms_that_lose_and_arms_that_do_not_are_told_apart():
    good = verdicts({synthetic_data.REPLACED: 2.0, GUIDED: 2.0})
    assert set(good.values()) == {"PASS"} and len(good) == 8
    same = verdicts({})
    assert {id for id, verdict in same.items() if verdict == "PASS"} == {"half-distance", "beside-distance"}
    assert verdicts({synthetic_data.REPLACED: 2.0, HALF: 1.5, KEPT: 1.5})["half-distance"] == "FAIL"


def test_controls_of_the_same_seeds_are_refused():
    with pytest.raises(ConfigError, match="control-seeds 1 is one of --seeds"):
        synthetic_data.check(dataclasses.replace(CONFIG, control_seeds=(1, 3, 4)))
    with pytest.raises(ConfigError, match="equally many"):
        synthetic_data.check(dataclasses.replace(CONFIG, seeds=(0,)))
