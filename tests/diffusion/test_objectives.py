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
from tests.diffusion.families import LEVELS, PARAMETERIZATIONS, SCHEDULES, WEIGHTS
from tests.tables import table

VELOCITY, TEN = parameterization.velocity(), schedules.linear(10)
STRATIFIED = weighting.stratified_levels()


def linear(params, x, t, *condition):
    return params * x


def value_of(loss, clean, *condition, params=0.0, seed=0):
    value, metrics = loss(jnp.float32(params), jax.random.key(seed), Batch(clean, condition))
    return float(value), metrics


def inputs_of(clean, *condition, schedule=TEN, seed=0, **options):
    """What the network is shown after its parameters."""
    calls = []

    def network(params, x, *rest, **key):
        calls.append((x, *rest, *key.values()))
        return x

    objectives.denoising(network, schedule, VELOCITY, **options)((), jax.random.key(seed), Batch(clean, condition))
    return calls[-1]


def samples(count=512, std=1.0):
    return jnp.asarray(std * np.random.default_rng(0).normal(size=(count, 16)), jnp.float32)


def test_a_silent_network_loses_the_mean_square_of_the_target():
    """Unit-variance data: the noise, the clean sample and v each have mean square 1, noise - clean has 2. EDM's target
    always has 1.
    """
    for name, expected in (("noise", 1.0), ("clean", 1.0), ("velocity", 1.0), ("flow", 2.0)):
        value, metrics = value_of(
            objectives.denoising(linear, schedules.scaled_linear(100), PARAMETERIZATIONS[name]()), samples()
        )
        assert value == pytest.approx(expected, rel=0.05), name
        assert float(metrics["mse"]) == pytest.approx(value, rel=1e-5)
    karras = {"weight": weighting.edm(0.5), "levels": weighting.log_normal_levels()}
    value, _ = value_of(
        objectives.denoising(linear, schedules.edm(), parameterization.edm(0.5), **karras), samples(std=0.5)
    )
    assert value == pytest.approx(1.0, rel=0.05)


def test_a_network_that_knows_the_point_it_must_draw_has_no_loss():
    """Data at one point: the noise is x less the point, exactly."""
    schedule, point = schedules.linear(50), 0.7

    def knowing(params, x, t):
        level = jax.tree.map(jnp.asarray, schedule.table)[t.astype(int)]
        return (x - level.alpha[:, None] * point) / level.sigma[:, None]

    assert (
        value_of(objectives.denoising(knowing, schedule, parameterization.noise()), jnp.full((64, 4), point))[0] < 1e-6
    )


def test_weights_multiply_the_error_of_each_sample():
    """min-SNR on velocity: the mean over the table of min(s, 5) / (s + 1), as v has unit variance here."""
    schedule = schedules.cosine(50)
    loss = objectives.denoising(linear, schedule, VELOCITY, weight=weighting.min_snr(5.0), levels=STRATIFIED)
    value, metrics = value_of(loss, samples(1000))
    snr = schedule.table.alpha**2 / schedule.table.sigma**2
    assert value == pytest.approx(np.mean(np.minimum(snr, 5.0) / (snr + 1)), rel=0.03)
    assert float(metrics["mse"]) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_conditions_are_dropped_at_the_stated_rate_whole_sample_by_sample(rate):
    count, label = 4000, jnp.arange(4000, dtype=jnp.int32)
    labels, other = (
        np.asarray(value)
        for value in inputs_of(jnp.ones((count, 2)), label, label + 1, drop_condition=rate, seed=3)[2:]
    )
    dropped = labels == NO_LABEL
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(dropped, other == NO_LABEL)
    np.testing.assert_array_equal(labels[~dropped], np.arange(count)[~dropped])
    assert abs(dropped.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / count)


def test_network_sees_t_of_the_schedule_one_a_sample_not_rounded_where_x_is():
    ranges = {
        schedules.linear(100): (0, 99),
        schedules.flow(): (0, 1000),
        schedules.edm(): (np.log(0.002) / 4, np.log(80) / 4),
    }
    for schedule, (low, high) in ranges.items():
        t = inputs_of(jnp.ones((32, 2)), schedule=schedule)[1]
        assert t.shape == (32,) and low - 1e-5 <= t.min() and (low + high) / 10 < t.max() <= high + 1e-5
        assert schedule.table is None or np.all(t == np.round(t))
    rough, fine = (
        inputs_of(jnp.ones((64, 2), dtype), schedule=schedules.linear(1000))[1] for dtype in (jnp.bfloat16, jnp.float32)
    )
    assert rough.dtype == fine.dtype == jnp.float32
    np.testing.assert_array_equal(rough, fine)


