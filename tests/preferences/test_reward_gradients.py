"""Gradients of a reward through the last steps: against `sample` itself, the chain rule by hand, and each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import oracles, samplers, sampling, schedules, types
from gendiff.preferences import reward_gradients
from tests.quickly import quickly
from tests.refusals import refusals

pytestmark = pytest.mark.float64
SEED, COUNT, STEPS = 5, 3, 4
ETA = samplers.ddim(eta=1.0)


def levels(positions=(1.0, 0.7, 0.5, 0.2, 0.0)):
    grid = [schedules.flow().at(u) for u in positions]
    return types.Level(*(jnp.asarray([getattr(level, name) for level in grid]) for name in ("t", "alpha", "sigma")))


def start():
    return jnp.linspace(-1.0, 2.0, COUNT * 2).reshape(COUNT, 2)


@records.record
class Shifted:
    """A denoiser that is a pytree, whose parameter is a leaf."""

    mean: jax.Array

    def __call__(self, x, level):
        return oracles.gaussian(std=0.5, mean=self.mean)(jnp.tanh(x), level)


def samples_of(mean, last, sampler=ETA, denoise=Shifted, **options):
    return reward_gradients.truncated_sample(
        jax.random.key(SEED), denoise(mean), sampler, levels(), start(), jnp.arange(COUNT), last=last, **options
    )


def both(function, mean=0.3):
    """(samples, slope of a sum of them, each with a weight of its own) of a function of the mean; what stands behind
    samples is kept.
    """

    def weighed(mean):
        samples, *rest = function(mean)
        weights = jnp.asarray(np.random.default_rng(0).normal(size=(COUNT, 2)))
        return jnp.sum(weights * samples), (samples, *rest)

    (_, values), slope = quickly(jax.value_and_grad(weighed, has_aux=True))(mean)
    return (*values, slope)


@functools.cache
def through_all(sampler):
    """(samples, all states, slope) of `sample` itself."""

    def samples_and_rest(mean):
        options = {"start": start(), "trajectory": True}
        states = sampling.sample(
            jax.random.key(SEED), Shifted(mean), sampler, levels(), (2,), jnp.arange(COUNT), **options
        )
        return states[-1], states

    return both(samples_and_rest)


@pytest.mark.parametrize(
    "sampler", [ETA, pytest.param(samplers.ddim(), marks=pytest.mark.slow)], ids=["ancestral", "deterministic"]
)
def test_the_samples_are_those_of_sample_for_every_number_of_steps_and_all_steps_have_its_gradient(sampler):
    exact, _, slope = through_all(sampler)
    np.testing.assert_allclose(quickly(lambda mean: samples_of(mean, 1, sampler))(0.3), exact, rtol=1e-12)
    full, of_whole = both(lambda mean: (samples_of(mean, STEPS, sampler, unroll=True),))
    np.testing.assert_allclose(full, exact, rtol=1e-12)
    np.testing.assert_allclose(of_whole, slope, rtol=1e-10)


def test_no_gradient_reaches_the_start_and_a_solver_knows_how_many_steps_are_left():
    """Of a solver whose last step has a lower order wherever it ends."""
    sampler, grid = samplers.dpm_solver_multistep(2, lower_order_final=True), levels((0.9, 0.7, 0.5, 0.2, 0.1))

    def cut_and_whole(start):
        key, index = jax.random.key(SEED), jnp.arange(COUNT)
        cut = reward_gradients.truncated_sample(key, Shifted(0.3), sampler, grid, start, index, last=2)
        return cut, sampling.sample(key, Shifted(0.3), sampler, grid, (2,), index, start=start)

    (cut, full), (slope, of_whole) = quickly(lambda x: jax.jvp(cut_and_whole, (x,), (jnp.ones_like(x),)))(start())
    np.testing.assert_allclose(cut, full, rtol=1e-12)
    assert not np.any(slope) and np.all(of_whole != 0)


def test_the_gradient_through_the_last_steps_is_the_chain_rule_from_the_state_before_them():
    samples, states, of_all = through_all(ETA)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), jnp.arange(COUNT))

    def from_the_state(mean, last):
        x = states[STEPS - last]
        for j in range(STEPS - last, STEPS):
            level, cleaner = levels()[j], levels()[j + 1]
            x = ETA.step(
                ETA.noise_for_step(keys, j, level, cleaner),
                Shifted(mean),
                sampling.State(x),
                level,
                cleaner,
                STEPS - 1 - j,
            ).x
        return (x,)

    ended, cut = both(lambda mean: (samples_of(mean, 2),))
    again, by_hand = both(lambda mean: from_the_state(mean, 2))
    np.testing.assert_allclose([ended, again], [samples, samples], rtol=1e-12)
    np.testing.assert_allclose(cut, by_hand, rtol=1e-10)
    rolled, of_rolled = both(lambda mean: (samples_of(mean, STEPS),))
    np.testing.assert_allclose(rolled, samples, rtol=1e-12)
    np.testing.assert_allclose(of_rolled, of_all, rtol=1e-10)
    assert abs(cut - of_rolled) > 1e-3  # the steps before matter, so that leaving them out can be seen


@pytest.mark.slow
def test_a_denoiser_that_is_a_plain_function_is_cut_off_too_and_no_gradient_reaches_the_start():
    def plain(mean):
        return lambda x, level: Shifted(mean)(x, level)

    np.testing.assert_allclose(
        jax.jacobian(samples_of)(0.3, 2), jax.jacobian(lambda mean: samples_of(mean, 2, denoise=plain))(0.3), rtol=1e-12
    )
    of_start = jax.jacobian(
        lambda x: reward_gradients.truncated_sample(
            jax.random.key(SEED), Shifted(0.3), ETA, levels(), x, jnp.arange(COUNT), last=2
        )
    )(start())
    assert not np.any(of_start)


@pytest.mark.slow
def test_endings_are_ends_of_noised_samples_whose_mean_gradient_is_exact_and_has_less_variance():
    clean, _, _ = through_all(ETA)

    def slope(function):
        return quickly(jax.jacobian(function))(0.3)

    def ended(mean, draws):
        return reward_gradients.renoised(
            jax.random.key(9), Shifted(mean), ETA, levels(), clean, jnp.arange(COUNT), draws=draws
        )

    several = quickly(lambda mean: ended(mean, 3))(0.3)
    assert several.shape == (3, COUNT, 2) and len(np.unique(np.asarray(several))) == 18
    np.testing.assert_allclose(
        quickly(lambda mean: ended(mean, 2))(0.3), several[:2], rtol=1e-12
    )  # a draw does not depend on how many there are
    slopes = slope(lambda mean: ended(mean, 400))
    # the last step is its clean prediction, whose slope by the mean is 1 − alpha · gain, whatever the noise
    level = levels()[3]
    exact = 1 - level.alpha * level.alpha * 0.25 / (level.alpha**2 * 0.25 + level.sigma**2)
    np.testing.assert_allclose(slopes, np.full((400, COUNT, 2), exact), rtol=1e-10)
    rewards = slope(lambda mean: jnp.sum(ended(mean, 400) ** 2, 2))  # of a reward that is not linear
    assert np.all(np.asarray(rewards).reshape(20, 20, COUNT).mean(1).var(0) < np.asarray(rewards).var(0) / 4)


INDEX = np.arange(COUNT)
test_what_cannot_be_differentiated_so_is_refused = refusals(
    (lambda: samples_of(0.3, 0), r"last = 0 is outside \[1, 4\]"),
    (lambda: samples_of(0.3, 5), r"last = 5 is outside \[1, 4\]"),
    (lambda: samples_of(0.3, 1.0), "last must be an integer", TypeError),
    (
        lambda: reward_gradients.renoised(jax.random.key(SEED), Shifted(0.3), ETA, levels(), start(), INDEX, draws=0),
        "draws = 0 is outside",
    ),
    (
        lambda: reward_gradients.renoised(
            jax.random.key(SEED), Shifted(0.3), samplers.churn(schedules.flow()), levels(), start(), INDEX, draws=1
        ),
        "Churn remembers earlier steps",
        TypeError,
    ),
)
