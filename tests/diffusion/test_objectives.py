"""The training loss: the error of the network's own target, at levels and noise that are functions of the key."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import objectives, parameterization, schedules, weighting
from gendiff.diffusion.types import Batch
from tests.diffusion.families import LEVELS, PARAMETERIZATIONS, SCHEDULES, WEIGHTS, every


def silent(params, x, t, *condition):
    return params * x


def samples(count=512, std=1.0):
    return jnp.asarray(std * np.random.default_rng(0).normal(size=(count, 16)), jnp.float32)


def test_a_silent_network_loses_the_mean_square_of_the_target():
    """Unit-variance data: the noise, the clean sample and v each have mean square 1, noise - clean has 2."""
    for name, expected in (("noise", 1.0), ("clean", 1.0), ("velocity", 1.0), ("flow", 2.0)):
        loss = objectives.denoising(silent, schedules.scaled_linear(100), PARAMETERIZATIONS[name]())
        value, metrics = loss(jnp.float32(0.0), jax.random.key(0), Batch(samples()))
        assert value.shape == () and float(value) == pytest.approx(expected, rel=0.05), name
        assert float(metrics["mse"]) == pytest.approx(float(value), rel=1e-5)


def test_edm_target_has_unit_variance_at_the_levels_of_karras():
    loss = objectives.denoising(
        silent, schedules.edm(), parameterization.edm(0.5), weight=weighting.edm(0.5), levels=weighting.log_normal_levels()
    )
    value, _ = loss(jnp.float32(0.0), jax.random.key(0), Batch(samples(std=0.5)))
    assert float(value) == pytest.approx(1.0, rel=0.05)


def test_a_network_that_knows_the_point_it_must_draw_has_no_loss():
    """Data at one point: the noise is x less the point, exactly."""
    schedule, point = schedules.linear(50), 0.7

    def knowing(params, x, t):
        table = jax.tree.map(jnp.asarray, schedule.table)
        level = table[t.astype(int)]
        return (x - level.alpha[:, None] * point) / level.sigma[:, None]

    loss = objectives.denoising(knowing, schedule, parameterization.noise())
    value, _ = loss((), jax.random.key(0), Batch(jnp.full((64, 4), point)))
    assert float(value) < 1e-6


def test_weights_multiply_the_error_of_each_sample():
    """min-SNR on velocity: the mean over the table of min(s, 5) / (s + 1), as v has unit variance here."""
    schedule = schedules.cosine(50)
    loss = objectives.denoising(
        silent, schedule, parameterization.velocity(), weight=weighting.min_snr(5.0), levels=weighting.stratified_levels()
    )
    value, metrics = loss(jnp.float32(0.0), jax.random.key(0), Batch(samples(1000)))
    snr = schedule.table.alpha**2 / schedule.table.sigma**2
    assert float(value) == pytest.approx(np.mean(np.minimum(snr, 5.0) / (snr + 1)), rel=0.03)
    assert float(metrics["mse"]) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_conditions_are_dropped_at_the_stated_rate_whole_sample_by_sample(rate):
    seen = []

    def network(params, x, t, label, other):
        seen.append((label, other))
        return params * x

    loss = objectives.denoising(network, schedules.linear(10), parameterization.velocity(), drop_condition=rate)
    count = 4000
    label = jnp.arange(count, dtype=jnp.int32)
    loss(jnp.float32(0.0), jax.random.key(3), Batch(jnp.ones((count, 2)), (label, label + 1)))
    got_label, got_other = (np.asarray(value) for value in seen[-1])
    assert got_label.dtype == np.int32
    dropped = got_label == NO_LABEL
    np.testing.assert_array_equal(dropped, got_other == NO_LABEL)
    np.testing.assert_array_equal(got_label[~dropped], np.arange(count)[~dropped])
    assert abs(dropped.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / count)


def test_null_of_ones_own_replaces_the_condition():
    seen = []

    def network(params, x, t, vector):
        seen.append(vector)
        return params * x

    loss = objectives.denoising(network, schedules.linear(10), parameterization.velocity(), drop_condition=1.0, null=0.5)
    loss(jnp.float32(0.0), jax.random.key(0), Batch(jnp.ones((3, 2)), (jnp.zeros((3, 4)),)))
    np.testing.assert_array_equal(seen[-1], np.full((3, 4), 0.5))


def test_network_sees_t_of_the_schedule_one_a_sample():
    seen = []

    def network(params, x, t):
        seen.append(t)
        return params * x

    for schedule in (schedules.linear(100), schedules.flow(), schedules.edm()):
        objectives.denoising(network, schedule, parameterization.velocity())(jnp.float32(0.0), jax.random.key(0), Batch(jnp.ones((32, 2))))
    table, flow, edm = (np.asarray(t) for t in seen)
    assert table.shape == flow.shape == edm.shape == (32,) and np.all(table == np.round(table)) and 0 <= table.min() and table.max() <= 99
    assert 0 <= flow.min() and 100 < flow.max() <= 1000
    assert np.log(0.002) / 4 - 1e-5 <= edm.min() and edm.max() <= np.log(80) / 4 + 1e-5


def test_t_is_not_rounded_where_x_is():
    seen = []

    def network(params, x, t):
        seen.append(t)
        return x

    loss = objectives.denoising(network, schedules.linear(1000), parameterization.velocity())
    for dtype in (jnp.bfloat16, jnp.float32):
        loss((), jax.random.key(0), Batch(jnp.ones((64, 2), dtype)))
    assert seen[0].dtype == seen[1].dtype == jnp.float32
    np.testing.assert_array_equal(seen[0], seen[1])


def test_a_network_gets_a_fresh_key_only_where_it_draws_at_random():
    seen = []

    def network(params, x, t, key=None):
        seen.append(None if key is None else jax.random.key_data(key).tolist())
        return params * x

    def run(**options):
        seen.clear()
        loss = objectives.denoising(network, schedules.linear(10), parameterization.velocity(), **options)
        for seed in (0, 0, 1):
            loss(jnp.float32(0.5), jax.random.key(seed), Batch(jnp.ones((4, 2))))
        return list(seen)

    assert run() == [None] * 3
    first, again, other = run(stochastic=True)
    assert first is not None and first == again != other


def test_dropout_of_a_network_is_heard_in_training_without_being_asked_for():
    def build(dropout):
        return networks.UNet(channels=(4,), blocks=1, attention=(), middle_attention=False, groups=2, dropout=dropout)

    def loss(network, **options):
        return objectives.denoising(networks.pure(network), schedules.linear(10), parameterization.velocity(), **options)

    assert loss(build(0.5)).stochastic and not loss(build(0.0)).stochastic
    x = jnp.ones((2, 4, 4, 1))
    params = jax.tree.map(lambda leaf: leaf + 0.1, networks.init(build(0.5), jax.random.key(0), x, jnp.ones(2)))  # the output begins at 0
    values = jax.jit(lambda: [loss(build(0.5), **how)(params, jax.random.key(0), Batch(x))[0] for how in ({}, {"stochastic": False})])()
    assert values[0] != values[1]


@pytest.mark.parametrize("shape", [(8, 3), (8, 5, 3), (8, 4, 4, 2), (8, 2, 2, 2, 1)], ids=["vector", "sequence", "image", "volume"])
def test_value_and_gradient_are_finite_for_any_rank_and_jit_agrees(shape):
    loss = objectives.denoising(silent, schedules.scaled_linear(20), parameterization.velocity())
    batch = Batch(jnp.ones(shape))
    slope = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, metrics), slope = slope(jnp.float32(0.3), jax.random.key(0), batch)
    assert np.isfinite(value) and np.isfinite(slope) and all(np.all(np.isfinite(m)) for m in metrics.values())
    plain, _ = loss(jnp.float32(0.3), jax.random.key(0), batch)
    np.testing.assert_allclose(value, plain, rtol=1e-5)


def finite_value_and_slope(schedule, kind, **options):
    loss = objectives.denoising(silent, schedule, kind, **options)
    (value, metrics), slope = jax.value_and_grad(loss, has_aux=True)(jnp.float32(0.7), jax.random.key(0), Batch(jnp.ones((4, 3))))
    assert value.shape == () and value.dtype == jnp.float32
    assert np.isfinite(value) and np.isfinite(slope) and np.isfinite(metrics["mse"])


@every("schedule", SCHEDULES)
def test_the_objective_is_finite_over_schedules(schedule):
    finite_value_and_slope(schedule(), parameterization.velocity())


@every("levels", LEVELS)
def test_the_objective_is_finite_over_drawn_levels(levels):
    finite_value_and_slope(schedules.flow(), parameterization.velocity(), levels=levels())


@every("kind", PARAMETERIZATIONS)
def test_the_objective_is_finite_over_weights_and_parameterizations(kind):
    for weight in WEIGHTS.values():
        finite_value_and_slope(schedules.scaled_linear(), kind(), weight=weight())


def test_zero_terminal_snr_trains_with_velocity():
    schedule = schedules.zero_terminal_snr(schedules.scaled_linear(2))  # four samples meet its last entry
    finite_value_and_slope(schedule, parameterization.velocity(), weight=weighting.min_snr(), levels=weighting.stratified_levels())


def test_loss_is_a_function_of_its_key_and_has_the_dtype_of_the_samples():
    loss = objectives.denoising(silent, schedules.linear(100), parameterization.noise())
    batch = Batch(samples(8))
    first, again, other = (loss(jnp.float32(0.5), jax.random.key(seed), batch)[0] for seed in (0, 0, 1))
    assert first == again and first != other
    with jax.enable_x64(True):
        value, _ = loss(jnp.float64(0.5), jax.random.key(0), Batch(jnp.ones((8, 16), jnp.float64)))
        assert value.dtype == jnp.float64


def test_rebuilt_losses_are_equal_and_hash_alike():
    first, second = (
        objectives.denoising(silent, schedules.linear(10), parameterization.velocity(), weight=weighting.min_snr()) for _ in range(2)
    )
    assert first == second and hash(first) == hash(second)


@pytest.mark.parametrize("schedule", [schedules.zero_terminal_snr(schedules.linear()), schedules.flow()], ids=["zero terminal", "flow"])
def test_noise_prediction_is_refused_where_no_signal_is_left(schedule):
    with pytest.raises(ValueError, match="(?i)velocity"):
        objectives.denoising(silent, schedule, parameterization.noise())
    objectives.denoising(silent, schedule, parameterization.velocity())


def test_noise_prediction_warns_only_where_its_error_is_multiplied_by_hundreds():
    with pytest.warns(UserWarning, match="2029"):
        objectives.denoising(silent, schedules.cosine(), parameterization.noise())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objectives.denoising(silent, schedules.linear(), parameterization.noise())
        objectives.denoising(silent, schedules.scaled_linear(), parameterization.noise())
        objectives.denoising(silent, schedules.edm(), parameterization.noise())
        objectives.denoising(silent, schedules.cosine(), parameterization.velocity())


@pytest.mark.usefixtures("unchecked")
def test_rates_that_are_none_unscaled_images_and_wrong_outputs_are_refused():
    for rate in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="drop_condition"):
            objectives.denoising(silent, schedules.linear(10), parameterization.velocity(), drop_condition=rate)
    loss = objectives.denoising(silent, schedules.linear(10), parameterization.velocity())
    with pytest.raises(TypeError, match="uint8"):
        loss(jnp.float32(0.0), jax.random.key(0), Batch(np.zeros((2, 4, 4, 1), np.uint8)))
    with pytest.raises(ValueError, match="255"):
        loss(jnp.float32(0.0), jax.random.key(0), Batch(np.array([[0.0, 255.0]], np.float32)))

    with pytest.raises(TypeError, match=r"batch is a ndarray: pass diffusion.Batch\(clean=images"):
        loss(jnp.float32(0.0), jax.random.key(0), np.zeros((2, 4)))

    def short(params, x, t):
        return x[:, :1]

    with pytest.raises((TypeError, ValueError), match=r"\(2, 1\)"):
        objectives.denoising(short, schedules.linear(10), parameterization.velocity())((), jax.random.key(0), Batch(jnp.ones((2, 3))))
