from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import blocks, convolution
from tests.networks.rig import moved, quickly

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 8)), jnp.float32)
EMBEDDING = jnp.ones((2, 3))


@pytest.mark.parametrize(
    ("resize", "modulation", "expected"),
    [(None, "shift", lambda x: x), ("half", "scale_shift", convolution.halve), ("double", "shift", convolution.double)],
)
def test_a_fresh_residual_block_is_its_shortcut(resize: str | None, modulation: str, expected: Any):
    module = blocks.ResidualBlock(8, 4, modulation, resize)
    output, _ = jax.jit(module.init_with_output)(jax.random.key(0), X, EMBEDDING)
    np.testing.assert_array_equal(output, expected(X))


def test_the_backward_pass_of_a_block_keeps_two_maps_and_no_more():
    module = blocks.ResidualBlock(8, 4)
    x = jnp.ones((2, 16, 16, 8))

    def back(x: jax.Array) -> Any:
        variables = module.init(jax.random.key(0), x, EMBEDDING)
        return jax.vjp(lambda x: module.apply(variables, x, EMBEDDING), x)[1]

    back = jax.eval_shape(back, x)
    assert sum(leaf.size >= x.size for leaf in jax.tree.leaves(back)) == 2  # what each norm is given


def test_resampling_by_convolution_halves_and_doubles():
    for build, size in ((blocks.Downsample, 2), (blocks.Upsample, 8)):
        shape = jax.eval_shape(lambda key, build=build: build(16).init_with_output(key, X, EMBEDDING)[0], jax.random.key(0))
        assert shape.shape == (2, size, size, 16)


def test_a_downsample_kernel_is_centred_on_the_first_or_the_second_of_each_two_pixels():
    kernel = jnp.zeros((3, 3, 8, 8)).at[1, 1].set(jnp.eye(8))
    for padding, first in ((1, 0), (0, 1)):
        variables = {"params": {"convolution": {"kernel": kernel, "bias": jnp.zeros(8)}}}
        halved = jax.jit(blocks.Downsample(8, padding=padding).apply)(variables, X, EMBEDDING)
        np.testing.assert_array_equal(halved, X[:, first::2, first::2])


def test_dropout_changes_a_block_only_with_a_key():
    module = blocks.ResidualBlock(8, 4, dropout=0.5)
    params = moved(nn.meta.unbox(jax.jit(module.init)(jax.random.key(0), X, EMBEDDING)))
    drawn = quickly(lambda key: module.apply(params, X, EMBEDDING, rngs={"dropout": key}))
    off, first, second = quickly(lambda: module.apply(params, X, EMBEDDING))(), drawn(jax.random.key(1)), drawn(jax.random.key(2))
    assert not np.allclose(off, first) and not np.allclose(first, second)
