import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.training import optimizers
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers


@pytest.mark.float64
@table(
    "options, steps, expected",
    [
        ({"warmup": 4, "total": 10, "decay": "constant"}, range(4), [0.5, 1.0, 1.5, 2.0]),  # no step is lost
        ({"warmup": 0, "total": 10}, [0], [2.0]),
        ({"warmup": 1, "total": 10}, [0], [2.0]),
        ({"warmup": 10, "total": 110, "decay": "cosine", "final": 0.1}, [10, 60, 110, 500], [2.0, 1.1, 0.2, 0.2]),
        ({"warmup": 10, "total": 110, "decay": "linear", "final": 0.1}, [10, 60, 110, 500], [2.0, 1.1, 0.2, 0.2]),
        ({"warmup": 10, "total": 110, "decay": "constant", "final": 0.1}, [10, 60, 110, 500], [2.0, 2.0, 2.0, 2.0]),
    ],
)
def test_rate_warms_up_linearly_and_goes_from_its_peak_through_the_middle_to_its_final_share_and_stays(
    options, steps, expected
):
    np.testing.assert_allclose([optimizers.warm_up_then(2.0, **options)(step) for step in steps], expected, rtol=1e-6)


def test_weight_decay_spares_biases_norms_and_embeddings():
    params = {
        "dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "norm": {"scale": jnp.ones(2)},
        "label": {"embedding": jnp.ones((3, 2))},
        "time_embedding": {"kernel": jnp.ones((2, 2))},
        "gain": jnp.ones(()),
    }
    optimizer = optimizers.adamw(0.1, warmup=0, total=10, weight_decay=0.5, decay="constant")
    updates, _ = quickly(optimizer.update)(jax.tree.map(np.zeros_like, params), optimizer.init(params), params)
    assert {path for path, leaf in trees.paths(updates).items() if np.any(leaf)} == {
        "dense/kernel",
        "time_embedding/kernel",
    }
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.1 * 0.5, rtol=1e-6)


def test_clip_bounds_the_gradient_that_adam_sees():
    params = {"w": jnp.zeros(2)}
    optimizer = optimizers.adamw(0.1, warmup=0, total=10, betas=(0.0, 0.0), clip=1.0)
    _, state = quickly(optimizer.update)({"w": jnp.array([3.0, 4.0])}, optimizer.init(params), params)
    np.testing.assert_allclose(state[1][0].mu["w"], [0.6, 0.8], rtol=1e-6)


def test_muon_steps_by_matrices_of_singular_values_near_1_and_adam_by_all_else():
    rng = np.random.default_rng(0)
    shapes = {
        "dense": {"kernel": (4, 6), "bias": (6,)},
        "label": {"embedding": (3, 2)},
        "conv": {"kernel": (3, 3, 2, 2)},
    }
    params, gradient = (
        jax.tree.map(
            lambda shape: rng.normal(size=shape).astype(np.float32),
            shapes,
            is_leaf=lambda leaf: isinstance(leaf, tuple),
        )
        for _ in range(2)
    )
    optimizer = optimizers.muon(0.1, adam_learning_rate=0.01, warmup=0, total=10, decay="constant")
    updates, _ = quickly(optimizer.update)(gradient, optimizer.init(params), params)
    for layer, matrix, longer in (("dense", (4, 6), np.sqrt(6 / 4)), ("conv", (3 * 3 * 2, 2), 1)):
        update, parameter = (np.reshape(tree[layer]["kernel"], matrix) for tree in (updates, gradient))
        values = np.linalg.svd(update, compute_uv=False) / (0.1 * longer)
        assert 0.6 < values.min() <= values.max() < 1.3
        left, _, right = np.linalg.svd(parameter, full_matrices=False)
        # the direction of steepest descent
        assert np.sum(update * (left @ right)) < -0.9 * np.linalg.norm(update) * np.sqrt(min(matrix))
    adam = optimizers.adamw(0.01, warmup=0, total=10, decay="constant")
    expected, _ = quickly(adam.update)(gradient, adam.init(params), params)
    for path in ("dense/bias", "label/embedding"):
        np.testing.assert_allclose(dict(trees.paths(updates))[path], dict(trees.paths(expected))[path], rtol=1e-5)


def test_muon_decays_matrices_by_their_own_rate_and_clips_and_refuses():
    params = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    options = {"adam_learning_rate": 0.01, "warmup": 0, "total": 10, "decay": "constant"}
    optimizer = optimizers.muon(0.1, weight_decay=0.5, **options)
    updates, _ = quickly(optimizer.update)(jax.tree.map(np.zeros_like, params), optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)
    clipped = optimizers.muon(0.1, clip=1.0, **options)
    _, state = quickly(clipped.update)(
        {"kernel": jnp.zeros((2, 2)), "bias": jnp.array([3.0, 4.0])}, clipped.init(params), params
    )
    assert any(np.allclose(leaf, [0.06, 0.08]) for leaf in jax.tree.leaves(state) if np.shape(leaf) == (2,))
    for wrong in (
        {"momentum": 1.0},
        {"clip": 0.0},
        {"weight_decay": -1.0},
        {"warmup": 10},
        {"adam_learning_rate": 0.0},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong)).removeprefix("adam_")):
            optimizers.muon(0.1, **(options | wrong))


def adamw(**options):
    return optimizers.adamw(**{"learning_rate": 0.1, "warmup": 1, "total": 10} | options)


test_what_is_out_of_range_or_misspelt_is_refused_with_its_name = pytest.mark.fault(
    "EMA, optimizer: warm-up ≥ total", "EMA, optimizer: clip ≤ 0"
)(
    refusals(
        (lambda: adamw(learning_rate=0.0), "learning_rate", ConfigError),
        (lambda: adamw(weight_decay=-1.0), "weight_decay", ConfigError),
        (lambda: adamw(betas=(0.9, 1.0)), "betas", ConfigError),
        (lambda: adamw(epsilon=0.0), "epsilon", ConfigError),
        (lambda: adamw(clip=0.0), "clip", ConfigError),
        (lambda: adamw(final=2.0), "final", ConfigError),
        (lambda: adamw(warmup=-1), "warmup", ConfigError),
        (lambda: adamw(warmup=10), "warmup = 10.*total = 10", ConfigError),
        (lambda: adamw(warmup=11), "warmup = 11.*total = 10", ConfigError),
        (lambda: adamw(decay="cosin"), "cosine"),
    )
)
