"""Weights, stated on the clean error and asked for on each network's own target; and the levels drawn for training."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import parameterization, schedules, weighting
from gendiff.diffusion.types import Level
from tests.diffusion.families import LEVELS, PARAMETERIZATIONS, WEIGHTS, for_each
from tests.tables import table

SNR = np.array([0.01, 0.5, 1.0, 4.0, 5.0, 30.0, 1000.0])
LEVEL = Level(np.zeros(7), np.sqrt(SNR / (1 + SNR)), np.sqrt(1 / (1 + SNR)))  # alpha² + sigma² = 1
draw = jax.jit(lambda levels, key, schedule, count: levels(key, schedule, count), static_argnums=3)
GAIN = {"clean": np.ones(7), "noise": SNR, "velocity": SNR + 1}


@pytest.mark.float64
@pytest.mark.parametrize("target", GAIN)
def test_weights_are_the_papers_on_every_target(target):
    """Each paper's weight on the clean error, divided by what one unit of clean error is worth on the target."""
    on_clean = {
        weighting.uniform(): GAIN[target],
        weighting.min_snr(): np.minimum(SNR, 5.0),
        weighting.min_snr(1.0): np.minimum(SNR, 1.0),
        weighting.truncated_snr(): np.maximum(SNR, 1.0),
        weighting.p2(): SNR / (1 + SNR),
        weighting.p2(gamma=0.5, k=2.0): SNR * (2.0 + SNR) ** -0.5,
        weighting.edm(0.5): SNR + 4,  # (sigma² + s²) / (sigma s)²
        weighting.sigmoid(): SNR / (1 + SNR),
        weighting.sigmoid(bias=2.0): SNR / (1 + np.exp(np.log(SNR) - 2.0)),
    }
    gain = PARAMETERIZATIONS[target]().gain(LEVEL)
    np.testing.assert_allclose(gain, GAIN[target], rtol=1e-12)
    for weight, expected in on_clean.items():
        np.testing.assert_allclose(
            np.broadcast_to(weight(LEVEL, gain), 7), expected / GAIN[target], rtol=1e-11, err_msg=str(weight)
        )
    assert {type(weight) for weight in on_clean} == {type(build()) for build in WEIGHTS.values()}


@pytest.mark.float64
@table(("sigma", "std"), itertools.product((0.002, 1.0, 80.0), (0.5, 1.3)))
def test_edm_weight_times_output_scale_squared_is_one(sigma, std):
    level = Level(np.log(sigma) / 4, 1.0, sigma)
    out = sigma * std / np.sqrt(sigma**2 + std**2)
    on_clean, on_target = (
        weighting.edm(std)(level, kind.gain(level)) for kind in (parameterization.clean(), parameterization.edm(std))
    )
    assert float(on_clean) * out**2 == pytest.approx(1, rel=1e-11) == float(on_target)


@for_each("build", WEIGHTS)
@table("target", ["clean", "velocity", "flow", "edm"])
def test_weights_and_their_gradients_are_finite_at_zero_signal(build, target):
    def weigh(alpha, sigma):
        level = Level(1.0, alpha, sigma)
        return build()(level, PARAMETERIZATIONS[target]().gain(level))

    value, slopes = jax.value_and_grad(weigh, argnums=(0, 1))(jnp.float32(0.0), jnp.float32(1.0))
    assert np.isfinite(value) and value >= 0 and all(np.isfinite(slopes))


@for_each("build", LEVELS)
@pytest.mark.parametrize(
    "schedule", [schedules.cosine(100), schedules.flow(), schedules.edm()], ids=["table", "flow", "edm"]
)
def test_drawn_levels_belong_to_the_schedule_and_depend_on_the_key_only(build, schedule):
    level = draw(build(), jax.random.key(0), schedule, 64)
    assert level.alpha.shape == level.sigma.shape == level.t.shape == (64,)
    assert level.alpha.dtype == level.sigma.dtype == jnp.float32
    assert np.all(np.isfinite(level.t)) and np.all(level.sigma > 0)
    jax.tree.map(np.testing.assert_array_equal, level, draw(build(), jax.random.key(0), schedule, 64))
    assert not np.array_equal(level.sigma, draw(build(), jax.random.key(1), schedule, 64).sigma)


def test_uniform_levels_on_a_table_are_its_entries_equally_often():
    schedule = schedules.linear(8)
    level = weighting.uniform_levels()(jax.random.key(0), schedule, 8000)
    entries = np.asarray(level.t).astype(int)
    np.testing.assert_array_equal(entries, level.t)
    np.testing.assert_allclose(level.alpha, schedule.table.alpha[entries], rtol=1e-6)
    counts = np.bincount(entries, minlength=8)
    assert counts.shape == (8,) and np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000 * 7 / 8))


def test_uniform_levels_of_a_span_are_its_part_of_the_path():
    u = weighting.uniform_levels(span=(0.25, 0.75))(jax.random.key(0), schedules.flow(), 4000).sigma
    counts, _ = np.histogram(u, bins=4, range=(0.25, 0.75))
    assert counts.sum() == 4000 and np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))


def test_stratified_levels_cover_every_stratum_once_and_each_sample_is_uniform():
    u = np.sort(weighting.stratified_levels()(jax.random.key(0), schedules.flow(), 64).sigma)
    assert np.all(np.abs(np.diff(u) - 1 / 64) < 1e-5) or np.array_equal(np.floor(u * 64 - 1e-4), np.arange(64))
    entries = np.sort(weighting.stratified_levels()(jax.random.key(0), schedules.linear(64), 64).t)
    np.testing.assert_array_equal(entries, np.arange(64))
    second = jax.vmap(lambda key: weighting.stratified_levels()(key, schedules.flow(), 4).sigma[1])
    counts, _ = np.histogram(second(jax.random.split(jax.random.key(0), 4000)), bins=4, range=(0, 1))
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(750)), "sample 1 visits the whole path, not only its own quarter"


def test_log_normal_and_logit_normal_levels_have_their_mean_and_spread():
    level = weighting.log_normal_levels()(jax.random.key(0), schedules.edm(), 20000)
    logs = np.log(np.asarray(level.sigma, np.float64))
    assert logs.mean() == pytest.approx(-1.2, abs=0.05) and logs.std() == pytest.approx(1.2, abs=0.05)
    np.testing.assert_allclose(level.t, logs / 4, atol=1e-4)
    np.testing.assert_array_equal(level.alpha, 1)
    u = np.asarray(
        weighting.logit_normal_levels(0.3, 0.8)(jax.random.key(0), schedules.flow(), 20000).sigma, np.float64
    )
    logits = np.log(u / (1 - u))
    assert logits.mean() == pytest.approx(0.3, abs=0.03) and logits.std() == pytest.approx(0.8, abs=0.03)
