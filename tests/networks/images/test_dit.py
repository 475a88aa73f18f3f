import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import dit, embeddings
from tests.networks.formulas import exact, linear, silu
from tests.networks.rig import LABEL, SIZE, TEXT, T, X, apply, cross, joint, quickly, random_params
from tests.networks.rig import dit as tiny
from tests.refusals import refusals

pytestmark = pytest.mark.numbers

SCALE = networks.GuidanceScale(np.array([1.0, 3.5, 7.0], np.float32))


def test_time_label_and_position_reach_the_output():
    params = random_params(tiny(), X, T, LABEL)

    def run(*inputs):
        return np.asarray(apply(networks.pure(tiny()), params, *inputs))

    output, flat = run(X, T, LABEL), run(np.ones_like(X), T, LABEL)
    assert np.abs(run(X, T + 50, LABEL) - output).max() > 1e-4
    assert np.abs(run(X, T, LABEL[::-1].copy())[0] - output[0]).max() > 1e-4
    assert np.abs(flat[0, :2] - flat[0, 2:4]).max() > 1e-4


def test_forward_over_reverse_passes_and_remat_agree():
    params = random_params(tiny(), X, T, LABEL)

    def loss(x, **changes):
        return jnp.mean(jnp.square(networks.pure(tiny(**changes))(params, x, T, LABEL)))

    @quickly
    def slopes(x):
        (_, gradient), (rate, _) = jax.jvp(jax.value_and_grad(loss), (x,), (jnp.ones_like(x),))
        return rate, gradient, jax.grad(lambda x: loss(x, remat=True))(x)

    rate, gradient, again = map(np.asarray, slopes(X))
    np.testing.assert_allclose(rate, gradient.sum(), rtol=1e-4)
    np.testing.assert_allclose(again, gradient, rtol=1e-4, atol=1e-5)


def test_patches_are_squares_row_by_row_and_image_undoes_them():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    tokens = dit.patches(x, 2)
    np.testing.assert_array_equal(tokens[1, 2], x[1, :2, 4:6].reshape(-1))
    np.testing.assert_array_equal(dit.image(tokens, 2, 3, 2), x)


# Learned positions.


def placed(table, x=X):
    """The output of a network whose table of positions is given."""
    network = tiny(position_table=6)
    params = random_params(network, X, T, LABEL)
    return np.asarray(apply(networks.pure(network), params | {"position": table.reshape(36, 16)}, x, T, LABEL))


def test_a_fresh_table_of_positions_holds_the_fixed_ones():
    params = networks.init(tiny(position_table=6), jax.random.key(0), X, T, LABEL)
    np.testing.assert_allclose(params["position"], embeddings.grid_positions(6, 6, 16), atol=1e-5)


def test_an_image_takes_the_middle_of_the_table_of_positions_and_nothing_else():
    network, table = tiny(position_table=6), np.zeros((6, 6, 16), np.float32)
    table[1:5, 2:4] = embeddings.grid_positions(4, 2, 16).reshape(4, 2, 16)
    params = random_params(network, X, T, LABEL)
    without = {name: layer for name, layer in params.items() if name != "position"}
    fixed = np.asarray(apply(networks.pure(tiny()), without, X, T, LABEL))
    np.testing.assert_allclose(placed(table), fixed, atol=1e-5)
    other = np.full_like(table, 7)
    other[1:5, 2:4] = table[1:5, 2:4]
    np.testing.assert_array_equal(placed(other), placed(table))
    with pytest.raises(
        ValueError, match="an image of 8 × 2 patches is larger than the table of positions: position_table = 6"
    ):
        placed(table, np.zeros((3, 16, 4, 1), np.float32))


# Rotary positions.


def rows_swapped(x):
    """The first two rows of patches exchanged."""
    return np.concatenate([x[:, 2:4], x[:, :2], x[:, 4:]], 1)


def test_rotary_positions_tell_tokens_apart_by_row_and_column_and_add_nothing_to_them():
    network = tiny(rotary_channels=(2, 2, 4))
    params = random_params(network, X, T, LABEL)
    assert not [path for path in trees.paths(params) if "position" in path]

    def run(x):
        return np.asarray(apply(networks.pure(network), params, x, T, LABEL))

    assert np.abs(rows_swapped(run(rows_swapped(X))) - run(X)).max() > 1e-4
    columns = np.concatenate([X[:, :, 2:], X[:, :, :2]], 2)
    assert np.abs(np.roll(run(columns), 2, 2) - run(X)).max() > 1e-4


# The blocks of LightningDiT.

LIGHTNING = {
    "norm": "rms",
    "gated": True,
    "activation": "silu",
    "mlp_width": 7,
    "rotary_channels": (4, 4),
    "norm_heads": True,
}


def rms_normed(x):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-6)


