import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import convolution
from gendiff.networks.blocks import residual_block as blocks
from tests.networks.rig import moved, quickly
from tests.tables import table

pytestmark = pytest.mark.numbers

X = jax.device_put(np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype(np.float32))
EMBEDDING = jax.device_put(np.ones((2, 3), np.float32))


def patterned(module):
    """Parameters by a fixed pattern, with no program compiled to draw them."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), X, EMBEDDING))
    return moved(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))


@table(
    "resize, modulation, expected",
    [(None, "shift", lambda x: x), ("half", "scale_shift", convolution.halve), ("double", "shift", convolution.double)],
)
def test_a_fresh_residual_block_is_its_shortcut(resize, modulation, expected):
    output, _ = quickly(blocks.ResidualBlock(8, 4, modulation, resize).init_with_output)(
        jax.random.key(0), X, EMBEDDING
    )
    np.testing.assert_allclose(output, expected(X), atol=3e-7)  # jax 0.10 sums the shortcut in another order


def test_a_block_without_an_embedding_is_one_whose_embedding_adds_nothing():
    plain, shifted = blocks.ResidualBlock(8, 4, modulation=None), blocks.ResidualBlock(8, 4, "shift")
    params = patterned(shifted)["params"]
    silent = params | {"embedding": jax.tree.map(jnp.zeros_like, params["embedding"])}
    assert {name for name in silent if name != "embedding"} == set(
        jax.eval_shape(plain.init, jax.random.key(0), X)["params"]
    )
    rest = {name: leaf for name, leaf in silent.items() if name != "embedding"}
    np.testing.assert_array_equal(
        quickly(plain.apply)({"params": rest}, X), quickly(shifted.apply)({"params": silent}, X, EMBEDDING)
    )
    for module, inputs, message in (
        (plain, (EMBEDDING,), "None has no use for the embedding"),
        (shifted, (), "'shift' needs an embedding"),
    ):
        with pytest.raises(ValueError, match=message):
            module.init(jax.random.key(0), X, *inputs)


def test_the_backward_pass_of_a_block_keeps_two_maps_and_no_more():
    module = blocks.ResidualBlock(8, 4)
    x = jax.ShapeDtypeStruct((2, 16, 16, 8), jnp.float32)
    back = jax.eval_shape(
        lambda x: jax.vjp(lambda x: module.init_with_output(jax.random.key(0), x, EMBEDDING)[0], x)[1], x
    )
    assert sum(leaf.size >= x.size for leaf in jax.tree.leaves(back)) == 2  # what each norm is given


def test_the_derivative_of_a_block_by_forward_mode_is_its_gradient_along_the_direction():
    module = blocks.ResidualBlock(8, 4, resize="half")
    params = patterned(module)
    direction = jax.tree.map(jnp.ones_like, params)

    def loss(params):
        return jnp.mean(jnp.square(module.apply(params, X, EMBEDDING)))

    (value, rate), gradient = quickly(lambda p: (jax.jvp(loss, (p,), (direction,)), jax.grad(loss)(p)))(params)
    assert value > 0
    np.testing.assert_allclose(rate, sum(leaf.sum() for leaf in jax.tree.leaves(gradient)), rtol=1e-4)


def test_resampling_by_convolution_halves_at_the_first_or_the_second_of_each_two_pixels_and_doubles():
    kernel = jnp.zeros((3, 3, 8, 8)).at[1, 1].set(jnp.eye(8))
    variables = {"params": {"convolution": {"kernel": kernel, "bias": jnp.zeros(8)}}}
    for module, expected in (
        (blocks.Downsample(8, padding=1), X[:, ::2, ::2]),
        (blocks.Downsample(8, padding=0), X[:, 1::2, 1::2]),
        (blocks.Upsample(8), X.repeat(2, 1).repeat(2, 2)),
    ):
        np.testing.assert_array_equal(quickly(module.apply)(variables, X, EMBEDDING), expected)
    assert jax.eval_shape(lambda: blocks.Downsample(16).init_with_output(jax.random.key(0), X, EMBEDDING)[0]).shape == (
        2,
        2,
        2,
        16,
    )


def test_dropout_changes_a_block_only_with_a_key():
    module = blocks.ResidualBlock(8, 4, dropout=0.5)
    run = quickly(lambda params, rngs: module.apply(params, X, EMBEDDING, rngs=rngs))
    off, first, second = (
        run(patterned(module), rngs) for rngs in ({}, *({"dropout": jax.random.key(seed)} for seed in (1, 2)))
    )
    assert not np.allclose(off, first) and not np.allclose(first, second)
