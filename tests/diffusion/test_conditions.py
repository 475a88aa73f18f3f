"""Conditions: one rule for what belongs to each sample and what holds for all, wherever a null takes the place of a condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import conditions, denoiser, guidance, objectives, parameterization, schedules
from gendiff.diffusion.types import Batch, Level

LEVEL = Level(7.0, 0.6, 0.8)
TEXT = {"embedding": np.arange(12.0, dtype=np.float32).reshape(2, 3, 2), "length": np.array([3, 2], np.int32)}
NULL = {"embedding": np.ones((3, 2), np.float32), "length": 0}


def told(params, x, t, text, label):
    hint = jnp.mean(text["embedding"], axis=(1, 2)) + text["length"] + 10 * label
    return x + hint[:, None]


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (5, [5, 5]),
        (jnp.array([1, 2]), [1, 2]),
        (jnp.array([[1, 2, 3]]), [[1, 2, 3], [1, 2, 3]]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    ],
)
def test_a_leaf_belongs_to_each_sample_or_holds_for_all(leaf, expected):
    np.testing.assert_array_equal(conditions.for_each((leaf,), 2)[0], expected)


def test_another_number_of_samples_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\) does not align with 2 samples"):
        conditions.for_each(jnp.zeros(3), 2)


@pytest.mark.parametrize(
    "null", [NULL, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], NULL), jax.tree.map(lambda *leaf: np.stack(leaf), NULL, NULL)]
)
@pytest.mark.parametrize("batched", [False, True])
def test_one_unbatched_embedding_is_the_same_null_in_one_pass_and_in_two(null, batched):
    given = denoiser.from_network(told, {}, parameterization.velocity(), TEXT, np.array([4, 5]))
    free = given.with_condition(null, NO_LABEL)
    x = jnp.ones((2, 3))
    expected = x + 1 + 0 - 10  # of embedding 1, length 0 and label -1
    np.testing.assert_allclose(free(x, LEVEL).clean, 0.6 * x - 0.8 * expected, rtol=1e-6)
    guided = guidance.classifier_free(given, free, 0.0, batched=batched)
    np.testing.assert_allclose(guided(x, LEVEL).clean, free(x, LEVEL).clean, rtol=1e-5)


def test_as_many_samples_as_features_are_not_misread():
    def network(params, x, t, vector):
        return x + vector

    given = denoiser.from_network(network, {}, parameterization.velocity(), jnp.zeros((2, 2)))
    one = given.with_condition(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(conditions.for_each(one.condition, 2)[0], [[1.0, 2.0], [1.0, 2.0]])


@pytest.mark.parametrize("null", [0, {"embedding": 0.0, "length": 0}, {"embedding": np.zeros(2, np.float32), "length": np.int32(0)}])
def test_the_loss_drops_by_the_same_rule(null):
    seen = []

    def network(params, x, t, text):
        seen.append(text)
        return x

    loss = objectives.denoising(network, schedules.linear(10), parameterization.velocity(), drop_condition=1.0, null=null)
    jax.block_until_ready(loss({}, jax.random.key(0), Batch(jnp.ones((2, 3)), (TEXT,))))
    jax.tree.map(lambda leaf, old: np.testing.assert_array_equal(leaf, np.zeros_like(old)), seen[0], TEXT)


def test_a_null_of_another_structure_is_refused_in_one_sentence():
    loss = objectives.denoising(lambda params, x, t, label: x, schedules.linear(10), parameterization.velocity(), null={"label": -1})
    with pytest.raises(ValueError, match=r"\{'label': -1\} cannot take the place of the condition \(2,\): give one value"):
        loss({}, jax.random.key(0), Batch(jnp.ones((2, 3)), (jnp.zeros(2),)))
    given = denoiser.from_network(told, {}, parameterization.velocity(), TEXT, 3)
    with pytest.raises(ValueError, match="cannot take the place"):
        given.with_condition({"embedding": 0.0}, 3)
    with pytest.raises(ValueError, match=r"shape \(5,\) cannot stand for a condition of shape \(2, 3, 2\): one sample has \(3, 2\)"):
        given.with_condition({"embedding": jnp.zeros(5), "length": 0}, 3)
