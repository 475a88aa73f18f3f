"""A denoiser of two times carries samples to where the flow does, in any number of steps; told one level, it is an
ordinary one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import distillation, grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.types import Level
from tests.diffusion.distillation.two_time_flows import PATHS, exact
from tests.diffusion.families import for_each
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.traced import Traced

STD = 0.6
DATA = oracles.gaussian(STD)
JUMP = distillation.jump()
every_path = for_each("name", {name: name for name in PATHS})


def network_denoiser(name="flow", kind=None):
    kind = kind or parameterization.flow()
    return two_times.from_network(exact(name, kind), jnp.asarray(STD), kind)


def path(name, steps):
    """Levels from the noisiest to the cleanest of a schedule."""
    return jax.tree.map(jnp.asarray, PATHS[name][0].at(np.linspace(1.0, 0.0, steps + 1)))


@pytest.mark.float64
@pytest.mark.parametrize(("name", "kind"), [("flow", parameterization.velocity()), ("edm", parameterization.flow())])
def test_jumps_end_on_the_flow_in_any_number_of_steps_under_any_parameterization(float64, name, kind):
    def draw(start, levels, steps):
        return sampling.sample(
            jax.random.key(0),
            network_denoiser(name, kind),
            JUMP,
            levels,
            (2,),
            jnp.arange(3),
            start=start,
            num_steps=steps,
        )

    full, x, draw = path(name, 4), rand(0, 3, 2), in_numpy(draw)
    for steps in (1, 2, 4):
        levels = grids.padded(full[:: 4 // steps], 4)
        np.testing.assert_allclose(draw(x, levels, steps), DATA.flow(x, full[0], full[-1]), rtol=1e-10, atol=1e-12)


@pytest.mark.float64
@every_path
def test_told_one_level_it_is_the_ordinary_denoiser(float64, name):
    denoise, schedule = network_denoiser(name), PATHS[name][0]
    x, level = rand(0, 4, 2), schedule.at(np.array([0.1, 0.4, 0.7, 0.95]))
    one, same, expected = in_numpy(lambda x, level: (denoise(x, level), denoise(x, level, level), DATA(x, level)))(
        x, level
    )
    for result in (one, same):
        np.testing.assert_allclose(result.clean, expected.clean, rtol=1e-10)
        np.testing.assert_allclose(result.noise, expected.noise, rtol=1e-10)


@pytest.mark.float64
def test_a_pair_is_the_one_prediction_that_holds_at_both_levels(float64):
    x, moved = rand(0, 3, 2), rand(1, 3, 2)
    level, cleaner = (
        Level(0.0, jnp.array([0.0, 0.6, 1.0]), jnp.array([1.0, 0.8, 5.0])),
        Level(0.0, jnp.array([0.3, 0.9, 1.0]), jnp.zeros(3)),
    )
    clean, noise = in_numpy(two_times.pair_between)(x, level, moved, cleaner)
    for at, expected in ((level, x), (cleaner, moved)):
        np.testing.assert_allclose(at.alpha[:, None] * clean + at.sigma[:, None] * noise, expected, rtol=1e-12)


def test_one_program_serves_all_numbers_of_steps_and_a_sample_is_its_own():
    run = Traced(
        lambda std, index, levels, steps: sampling.sample(
            jax.random.key(0),
            two_times.from_network(exact(), std, parameterization.flow()),
            JUMP,
            levels,
            (2,),
            index,
            num_steps=steps,
        ),
        in_numpy,
    )
    order = jnp.array([2, 0, 3])
    for steps in (1, 2, 4):
        levels = grids.padded(grids.trailing(schedules.flow(), steps), 4)
        full = run(jnp.float32(STD), jnp.arange(3), levels, steps)
        np.testing.assert_allclose(run(jnp.float32(STD), order, levels, steps)[:2], full[order[:2]], atol=5e-6)
    assert run.traces == 1 and JUMP.evaluations(4) == 4


def test_conditions_go_before_the_second_time_and_can_be_replaced():
    def network(params, x, t, label, second):
        return (params * label + second.t)[:, None] * jnp.ones_like(x)

    denoise = two_times.from_network(network, 10.0, parameterization.flow(), jnp.array([1.0, 2.0]))
    x, levels = np.zeros((2, 1), np.float32), path("flow", 4)
    both = in_numpy(
        lambda x: [
            network_denoiser(x, levels[0], levels[3]).clean
            for network_denoiser in (denoise, denoise.with_condition(7.0))
        ]
    )(x)
    np.testing.assert_allclose(both, [[[-260.0], [-270.0]], [[-320.0]] * 2])


def drawn_with_one_time():
    return sampling.sample(
        jax.random.key(0), DATA, JUMP, path("flow", 1), (2,), np.arange(2), start=np.zeros((2, 2), np.float32)
    )


test_a_denoiser_of_one_time_is_refused = refusals(
    (drawn_with_one_time, "jump.. draws with a denoiser of two times.*got Gaussian", TypeError),
)