def test_a_network_gets_a_fresh_key_only_where_it_draws_at_random():
    assert len(inputs_of(jnp.ones((4, 2)))) == 2
    first, again, other = (
        jax.random.key_data(inputs_of(jnp.ones((4, 2)), stochastic=True, seed=seed)[2]).tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_dropout_of_a_network_is_heard_in_training_without_being_asked_for():
    def build(dropout):
        return networks.UNet(channels=(4,), blocks=1, attention=(), middle_attention=False, groups=2, dropout=dropout)

    def loss(network, **options):
        return objectives.denoising(networks.pure(network), TEN, VELOCITY, **options)

    assert loss(build(0.5)).stochastic and not loss(build(0.0)).stochastic
    x = jnp.ones((2, 4, 4, 1))
    # the output begins at 0
    params = jax.tree.map(lambda leaf: leaf + 0.1, networks.init(build(0.5), jax.random.key(0), x, jnp.ones(2)))
    values = jax.jit(
        lambda: [loss(build(0.5), **how)(params, jax.random.key(0), Batch(x))[0] for how in ({}, {"stochastic": False})]
    )()
    assert values[0] != values[1]


@pytest.mark.parametrize(
    "shape", [(8, 3), (8, 5, 3), (8, 4, 4, 2), (8, 2, 2, 2, 1)], ids=["vector", "sequence", "image", "volume"]
)
def test_value_and_gradient_are_finite_for_any_rank_and_jit_agrees(shape):
    loss = objectives.denoising(linear, schedules.scaled_linear(20), VELOCITY)
    slope = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, metrics), slope = slope(jnp.float32(0.3), jax.random.key(0), Batch(jnp.ones(shape)))
    assert np.isfinite(value) and np.isfinite(slope) and all(np.all(np.isfinite(m)) for m in metrics.values())
    np.testing.assert_allclose(value, value_of(loss, jnp.ones(shape), params=0.3)[0], rtol=1e-5)


@table(
    ("schedule", "kind", "options"),
    [
        *[(build(), VELOCITY, {}) for build in SCHEDULES.values()],
        *[(schedules.flow(), VELOCITY, {"levels": build()}) for build in LEVELS.values()],
        *[
            (schedules.scaled_linear(), kind(), {"weight": build()})
            for kind in PARAMETERIZATIONS.values()
            for build in WEIGHTS.values()
        ],
        # four samples meet the last entry of two
        (
            schedules.zero_terminal_snr(schedules.scaled_linear(2)),
            VELOCITY,
            {"weight": weighting.min_snr(), "levels": STRATIFIED},
        ),
    ],
)
def test_the_objective_is_finite_over_schedules_drawn_levels_weights_and_parameterizations(schedule, kind, options):
    loss = objectives.denoising(linear, schedule, kind, **options)
    (value, metrics), slope = jax.value_and_grad(loss, has_aux=True)(
        jnp.float32(0.7), jax.random.key(0), Batch(jnp.ones((4, 3)))
    )
    assert value.shape == () and value.dtype == jnp.float32
    assert np.isfinite(value) and np.isfinite(slope) and np.isfinite(metrics["mse"])


def test_a_loss_is_a_function_of_its_key_has_the_dtype_of_the_samples_and_equals_its_like():
    loss, same = (
        objectives.denoising(linear, schedules.linear(100), VELOCITY, weight=weighting.min_snr()) for _ in range(2)
    )
    assert loss == same and hash(loss) == hash(same)
    first, again, other = (value_of(loss, samples(8), params=0.5, seed=seed)[0] for seed in (0, 0, 1))
    assert first == again != other
    with jax.enable_x64(True):
        assert loss(jnp.float64(0.5), jax.random.key(0), Batch(jnp.ones((8, 16), jnp.float64)))[0].dtype == jnp.float64


def test_noise_prediction_warns_only_where_its_error_is_multiplied_by_hundreds():
    with pytest.warns(UserWarning, match="2029"):
        objectives.denoising(linear, schedules.cosine(), parameterization.noise())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for schedule in (schedules.linear(), schedules.scaled_linear(), schedules.edm()):
            objectives.denoising(linear, schedule, parameterization.noise())
        for schedule in (schedules.cosine(), schedules.flow(), schedules.zero_terminal_snr(schedules.linear())):
            objectives.denoising(linear, schedule, VELOCITY)


def test_a_dropped_unsigned_label_is_no_label():
    labels = objectives._with_null(jnp.array([True, False]), np.array([3, 4], np.uint8), NO_LABEL)
    assert labels.tolist() == [NO_LABEL, 4]
