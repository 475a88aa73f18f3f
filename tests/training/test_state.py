import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError
from tests.refusals import refusals
from tests.training import linear


def test_donation_leaves_params_key_and_average_of_the_caller_usable():
    params, key = linear.params(), jax.random.key(0)
    state = training.start(params, linear.adamw(), key)
    # a buffer donated twice, or one that cannot be, is a warning and so an error here
    after, _ = linear.STEP(state, linear.batch())
    assert state.params["dense"]["kernel"].is_deleted()
    np.testing.assert_array_equal(params["dense"]["kernel"], linear.params()["dense"]["kernel"])
    assert jax.random.key_data(key).shape == (2,)
    assert int(after.step) == 1


def test_no_two_leaves_share_a_buffer_even_where_the_optimizer_keeps_params():
    keeper = optax.GradientTransformation(
        lambda params: {"params": params, "again": params}, lambda updates, state, params=None: (updates, state)
    )
    state = linear.start(optimizer=optax.chain(keeper, optax.adam(1e-3)), ema=(0.9, 0.99))
    pointers = [
        leaf.unsafe_buffer_pointer()
        for leaf in jax.tree.leaves((state.step, state.params, state.tracks, state.optimizer_state))
    ]
    assert len(pointers) == len(set(pointers))


def test_ema_is_the_first_track_asked_for_also_after_jit_and_params_without_tracks():
    state = linear.start(ema=(0.999, 0.5, 0))
    for each in (state, jax.jit(lambda state: state)(state)):
        assert each.decays == (0.999, 0.5, 0.0) and set(each.tracks) == {0.999, 0.5, 0}
        assert each.ema is each.tracks[0.999]
    bare = linear.start(ema=())
    assert bare.ema is bare.params and bare.tracks == {}


def test_weak_numbers_and_numpy_arrays_become_strong_arrays():
    state = training.start({"scale": 1.0, "table": np.zeros((2, 2), np.float32)}, optax.sgd(0.1), jax.random.key(0))
    assert all(
        isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in jax.tree.leaves((state.params, state.tracks))
    )


def test_start_can_be_evaluated_for_its_shapes_alone_and_averages_of_bfloat16_params_are_float32():
    state = jax.eval_shape(
        lambda *a: training.start(a[0], linear.adamw(), a[1]), linear.params(jnp.bfloat16), jax.random.key(0)
    )
    assert state.ema["dense"]["kernel"].shape == (linear.FEATURES, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.ema)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("bfloat16")}


def started(key):
    return training.start(linear.params(), optax.sgd(0.1), key)


test_a_decay_outside_its_range_or_named_twice_and_what_is_no_one_key_are_refused = pytest.mark.fault(
    "EMA, optimizer: decay outside [0, 1)"
)(
    refusals(
        (lambda: linear.start(ema=(0.9, 1.0)), r"decay = 1.*\[0, 1\)", ConfigError),
        (lambda: linear.start(ema=(0.9, -0.1)), r"decay = -0.1.*\[0, 1\)", ConfigError),
        (lambda: linear.start(ema=(0.9, 1.5)), r"decay = 1.5.*\[0, 1\)", ConfigError),
        (lambda: linear.start(ema=(0.9, float("nan"))), r"decay = nan.*\[0, 1\)", ConfigError),
        (lambda: linear.start(ema=(0.9, 0.9)), "twice", ConfigError),
        (lambda: started(jnp.zeros(2, jnp.uint32)), "key", TypeError),
        (lambda: started(jax.random.split(jax.random.key(0), 2)), "key"),
    )
)
