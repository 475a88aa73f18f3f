import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.errors import ConfigError
from gendiff.training import optimizers


def rates(steps, **options):
    return np.array([float(optimizers.warm_up_then(2.0, **options)(step)) for step in steps])


@pytest.mark.float64
def test_warm_up_is_linear_and_no_step_is_lost():
    np.testing.assert_allclose(rates(range(4), warmup=4, total=10, decay="constant"), [0.5, 1.0, 1.5, 2.0])
    for warmup in (0, 1):
        np.testing.assert_allclose(rates([0], warmup=warmup, total=10), [2.0])


@pytest.mark.float64
@pytest.mark.parametrize(("decay", "middle", "end"), [("cosine", 1.1, 0.2), ("linear", 1.1, 0.2), ("constant", 2.0, 2.0)])
def test_rate_goes_from_its_peak_through_the_middle_to_its_final_share_and_stays(decay, middle, end):
    np.testing.assert_allclose(rates([10, 60, 110, 500], warmup=10, total=110, decay=decay, final=0.1), [2.0, middle, end, end], rtol=1e-6)


def test_weight_decay_spares_biases_norms_and_embeddings():
    params = {
        "dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "norm": {"scale": jnp.ones(2)},
        "label": {"embedding": jnp.ones((3, 2))},
        "time_embedding": {"kernel": jnp.ones((2, 2))},
        "gain": jnp.ones(()),
    }
    optimizer = optimizers.adamw(0.1, warmup=0, total=10, weight_decay=0.5, decay="constant")
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    moved = {
        path: bool(np.any(leaf))
        for path, leaf in zip(
            ["/".join(str(key.key) for key in path) for path, _ in jax.tree.leaves_with_path(updates)],
            jax.tree.leaves(updates),
            strict=True,
        )
    }
    assert {path for path, any_change in moved.items() if any_change} == {"dense/kernel", "time_embedding/kernel"}
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.1 * 0.5, rtol=1e-6)


def test_clip_bounds_the_gradient_that_adam_sees():
    params = {"w": jnp.zeros(2)}
    optimizer = optimizers.adamw(0.1, warmup=0, total=10, betas=(0.0, 0.0), clip=1.0)
    _, state = optimizer.update({"w": jnp.array([3.0, 4.0])}, optimizer.init(params), params)
    np.testing.assert_allclose(state[1][0].mu["w"], [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"betas": (0.9, 1.0)},
        {"epsilon": 0.0},
        {"clip": 0.0},
        {"final": 2.0},
        {"warmup": -1},
    ],
)
def test_numbers_out_of_range_are_refused_with_their_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        optimizers.adamw(**{"learning_rate": 0.1, "warmup": 1, "total": 10} | options)


def test_a_warm_up_as_long_as_the_run_names_both_and_a_misspelt_decay_its_near_match():
    for warmup in (10, 11):
        with pytest.raises(ConfigError, match=f"warmup = {warmup}.*total = 10"):
            optimizers.adamw(0.1, warmup=warmup, total=10)
    with pytest.raises(ValueError, match="cosine"):
        optimizers.adamw(0.1, warmup=1, total=10, decay="cosin")
