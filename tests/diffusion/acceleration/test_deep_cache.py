"""Feature caching: a step computes everything or takes what is kept, as the count and the level say, and one program
serves all counts.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.core import records
from gendiff.diffusion import guidance, samplers, stateful_denoiser
from gendiff.diffusion.acceleration.deep_cache import FeatureCache, feature_cache
from tests.diffusion.reports import Reports
from tests.quickly import in_numpy
from tests.refusals import refusals

SCHEDULE = diffusion.schedules.scaled_linear(100)
INDEX = np.array([4, 0, 9], np.int32)
STEPS = 7
DEEP = Reports()


@records.record
class Kept:
    """What the network of this file keeps."""

    deep: object = None


def network(params, x, t, label, features=None):
    """A shallow part of x and a deep part, which changes slowly."""

    def deep(x, t):
        DEEP.add()
        return jnp.sin(x[:, ::-1] + 0.01 * t[:, None].astype(x.dtype))

    held = deep(x, t) if features is None or features.deep is None else features.deep
    output = jnp.tanh(params * x + 0.1 * label[:, None].astype(x.dtype)) + 0.5 * held
    return output if features is None else (output, Kept(held))


def denoiser(gain=0.7):
    return diffusion.from_network(network, gain, diffusion.parameterization.velocity(), np.array([0, 1, 2]))


def sample_of(denoise, sampler, dtype=np.float32):
    levels = diffusion.grids.trailing(SCHEDULE, STEPS)
    start = np.random.default_rng(0).normal(size=(3, 2)).astype(dtype)
    return diffusion.sample(jax.random.key(0), denoise, sampler, levels, (2,), INDEX, start=start)


def cached(interval, gain=0.7, refresh=None):
    return sample_of(
        feature_cache(denoiser(gain), Kept(), interval, refresh=refresh), diffusion.stateful(samplers.ddim())
    )


def at_low_noise(level):
    return level.sigma < 0.5


@in_numpy
def ddim(fresh):
    """DDIM whose steps compute everything where `fresh` (STEPS,) says, and else take the deep part of the step
    before.
    """
    levels = diffusion.grids.trailing(SCHEDULE, STEPS)

    def step(carry, at):
        (x, deep), (level, cleaner, now), held = carry, at, []

        def predict(*inputs):
            _, new = network(*inputs, Kept())
            held.append(jnp.where(now, new.deep, deep))
            return network(*inputs, Kept(held[0]))[0]

        prediction = records.replace(denoiser(), predict=predict)(x, level)
        return (diffusion.ancestral.ddim_step(prediction, level, cleaner), held[0]), None

    start = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)), jnp.float32)
    return jax.lax.scan(step, (start, 0 * start), (levels[:-1], levels[1:], fresh))[0][0]


def by_hand(computes):
    """DDIM where `computes(j)` says in which steps everything is computed."""
    return ddim(np.array([computes(j) for j in range(STEPS)]))


run = jax.jit(cached, static_argnames="refresh")


def test_with_every_step_it_is_the_plain_sampler_bit_for_bit():
    plain = np.asarray(jax.jit(lambda gain: sample_of(denoiser(gain), samplers.ddim()))(np.float32(0.7)))
    static, calls = DEEP.during(jax.jit(lambda gain: cached(1, gain)), np.float32(0.7))
    np.testing.assert_array_equal(static, plain)
    assert calls == STEPS
    np.testing.assert_allclose(run(np.int32(1), np.float32(0.7)), plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("interval", [2, 3, 100])
def test_everything_is_computed_in_every_nth_step_alone_and_the_others_take_what_it_kept(interval):
    result, calls = DEEP.during(run, np.int32(interval), np.float32(0.7))
    assert calls == math.ceil(STEPS / interval) == feature_cache(denoiser(), Kept(), interval).full_evaluations(STEPS)
    np.testing.assert_allclose(result, by_hand(lambda j: j % interval == 0), atol=1e-5)
    assert np.abs(result - by_hand(lambda j: True)).max() > 1e-4


def test_a_level_may_ask_for_everything_and_the_count_goes_on_from_there():
    ages = [True]
    levels = diffusion.grids.trailing(SCHEDULE, STEPS)
    for j in range(1, STEPS):
        since = j - max(i for i, fresh in enumerate(ages) if fresh)
        ages.append(bool(at_low_noise(levels[j])) or since >= 5)
    result, calls = DEEP.during(run, np.int32(5), np.float32(0.7), refresh=at_low_noise)
    assert calls == sum(ages) and 2 < sum(ages) < STEPS
    np.testing.assert_allclose(result, by_hand(lambda j: ages[j]), atol=1e-5)


def test_a_cache_that_never_computes_anew_is_caught(monkeypatch):
    """The mistake is planted: what is kept never gets old."""
    monkeypatch.setattr(FeatureCache, "_stale", lambda self, age, level: age == 0)
    result, calls = DEEP.during(in_numpy(lambda interval: cached(interval)), np.int32(3))
    assert calls == 1 and np.abs(result - by_hand(lambda j: j % 3 == 0)).max() > 1e-4


def test_guided_denoisers_keep_their_own_features_and_gradients_pass():
    @in_numpy
    def slope(gain, interval):
        def total(gain):
            conditional = denoiser(gain)
            pair = [feature_cache(each, Kept(), interval) for each in (conditional, conditional.with_condition(-1))]
            return sample_of(
                stateful_denoiser.guided(guidance.classifier_free, pair, 2.0), diffusion.stateful(samplers.ddim())
            ).sum()

        return jax.value_and_grad(total)(gain)

    value, gradient = slope(np.float32(0.7), np.int32(3))
    above, below = (slope(np.float32(0.7 + change), np.int32(3))[0] for change in (0.01, -0.01))
    np.testing.assert_allclose(gradient, (above - below) / 0.02, rtol=1e-2)
    other, _ = slope(np.float32(0.7), np.int32(1))
    assert abs(value - other) > 1e-3


test_what_cannot_be_cached_is_refused = refusals(
    (
        lambda: feature_cache(diffusion.oracles.gaussian(1.0), Kept()),
        "denoise must be made by denoiser.from_network",
        TypeError,
    ),
    (lambda: feature_cache(denoiser(), Kept(), 0), "every = 0 is outside"),
    (lambda: feature_cache(denoiser(), Kept(), 2.0), "every must be an integer", TypeError),
    (lambda: feature_cache(denoiser(), Kept(np.zeros(3))), "empty holds arrays"),
    (lambda: cached(2, refresh=lambda level: jnp.zeros(3, bool)), r"refresh answered shape \(3,\)"),
)
