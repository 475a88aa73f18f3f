"""A state is all that a draw goes on from, no gradient passes where none may, settings end where they say: on a member
per class.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.core import arrays, sample_keys
from gendiff.diffusion import samplers
from gendiff.diffusion.samplers.catalogue import METHODS
from tests.quickly import quickly
from tests.refusals import Ends, ends

pytestmark = pytest.mark.numbers

SCHEDULE, FLOW = diffusion.schedules.scaled_linear(), diffusion.schedules.flow()
STEPS, LEVELS = 3, diffusion.grids.trailing(SCHEDULE, 4)
CLASSES = {type(method.make(SCHEDULE)): name for name, method in METHODS.items()}
"""Of each class the method that the catalogue lists last, which is the one of highest order or with noise."""
START = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
every_class = pytest.mark.parametrize("name", CLASSES.values())


def denoise(x, level):
    """Not linear in x, so that every state differs, and of a variance of its own."""
    clean = jnp.tanh(x) * 0.7
    noise = (x - arrays.expand(level.alpha, x) * clean) / arrays.expand(level.sigma, x)
    return diffusion.Prediction(clean, noise, 0.4 + 0.1 * clean)


@cache
def sample_of(name):
    """The states (t + 1, b, d) of a draw of STEPS intervals, and how they move with the first start and with the level
    behind them.
    """

    def states(start, levels):
        sampler, index = METHODS[name].make(SCHEDULE), np.arange(3)
        how = {"num_steps": STEPS, "start": start, "trajectory": True}
        return diffusion.sample(jax.random.key(0), denoise, sampler, levels, (2,), index, **how)

    first, behind = np.zeros_like(START), jax.tree.map(np.zeros_like, LEVELS)
    first[0] = 1.0
    for field in (behind.alpha, behind.sigma):
        field[STEPS + 1 :] = 1.0
    return jax.device_get(quickly(lambda *places: jax.jvp(states, places, (first, behind)))(START, LEVELS))


@every_class
def test_no_gradient_comes_from_another_sample_or_from_a_level_behind_the_last_step(name):
    _, slopes = sample_of(name)
    assert not slopes[:, 1:].any() and slopes[:, 0].any(axis=1).all()


@every_class
def test_a_state_that_left_the_program_is_all_that_the_next_step_needs_and_may_be_used_twice(name):
    sampler, (states, _) = METHODS[name].make(SCHEDULE), sample_of(name)
    keys = sample_keys.keys_of(jax.random.key(0), np.arange(3))

    @quickly
    def step(state, j):
        level, cleaner = LEVELS[j], LEVELS[j + 1]
        return sampler.step(
            sampler.noise_for_step(keys, j, level, cleaner), denoise, state, level, cleaner, STEPS - 1 - j
        )

    state = sampler.init(jax.device_put(START))
    for j in range(STEPS):
        state, again = (step(state, np.int32(j)) for _ in range(2))
        jax.tree.map(np.testing.assert_array_equal, state, again)
        np.testing.assert_allclose(state.x, states[j + 1], atol=2e-5)


PATH = partial(samplers.fixed_path, samplers.ddpm())
test_settings_are_taken_up_to_the_ends_of_their_ranges_and_refused_beyond_them = ends(
    Ends(samplers.ddim, "eta", 0.0, 1.0),
    Ends(lambda value: samplers.euler_ancestral(eta=value), "eta", 0.0, 1.0),
    Ends(lambda value: samplers.predictor_corrector(corrector_steps=value), "corrector_steps", 0),
    Ends(lambda value: samplers.predictor_corrector(snr=value), "snr", 0.0, open_high=True),
    Ends(lambda value: PATH(tolerance=value), "tolerance", 0.0, 1.0, open_low=True),
    Ends(lambda value: samplers.churn(FLOW, churn=value), "churn", 0.0, None),
    *(
        Ends(lambda value, name=name: samplers.churn(FLOW, **{name: value}), name, 0.0)
        for name in ("churn_min", "churn_max", "churn_noise")
    ),
    Ends(samplers.deis, "order", 1, 4),
    Ends(samplers.unipc, "order", 1, 3),
    Ends(samplers.dpm_solver_multistep, "order", 1, 3),
    Ends(lambda value: samplers.dpm_solver_multistep(2, eta=value), "eta", 0.0, open_high=True),
    Ends(lambda value: samplers.dpm_solver_single(FLOW, value), "order", 1, 3),
    Ends(lambda value: samplers.dpm_solver_single(FLOW, 2, eta=value), "eta", 0.0, open_high=True),
)
