"""Rivals of the editing experiment are what their formulas say, numbers are of all digits, and its programs touch what
they must.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments.diffusion import editing
from experiments.diffusion.editing import claims, measures, scales
from experiments.diffusion.editing import problems as editing_problems
from experiments.diffusion.editing.programs import EditingPrograms
from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL
from gendiff.data import digits
from gendiff.diffusion import linear_operators, parameterization, schedules

SMALL = dataclasses.replace(editing.EXPERIMENT.smoke, digits=3)
SPLIT = digits.load()
TRUTH = SPLIT.held_out_images[:3]


def predict(params, x, t, label):
    """A network of one number, which refuses to be told a label."""
    return jnp.where(label[:, None, None, None] == NO_LABEL, params * x, jnp.nan)


@pytest.fixture(scope="module")
def programs():
    model = Model(
        predict, lambda key: jnp.float32(0.3), schedules.flow(), parameterization.flow(), (8, 8, 1), num_classes=10
    )
    return EditingPrograms(SMALL, model)


@pytest.fixture(scope="module")
def problems():
    return editing_problems.problems(SMALL, SPLIT, TRUTH)


def test_wiener_is_the_best_linear_estimate_of_the_training_digits_stationary_model():
    kernel, noise_std = editing_problems.gaussian_kernel(1.0), 0.05
    mean = SPLIT.train_images.mean(axis=0, dtype=np.float64)
    deviations = (SPLIT.train_images - mean)[..., 0]
    shifts = list(np.ndindex(8, 8))
    by_shift = np.reshape([np.mean(deviations * np.roll(deviations, shift, axis=(1, 2))) for shift in shifts], (8, 8))
    covariance = np.array([[by_shift[(i - k) % 8, (j - n) % 8] for k, n in shifts] for i, j in shifts])
    basis = np.eye(64, dtype=np.float32).reshape(64, 8, 8, 1)
    matrix = np.asarray(linear_operators.blur(kernel).forward(basis), np.float64).reshape(64, 64).T
    blurred = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + noise_std**2 * np.eye(64))
    expected = mean.ravel() + (blurred.reshape(2, 64) - matrix @ mean.ravel()) @ gain.T
    restored = editing_problems.wiener(blurred, SPLIT.train_images, kernel, noise_std).reshape(2, 64)
    np.testing.assert_allclose(restored, expected, rtol=1e-4, atol=1e-4)


def test_bicubic_puts_small_pixels_in_the_middle_of_their_boxes():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[None, :, None, None], (1, 16, 16, 1))
    small = np.asarray(linear_operators.downsample(2).forward(ramp))
    np.testing.assert_allclose(editing_problems.bicubic(small, 2)[:, 4:-4], ramp[:, 4:-4], atol=1e-5)


def test_masks_hide_what_they_say_and_only_that_counts(problems):
    for name, hidden in (("centre", 16), ("lower half", 32)):
        problem = problems[name]
        mask = problem.mask[0]
        assert mask.sum() == hidden
        assert (problem.measured[:, ~mask] == TRUTH[:, ~mask]).all() and (problem.measured[:, mask] == 0).all()
        assert (problem.errors(np.where(mask, TRUTH, 5.0), TRUTH) == 0).all()
        assert (problem.errors(np.where(mask, 7.0, TRUTH), np.ones_like(TRUTH)) == 0).all()  # clipped


def test_the_nearest_training_digit_to_a_measured_training_digit_is_that_digit():
    some = SPLIT.train_images[:20]
    for problem in editing_problems.problems(dataclasses.replace(SMALL, noise_std=0.0), SPLIT, some).values():
        known = editing_problems.nearest(problem, SPLIT.train_images)
        measured = [np.asarray(problem.operator.forward(images)) for images in (known, some)]
        np.testing.assert_allclose(*measured, atol=1e-6)


def test_numbers_are_those_of_the_errors_given_and_rank_correlation_is_spearmans_of_each_digit():
    rng, strengths = np.random.default_rng(0), (0.0, 0.2, 0.5, 1.0)
    error, rows = rng.uniform(0.1, 1, 50), rng.normal(size=(4, 6))
    for number, expected in (
        (measures.gain(error / 10, error), 10.0),
        (measures.decibels(np.full(9, 0.04)), 20.0),
        (measures.slope({n: error / n**2 for n in (10, 20, 50)}), -1.0),
        (measures.times(9 * error, error), 3.0),
        (measures.rank_correlation(strengths, np.sort(rows, axis=0)), 1.0),
        (measures.rank_correlation(strengths, np.ones((4, 6))), 0.0),
    ):
        assert number == pytest.approx((expected,) * 3)
    expected = np.mean([scipy.stats.spearmanr(strengths, row).statistic for row in rows.T])
    assert measures.rank_correlation(strengths, rows)[0] == pytest.approx(expected)


def test_the_scale_of_dps_is_chosen_by_training_digits_alone(programs):
    """Held-out digits that are no numbers change nothing."""
    absent = np.full_like(SPLIT.held_out_images, np.nan)
    truth, exercises = scales.training_problems(SMALL, dataclasses.replace(SPLIT, held_out_images=absent))
    assert (truth == SPLIT.train_images[: SMALL.scale_digits]).all()
    draw = functools.partial(programs.restore, "DPS", jnp.float32(0.3))
    tried = scales.try_scales(SMALL, draw, exercises["super-resolution"], truth)
    assert tuple(tried) == SMALL.dps_scales and all(np.isfinite(error).all() for error in tried.values())
    assert len({error.mean() for error in tried.values()}) == len(tried)  # the scale reaches DPS


def test_the_chosen_scale_is_the_one_with_the_least_mean_error():
    assert scales.best({5.0: np.array([0.1, 0.9]), 20.0: np.array([0.4, 0.4]), 40.0: np.array([0.3, 0.5])}) == 20.0


def test_repaint_walks_each_stretch_anew_only_where_it_resamples(programs, problems):
    again, once = (programs.restore(way, jnp.float32(0.3), problems["centre"]) for way in ("RePaint", claims.ONCE))
    assert np.abs(again - once).max() > 0.01


def test_repaint_keeps_what_is_seen_and_samples_differ(programs, problems):
    problem = problems["centre"]
    one, other = (programs.restore("RePaint", jnp.float32(0.3), problem, sample=sample) for sample in (0, 1))
    assert (np.where(problem.mask, TRUTH, one) == TRUTH).all() and np.abs(one - other).max() > 0.01


def test_posterior_samples_follow_the_measurement_that_is_given(programs, problems):
    problem = problems["lower half"]
    observed = ~problem.mask[0]
    for measured in (problem.measured, np.roll(problem.measured, 1, axis=0)):
        restored = programs.restore("PiGDM", jnp.float32(0.3), problem, measured=measured)
        right, wrong = (
            np.mean((restored - target)[:, observed] ** 2) for target in (measured, np.roll(measured, 1, axis=0))
        )
        assert right < wrong / 2


def test_reversible_round_trips_return_and_strength_zero_keeps(programs):
    params = jnp.float32(0.3)
    np.testing.assert_allclose(programs.reversible_trip(params, TRUTH), TRUTH, atol=1e-5)
    assert (programs.edit(params, TRUTH, 0.0) == TRUTH).all()
    trips, fresh = programs.round_trips(params, TRUTH)
    errors = {steps: measures.square_error(back, TRUTH).mean() for steps, back in trips.items()}
    assert max(errors.values()) < measures.square_error(fresh, TRUTH).mean() / 10


def test_the_full_run_takes_all_held_out_digits():
    full = editing.EXPERIMENT.presets["full"]
    assert full.digits == digits.HELD_OUT and full.seeds == (0, 1, 2)


def test_the_network_is_never_told_a_label(programs, problems):
    assert np.isfinite(programs.restore("DPS", jnp.float32(0.3), problems["super-resolution"], scale=5.0)).all()
    assert jax.tree.leaves(problems["super-resolution"].operator) == []
