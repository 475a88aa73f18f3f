"""End values that diffusers' scheduler tests publish: their sample, their model x t / (t + 1), ten steps. And its DDPM,
noise by noise.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from gendiff.diffusion import grids, parameterization, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.deis import deis
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep
from gendiff.diffusion.samplers.pndm import pndm
from gendiff.diffusion.samplers.unipc import unipc
from gendiff.diffusion.types import Level
from tests.diffusion.samplers.draws import trajectory
from tests.quickly import in_numpy
from tests.tables import table

pytestmark = pytest.mark.numbers

FIXTURE = pathlib.Path(__file__).parents[1] / "ddpm_fixture.safetensors"
LINEAR, STRONG = schedules.linear(), schedules.linear(1000, 0.01, 0.02)
SAMPLE = np.moveaxis(np.arange(768.0).reshape(3, 8, 8, 4) / 768, -1, 0)
# diffusers' spacings: its last step ends clean, or at the first entry (set_alpha_to_one = False, "sigma_min")
GRIDS = {
    "leading": lambda schedule: grids.leading(schedule, 10, end="clean"),
    "leading, first": lambda schedule: schedule.table[np.append(np.arange(900, -1, -100), 0)],
    "linspace, first": lambda schedule: schedule.table[
        np.append(np.round(np.linspace(0, 999, 11))[:0:-1].astype(int), 0)
    ],
}


def model(kind):
    return jax.tree_util.Partial(lambda x, level: kind().predict(x, x * level.t / (level.t + 1), level))


NOISE, VELOCITY = model(parameterization.noise), model(parameterization.velocity)


@pytest.mark.float64
@table(
    ("sampler", "grid", "schedule", "denoise", "statistic", "published", "digit"),
    [
        (ancestral.ddim(), "leading", LINEAR, NOISE, np.sum, 172.00652, 1e-4),
        (ancestral.ddim(), "leading", LINEAR, VELOCITY, np.sum, 52.5302, 1e-4),
        (ancestral.ddim(), "leading", STRONG, NOISE, np.sum, 149.8295, 1e-4),
        (ancestral.ddim(), "leading, first", STRONG, NOISE, np.sum, 149.0784, 1e-4),
        (dpm_solver_multistep(2), "linspace, first", LINEAR, NOISE, np.mean, 0.3301, 5.1e-5),
        (dpm_solver_multistep(2), "linspace, first", LINEAR, VELOCITY, np.mean, 0.2251, 5.1e-5),
        (unipc(2, lower_order_final=True), "linspace, first", LINEAR, NOISE, np.mean, 0.2464, 5.1e-5),
        (unipc(2, lower_order_final=True), "linspace, first", LINEAR, VELOCITY, np.mean, 0.1014, 5.1e-5),
        (deis(2, lower_order_final=True), "linspace, first", LINEAR, NOISE, np.mean, 0.23916, 5.5e-6),
        (deis(2, lower_order_final=True), "linspace, first", LINEAR, VELOCITY, np.mean, 0.091, 5.5e-4),
        # as they are asserted: of single precision
        (pndm(LINEAR), "leading, first", LINEAR, NOISE, np.sum, 198.1318, 1e-2),
        (pndm(STRONG), "leading, first", STRONG, NOISE, np.sum, 186.9482, 1e-2),
    ],
)
def test_samplers_reach_the_published_end_values(sampler, grid, schedule, denoise, statistic, published, digit):
    end = np.asarray(trajectory(sampler, jax.tree.map(jnp.asarray, GRIDS[grid](schedule)), SAMPLE, denoise)[-1])
    assert statistic(np.abs(end)) == pytest.approx(published, abs=digit)


@pytest.mark.float64
@pytest.mark.parametrize("sampler", [runge_kutta.euler(), ancestral.ddim()], ids=["euler", "ddim"])
def test_euler_follows_the_right_trajectory_of_the_peers_test(sampler):
    """1100 linear steps, ten of them evenly spaced and unrounded, sigma interpolated; the input is scaled by
    1 / sqrt(1 + sigma²).
    """
    table, t = schedules.linear(1100).table, np.linspace(0, 1099, 10)[::-1]
    ratio = np.append(np.interp(t, np.arange(1100), table.sigma / table.alpha), 0.0)
    alpha = 1 / np.sqrt(1 + ratio**2)
    levels = jax.tree.map(jnp.asarray, Level(np.append(t, -1.0), alpha, ratio * alpha))
    result = trajectory(sampler, levels, alpha[0] * ratio[0] * SAMPLE, NOISE)[-1]
    assert np.abs(result).sum() == pytest.approx(168.05, abs=5e-3)


@pytest.mark.float64
def test_ddpm_follows_the_peer_given_the_peers_noise():
    """tests/diffusion/make_ddpm_fixture.py wrote the trajectory and the noise that it used."""
    peer, levels = load_file(FIXTURE), grids.leading(LINEAR, 10)

    @in_numpy
    def walk(x, noises, levels):
        def step(x, j):
            moved = {
                variance: ancestral.ddpm_step(
                    x[variance],
                    NOISE(x[variance], levels[j]),
                    levels[j],
                    levels[j + 1],
                    noise=noises[j],
                    variance=variance,
                )
                for variance in x
            }
            return moved, moved

        return jax.lax.scan(step, {"small": x, "large": x}, jnp.arange(10))[1]

    for variance, states in walk(peer["start"], peer["noises"], levels).items():
        np.testing.assert_allclose(states, peer[variance], rtol=1e-10, atol=1e-12, err_msg=variance)
