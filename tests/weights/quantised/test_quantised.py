"""What is packed is what the formulas say, in the bytes that they say, and networks compute with it."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gendiff import networks
from gendiff.core import packed, trees
from gendiff.networks import language_model
from gendiff.weights import files, packed_kernels, quantised
from tests.networks.rig import LABEL, T, X, dit, random_params, unet
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers

KINDS = {
    "int8": quantised.int8(),
    "int8 of the array": quantised.int8(per_output=False),
    "int8 in groups": quantised.int8(32),
    "int4": quantised.int4(),
    "int4 in groups of 64": quantised.int4(64),
    "int4 in groups of 128": quantised.int4(128),
    "int4 per output": quantised.int4(None),
    "int4 float32": quantised.int4(scale_dtype="float32"),
    "int4 asymmetric": quantised.int4(symmetric=False, scale_dtype="float32"),
    "int4 asymmetric bfloat16": quantised.int4(symmetric=False),
    "float8": quantised.float8(),
}
every_kind = table("kind", KINDS)
IN, OUT = 512, 96
GAUSSIAN = np.random.default_rng(0).normal(size=(IN, OUT)).astype(np.float32)


@functools.partial(quickly, static_argnums=1)
def program(weights, kinds):
    kernels = {kind: quantised.packed_array(weights, KINDS[kind]) for kind in kinds}
    return {kind: (kernel, kernel.dense(jnp.float32)) for kind, kernel in kernels.items()}


def packed_and_back(weights, kind):
    """By one program for weights (IN, OUT) of every kind."""
    kinds = tuple(KINDS) if weights.shape == (IN, OUT) else (kind,)
    return jax.tree.map(np.asarray, program(weights, kinds)[kind])


def error(weights, kind):
    return packed_and_back(weights, kind)[1] - weights


def steps_of(kernel):
    """The scale of each weight (in, out)."""
    scale = kernel.scale.astype(np.float32)
    if isinstance(kernel, packed_kernels.ScaledKernel):
        return np.broadcast_to(scale[:, 0], (IN, OUT))
    return np.repeat(scale, IN // len(scale), 0)


@every_kind
def test_no_weight_is_off_by_more_than_half_a_step_and_zeros_stay_zero(kind):
    weights = GAUSSIAN.copy()
    weights[:, 5] = 0.0
    weights[:, 6] = -np.abs(weights[:, 6])  # the largest magnitude is negative, or positive
    weights[:, 7] = np.abs(weights[:, 7]) + 2.0
    kernel, back = packed_and_back(weights, kind)
    half = (
        np.maximum(2.0**-4 * np.abs(weights), 2.0**-10 * steps_of(kernel)) if kind == "float8" else steps_of(kernel) / 2
    )
    assert (np.abs(back - weights) <= half * (1 + 1e-4) + 1e-7).all()
    assert not back[:, 5].any()


@every_kind
def test_packing_what_was_unpacked_changes_nothing(kind):
    once, back = packed_and_back(GAUSSIAN, kind)
    again, _ = packed_and_back(back, kind)
    np.testing.assert_array_equal(once.values, again.values)
    np.testing.assert_allclose(again.scale.astype(np.float32), once.scale.astype(np.float32), rtol=1e-6)


@table("kind", [kind for kind in KINDS if kind.startswith("int4")])
def test_nibbles_are_rounded_by_the_scale_and_the_minimum_that_are_stored(kind):
    """Which 16 bits have rounded: by exact ones, weights would be off by up to a tenth of a step more."""
    weights = GAUSSIAN * np.float32(1.37) + np.float32(0.9)
    kernel, _ = packed_and_back(weights, kind)
    groups, _, outputs = kernel.values.shape
    stored = np.concatenate([kernel.values & 15, kernel.values >> 4], 1).astype(np.float64)
    grouped = weights.astype(np.float64).reshape(groups, -1, outputs)
    exact = np.abs(grouped).max(1) / 7 if kernel.minimum is None else np.ptp(grouped, 1) / 15
    np.testing.assert_allclose(kernel.scale.astype(np.float64), exact, rtol=2**-6)
    least = 0.0 if kernel.minimum is None else kernel.minimum.astype(np.float64)[:, None]
    ratio = (grouped - least) / kernel.scale.astype(np.float64)[:, None] + 8 * (kernel.minimum is None)
    assert (np.abs(np.clip(ratio, stored.min(), 15) - stored) <= 0.5 + 1e-4).all()


@table(
    "kind, published",
    [
        ("int8 of the array", 0.012),
        ("int8", 0.0074),
        ("int4 per output", 0.134),
        ("int4 in groups of 128", 0.117),
        ("int4", 0.097),
    ],
)
def test_the_error_of_gaussian_weights_is_the_known_one(kind, published):
    shape = (2048, 2048) if kind == "int8 of the array" else (IN, OUT)  # the largest of more weights is larger
    weights = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    assert np.sqrt(np.mean(error(weights, kind) ** 2)) == pytest.approx(published, rel=0.05)


def test_one_column_of_large_weights_spoils_the_others_unless_each_has_its_own_scale():
    weights = GAUSSIAN.copy()
    weights[:, 3] *= 30
    others = np.arange(OUT) != 3
    assert np.std(error(weights, "int8 of the array")[:, others]) == pytest.approx(0.224, rel=0.15)
    assert np.std(error(weights, "int8")[:, others]) < 0.009


def test_the_largest_weight_of_either_sign_is_127_and_never_128():
    weights = np.array([[1.0, -1.0, 0.3], [-0.9999, 1.0, -0.3]], np.float32) * np.float32(3.0000001)
    values = packed_and_back(weights, "int8")[0].values.astype(np.int32)
    assert values.max() == 127 and values.min() == -127
    assert np.rint(np.float32(1.0) * np.float32(127.5)) == 128, (
        "what scaling by 127.5 without a clip gives, one more than int8 holds"
    )


def test_all_pairs_of_nibbles_come_back():
    pairs = np.stack(np.meshgrid(np.arange(16), np.arange(16))).reshape(1, 2, -1)

    @quickly
    def there_and_back(pairs):
        values = packed_kernels.pack(pairs)
        kernel = packed_kernels.NibbleKernel(values, jnp.ones((1, 256)), None, (2, 256))
        return values, jnp.concatenate(kernel.parts(values), 1)

    values, back = there_and_back(pairs)
    assert values.dtype == jnp.uint8 and len(np.unique(values)) == 256
    np.testing.assert_array_equal(back, pairs)


@table(
    "kind, bits",
    [
        ("int8", 8 + 32 / IN),
        ("int8 in groups", 9.0),
        ("int4", 4.5),
        ("int4 in groups of 64", 4.25),
        ("int4 in groups of 128", 4.125),
        ("int4 asymmetric", 6.0),
        ("float8", 8 + 32 / IN),
    ],
)
def test_bytes_are_those_of_the_formula(kind, bits):
    params = {"layer": {"kernel": GAUSSIAN, "bias": np.zeros(OUT, np.float32)}}
    shapes = jax.eval_shape(lambda params: quantised.quantise(params, quantised.linear(KINDS[kind])), params)
    assert quantised.nbytes(shapes) == GAUSSIAN.size * bits / 8 + 4 * OUT
    assert networks.count(shapes) == GAUSSIAN.size + OUT
    kernel = packed_and_back(GAUSSIAN, kind)[0]
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(kernel)) == quantised.nbytes(kernel) == GAUSSIAN.size * bits / 8


def compared(network, rules):
    """Compile a network once: what it says with packed parameters, and with the arrays that they stand for."""

    def both(params, *inputs):
        params = quantised.quantise(params, rules)
        return [networks.pure(network)(weights, *inputs) for weights in (params, quantised.dequantise(params))]

    return quickly(both)


@pytest.mark.parametrize(
    ("network", "rules"),
    [
        pytest.param(dit(), quantised.LINEAR, marks=pytest.mark.slow),
        pytest.param(
            unet(channels=(4,), attention=()),
            (
                quantised.Packing("(qkv|output|time|modulation).*kernel$", quantised.int4()),
                quantised.Packing("kernel$", quantised.float8(), (2, 4)),
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["dit", "unet"],
)
def test_an_image_network_computes_with_packed_kernels_as_with_what_they_stand_for(network, rules):
    y, dense = map(np.asarray, compared(network, rules)(random_params(network, X, T, LABEL), X, T, LABEL))
    np.testing.assert_allclose(y, dense, atol=2e-4 * np.abs(dense).max())
    assert np.abs(y).max() > 0


TOKENS = np.random.default_rng(0).integers(0, 50, (2, 12)).astype(np.int32)
MODEL = networks.LanguageModel(vocabulary=50, context=16, width=32, depth=1, heads=4, key_value_heads=2)
PARAMS = random_params(MODEL, TOKENS)
MIXED = (
    quantised.Packing("token$", quantised.int8(), table=True),
    quantised.Packing("qkv/kernel$", quantised.int4()),
    quantised.Packing("mlp_0/kernel$", quantised.int4(symmetric=False)),
    *quantised.LINEAR,
)


def logits(params, tokens):
    return networks.pure(MODEL)(params, tokens).logits


def test_packed_parameters_of_a_language_model_cross_jit_vmap_export_and_a_safetensors_file(tmp_path):
    params = quickly(lambda params: quantised.quantise(params, MIXED))(PARAMS)
    assert quantised.nbytes(params) < 0.3 * quantised.nbytes(PARAMS)
    held = [path for path, leaf in trees.paths(params, is_leaf=packed.is_packed).items() if packed.is_packed(leaf)]
    assert held == [
        "block_0/mlp_0/kernel",
        "block_0/mlp_1/kernel",
        "block_0/output/kernel",
        "block_0/qkv/kernel",
        "token",
    ]

    exported = jax.export.export(
        jax.jit(lambda params: jnp.stack([logits(p, TOKENS) for p in (params, quantised.dequantise(params))]))
    )(params)
    plain, exact = np.asarray(quickly(jax.export.deserialize(exported.serialize()).call)(params))
    np.testing.assert_allclose(plain, exact, atol=3e-4 * np.abs(exact).max())
    two = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), params)
    both = np.asarray(quickly(jax.vmap(logits))(two, np.stack([TOKENS, TOKENS[::-1]])))
    np.testing.assert_allclose(both[0], plain, atol=1e-4)
    np.testing.assert_allclose(both[1], plain[::-1], atol=1e-4)

    safetensors.numpy.save_file(
        {path: np.asarray(leaf) for path, leaf in trees.paths(params).items()}, tmp_path / "a.safetensors"
    )
    stored = files.load(tmp_path / "a.safetensors")
    again = jax.tree.unflatten(jax.tree.structure(params), [stored[path] for path in trees.paths(params)])
    assert jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), params, again))


def test_a_cast_leaves_packed_kernels_as_they_are():
    params = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: quantised.quantise(PARAMS))
    )
    half = trees.cast(params, jnp.bfloat16)
    assert half["token"].dtype == jnp.bfloat16
    assert half["block_0"]["qkv"]["kernel"] is params["block_0"]["qkv"]["kernel"]


def test_a_packed_kernel_of_another_shape_is_refused_by_the_network():
    wrong = jax.eval_shape(
        lambda: PARAMS | {"token": quantised.packed_array(jnp.ones((50, 16)), quantised.int8(), table=True)}
    )
    with pytest.raises(
        ValueError, match=r"the packed token stands for shape \(50, 16\), and the network needs \(50, 32\)"
    ):
        jax.eval_shape(networks.pure(MODEL), wrong, TOKENS)


def test_the_first_rule_counts_and_packed_kernels_are_not_packed_again():
    rules = (quantised.Packing("qkv/kernel$", None), *quantised.LINEAR)
    once = quickly(lambda params: quantised.quantise(params, rules))(PARAMS)
    assert not packed.is_packed(once["block_0"]["qkv"]["kernel"]) and packed.is_packed(
        once["block_0"]["output"]["kernel"]
    )
    twice = quantised.quantise(once, rules)
    assert all(a is b for a, b in zip(jax.tree.leaves(twice), jax.tree.leaves(once), strict=True))


test_what_cannot_be_packed_is_refused = refusals(
    (
        lambda: quantised.quantise(PARAMS, (quantised.Packing("nothing", quantised.int8()),)),
        "no array of the parameters fits the rules",
    ),
    (
        lambda: quantised.packed_array(np.ones((33, 2), np.float32), quantised.int8(32)),
        "group = 32 does not divide the 33 inputs",
    ),
    (lambda: quantised.packed_array(np.ones(3, np.float32), quantised.int8()), "kernels have at least 2 axes"),
    (lambda: quantised.packed_array(np.ones((2, 2), np.int32), quantised.int8()), "floating", TypeError),
    (lambda: quantised.int4(7), "group = 7 must be even"),
    (lambda: quantised.int4(scale_dtype="float64"), "scale_dtype = 'float64'"),
    (lambda: quantised.int8(32, per_output=False), "leave per_output = True"),
)


def test_gpt2_positions_are_read_packed_too():
    network = language_model.gpt2(vocabulary=50, context=16, width=32, depth=1, heads=4)
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS))
    rules = (quantised.Packing("(token|position)$", quantised.int8(), table=True),)
    small = jax.eval_shape(lambda params: quantised.quantise(params, rules), shapes)
    assert jax.eval_shape(networks.pure(network), small, TOKENS).logits.shape == (2, 12, 50)
