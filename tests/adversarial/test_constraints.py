"""Weights lie within their bounds after every update, whatever the optimizer wanted."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff.adversarial import constraints
from tests.quickly import quickly
from tests.refusals import refusals
from tests.traced import Traced

DRAW = np.random.default_rng(0)
PARAMS = {
    "kernel": DRAW.normal(size=(3, 4)).astype(np.float32),
    "bias": DRAW.normal(size=4).astype(np.float32),
    "count": np.arange(3),
}


def test_numbers_are_cut_at_the_limit_and_those_within_stay_with_other_leaves():
    clipped = constraints.weight_clipping(0.5)(PARAMS)
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(clipped[name], np.clip(PARAMS[name], -0.5, 0.5))
        assert np.any(np.abs(PARAMS[name]) > 0.5)
    np.testing.assert_array_equal(clipped["count"], PARAMS["count"])


def test_weights_are_within_the_limit_after_every_update():
    optimizer, clip = optax.rmsprop(0.1), constraints.weight_clipping(0.01)
    params = clip({"kernel": PARAMS["kernel"], "bias": PARAMS["bias"]})

    def step(carried, x):
        params, state = carried
        slope = jax.grad(lambda params: jnp.mean(x @ params["kernel"] + params["bias"][None]))(params)
        updates, state = optimizer.update(slope, state, params)
        moved = optax.apply_updates(params, updates)
        return (clip(moved), state), (jnp.max(jnp.abs(moved["bias"])), jnp.max(jnp.abs(clip(moved)["bias"])))

    data = DRAW.normal(size=(5, 8, 3)).astype(np.float32)
    (params, _), (unclipped, clipped) = quickly(lambda *carried: jax.lax.scan(step, carried, data))(
        params, optimizer.init(params)
    )
    assert np.all(unclipped > 0.1) and np.all(clipped == np.float32(0.01))
    assert max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(params)) == np.float32(0.01)


def test_the_limit_is_data_and_rebuilt_constraints_are_equal():
    run = Traced(lambda clip, leaf: clip(leaf), jit=quickly)
    for limit in (0.25, 0.5):
        cut = run(constraints.weight_clipping(limit), jnp.array([-1.0, 0.125, 1.0]))
        np.testing.assert_array_equal(cut, [-limit, 0.125, limit])
    assert run.traces == 1 and constraints.weight_clipping(0.1) == constraints.weight_clipping(
        0.1
    ) != constraints.weight_clipping(0.2)


test_limits_that_are_not_positive_are_refused = refusals(
    (lambda: constraints.weight_clipping(0.0), r"limit = 0 is outside \(0, inf\)"),
    (lambda: constraints.weight_clipping(float("nan")), "limit = nan"),
)
