"""Features of a batch against loops over its rows."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.networks import minibatch
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 4, 2)).astype(np.float32)
MAPS = RNG.normal(size=(6, 2, 3, 4)).astype(np.float32)

discriminate = quickly(minibatch.minibatch_discrimination)


def test_discrimination_is_the_double_loop_over_rows():
    projected = np.einsum("ba,akd->bkd", X, KERNEL)
    expected = np.zeros((6, 4))
    for i in range(6):
        for j in range(6):
            expected[i] += np.exp(-np.abs(projected[i] - projected[j]).sum(-1))
    np.testing.assert_allclose(discriminate(X, KERNEL), expected, rtol=1e-5)


def test_rows_that_are_equal_count_each_other_and_rows_far_apart_themselves_alone():
    np.testing.assert_allclose(discriminate(np.ones_like(X), KERNEL), 6, rtol=1e-6)
    np.testing.assert_allclose(discriminate(100 * X, KERNEL), 1, atol=1e-3)


@table("group", [None, 1, 2, 3])
def test_deviation_is_the_loop_over_groups_of_rows_one_after_the_other(group):
    size = 6 if group is None else group
    expected = [
        np.mean(np.sqrt(np.var(MAPS[row // size * size : row // size * size + size], 0) + 1e-8)) for row in range(6)
    ]
    np.testing.assert_allclose(minibatch.minibatch_deviation(MAPS, group), expected, rtol=1e-5)


def test_both_follow_the_order_of_the_rows():
    order = np.array([3, 1, 5, 0, 4, 2])
    np.testing.assert_allclose(discriminate(X[order], KERNEL), np.asarray(discriminate(X, KERNEL))[order], rtol=1e-5)
    np.testing.assert_allclose(
        minibatch.minibatch_deviation(MAPS[order]), minibatch.minibatch_deviation(MAPS), rtol=1e-5
    )
    pairs = np.array([1, 0, 3, 2, 5, 4])  # within groups of two
    np.testing.assert_allclose(
        minibatch.minibatch_deviation(MAPS[pairs], 2), minibatch.minibatch_deviation(MAPS, 2), rtol=1e-5
    )


def test_their_gradients_are_finite_where_a_generator_has_collapsed_to_one_point():
    slopes = quickly(
        jax.grad(
            lambda x: (
                jnp.sum(minibatch.minibatch_discrimination(x, jnp.asarray(KERNEL)))
                + jnp.sum(minibatch.minibatch_deviation(x))
            )
        )
    )
    assert np.isfinite(slopes(jnp.ones((6, 3)))).all()
    assert np.abs(slopes(jnp.asarray(X))).min() > 0


def test_layers_put_the_numbers_behind_the_channels_of_every_place_and_compute_them_in_float32():
    def wide(maps, x):
        x, maps = x.astype(jnp.bfloat16), maps.astype(jnp.bfloat16)
        layer = minibatch.MinibatchDiscrimination(projections=4, dimensions=2)
        answers = (
            minibatch.MinibatchDeviation(2).apply({}, maps),
            layer.apply({"params": {"kernel": KERNEL.reshape(3, 8)}}, x),
        )
        full_maps, full = maps.astype(jnp.float32), x.astype(jnp.float32)
        numbers = minibatch.minibatch_deviation(full_maps, 2), minibatch.minibatch_discrimination(full, KERNEL)
        return answers, (maps, x), tuple(each.astype(jnp.bfloat16) for each in numbers)

    (deviation, discrimination), (maps, x), (spread, near) = quickly(wide)(MAPS, X)
    np.testing.assert_array_equal(
        deviation, np.concatenate([maps, np.broadcast_to(spread[:, None, None, None], (6, 2, 3, 1))], -1)
    )
    np.testing.assert_array_equal(discrimination, np.concatenate([x, near], -1))


test_what_does_not_fit_is_refused = refusals(
    (lambda: minibatch.minibatch_deviation(MAPS, 4), "group = 4 does not divide the batch of 6"),
    (lambda: minibatch.minibatch_deviation(MAPS, 0), "group = 0"),
    (lambda: minibatch.minibatch_deviation(MAPS, 2.0), "group must be an integer", TypeError),
    (
        lambda: minibatch.MinibatchDiscrimination(projections=0).init(jax.random.key(0), jnp.asarray(X)),
        "projections = 0",
    ),
    (lambda: minibatch.MinibatchDiscrimination(dimensions=0).init(jax.random.key(0), jnp.asarray(X)), "dimensions = 0"),
)
