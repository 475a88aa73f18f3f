"""A network with its parameters and condition is a pytree that answers x at a level, and a condition is one per sample
or holds for all.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import conditions, denoiser, guidance, objectives, parameterization, schedules
from gendiff.diffusion.types import Batch, Level

pytestmark = pytest.mark.numbers

LEVEL = Level(7.0, 0.6, 0.8)
VELOCITY = parameterization.velocity()
X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


def network(params, x, t, label):
    shape = (-1,) + (1,) * (x.ndim - 1)
    return params["gain"] * x + label.astype(x.dtype).reshape(shape) + 0.01 * t.astype(x.dtype).reshape(shape)


def build(label=2):
    return denoiser.from_network(network, {"gain": jnp.float32(0.5)}, VELOCITY, label)


def watched(*condition, kind=VELOCITY):
    """A denoiser, and the list of what its network is shown."""
    calls = []

    def look(params, x, t, *rest):
        calls.append((x, t, *rest))
        return x

    return denoiser.from_network(look, {}, kind, *condition), calls


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 4, 4, 1), (2, 2, 2, 2, 1)])
def test_prediction_is_the_parameterization_of_the_network_output_for_any_rank(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    prediction, output = build()(jnp.asarray(x), LEVEL), 0.5 * x + 2 + 0.07
    assert prediction.clean.shape == prediction.noise.shape == shape and prediction.clean.dtype == jnp.float32
    np.testing.assert_allclose(prediction.clean, 0.6 * x - 0.8 * output, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(prediction.noise, 0.8 * x + 0.6 * output, rtol=1e-5, atol=1e-6)


def test_network_gets_t_and_condition_one_a_sample():
    denoise, calls = watched(NO_LABEL)
    denoise(X, LEVEL)
    denoise.with_condition(jnp.array([4, 5]))(X, Level(jnp.array([1.0, 2.0]), jnp.full(2, 0.6), jnp.full(2, 0.8)))
    for (_, t, label), expected_t, expected_label in zip(
        calls, ([7.0, 7.0], [1.0, 2.0]), ([NO_LABEL] * 2, [4, 5]), strict=True
    ):
        np.testing.assert_array_equal(t, expected_t)
        np.testing.assert_array_equal(label, expected_label)
        assert label.dtype == jnp.int32 and jnp.issubdtype(t.dtype, jnp.floating)


def test_t_is_not_rounded_where_x_is_and_an_edm_network_sees_scaled_input():
    denoise, calls = watched()
    for dtype in (jnp.bfloat16, jnp.float32):
        denoise(jnp.ones((1, 2), dtype), Level(999.0, 0.6, 0.8))
    assert all(t.dtype == jnp.float32 and t == 999.0 for _, t in calls)
    denoise, calls = watched(kind=parameterization.edm(0.5))
    denoise(jnp.full((2, 3), 4.0), Level(0.1, 1.0, 2.0))
    np.testing.assert_allclose(calls[0][0], 4 / np.sqrt(4 + 0.25), rtol=1e-6)


def test_parameters_and_condition_are_leaves_functions_are_structure_and_one_condition_replaces_another():
    first, second = build(2), build(3)
    assert len(jax.tree.leaves(first)) == 2 and jax.tree.structure(first) == jax.tree.structure(second)
    traces = []

    @jax.jit
    def ask(denoise, x):
        traces.append(None)
        return denoise(x, LEVEL).clean

    for denoise in (first, second):
        np.testing.assert_allclose(ask(denoise, X), denoise(X, LEVEL).clean, rtol=1e-6)
    assert len(traces) == 1
    changed = first.with_condition(3)
    np.testing.assert_array_equal(changed(X, LEVEL).clean, second(X, LEVEL).clean)
    assert jax.tree.leaves(changed.params) == jax.tree.leaves(first.params)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.6, 0.8), (0.0, 1.0), (1.0, 0.0)])
def test_denoiser_is_differentiable_in_parameters_x_and_level(alpha, sigma):
    def total(denoise, x, alpha, sigma):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(denoise(x, Level(7.0, alpha, sigma))))

    slopes = jax.grad(total, argnums=(0, 1, 2, 3))(build(jnp.array([1.0, 2.0])), X, alpha, sigma)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.fault("denoiser: wrong output shape")
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "wrong", [lambda x: x[:, :1], lambda x: x[:1], lambda x: jnp.tile(x, 2)], ids=["narrow", "one sample", "double"]
)
def test_network_output_of_another_shape_is_refused_with_both_shapes(wrong):
    with pytest.raises(TypeError, match=r"\(2, 3\)"):
        denoiser.from_network(lambda params, x, t: wrong(x), {}, VELOCITY)(X, LEVEL)


# Conditions: what belongs to each sample and what holds for all, wherever a null takes the place of a condition.

TEXT = {"embedding": np.arange(12.0, dtype=np.float32).reshape(2, 3, 2), "length": np.array([3, 2], np.int32)}
NULL = {"embedding": np.ones((3, 2), np.float32), "length": 0}
TWO_FEATURES_OF_TWO_SAMPLES = watched(jnp.zeros((2, 2)))[0].with_condition(jnp.array([1.0, 2.0]))


def read(params, x, t, text, label):
    hint = jnp.mean(text["embedding"], axis=(1, 2)) + text["length"] + 10 * label
    return x + hint[:, None]


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (5, [5, 5]),
        (jnp.array([1, 2]), [1, 2]),
        (jnp.array([[1, 2, 3]]), [[1, 2, 3], [1, 2, 3]]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (TWO_FEATURES_OF_TWO_SAMPLES.condition[0], [[1.0, 2.0], [1.0, 2.0]]),
    ],
)
def test_a_leaf_belongs_to_each_sample_or_holds_for_all(leaf, expected):
    np.testing.assert_array_equal(conditions.for_each((leaf,), 2)[0], expected)


NULLS = [
    NULL,
    jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], NULL),
    jax.tree.map(lambda *leaf: np.stack(leaf), NULL, NULL),
]


@pytest.mark.parametrize("null", NULLS, ids=["unbatched", "of one", "of two"])
@pytest.mark.parametrize("batched", [False, True])
def test_one_unbatched_embedding_is_the_same_null_in_one_pass_and_in_two(null, batched):
    denoise = denoiser.from_network(read, {}, VELOCITY, TEXT, np.array([4, 5]))
    free = denoise.with_condition(null, NO_LABEL)
    expected = X + 1 + 0 - 10  # of embedding 1, length 0 and label -1
    np.testing.assert_allclose(free(X, LEVEL).clean, 0.6 * X - 0.8 * expected, rtol=1e-6, atol=1e-6)
    guided = guidance.classifier_free(denoise, free, 0.0, batched=batched)
    np.testing.assert_allclose(guided(X, LEVEL).clean, free(X, LEVEL).clean, rtol=1e-5)


@pytest.mark.parametrize(
    "null", [0, {"embedding": 0.5, "length": 0}, {"embedding": np.full(2, 0.5, np.float32), "length": np.int32(0)}]
)
def test_the_loss_drops_by_the_same_rule(null):
    calls = []

    def look(params, x, t, text):
        calls.append(text)
        return x

    loss = objectives.denoising(look, schedules.linear(10), VELOCITY, drop_condition=1.0, null=null)
    jax.block_until_ready(loss({}, jax.random.key(0), Batch(X, (TEXT,))))
    np.testing.assert_array_equal(calls[0]["embedding"], np.full((2, 3, 2), 0.5 if null else 0.0))
    np.testing.assert_array_equal(calls[0]["length"], [0, 0])


def test_a_null_of_another_structure_and_another_number_of_samples_are_refused_in_one_sentence():
    loss = objectives.denoising(lambda params, x, t, label: x, schedules.linear(10), VELOCITY, null={"label": -1})
    with pytest.raises(
        ValueError, match=r"\{'label': -1\} cannot take the place of the condition \(2,\): give one value"
    ):
        loss({}, jax.random.key(0), Batch(X, (jnp.zeros(2),)))
    denoise = denoiser.from_network(read, {}, VELOCITY, TEXT, 3)
    with pytest.raises(ValueError, match="cannot take the place"):
        denoise.with_condition({"embedding": 0.0}, 3)
    with pytest.raises(
        ValueError, match=r"shape \(5,\) cannot stand for a condition of shape \(2, 3, 2\): one sample has \(3, 2\)"
    ):
        denoise.with_condition({"embedding": jnp.zeros(5), "length": 0}, 3)
    with pytest.raises(ValueError, match=r"shape \(3,\) does not align with 2 samples"):
        conditions.for_each(jnp.zeros(3), 2)
