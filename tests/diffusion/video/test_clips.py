"""Whole clips are samples as any other ones: drawn by `sample`, and denoised by a network that is told one time per
clip.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, networks
from gendiff.diffusion import oracles, parameterization, samplers, schedules
from tests.diffusion.video.autoregressive import covariance, knows_the_law
from tests.networks.rig import random_params
from tests.quickly import quickly

FLOW = schedules.flow()


@pytest.mark.slow
@pytest.mark.float64
def test_clips_of_a_gaussian_process_end_where_its_flow_leads_by_an_oracle_and_by_a_network_that_knows_the_law():
    """Three frames of 2 × 1 pixels."""
    oracle = oracles.correlated(np.zeros((3, 2, 1, 1)), np.kron(covariance(3), np.eye(2)))
    network = diffusion.from_network(knows_the_law, (), parameterization.clean())
    levels, start = diffusion.grids.trailing(FLOW, 64), np.random.default_rng(0).normal(size=(5, 3, 2, 1, 1))

    @quickly
    def draw(start):
        levels_64 = jax.tree.map(lambda field: jnp.asarray(field, jnp.float64), levels)
        both = (
            diffusion.sample(
                jax.random.key(0), denoise, samplers.heun(), levels_64, (3, 2, 1, 1), jnp.arange(5), start=start
            )
            for denoise in (oracle, network)
        )
        return *both, oracle.flow(start, levels_64[0], levels_64[-1])

    by_oracle, by_network, exact = draw(start)
    np.testing.assert_allclose(by_network, by_oracle, atol=1e-10)
    np.testing.assert_allclose(by_oracle, exact, atol=2e-3)
    assert np.abs(start - exact).max() > 0.1


def test_a_video_transformer_is_a_denoiser_of_clips_and_draws_them():
    network = networks.VideoTransformer(2, 12, 1, 2, num_classes=3)
    x = np.zeros((2, 4, 4, 2, 1), np.float32)
    params = random_params(network, x, np.zeros(2, np.float32), np.zeros(2, np.int32))
    denoise = diffusion.from_network(networks.pure(network), params, parameterization.flow(), np.array([0, 2]))
    levels = diffusion.grids.trailing(FLOW, 2)
    shape = jax.eval_shape(
        lambda: diffusion.sample(jax.random.key(0), denoise, samplers.ddim(), levels, (4, 4, 2, 1), jnp.arange(2))
    )
    assert shape.shape == x.shape
