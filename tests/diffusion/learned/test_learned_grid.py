"""Learned grids: better than fixed ones on noise never seen, inside the schedule, and never worse, however badly they
were learned.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff.core import records
from gendiff.diffusion import grids, guidance, learned_grid, oracles, samplers, sampling, schedules
from tests.quickly import in_numpy
from tests.refusals import refusals

SCHEDULE = schedules.cosine(1000)
DATA = oracles.ring(5, std=0.1)
STEPS = 4
DDIM = samplers.ddim()


def fixed(schedule=SCHEDULE, n=STEPS):
    spaced = {name: getattr(grids, name)(schedule, n) for name in ("trailing", "cosine", "karras", "log_snr")}
    return spaced | {"resolved": grids.resolved(schedule, n, resolution=0.3, norm=1.0)}


def fine(schedule=SCHEDULE):
    return DDIM, grids.log_snr(schedule, 200, sigma_min=0.005, sigma_max=2000.0)


@pytest.fixture(scope="module")
def learn():
    """From (key, learning rate, size of ripples in t): one program for all tests of the levels alone."""

    @in_numpy
    def run(key, rate, ripple):
        def rippled(x, level):
            prediction = DATA(x, level)
            return records.replace(prediction, clean=prediction.clean + ripple * jnp.sin(40 * level.t))

        options = {"shape": (2,), "candidates": fixed(), "reference": fine()}
        counts = {"pairs": 64, "held_out": 64, "batch": 64, "iterations": 150}
        return learned_grid.learn(key, rippled, DDIM, SCHEDULE, optimizer=optax.adam(rate), **options, **counts)

    return run


@in_numpy
def sample_of(levels, num_steps):
    return sampling.sample(jax.random.key(99), DATA, DDIM, levels, (2,), jnp.arange(256), num_steps=num_steps)


def ends(levels):
    """By one program for grids of all lengths."""
    padded = jax.tree.map(lambda field: np.pad(field, (0, 201 - len(field)), "edge"), levels)
    return sample_of(padded, len(levels) - 1)


def error(levels):
    """Root mean square distance to the fine solution, from noise of another key."""
    return float(np.sqrt(np.mean((ends(levels) - ends(fine()[1])) ** 2)))


@pytest.mark.float64
def test_learned_levels_leave_a_third_of_the_error_of_usual_grids_and_less_than_the_resolved_one_on_other_noise(learn):
    learned, errors = learn(jax.random.key(0), 0.1, 0.0), {name: error(levels) for name, levels in fixed().items()}
    assert 2.5 * error(learned.levels) < min(value for name, value in errors.items() if name != "resolved")
    assert error(learned.levels) < 0.9 * errors["resolved"]
    assert learned.improved and min(learned.errors, key=learned.errors.get) == "learned"
    assert list(learned.errors) == sorted([*fixed(), "learned"]) and learned.losses.shape == (150,)
    assert learned.losses[-1] < 0.7 * learned.losses[0] and learned.scales is None and learned.gains is None


@pytest.mark.float64
def test_learned_levels_fall_strictly_lie_on_the_schedule_and_end_as_the_candidates_do(learn):
    levels = jax.device_get(learn(jax.random.key(1), 0.1, 0.0).levels)
    assert levels.shape == (STEPS + 1,) and np.all(np.diff(levels.log_snr) > 0)
    assert SCHEDULE.table.log_snr[-1] < levels.log_snr[0] and levels.log_snr[-2] < SCHEDULE.table.log_snr[0]
    expected = SCHEDULE.at_log_snr(levels.log_snr[:-1])
    for field in ("t", "alpha", "sigma"):
        np.testing.assert_allclose(getattr(levels, field)[:-1], getattr(expected, field), rtol=1e-9)
    assert (levels.t[-1], levels.alpha[-1], levels.sigma[-1]) == (-1.0, 1.0, 0.0)


@pytest.mark.float64
def test_ripples_in_t_whose_derivative_drowns_all_others_do_not_hide_which_way_to_go(learn):
    learned = learn(jax.random.key(0), 0.1, 1e-3)
    assert learned.improved and learned.errors["learned"] < 0.8 * learned.errors["resolved"]


@pytest.mark.float64
@pytest.mark.parametrize("rate", [1e9, np.nan])
def test_a_bad_learning_rate_gives_the_best_fixed_grid_back(learn, rate):
    learned = learn(jax.random.key(0), rate, 0.0)
    errors = {name: float(value) for name, value in learned.errors.items() if name != "learned"}
    assert not learned.improved and not learned.errors["learned"] <= min(errors.values())
    jax.tree.map(np.testing.assert_array_equal, learned.levels, fixed()[min(errors, key=errors.get)])


def along_slope(length):
    """Goes down the slope by what lowers the loss by `length`, to first order: only if the slope is the true one."""

    def update(slope, state, numbers=None):
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope))
        return jax.tree.map(lambda leaf: -length * leaf / square, slope), state

    return optax.GradientTransformation(lambda numbers: (), update)


def guided(scale):
    return guidance.classifier_free(oracles.gaussian(0.3, 0.9), oracles.gaussian(0.8), scale)


@pytest.mark.float64
def test_the_slope_is_the_derivative_and_a_scale_and_a_gain_per_step_are_learned_as_well():
    schedule = schedules.flow()
    candidates, reference = {"trailing": grids.trailing(schedule, 3)}, (DDIM, grids.trailing(schedule, 40))

    @in_numpy
    def run(length):
        options = {"shape": (2,), "candidates": candidates, "reference": reference, "scale": 2.0, "gains": True}
        counts = {"pairs": 8, "held_out": 8, "batch": 8, "iterations": 2}
        optimizer = along_slope(length)
        return learned_grid.learn(jax.random.key(0), guided, DDIM, schedule, optimizer=optimizer, **options, **counts)

    before = float(run(0.0).losses[0])  # plain numbers, so that one program serves all lengths
    loss, later = run(1e-6 * before).losses
    np.testing.assert_allclose(later - loss, -1e-6 * before, rtol=1e-3)
    learned = run(0.2 * before)
    assert learned.improved and learned.scales.shape == learned.gains.shape == (3,)
    assert np.all(np.abs(learned.scales - 2.0) > 1e-4) and np.all(np.abs(learned.gains - 1.0) > 1e-4)


def refused(**changes):
    options = {
        "sampler": DDIM,
        "shape": (2,),
        "candidates": fixed(),
        "reference": fine(),
        "pairs": 4,
        "held_out": 4,
        "batch": 4,
    } | changes
    learned_grid.learn(jax.random.key(0), DATA, options.pop("sampler"), SCHEDULE, **options)


test_mistakes_are_refused = refusals(
    (lambda: refused(pairs=6), "pairs = 6 must be a multiple of batch = 4: give 8"),
    (lambda: refused(held_out=0), "held_out"),
    (lambda: refused(iterations=0), "iterations"),
    (lambda: refused(scale=0.0), "scale"),
    (lambda: refused(candidates={}), "at least one"),
    (lambda: refused(candidates={"learned": fixed()["karras"]}), 'none called "learned"'),
    (lambda: refused(candidates=fixed() | {"long": grids.trailing(SCHEDULE, 5)}), "one number of levels"),
    (
        lambda: refused(candidates=fixed() | {"open": grids.trailing(SCHEDULE, 4, end="first")}),
        "'open' ends at another",
    ),
    (lambda: refused(reference=(DDIM, grids.trailing(SCHEDULE, 40, end="first"))), "reference ends at another"),
    (lambda: refused(sampler=samplers.ddim(0.5)), "sampler draws noise", TypeError),
    (lambda: refused(reference=(samplers.ddpm(), fine()[1])), "reference draws noise", TypeError),
    (lambda: refused(distance=lambda x, target: jnp.mean((x - target) ** 2)), "one number per sample"),
)
