"""Stretched steps: gains of 1 change nothing, the right gains make DDIM exact on a Gaussian, and each gain is that of
its own step.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import flow_coordinates, grids, oracles, samplers, sampling, schedules
from gendiff.diffusion.sampling import Sampler, State
from gendiff.diffusion.types import Prediction
from tests.quickly import in_numpy
from tests.refusals import refusals

LEVELS = grids.resolved(schedules.edm(), 3, resolution=0.5, norm=2.0)  # alpha² + sigma² is not 1
START = jnp.linspace(-30.0, 30.0, 5)[:, None]
DATA = oracles.gaussian(0.6, 0.0)


@in_numpy
def ends(sampler, levels, start, denoise=DATA):
    return sampling.sample(jax.random.key(0), denoise, sampler, levels, (1,), jnp.arange(5), start=start)


@pytest.mark.float64
@pytest.mark.parametrize("sampler", [samplers.heun(), samplers.unipc(2)], ids=["heun", "unipc"])
def test_gains_of_one_change_nothing_whatever_the_sampler_remembers(sampler):
    stretched, levels = (
        samplers.stretched(sampler, jnp.ones(3)),
        jax.tree.map(lambda field: jnp.asarray(field, float), LEVELS),
    )
    np.testing.assert_allclose(
        ends(stretched, levels, START.astype(float)), ends(sampler, levels, START.astype(float)), rtol=1e-12
    )
    assert stretched.evaluations(3) == sampler.evaluations(3)


@pytest.mark.float64
def test_the_gains_of_a_gaussians_exact_flow_make_ddim_exact_at_every_step():
    levels = jax.tree.map(lambda field: jnp.asarray(field, float), LEVELS)

    def gain(level, cleaner):
        x = jnp.ones((1, 1))
        prediction = DATA(x, level)
        stepped = cleaner.alpha * prediction.clean + cleaner.sigma * prediction.noise
        before = flow_coordinates.scaled(x, level)
        exact, by_ddim = (
            flow_coordinates.scaled(end, cleaner) - before for end in (DATA.flow(x, level, cleaner), stepped)
        )
        return float((exact / by_ddim)[0, 0])

    gains = [gain(levels[j], levels[j + 1]) for j in range(3)]
    assert len({round(each, 2) for each in gains}) == 3
    expected, start = DATA.flow(START.astype(float), levels[0], levels[-1]), START.astype(float)
    np.testing.assert_allclose(
        ends(samplers.stretched(samplers.ddim(), jnp.array(gains)), levels, start), expected, rtol=1e-12
    )
    assert (
        float(
            jnp.max(
                jnp.abs(ends(samplers.stretched(samplers.ddim(), jnp.array(gains[::-1])), levels, start) - expected)
            )
        )
        > 0.01
    )


def test_fewer_gains_than_steps_are_answered_by_nan():
    few = ends(samplers.stretched(samplers.ddim(), np.ones(2, np.float32)), LEVELS, START)
    assert np.isnan(few).all()


@records.record
class _Walk(Sampler):
    """Adds the noise of its own source, which is 1."""

    def step(self, noise, denoise, state, level, cleaner, left):
        return State(state.x + noise(state.x))

    def noise_for_step(self, keys, step, level, cleaner):
        return lambda like, part=0: jnp.ones_like(like)


def test_the_noise_comes_from_the_samplers_own_source():
    levels = jax.tree.map(lambda field: jnp.ones_like(field), grids.trailing(schedules.flow(), 2))
    walked = sampling.sample(
        jax.random.key(0),
        lambda x, _: Prediction(x, x),
        samplers.stretched(_Walk(), np.array([1.0, 10.0], np.float32)),
        levels,
        (1,),
        jnp.arange(1),
        start=jnp.zeros((1, 1)),
    )
    np.testing.assert_allclose(walked, [[11.0]], rtol=1e-6)


test_what_is_no_gain_per_step_is_refused = refusals(
    (lambda: samplers.stretched(samplers.ddim(), 1.0), r"gains must be \(t,\)"),
    (lambda: samplers.stretched(samplers.ddim(), np.array([1.0, np.inf])), "gains"),
)
