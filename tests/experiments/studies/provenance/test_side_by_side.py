"""Networks that learn side by side do not touch each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.provenance import side_by_side
from experiments.provenance.memorise.training import LOSS
from gendiff import diffusion
from gendiff.training import optimizers
from tests.quickly import quickly


@pytest.mark.slow  # tests/runs/test_vmapped_seeds.py holds the same of GANs
def test_networks_that_learn_side_by_side_learn_as_each_does_alone():
    """The gradient of each is that of its own loss, and its own norm clips it."""
    params = jax.tree.map(lambda leaf: leaf + 0.05, side_by_side.starts(16, 2)(jax.random.key(0)))
    images = jnp.asarray(
        np.random.default_rng(0).normal(size=(16, 2, 8, 8, 1)) * np.array([1.0, 9.0]).reshape(2, 1, 1, 1), jnp.float32
    )
    both = side_by_side.optimizer(1e-3, 1, 0.5)
    alone = optimizers.adamw(1e-3, clip=0.5, warmup=1, total=2, decay="constant")

    @quickly
    def side_by_side_step(params, images):
        gradient = jax.grad(lambda params: side_by_side.SumOfLosses(LOSS)(params, jax.random.key(1), images)[0])(params)
        return gradient, both.update(gradient, both.init(params), params)[0]

    @quickly
    def step_alone(params, key, images):
        gradient = jax.grad(lambda params: LOSS(params, key, diffusion.Batch(clean=images))[0])(params)
        return gradient, alone.update(gradient, alone.init(params), params)[0]

    together = side_by_side_step(params, images)
    keys = jax.random.split(jax.random.key(1), 2)
    ones = [step_alone(jax.tree.map(lambda leaf, at=at: leaf[at], params), keys[at], images[:, at]) for at in range(2)]
    for at, one in enumerate(ones):
        for first, second in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(first[at], second, rtol=1e-4, atol=1e-7)
