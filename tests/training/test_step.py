import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.diffusion.types import Batch
from gendiff.training import optimizers
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.traced import Traced
from tests.training import linear

pytestmark = pytest.mark.numbers


def one_step(loss=linear.exact, batch=None, optimizer=None, **options):
    optimizer = optimizer or optax.sgd(1.0)
    step = quickly(training.make_step(loss, optimizer, **options))
    return step(linear.start(optimizer=optimizer), linear.batch() if batch is None else batch)


def test_step_of_plain_gradient_descent_is_the_gradient():
    state, metrics = one_step()
    slopes = quickly(jax.value_and_grad(linear.exact, has_aux=True))
    (value, its_metrics), gradient = slopes(linear.params(), jax.random.key(0), linear.batch())
    expected = jax.tree.map(lambda p, g: p - g, linear.params(), gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state.params, expected)
    np.testing.assert_allclose([metrics["loss"], metrics["largest"]], [value, its_metrics["largest"]], rtol=1e-6)
    assert bool(metrics["finite"])
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(gradient), rtol=1e-6)


def test_key_of_a_step_is_the_base_key_folded_with_its_number():
    step = quickly(training.make_step(linear.noisy, optax.sgd(0.1)))
    state, _ = step(linear.start(seed=5, optimizer=optax.sgd(0.1)), linear.batch(0))
    _, metrics = step(state, linear.batch(1))
    expected, _ = linear.noisy(state.params, jax.random.fold_in(jax.random.key(5), 1), linear.batch(1))
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)
    assert (jax.random.key_data(state.key) == jax.random.key_data(jax.random.key(5))).all()


def test_accumulated_gradient_is_bitwise_the_full_one_where_sums_are_exact():
    rng = np.random.default_rng(0)
    batch = Batch(rng.integers(-4, 5, (8, 3)).astype(np.float32), (rng.integers(-4, 5, (8, 2)).astype(np.float32),))
    state = training.start(
        {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}}, optax.sgd(1.0), jax.random.key(0)
    )
    (full, plain), *others = (
        quickly(training.make_step(linear.exact, optax.sgd(1.0), accumulate=n))(state, batch) for n in (1, 2, 8)
    )
    for sliced, metrics in others:
        linear.assert_bitwise_equal(full, sliced)
        np.testing.assert_array_equal(metrics["loss"], plain["loss"])


def test_slices_of_a_noisy_loss_get_keys_of_their_own_and_agree_in_the_mean():
    """500 keys: the mean of the accumulated gradient is that of the full one, within four standard errors."""
    batch = linear.batch()

    def bias(accumulate, seeds):
        step = training.make_step(linear.noisy, optax.sgd(1.0), accumulate=accumulate)

        def one(seed):
            state = records.replace(linear.start(optimizer=optax.sgd(1.0)), key=jax.random.key(seed))
            return step(state, batch)[0].params["dense"]["kernel"]

        return np.asarray(quickly(jax.vmap(one))(seeds))

    full, sliced = bias(1, jnp.arange(500)), bias(4, jnp.arange(500, 1000))
    error = np.sqrt((full.var(0) + sliced.var(0)) / 500)
    assert np.all(np.abs(full.mean(0) - sliced.mean(0)) < 4 * error)
    assert 0.5 < np.mean(sliced.std(0) / full.std(0)) < 2  # one key for all slices would give twice the deviation


def small_step(params, loss, batch, optimizer, **options):
    """A step of parameters of another kind with a loss of them and the batch's mean."""
    state = training.start({"w": params}, optimizer, jax.random.key(0))
    step = training.make_step(
        lambda params, key, batch: (loss(params["w"], jnp.mean(batch.clean)), {}), optimizer, **options
    )
    return quickly(step)(state, Batch(batch))


