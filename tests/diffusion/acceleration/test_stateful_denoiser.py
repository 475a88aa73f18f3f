"""Memory travels in the sampler's state: it is the draw's own, and no sampler or rule loses it in silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.core import arrays, records
from gendiff.diffusion import guidance, oracles, samplers, sampling, stateful_denoiser
from gendiff.diffusion.samplers.catalogue import METHODS
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.variants import some_slow

SCHEDULE = diffusion.schedules.scaled_linear(100)
INDEX = np.array([4, 0, 9], np.int32)
START = np.random.default_rng(0).normal(size=(3, 2))
STEPS = 3


@records.record
class Counting(stateful_denoiser.StatefulDenoiser):
    """A Gaussian whose mean grows with each step; each sample counts for itself."""

    rate: object

    def init(self, x):
        return arrays.zero_per_sample(x, x.dtype)

    def remembered(self, x, level, memory):
        prediction = oracles.gaussian(0.5)(x, level)
        return guidance.with_clean(
            prediction, prediction.clean + self.rate * arrays.expand(memory, x), level
        ), memory + 1


def at_step(number, rate):
    """What `Counting` answers in this step."""
    return lambda x, level: Counting(rate).remembered(x, level, jnp.full(len(x), number, x.dtype))[0]


def levels():
    return diffusion.grids.trailing(SCHEDULE, STEPS)


def sample_of(denoise, sampler, num_steps=None, start=START):
    return diffusion.sample(
        jax.random.key(0), denoise, sampler, levels(), (2,), INDEX, num_steps=num_steps, start=start
    )


def by_hand(of_step):
    """The states of DDIM with another denoiser in each step."""
    grid, states = levels(), [samplers.ddim().init(jnp.asarray(START))]
    for j in range(STEPS):
        states.append(
            samplers.ddim().step(sampling.KeyNoise(None), of_step(j), states[-1], grid[j], grid[j + 1], STEPS - 1 - j)
        )
    return jnp.stack([state.x for state in states])


@pytest.mark.float64
def test_each_step_is_given_the_memory_of_the_one_before_in_a_scan_mapped_in_a_loop_and_in_reverse_mode():
    sampler = diffusion.stateful(samplers.ddim())

    @in_numpy
    def run(rate, steps):
        hand, slope = jax.value_and_grad(lambda rate: by_hand(lambda j: at_step(j, rate))[-1].sum())(rate)
        remembered, own_slope = jax.value_and_grad(lambda rate: sample_of(Counting(rate), sampler).sum())(rate)
        looped = jax.vmap(lambda n: sample_of(Counting(rate), sampler, n))(steps)
        return (
            by_hand(lambda j: at_step(j, rate)),
            (hand, slope),
            (remembered, own_slope),
            looped,
            sample_of(Counting(rate), samplers.ddim()),
        )

    states, hand, remembered, looped, forgetful = jax.device_get(run(0.3, np.array([2, 3])))
    np.testing.assert_allclose(remembered, hand, rtol=1e-12)
    np.testing.assert_allclose(looped, states[[2, 3]], atol=1e-12)
    assert np.abs(forgetful - states[3]).max() > 0.1  # without `stateful` every step is as if it were the first


@pytest.mark.float64
def test_a_stretched_sampler_carries_the_memory_of_the_one_inside():
    sampler = diffusion.stateful(samplers.ddim())
    stretched = samplers.stretched(sampler, np.ones(STEPS))
    np.testing.assert_allclose(sample_of(Counting(0.3), stretched), sample_of(Counting(0.3), sampler), rtol=1e-12)


@pytest.mark.float64
def test_a_guided_denoiser_keeps_the_memory_of_each_of_its_own():
    sampler, scale = diffusion.stateful(samplers.ddim()), guidance.interval(3.0, 0.1, 5.0)

    def rule(conditional, free):
        return guidance.classifier_free(conditional, free, scale, rescale=0.7)

    @in_numpy
    def run(scale, rates):
        members = Counting(rates[0]), Counting(rates[1])
        guided = stateful_denoiser.guided(guidance.classifier_free, members, scale, rescale=0.7)
        plain = oracles.gaussian(0.2)
        mixed = stateful_denoiser.guided(guidance.classifier_free, (members[0], plain), 2.0)
        return (
            sample_of(guided, sampler),
            by_hand(lambda j: rule(at_step(j, rates[0]), at_step(j, rates[1])))[-1],
            sample_of(mixed, sampler),
            by_hand(lambda j: guidance.classifier_free(at_step(j, rates[0]), plain, 2.0))[-1],
        )

    guided, hand, mixed, mixed_hand = jax.device_get(run(scale, (0.3, -0.2)))
    np.testing.assert_allclose(guided, hand, atol=1e-12)
    np.testing.assert_allclose(mixed, mixed_hand, atol=1e-12)


FAST = {"ddim stochastic", "heun", "dpm_solver_multistep 3", "reversible_heun", "pndm"}


@pytest.mark.parametrize("name", some_slow(METHODS, METHODS.keys() - FAST))
def test_every_sampler_of_one_evaluation_per_step_remembers_and_every_other_one_is_refused(name):
    """Traced alone: the memory must come out as it went in, from exactly one question."""
    method = METHODS[name]
    sampler = method.make(SCHEDULE)
    if method.evaluations != "n":
        with pytest.raises(TypeError, match="memory needs one per step"):
            diffusion.stateful(sampler)
    elif not method.learned_variance:
        result = jax.eval_shape(
            lambda start: sample_of(Counting(0.1), diffusion.stateful(sampler), start=start), START.astype(np.float32)
        )
        assert result.shape == (3, 2) and diffusion.stateful(sampler).evaluations(7) == 7


class Twice(sampling.Sampler):
    """Says that it asks once, and asks twice."""

    def step(self, noise, denoise, state, level, cleaner, left):
        denoise(state.x, level)
        return samplers.ddim().step(noise, denoise, state, level, cleaner, left)


PLAIN = oracles.gaussian(0.5)
REMEMBER = diffusion.stateful(samplers.ddim())

test_what_would_lose_a_memory_is_refused = refusals(
    (lambda: diffusion.stateful("ddim"), "sampler must be a record", TypeError),
    (lambda: sample_of(PLAIN, REMEMBER), "Gaussian has no memory", TypeError),
    (
        lambda: sample_of(guidance.autoguidance(Counting(0.1), PLAIN, 2.0), REMEMBER),
        "build it by stateful_denoiser.guided",
        TypeError,
    ),
    (lambda: sample_of(Counting(0.1), diffusion.stateful(Twice())), "Twice asked its denoiser 2 times", TypeError),
    (lambda: REMEMBER.init(START), "begins with its denoiser", TypeError),
    (lambda: samplers.predictor_corrector(REMEMBER), "source of noise", TypeError),
    (lambda: stateful_denoiser.guided(guidance.classifier_free, ()), "denoisers is empty"),
    (lambda: stateful_denoiser.guided(guidance.classifier_free, (PLAIN, PLAIN), -1.0), "scale = -1 is outside"),
    (
        lambda: stateful_denoiser.guided(guidance.classifier_free, (PLAIN, PLAIN), 2.0, batched=True),
        "batched=True needs",
        TypeError,
    ),
)
