"""The learned schedule: monotone between its ends, told by noise alone, and trained to the least variance that its
bound can have.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import diffusion
from gendiff.core import records, trees
from gendiff.diffusion import elbo, grids, learned_schedule, oracles, sampling, schedules

LOG2 = math.log(2.0)
ENDS = (8.0, -6.0)
MIXTURE = ([0.4, 0.6], [[-0.6], [0.7]], [0.05, 0.2])


def bent(seed=0, scale=1.0, **options):
    """A schedule whose numbers are far from their first values."""
    schedule, noise = learned_schedule.monotone(ENDS, hidden=8, **options), np.random.default_rng(seed)
    curve = jax.tree.map(
        lambda leaf: scale * (leaf + jnp.asarray(noise.normal(size=leaf.shape), leaf.dtype)), schedule.curve
    )
    return records.replace(schedule, curve=curve)


@pytest.mark.float64
def test_log_snr_falls_strictly_between_its_ends_whatever_the_numbers_and_t_is_linear_in_it():
    u = jnp.linspace(0.0, 1.0, 501)
    np.testing.assert_allclose(learned_schedule.monotone(ENDS).at(u).log_snr, 8 - 14 * u, atol=0.5)
    for schedule in [bent(seed, learn_ends=learn_ends) for seed in range(5) for learn_ends in (False, True)]:
        level = schedule.at(u)
        np.testing.assert_allclose(level.log_snr[jnp.array([0, -1])], ENDS, rtol=1e-9)
        assert np.all(np.diff(level.log_snr) < 0)
        np.testing.assert_allclose(level.alpha**2 + level.sigma**2, 1.0, rtol=1e-12)
        np.testing.assert_allclose(level.t, 1000 * (ENDS[0] - level.log_snr) / (ENDS[0] - ENDS[1]), atol=1e-6)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
            schedule.at_log_snr(level.log_snr),
            level,
        )
    assert [float(bent().at_log_snr(value).t) for value in (20.0, -20.0)] == [0.0, 1000.0]


def test_ends_are_leaves_only_where_they_are_learned():
    for schedule, parts in ((bent(), {"curve"}), (bent(learn_ends=True), {"curve", "ends"})):
        assert {name.split("/")[0] for name in trees.paths(schedule)} == parts
        np.testing.assert_allclose(np.array(schedule.limits), ENDS, rtol=1e-6)


def test_the_frozen_schedule_is_the_same_and_compares_hashes_and_drives_a_sampler():
    schedule, (fixed, again, other) = bent(), (learned_schedule.frozen(bent(seed)) for seed in (0, 0, 1))
    assert fixed == again != other and hash(fixed) == hash(again)
    for u in (jnp.linspace(0.0, 1.0, 7), np.linspace(0.0, 1.0, 7), 0.3):
        np.testing.assert_allclose(fixed.at(u).alpha, schedule.at(u).alpha, rtol=1e-5)
        np.testing.assert_allclose(fixed.at(u).t, schedule.at(u).t, rtol=1e-4, atol=1e-2)
    mixture = oracles.mixture(*MIXTURE)
    draw = jax.jit(
        lambda levels: sampling.sample(
            jax.random.key(0), mixture, diffusion.samplers.ddim(), levels, (1,), jnp.arange(3)
        )
    )
    for grid in (grids.trailing, grids.karras, grids.log_snr, grids.cosine):
        for levels in (grid(schedule, 5), grid(fixed, 5)):
            assert np.all(np.isfinite(draw(levels))) and levels.shape == (6,)
    assert schedules.max_noise_ratio(schedule) == pytest.approx(math.exp(3.0), rel=1e-5)
    assert schedules.max_noise_ratio(fixed) == pytest.approx(math.exp(3.0), rel=1e-12)
    built_under_jit = jax.jit(lambda x: x + grids.trailing(fixed, 4).sigma[0])(0.0)
    np.testing.assert_allclose(built_under_jit, fixed.noisiest.sigma, rtol=1e-6)


@pytest.mark.float64
def test_the_bound_does_not_depend_on_the_shape_nor_does_its_gradient():
    nodes, weights = np.polynomial.legendre.leggauss(300)
    mixture, noise = oracles.mixture(*MIXTURE), jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)))
    x = mixture.draw(jax.random.key(0), 8)

    @jax.jit
    @jax.value_and_grad
    def total(schedule):
        rates = jax.lax.map(
            lambda u: jnp.mean(elbo.path_rate(mixture, x, noise, schedule, jnp.full(8, u))),
            jnp.asarray((nodes + 1) / 2),
        )
        return jnp.sum(weights / 2 * rates)

    (first, slope), (second, _) = total(bent(scale=0.2)), total(bent(1, scale=0.2))  # smooth enough for the nodes
    assert float(first) == pytest.approx(float(second), rel=1e-6)
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(slope)) < 1e-5 * first


@pytest.mark.float64
def test_training_reaches_the_least_variance_and_leaves_the_bound_alone():
    """E L² = integral of E h² / q over log-SNR for h the loss at a log-SNR drawn with density q: least at q ~ sqrt(E
    h²).
    """
    oracle = oracles.mixture(*MIXTURE)
    data = oracle.draw(jax.random.key(1), 4096)
    noise = jnp.asarray(np.random.default_rng(2).normal(size=data.shape))

    @jax.jit
    def moments(schedule):
        """The mean and mean square of the drawn loss, in bits, over data, noise and u."""
        u = (jnp.arange(4096) + 0.5) / 4096
        rates = elbo.path_rate(oracle, data, noise, schedule, u) / LOG2
        return jnp.mean(rates), jnp.mean(rates**2)

    @jax.jit
    def squares(log_snr):
        level = learned_schedule.monotone(ENDS).at_log_snr(log_snr)
        predicted = oracle(level.alpha * data + level.sigma * noise, level).noise
        return jnp.mean((jnp.sum((predicted - noise) ** 2, axis=1) / 2 / LOG2) ** 2)

    positions = jnp.linspace(ENDS[1], ENDS[0], 400)
    least = float(jnp.trapezoid(jnp.sqrt(jax.lax.map(squares, positions)), positions)) ** 2
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-2, 300))

    @jax.jit
    def train(schedule):
        def step(carry, key):
            schedule, state = carry
            data_key, key = jax.random.split(key)
            slope = jax.grad(learned_schedule.objective, has_aux=True)(
                schedule, key, oracle, oracle.draw(data_key, 1024)
            )[0]
            change, state = optimizer.update(slope, state)
            return (optax.apply_updates(schedule, change), state), None

        return jax.lax.scan(step, (schedule, optimizer.init(schedule)), jax.random.split(jax.random.key(3), 300))[0][0]

    start = learned_schedule.monotone(ENDS, hidden=16)
    end = train(start)
    (mean, before), (mean_after, after) = moments(start), moments(end)
    assert float(mean_after) == pytest.approx(float(mean), rel=0.05)
    assert before - after > 0.75 * (before - least) > 0, (before, after, least)
    np.testing.assert_allclose(end.at(jnp.array([0.0, 1.0])).log_snr, ENDS, rtol=1e-9)


@partial(jax.jit, static_argnames="data_levels")
def objective(schedule, key, x, data_levels=None):
    descend = partial(learned_schedule.objective, data_levels=data_levels)
    return jax.value_and_grad(descend, has_aux=True)(schedule, key, oracles.mixture(*MIXTURE), x)


@pytest.mark.float64
def test_the_shape_follows_the_second_moment_and_the_ends_follow_the_bound():
    schedule, x = bent(learn_ends=True), oracles.mixture(*MIXTURE).draw(jax.random.key(0), 16)
    (scalar, metrics), slope = objective(schedule, jax.random.key(1), x)
    assert np.isfinite(scalar) and metrics["variance"] > 0
    for part, name in (("curve", "slope"), ("ends", "low"), ("ends", "log_range")):
        values, numbers = [], getattr(schedule, part)
        for step in (1e-5, -1e-5):
            moved = records.replace(numbers, **{name: getattr(numbers, name) + step})
            total, measures = objective(records.replace(schedule, **{part: moved}), jax.random.key(1), x)[0]
            values.append(measures["bits"] if part == "ends" else total - measures["bits"])
        expected = float(values[0] - values[1]) / 2e-5
        assert float(getattr(getattr(slope, part), name)) == pytest.approx(expected, rel=1e-4, abs=1e-7), name


@pytest.mark.float64
def test_the_bits_of_the_objective_are_those_of_the_bound():
    schedule, mixture = learned_schedule.monotone(ENDS), oracles.mixture(*MIXTURE)
    x = mixture.draw(jax.random.key(0), 4096)
    run = jax.jit(lambda key: learned_schedule.objective(schedule, key, mixture, x)[1]["bits"])
    rates = [float(run(jax.random.key(seed))) for seed in range(8)]
    bound = elbo.continuous(jax.random.key(9), mixture, x, schedule, jnp.arange(4096), draws=8)
    error = math.hypot(np.std(rates) / math.sqrt(8), math.sqrt(np.mean(bound.standard_error**2) / 4096))
    assert error < 0.2 and np.mean(rates) == pytest.approx(float(jnp.mean(bound.bits)), abs=4 * error)


def test_data_of_half_precision_have_the_objective_of_these_numbers_in_float32():
    half, schedule = jnp.full((4, 1), 0.71, jnp.bfloat16), learned_schedule.monotone(hidden=8, learn_ends=True)
    results = [objective(schedule, jax.random.key(1), x) for x in (half, half.astype(jnp.float32))]
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_values_and_gradients_are_finite_in_float32_for_whole_values():
    x = jnp.round(oracles.mixture(*MIXTURE).draw(jax.random.key(0), 8) * 8) / 8
    result = objective(learned_schedule.monotone(hidden=8, learn_ends=True), jax.random.key(1), x, data_levels=17)
    assert result[0][0].dtype == jnp.float32 and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(result))