def test_accumulation_adds_bfloat16_gradients_in_float32():
    zero = jnp.zeros((), jnp.bfloat16)
    after, _ = small_step(
        zero, lambda w, mean: w.astype(jnp.float32) * mean, jnp.ones((1024, 1)), optax.sgd(1.0), accumulate=1024
    )
    assert float(after.params["w"]) == -1.0  # in bfloat16 the sum would stop at 256


def test_clip_bounds_the_gradient_leaves_its_direction_and_is_finite_where_it_is_zero():
    (state, metrics), (free, _) = one_step(clip=0.01), one_step()
    moved, unclipped = (jax.tree.map(lambda a, b: a - b, each.params, linear.params()) for each in (state, free))
    np.testing.assert_allclose(optax.tree.norm(moved), 0.01, rtol=1e-4)
    factor = 0.01 / metrics["grad_norm"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b * factor, rtol=1e-3, atol=1e-7), moved, unclipped)
    linear.assert_bitwise_equal(one_step(clip=1e6)[0], free)  # above the norm a clip changes nothing
    still, metrics = one_step(batch=jax.tree.map(np.zeros_like, linear.batch()), clip=1.0)
    assert float(metrics["grad_norm"]) == 0 and bool(metrics["finite"])
    np.testing.assert_array_equal(still.params["dense"]["kernel"], linear.params()["dense"]["kernel"])


@pytest.mark.fault("NaN loss or gradient")
@table("bad, accumulate", [(np.nan, 1), (np.inf, 2)])
def test_nonfinite_batch_changes_nothing_but_the_step_and_says_so(bad, accumulate):
    batch = linear.batch()
    batch.clean[3, 1] = bad
    step = quickly(training.make_step(linear.noisy, linear.adamw(), clip=1.0, accumulate=accumulate))
    before = linear.train(linear.start(), 0, 3)
    after, metrics = step(before, batch)
    assert not metrics["finite"] and int(after.step) == int(before.step) + 1
    assert int(after.optimizer_state[0].count) == 3
    linear.assert_bitwise_equal(records.replace(after, step=before.step), before)
    again, metrics = step(after, linear.batch())
    assert metrics["finite"] and np.isfinite(again.params["dense"]["kernel"]).all()
    state, metrics = one_step(batch=batch, skip_nonfinite=False)
    assert not metrics["finite"] and not np.isfinite(state.params["dense"]["kernel"]).all()


@pytest.mark.fault("NaN loss or gradient")
@table(
    "dtype, loss, optimizer",
    [
        ("float32", lambda w, mean: jnp.sqrt(jnp.sum(w * 0)), optax.sgd(0.1)),  # the gradient of a finite loss
        # zero by an epsilon that rounds to zero
        ("float16", lambda w, mean: jnp.sum(w * 0).astype("float32"), optax.adam(1e-3)),
        ("float16", lambda w, mean: jnp.sum(w * 0).astype("float32"), optimizers.adamw(1e-3, warmup=0, total=9)),
        ("float32", lambda w, mean: jnp.sqrt(jnp.sum(w * 0)), optimizers.adamw(1e-3, warmup=0, total=9)),
    ],
)
def test_nonfinite_gradient_or_update_of_a_finite_loss_is_skipped(dtype, loss, optimizer):
    after, metrics = small_step(jnp.ones(2, dtype), loss, jnp.ones((2, 1)), optimizer)
    assert np.isfinite(metrics["loss"]) and not metrics["finite"]
    np.testing.assert_array_equal(after.params["w"], [1, 1])


@table("dtype", ["float32", "bfloat16"])
@table("make", [optimizers.adamw, functools.partial(optimizers.muon, adam_learning_rate=1e-3)])
def test_updates_of_our_optimizers_are_finite_where_the_gradient_is(make, dtype):
    optimizer = make(1e-3, warmup=0, total=9, weight_decay=0.1)
    assert isinstance(optimizer, optimizers.FiniteUpdates)
    params = {"kernel": np.ones((2, 3), dtype), "bias": np.full(3, 1e30, dtype)}
    state, update = quickly(optimizer.init)(params), quickly(optimizer.update)
    for size in (0.0, 1e-45, 1e-38, 1e-20, 1.0, 4e18, 0.0):
        gradient = jax.tree.map(lambda leaf, size=size: np.full(leaf.shape, size, leaf.dtype), params)
        updates, state = update(gradient, state, params)
        assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves((updates, state)))


