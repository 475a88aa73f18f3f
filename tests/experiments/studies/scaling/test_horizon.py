"""A learning rate whose numbers are data is the one that the library builds from fixed numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.scaling.scaling_train import train
from experiments.scaling.scaling_train.train import Horizon
from gendiff import training
from gendiff.training import optimizers
from tests.quickly import quickly

PARAMS = {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3) / 5, "bias": np.ones(3, np.float32)}


@pytest.mark.parametrize(("warmup", "total", "final"), [(1, 7, 0.1), (3, 10, 0.0), (4, 5, 1.0)])
def test_the_rate_of_every_step_is_that_of_the_library(warmup, total, final):
    known = optimizers.warm_up_then(0.3, warmup=warmup, total=total, final=final)
    steps = jnp.arange(13)
    np.testing.assert_allclose(Horizon(0.3, warmup, total, final).rate(steps), known(steps), rtol=1e-5, atol=1e-7)


def test_one_program_trains_by_two_horizons_as_the_optimizers_of_the_library_do():
    traces = []

    def gradient(params, step):
        return jax.tree.map(lambda leaf: jnp.sin(leaf + step), params)

    @quickly
    def followed(state, step):
        traces.append(step)
        updates, optimizer_state = train.adamw(0.1, 0.5).update(
            gradient(state.params, step), state.optimizer_state, state.params
        )
        return training.TrainState(
            state.step, optax.apply_updates(state.params, updates), {}, optimizer_state, state.key
        )

    still = followed(training.start(PARAMS, train.adamw(0.1, 0.5), jax.random.key(0), ()), 0.0)
    jax.tree.map(np.testing.assert_array_equal, still.params, PARAMS)  # without a horizon nothing moves
    for rate, warmup, total in ((0.1, 1, 4), (0.03, 2, 9)):
        known = optimizers.adamw(rate, warmup=warmup, total=total, final=0.1, weight_decay=0.1, clip=0.5)
        params, optimizer_state = PARAMS, known.init(PARAMS)
        update = quickly(known.update)
        fresh = training.start(PARAMS, train.adamw(0.1, 0.5), jax.random.key(0), ())
        state = train.with_horizon(fresh, Horizon(rate, warmup, total, 0.1))
        for step in range(4):
            updates, optimizer_state = update(gradient(params, float(step)), optimizer_state, params)
            params = optax.apply_updates(params, updates)
            state = followed(state, float(step))
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), state.params, params)
    assert len(traces) == 1
