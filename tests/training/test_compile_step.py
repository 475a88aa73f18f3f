from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core.errors import CheckpointMismatchError
from gendiff.training.checkpoints import Checkpoints
from tests.refusals import refusals
from tests.training import linear

SGD = optax.sgd(0.1)
GRADIENT = jax.jit(jax.grad(linear.noisy, has_aux=True))


def init(key):
    return {"dense": {"kernel": jax.random.normal(key, (linear.FEATURES, 2)), "bias": jax.numpy.zeros(2)}}


def fit(steps=3, clip=None, **options):
    return training.fit(
        training.compile_loss(linear.noisy, SGD, init, ema=(), clip=clip), linear.batch, steps=steps, **options
    )


def test_fit_is_the_loop_that_a_user_would_write_and_resumes_and_refuses_another_training(tmp_path):
    assert fit(store=tmp_path, steps=2).resumed_from is None
    resumed = fit(store=tmp_path)
    assert resumed.resumed_from == 2 and resumed.saved == 3
    params = init(jax.random.fold_in(jax.random.key(0), 2**32 - 1))
    for number in range(3):
        gradient, _ = GRADIENT(params, jax.random.fold_in(jax.random.key(0), number), linear.batch(number))
        params = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), resumed.state.params, params)
    with pytest.raises(CheckpointMismatchError, match="seed"):
        fit(store=tmp_path, seed=1)


class Added(NamedTuple):
    """A state that is no TrainState, and counts its steps."""

    step: jax.Array
    total: jax.Array


def test_a_step_of_ones_own_is_run_by_the_same_loop(tmp_path):
    def step(state, batch):
        total = state.total + batch.clean.sum()
        return Added(state.step + 1, total), {"loss": total, "finite": jax.numpy.isfinite(total)}

    program = training.compile_step(step, lambda key: Added(jax.numpy.int32(0), jax.numpy.zeros(())))
    for steps in (2, 3):  # the second goes on from the checkpoint of the first
        with Checkpoints(tmp_path) as store:
            fitted = training.fit(program, linear.batch, steps=steps, seed=0, store=store)
    assert fitted.resumed_from == 2 and int(fitted.state.step) == 3
    np.testing.assert_allclose(
        fitted.state.total, sum(linear.batch(number).clean.sum() for number in range(3)), rtol=1e-5
    )


test_mistakes_are_refused_before_a_folder_is_made = refusals(
    (lambda: fit(steps=0, store="/nonexistent"), "steps = 0 must be at least 1"),
    (lambda: fit(keep=0, store="/nonexistent"), "keep = 0 must be at least 1"),
    (lambda: fit(clip=0.0, store="/nonexistent"), "clip = 0.0"),
)


def test_earlier_names_and_calls_give_the_same_with_a_warning(tmp_path):
    state = fit().state
    with pytest.warns(DeprecationWarning, match="compile_loss"):
        fitted = training.fit(linear.noisy, SGD, init, linear.batch, steps=3, folder=tmp_path, ema=())
    with pytest.warns(DeprecationWarning, match=r"training\.fit"):
        loop = training.loop
    with pytest.warns(DeprecationWarning, match="compile_loss"):
        program = training.programs(linear.noisy, SGD, init, training.sharding.mesh(), ema=())
    looped = loop(program.step, program.fresh, linear.batch, steps=3, seed=0)
    for again in (fitted.state, looped.state):
        linear.assert_bitwise_equal(again, state)
