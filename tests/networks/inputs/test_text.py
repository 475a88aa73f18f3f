"""What every network that reads a text promises: of padding nothing, of order nothing, of each token something reaches
the output.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import records, trees
from gendiff.networks.inputs.seen_tokens import SeenTokens
from tests.networks.rig import (
    LABEL,
    MASK,
    READERS,
    SIZE,
    TEXT,
    T,
    X,
    apply,
    cross,
    drawn_reader,
    fresh_reader,
    joint,
    quickly,
    read,
    reading_unet,
)
from tests.tables import table
from tests.variants import some_slow

every_reader = table("build", READERS)
PADDING = ~MASK[..., None]


def with_tokens(tokens, mask=MASK):
    return records.replace(TEXT, tokens=tokens.astype(np.float32), mask=mask)


@every_reader
@table("filling", [0.0, 1e4, np.inf, np.nan])
def test_of_padding_nothing_reaches_the_output_whatever_it_holds(build, filling):
    full = read(build())
    assert np.isfinite(full).all() and all(np.abs(sample).max() > 0 for sample in full)
    np.testing.assert_array_equal(read(build(), with_tokens(np.where(PADDING, filling, TEXT.tokens))), full)
    nothing = records.replace(TEXT, pooled=np.where(MASK.any(-1, keepdims=True), TEXT.pooled, np.float32(filling)))
    np.testing.assert_array_equal(read(build(), nothing), full)


@pytest.mark.parametrize("build", some_slow(READERS, (reading_unet,)))
def test_more_padding_does_not_matter(build):
    longer = with_tokens(
        np.pad(TEXT.tokens, ((0, 0), (0, 3), (0, 0)), constant_values=7.0), np.pad(MASK, ((0, 0), (0, 3)))
    )
    np.testing.assert_allclose(read(build(), longer), read(build()), rtol=1e-5, atol=1e-5)


@every_reader
def test_another_order_of_the_tokens_does_not_matter(build):
    full, order = read(build()), np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        read(build(), with_tokens(TEXT.tokens[:, order], MASK[:, order])), full, rtol=1e-5, atol=1e-5
    )
    assert np.abs(read(build(), with_tokens(TEXT.tokens[:, order])) - full)[1].max() > 1e-4, "other tokens are there"


@every_reader
def test_each_token_that_is_there_the_pooled_text_and_the_six_sizes_reach_the_output_of_their_own_sample(build):
    full = read(build())

    def reached(**changes):
        return [bool(np.abs(sample).max() > 1e-5) for sample in read(build(), **changes) - full]

    for at in range(4):
        changed = TEXT.tokens + 0.5 * (np.arange(4) == at)[None, :, None]
        assert reached(text=with_tokens(changed)) == MASK[:, at].tolist()
    assert reached(text=records.replace(TEXT, pooled=TEXT.pooled + 0.5)) == [True, True, False]
    for name in ("original", "crop", "target"):
        for row in ([1, 0], [0, 1]):
            grown = getattr(SIZE, name) + np.array([[0, 0], row, [0, 0]])
            assert reached(size=records.replace(SIZE, **{name: grown})) == [False, True, False], name


@every_reader
def test_a_text_without_tokens_is_one_learned_token_and_a_learned_pooled_encoding(build):
    learned = drawn_reader(build())["text"]
    assert set(learned) == {"null_token", "null_pooled"}
    tokens, pooled = (np.tile(learned[name], (3, 1)) for name in ("null_token", "null_pooled"))
    one = networks.Text(TEXT.tokens.copy(), np.tile(np.arange(4) == 0, (3, 1)), pooled)
    one.tokens[:, 0] = tokens
    empty = read(build(), records.replace(TEXT, mask=MASK & False))
    np.testing.assert_allclose(empty, read(build(), one), atol=1e-5)
    np.testing.assert_allclose(empty[2], read(build())[2], atol=1e-6)


def test_with_null_text_false_a_text_without_tokens_is_nothing_to_look_at():
    network, empty = joint(depth=1, null_text=False, pooled_channels=None), records.replace(TEXT, mask=MASK & False)
    assert "text" not in drawn_reader(network)
    nothing = read(network, empty)
    assert np.isfinite(nothing).all() and np.abs(nothing[0] - read(network)[0]).max() > 1e-4
    np.testing.assert_array_equal(nothing, read(network, records.replace(empty, tokens=TEXT.tokens + 1)))


@pytest.mark.parametrize("build", some_slow(READERS, (cross,)))
def test_a_fresh_reader_has_plain_parameters_and_puts_out_0(build):
    params = fresh_reader(build())
    assert type(params) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert not np.asarray(apply(networks.pure(build()), params, X, T, LABEL, TEXT, SIZE)).any()


@pytest.mark.parametrize("build", some_slow(READERS, (joint, reading_unet)))
def test_every_parameter_has_a_finite_slope_also_where_padding_is_nan_and_remat_traces(build):
    params, broken = drawn_reader(build()), with_tokens(np.where(PADDING, np.nan, TEXT.tokens))

    def slopes(network, params):
        return jax.grad(lambda params: jnp.sum(jnp.square(networks.pure(network)(params, X, T, LABEL, broken, SIZE))))(
            params
        )

    slopes_of_all = jax.tree.map(np.asarray, quickly(slopes, static_argnums=0)(build(), params))
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(slopes_of_all))
    again = jax.eval_shape(lambda params: slopes(build(remat=True), params), params)
    assert jax.tree.structure(again) == jax.tree.structure(params)


@every_reader
@pytest.mark.float64
def test_a_text_is_computed_in_the_dtype_of_x_alone(build):
    with jax.enable_x64(False):
        params = jax.tree.map(np.asarray, drawn_reader(build()))
    jaxpr = jax.make_jaxpr(networks.pure(build()))(
        *trees.cast((params, X, T), jnp.float64), LABEL, trees.cast(TEXT, jnp.float64), SIZE
    )
    assert "f32[" not in str(jaxpr) and jaxpr.out_avals[0].dtype == jnp.float64


@pytest.mark.slow
def test_bfloat16_is_close_to_float32():
    full, half = read(joint()), read(joint(dtype="bfloat16"))
    assert half.dtype == np.float32
    assert np.sqrt(np.mean((half - full) ** 2)) < 0.06 * np.sqrt(np.mean(full**2))


def test_an_exported_program_takes_a_text_and_a_size():
    exported = jax.export.export(jax.jit(lambda text, size: text.tokens[0] + size.crop[0, 0]))(TEXT, SIZE)
    again = jax.export.deserialize(exported.serialize())
    np.testing.assert_array_equal(again.call(TEXT, SIZE), TEXT.tokens[0] + SIZE.crop[0, 0])


def test_without_a_learned_token_the_text_passes_but_for_its_padding():
    passed = SeenTokens(null=False).apply({}, TEXT)
    np.testing.assert_array_equal(passed.tokens, np.where(PADDING, 0, TEXT.tokens))
    np.testing.assert_array_equal(passed.mask, MASK)
    np.testing.assert_array_equal(passed.pooled, TEXT.pooled)