def test_many_steps_are_traced_once():
    traces = []

    def loss(params, key, batch):
        traces.append(1)
        return linear.noisy(params, key, batch)

    step = quickly(training.make_step(loss, linear.adamw(), accumulate=2, clip=1.0, ema_warm_up=True), donate_argnums=0)
    state = linear.start()
    for number in range(6):
        state, _ = step(state, linear.batch(number))
    assert int(state.step) == 6 and len(traces) == 1


def full(seed):
    """Parameters of small whole numbers, of which every sum is exact."""
    rng = np.random.default_rng(seed)
    return {"dense": {"kernel": jnp.asarray(rng.integers(-3, 4, (3, 2)), jnp.float32), "bias": jnp.ones(2)}}


def test_frozen_trees_are_data_that_are_not_sliced_have_no_gradient_and_are_not_donated():
    batch, scale = Batch(np.random.default_rng(0).integers(-4, 5, (8, 3)).astype(np.float32), ()), np.float32(2)
    steps = [
        Traced(training.make_step(linear.taught, optax.sgd(1.0), accumulate=n), jit=quickly, donate_argnums=0)
        for n in (1, 2)
    ]
    for seed in (1, 2):
        teacher = full(seed)
        fresh, fixed = (jax.tree.map(np.asarray, tree["dense"]) for tree in (full(0), teacher))
        error = batch.clean @ (fresh["kernel"] - scale * fixed["kernel"]) + fresh["bias"] - scale * fixed["bias"]
        expected = {"kernel": fresh["kernel"] - batch.clean.T @ error / 8, "bias": fresh["bias"] - error.sum(0) / 8}
        for step in steps:
            after, metrics = step(training.start(full(0), optax.sgd(1.0), jax.random.key(0), ()), batch, teacher, scale)
            jax.tree.map(np.testing.assert_array_equal, after.params["dense"], expected)
            assert metrics["finite"] and metrics["loss"] > 0 and not teacher["dense"]["kernel"].is_deleted()
    assert [step.traces for step in steps] == [1, 1]


@pytest.mark.float64
@pytest.mark.float64
def test_step_keeps_every_dtype_when_64_bits_are_allowed():
    state, step = (
        linear.start(),
        training.make_step(linear.exact, linear.adamw(), accumulate=2, clip=1.0, ema_warm_up=True),
    )
    after, _ = jax.eval_shape(step, state, linear.batch())
    assert jax.tree.map(lambda leaf: leaf.dtype, after) == jax.tree.map(lambda leaf: leaf.dtype, state)


MIXED = Batch(np.zeros((8, 3), np.float32), (np.zeros((4, 2), np.float32),))
test_what_does_not_fit_is_refused_with_its_name = pytest.mark.fault(
    "EMA, optimizer: accumulation not dividing the batch", "EMA, optimizer: clip ≤ 0"
)(
    refusals(
        (lambda: one_step(accumulate=0), "accumulate", ConfigError),
        *((lambda clip=clip: one_step(clip=clip), "clip", ConfigError) for clip in (0.0, -1.0, float("nan"))),
        (lambda: one_step(accumulate=3), "accumulate = 3 does not divide the batch of 8", ConfigError),
        (lambda: one_step(batch=MIXED, accumulate=2), r"condition/0.*\(4, 2\)", ConfigError),
        (
            lambda: one_step(lambda *a: (linear.exact(*a)[0], {"grad_norm": jnp.zeros(())})),
            "grad_norm",
            ConfigError,
        ),  # it would hide the step's
    )
)
