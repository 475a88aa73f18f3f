import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.language.cache import FullLayer
from gendiff.networks import attention, axial, layers, rotary, transformer
from tests.networks.rig import quickly, random_params
from tests.refusals import refusals

pytestmark = pytest.mark.numbers

X = jax.device_put(np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32))
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
    normalised_sums = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params
    )

    def linear(name, x):
        return x @ normalised_sums[name]["kernel"] + normalised_sums[name]["bias"][None, None]

    def norm(name, x, epsilon):
        unit = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + epsilon)
        return unit * normalised_sums[name]["scale"][None, None] + normalised_sums[name]["bias"][None, None]

    query, key, value = jnp.split(linear("qkv", X).reshape(2, 6, 6, 4), 3, 2)
    mixed = attention.attend(query, key, value).reshape(X.shape)
    x = norm("norm_0", X + linear("output", mixed), 0.2)
    hidden = linear("mlp_0", x)
    expected = norm("norm_1", x + linear("mlp_1", hidden * jax.nn.sigmoid(1.702 * hidden)), 0.1)
    np.testing.assert_allclose(quickly(block.apply)({"params": normalised_sums}, X)[0], expected, atol=1e-5)
    with pytest.raises(ValueError, match="needs norm_first = True"):
        block.apply({"params": normalised_sums}, X, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="activation = 'relu' is none of gelu_tanh, gelu, quick_gelu"):
        transformer.TransformerBlock(2, 2, activation="relu").apply({"params": normalised_sums}, X)


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
    full, _ = run(params, X, None, POSITIONS, mask)
    changed, _ = run(params, X.at[:, 4:].add(1.0), None, POSITIONS, mask)
    np.testing.assert_array_equal(full[:, :4], changed[:, :4])

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
    np.testing.assert_allclose(jnp.concatenate(parts, 1), full, atol=1e-5)


# A condition of each token, and attention along one axis of a table of tokens.


@quickly
def conditioned(params, x, condition):
    return BLOCK.apply({"params": params}, x, condition)[0]


@pytest.fixture(scope="module")
def told_params():
    return random_params(BLOCK, X, jnp.ones((2, 3)))


def test_conditions_of_tokens_that_are_equal_are_one_of_the_sample(told_params):
    condition = jnp.asarray(np.random.default_rng(5).normal(size=(2, 3)), jnp.float32)
    plain = conditioned(told_params, X, condition)
    for groups in (6, 2):
        np.testing.assert_allclose(
            conditioned(told_params, X, jnp.repeat(condition[:, None], groups, 1)), plain, atol=1e-6
        )
    scale, shift = X[:, 0], X[:, 1]
    norm = layers.RMSNorm()
    alike = (jnp.repeat(change[:, None], 3, 1) for change in (scale, shift))
    np.testing.assert_allclose(norm.apply({}, X, *alike), norm.apply({}, X, scale, shift), atol=1e-6)


def test_a_condition_of_a_group_is_that_of_its_own_tokens(told_params):
    """Without attention, by which a token would hear of the others."""
    condition = jnp.asarray(np.random.default_rng(6).normal(size=(2, 3, 3)), jnp.float32)  # three groups of two tokens
    alone = told_params | {"output": jax.tree.map(jnp.zeros_like, told_params["output"])}
    full = conditioned(alone, X, condition)
    for group in range(3):
        normalised_sums = slice(2 * group, 2 * group + 2)
        np.testing.assert_allclose(
            full[:, normalised_sums], conditioned(alone, X, condition[:, group])[:, normalised_sums], atol=1e-6
        )
    np.testing.assert_allclose(full, conditioned(alone, X, jnp.repeat(condition, 2, 1)), atol=1e-6)
    assert np.abs(full - conditioned(alone, X, condition[:, 0])).max() > 1e-2


def test_axial_attention_is_attention_under_the_matching_mask(params):
    """Tokens as a table of 2 rows of 3: by rows, then by columns."""
    answers = []
    for columns, along in ((False, np.arange(6) // 3), (True, np.arange(6) % 3)):
        mask, table = (along[:, None] == along[None, :])[None, None], axial.Axial(2, columns)
        block = transformer.TransformerBlock(heads=2, expansion=2, axial=table)
        result, _ = quickly(block.apply)({"params": params}, X, None, POSITIONS)
        np.testing.assert_allclose(result, run(params, X, None, POSITIONS, mask)[0], atol=1e-5)
        assert table.visible_tokens(6) == mask.sum(-1)[0, 0, 0]
        answers.append(result)
    assert np.abs(answers[0] - answers[1]).max() > 1e-2


def test_rows_and_columns_are_not_each_other():
    tokens = jnp.arange(6.0).reshape(1, 6, 1, 1)
    np.testing.assert_array_equal(axial.Axial(2).split(tokens)[..., 0, 0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(axial.Axial(2, columns=True).split(tokens)[..., 0, 0], [[0, 3], [1, 4], [2, 5]])
    for table in (axial.Axial(2), axial.Axial(3, columns=True)):
        np.testing.assert_array_equal(table.together(table.split(jnp.tile(tokens, (2, 1, 1, 1))), 2)[1], tokens[0])


def call_with(condition=None, positions=None, mask=None, x=X, **fields):
    block = transformer.TransformerBlock(heads=2, expansion=2, **fields)
    return lambda: jax.eval_shape(lambda: block.init(jax.random.key(0), x, condition, positions, mask))


test_conditions_and_tables_that_do_not_fit_are_refused = refusals(
    (call_with(jnp.ones((2, 4, 3))), r"shape \(2, 4, 3\) is for one stream of tokens, in groups of equal size"),
    (call_with(jnp.ones((2, 6, 3)), x=(X, X)), r"shape \(2, 6, 3\) is for one stream"),
    (call_with(axial=axial.Axial(4)), "6 tokens are no table of 4 rows"),
    (call_with(positions=POSITIONS, mask=attention.causal, axial=axial.Axial(2)), "it takes no mask"),
    (call_with(x=(X, X), axial=axial.Axial(2)), "axial attention is of one stream"),
    (lambda: axial.Axial(0), "rows = 0"),
)