def turned(x):
    """Heads of 8 channels (b, 8 tokens, heads, 8), as four complex numbers that row and column of their token turn, two
    each.
    """
    row, column = np.indices((4, 2)).reshape(2, -1, 1) * np.array([1.0, 0.01])
    z = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * np.concatenate([row, column], -1))[:, None]
    return np.concatenate([z.real, z.imag], -1)


def lightning_formula(params, embedding):
    """One block between two linear layers, in NumPy and float64; embedding: what a condition is told by, behind
    SiLU.
    """
    layers = exact(params)
    block, condition = layers["block_0"], np.asarray(embedding, np.float64)[:, None]
    shift, scale, gate, shift_1, scale_1, gate_1 = np.split(linear(block["modulation"], condition), 6, -1)
    x = linear(layers["input"], np.asarray(dit.patches(jnp.asarray(X), 2), np.float64))
    heads = linear(block["qkv"], rms_normed(x) * (1 + scale) + shift).reshape(3, 8, 3, 2, 8)
    query, key = (
        turned(rms_normed(heads[:, :, at]) * block[f"norm_{name}"]["scale"]) for at, name in enumerate(("query", "key"))
    )
    weights = np.exp(np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(8))
    mixed = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), heads[:, :, 2]).reshape(3, 8, 16)
    x = x + gate * linear(block["output"], mixed)
    gates, wide = np.split(linear(block["mlp_0"], rms_normed(x) * (1 + scale_1) + shift_1), 2, -1)
    x = x + gate_1 * linear(block["mlp_1"], silu(gates) * wide)
    shift, scale = np.split(linear(layers["output_modulation"], condition), 2, -1)
    return dit.image(jnp.asarray(linear(layers["output"], rms_normed(x) * (1 + scale) + shift)), 4, 2, 2)


def test_rms_norm_swiglu_rotary_positions_and_normalised_heads_are_fields_equal_to_their_formulas():
    network = tiny(**LIGHTNING)
    params = random_params(network, X, T, LABEL)
    embedding = embeddings.Embedding(256, 16, 10)
    condition = silu(np.asarray(quickly(networks.pure(embedding))(params["embedding"], T, LABEL), np.float64))
    result = apply(networks.pure(network), params, X, T, LABEL)
    np.testing.assert_allclose(result, lightning_formula(params, condition), rtol=1e-4, atol=1e-4)
    assert "position" not in params and params["block_0"]["mlp_0"]["kernel"].shape == (16, 2 * 7)


# Image and text in one sequence, and a guidance scale: Stable Diffusion 3.5 and FLUX.1 in one.


def both(**changes):
    fields = {
        "depth": 1,
        "rotary_channels": (2, 2, 4),
        "norm_heads": True,
        "own_attention": (0,),
        "single_depth": 1,
        "guidance": True,
    }
    return joint(**(fields | changes))


@functools.cache
def parameters(network):
    return random_params(network, X, T, LABEL, TEXT, SIZE, SCALE)


def shapes(network):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL, TEXT, SIZE, SCALE))


def condition(scale=SCALE, text=TEXT):
    return np.asarray(apply(networks.pure(both()), parameters(both()), X, T, LABEL, text, SIZE, scale))


def test_blocks_of_one_sequence_follow_those_of_two():
    sizes = shapes(both(depth=2, own_attention=(1,), single_depth=2))
    assert {name for name in sizes if name.startswith("single")} == {"single_block_0", "single_block_1"}
    assert "own_qkv" in sizes["block_1"] and "own_qkv" not in sizes["block_0"]
    assert "stream_1_mlp_1" in sizes["block_1"], "the text goes on"
    assert "stream_1_key_value" in shapes(both(single_depth=0))["block_0"]


@pytest.mark.slow
def test_every_parameter_of_both_kinds_of_blocks_reaches_the_output():
    def total(params):
        return jnp.sum(jnp.square(networks.pure(both())(params, X, T, LABEL, TEXT, SIZE, SCALE)))

    slopes = trees.paths(quickly(jax.grad(total))(parameters(both())))
    assert all(np.isfinite(leaf).all() for leaf in slopes.values())
    assert not [path for path, leaf in slopes.items() if not np.any(leaf)]


def test_the_guidance_scale_is_data_reaches_its_own_sample_and_one_number_is_for_all():
    full = condition()
    moved = condition(networks.GuidanceScale(SCALE.scale + np.array([0, 1, 0], np.float32)))
    assert [bool(np.abs(sample).max() > 1e-5) for sample in moved - full] == [False, True, False]
    one, each = (condition(networks.GuidanceScale(scale)) for scale in (np.float32(4), np.full(3, 4, np.float32)))
    np.testing.assert_allclose(one, each, atol=1e-6)


def test_neither_the_order_of_words_nor_padding_matters_to_one_sequence():
    full, order = condition(), np.array([2, 0, 3, 1])
    other = networks.Text(TEXT.tokens[:, order], TEXT.mask[:, order], TEXT.pooled)
    np.testing.assert_allclose(condition(text=other), full, rtol=1e-4, atol=1e-4)
    padded = networks.Text(np.where(TEXT.mask[..., None], TEXT.tokens, np.nan), TEXT.mask, TEXT.pooled)
    np.testing.assert_array_equal(condition(text=padded), full)


