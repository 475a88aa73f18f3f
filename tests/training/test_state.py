import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError
from tests.training import linear


def test_donation_leaves_params_key_and_average_of_the_caller_usable():
    params, key = linear.params(), jax.random.key(0)
    state = training.start(params, linear.adamw(), key)
    step = jax.jit(training.make_step(linear.noisy, linear.adamw()), donate_argnums=0)
    after, _ = step(state, linear.batch())  # a buffer donated twice, or one that cannot be, is a warning and so an error here
    assert state.params["dense"]["kernel"].is_deleted()
    np.testing.assert_array_equal(params["dense"]["kernel"], linear.params()["dense"]["kernel"])
    assert jax.random.key_data(key).shape == (2,)
    assert int(after.step) == 1


def test_no_two_leaves_share_a_buffer_even_where_the_optimizer_keeps_params():
    def keeps(params):
        return {"params": params, "again": params}

    keeper = optax.GradientTransformation(keeps, lambda updates, state, params=None: (updates, state))
    state = linear.start(optimizer=optax.chain(keeper, optax.adam(1e-3)), ema=(0.9, 0.99))
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((state.step, state.params, state.tracks, state.optimizer_state))]
    assert len(pointers) == len(set(pointers))


def test_ema_is_the_first_track_asked_for_also_after_jit():
    state = linear.start(ema=(0.999, 0.5, 0))
    moved = jax.jit(lambda state: state)(state)
    for seen in (state, moved):
        assert seen.decays == (0.999, 0.5, 0.0)
        assert seen.ema is seen.tracks[0.999]
        assert set(seen.tracks) == {0.999, 0.5, 0}


def test_without_tracks_ema_is_params():
    state = linear.start(ema=())
    assert state.ema is state.params and state.tracks == {}


def test_weak_numbers_and_numpy_arrays_become_strong_arrays():
    state = training.start({"scale": 1.0, "table": np.zeros((2, 2), np.float32)}, optax.sgd(0.1), jax.random.key(0))
    assert all(isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in jax.tree.leaves((state.params, state.tracks)))


def test_averages_of_bfloat16_params_are_float32():
    state = training.start(linear.params(jnp.bfloat16), optax.sgd(0.1), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(state.ema)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("bfloat16")}


def test_start_can_be_evaluated_for_its_shapes_alone():
    shapes = jax.eval_shape(lambda params, key: training.start(params, linear.adamw(), key), linear.params(), jax.random.key(0))
    assert shapes.ema["dense"]["kernel"].shape == (linear.FEATURES, 2)


@pytest.mark.parametrize("decay", [1.0, -0.1, 1.5, float("nan")])
def test_a_decay_outside_its_range_is_refused_with_its_value(decay):
    with pytest.raises(ConfigError, match=rf"decay = {decay:g}.*\[0, 1\)"):
        linear.start(ema=(0.9, decay))


def test_a_decay_named_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        linear.start(ema=(0.9, 0.9))


@pytest.mark.parametrize(("key", "error"), [(jnp.zeros(2, jnp.uint32), TypeError), (jax.random.split(jax.random.key(0), 2), ValueError)])
def test_only_one_typed_key_is_taken(key, error):
    with pytest.raises(error, match="key"):
        training.start(linear.params(), optax.sgd(0.1), key)
