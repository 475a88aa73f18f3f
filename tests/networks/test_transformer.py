import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.language.cache import FullLayer
from gendiff.networks import attention, rotary, transformer
from tests.networks.rig import quickly

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8)), jnp.float32)
POSITIONS = np.broadcast_to(np.arange(6)[None, :, None], (2, 6, 1))
BLOCK = transformer.TransformerBlock(heads=2, expansion=2)


@quickly
def run(params, x, *arguments):
    return BLOCK.apply({"params": params}, x, *arguments)


@pytest.fixture(scope="module")
def params():
    return nn.meta.unbox(quickly(BLOCK.init)(jax.random.key(0), X))["params"]


def test_a_fresh_block_with_a_condition_is_the_identity():
    (output, _), _ = quickly(BLOCK.init_with_output)(jax.random.key(0), X, jnp.ones((2, 3)))
    np.testing.assert_array_equal(output, X)


def test_the_two_norms_have_their_own_epsilons(params):
    """With one so large that what is normalised vanishes, the MLP sees the norm's offset alone."""
    large = transformer.TransformerBlock(2, 2, mlp_epsilon=1e30)
    moved = [run(params, X)[0] - X, quickly(large.apply)({"params": params}, X)[0] - X]
    assert np.abs(moved[0] - moved[1]).max() > 1e-2
    assert np.abs(moved[1]).max() > 1e-2  # attention, whose norm keeps its own


def test_with_the_norm_last_each_sum_is_normalised_and_nothing_before_it(params):
    block = transformer.TransformerBlock(2, 2, mlp_epsilon=0.1, epsilon=0.2, activation="quick_gelu", norm_first=False)
    own = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params)

    def linear(name, x):
        return x @ own[name]["kernel"] + own[name]["bias"][None, None]

    def norm(name, x, epsilon):
        unit = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + epsilon)
        return unit * own[name]["scale"][None, None] + own[name]["bias"][None, None]

    query, key, value = jnp.split(linear("qkv", X).reshape(2, 6, 6, 4), 3, 2)
    mixed = attention.attend(query, key, value).reshape(X.shape)
    x = norm("norm_0", X + linear("output", mixed), 0.2)
    hidden = linear("mlp_0", x)
    expected = norm("norm_1", x + linear("mlp_1", hidden * jax.nn.sigmoid(1.702 * hidden)), 0.1)
    np.testing.assert_allclose(quickly(block.apply)({"params": own}, X)[0], expected, atol=1e-5)
    with pytest.raises(ValueError, match="needs norm_first = True"):
        block.apply({"params": own}, X, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="activation = 'relu' is none of gelu_tanh, gelu, quick_gelu"):
        transformer.TransformerBlock(2, 2, activation="relu").apply({"params": own}, X)


def test_rotated_products_depend_on_the_difference_of_positions_alone():
    query, key = (jnp.asarray(a, jnp.float32) for a in np.random.default_rng(1).normal(size=(2, 1, 1, 1, 8)))

    def product(at, to):
        return jnp.sum(rotary.rotate(query, np.array([[at]])) * rotary.rotate(key, np.array([[to]])))

    np.testing.assert_allclose(product([5], [2]), product([103], [100]), rtol=1e-4)
    np.testing.assert_allclose(product([5, 1], [2, 7]), product([8, 0], [5, 6]), rtol=1e-4)
    assert abs(product([5], [2]) - product([5], [3])) > 1e-4
    np.testing.assert_allclose(rotary.rotate(query, np.zeros((1, 1, 2), int)), query)
    with pytest.raises(ValueError, match="divisible by 6"):
        rotary.rotate(query, np.zeros((1, 1, 3), int))


def test_causal_tokens_do_not_depend_on_later_ones_and_a_cache_gives_the_same_and_needs_positions(params):
    mask = attention.causal(POSITIONS[..., 0], POSITIONS[..., 0])
    whole, _ = run(params, X, None, POSITIONS, mask)
    changed, _ = run(params, X.at[:, 4:].add(1.0), None, POSITIONS, mask)
    np.testing.assert_array_equal(whole[:, :4], changed[:, :4])

    cache = FullLayer(jnp.zeros((2, 2, 8, 4)), jnp.zeros((2, 2, 8, 4)))
    parts = []
    for start, stop in ((0, 3), (3, 6)):
        part, cache = quickly(BLOCK.apply, static_argnums=4)(
            {"params": params}, X[:, start:stop], None, POSITIONS[:, start:stop], attention.causal, cache
        )
        parts.append(part)
    for positions, rule, word in ((None, attention.causal, "positions"), (POSITIONS, None, "needs a rule")):
        with pytest.raises(ValueError, match=word):
            BLOCK.apply({"params": params}, X, None, positions, rule, cache)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)