# Images that are read beside x.


def seen_as_rows(params, heads, size):
    """Parameters of a network in which the first two coordinates, a pair of channels of each head, change places."""
    order = np.arange(3 * heads * size).reshape(3, heads, size)
    order[:2] = order[:2][..., [1, 0, 2, 3, 5, 4, 6, 7]]  # channel i and i + size / 2 are a pair
    block = params["block_0"]
    qkv = {name: leaf[..., order.reshape(-1)] for name, leaf in block["qkv"].items()}
    return params | {"block_0": block | {"qkv": qkv}}


def test_references_stand_behind_x_as_further_rows_would_on_a_coordinate_of_their_own():
    network = tiny(rotary_channels=(2, 2, 4), reference_places=1)
    rows = np.split(X[:, :6], 3, 1)
    params = random_params(network, X, T, LABEL)
    result = apply(networks.pure(network), params, rows[0], T, LABEL, networks.ReferenceImages(tuple(rows[1:])))
    tall = apply(networks.pure(network), seen_as_rows(params, 2, 8), X[:, :6], T, LABEL)
    np.testing.assert_allclose(result, np.asarray(tall)[:, :2], rtol=1e-4, atol=1e-5)
    alone = apply(networks.pure(network), params, rows[0], T, LABEL)
    assert result.shape == alone.shape and np.abs(result - alone).max() > 1e-3


def test_references_lie_between_x_and_the_words_in_one_sequence_too():
    network = both(reference_places=10)
    params = parameters(network)

    def run(*images):
        more = (networks.ReferenceImages(images),) if images else ()
        return np.asarray(apply(networks.pure(network), params, X, T, LABEL, TEXT, SIZE, SCALE, *more))

    one, other = X[:, :4], X[:, 2:6]
    assert run(one).shape == X.shape and np.abs(run(one) - run()).max() > 1e-4
    assert np.abs(run(one, other) - run(other, one)).max() > 1e-4, "each has a place"
    moved = run(np.concatenate([one[:1], other[1:2], one[2:]]))
    assert [bool(np.abs(sample).max() > 1e-5) for sample in moved - run(one)] == [False, True, False]


def build(make, **changes):
    more = () if make is tiny else (TEXT, SIZE)
    return lambda: jax.eval_shape(lambda: networks.init(make(**changes), jax.random.key(0), X, T, LABEL, *more))


def reading(*images, places=1):
    network = tiny(rotary_channels=(2, 2, 4), reference_places=places)
    more = networks.ReferenceImages(images)
    return lambda: jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL, more))


test_sizes_and_fields_that_do_not_fit_each_other_are_refused = refusals(
    (build(tiny, patch=3), r"\(3, 8, 4, 1\).*multiples of 3 \(patch\)"),
    (build(tiny, heads=3), "heads = 3 does not divide"),
    (build(tiny, mlp_epsilon=-1.0), "mlp_epsilon"),
    (build(tiny, width=18), "divisible by 4"),
    (build(tiny, single_depth=1), "single_depth = 1 is for a text beside the image: it needs text_attention = 'joint'"),
    (build(tiny, own_attention=(0,)), r"own_attention = \(0,\) is for a text beside the image"),
    (build(cross, single_depth=1), "single_depth = 1 is for a text beside the image"),
    (build(joint, own_attention=(2,)), r"own_attention = 2 is outside \[0, 1\]"),
    (build(joint, single_depth=-1), "single_depth = -1"),
    (build(tiny, position_table=0), "position_table = 0"),
    (build(tiny, position_table=3), "larger than the table of positions"),
    (build(tiny, position_table=6, rotary_channels=(4, 4)), "give one"),
    (build(tiny, rotary_channels=(8,)), r"rotary_channels = \(8,\) must be two numbers or more"),
    (build(tiny, rotary_channels=(4, 6)), "in all the head size 8"),
    (build(tiny, rotary_channels=(3, 5)), "must be even"),
    (build(tiny, norm="group"), "norm = 'group' is none of layer, rms"),
    (build(tiny, activation="relu"), "activation = 'relu'"),
    (build(tiny, mlp_width=0), "mlp_width = 0"),
    (build(tiny, reference_places=1), "reference_places = 1 needs 3 numbers of rotary_channels"),
    (build(tiny, reference_places=0, rotary_channels=(2, 2, 4)), "reference_places = 0"),
    (reading(X, places=None), "reference images were given to a network that reads none"),
    (reading(X[:, :3]), r"reference image 0 has shape \(3, 3, 4, 1\).*multiples of 2 \(patch\)"),
    (reading(X, X[:1]), r"reference image 1 has shape \(1, 8, 4, 1\): the samples and channels of x"),
    (reading(X[0]), "images are"),
)
