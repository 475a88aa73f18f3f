"""The joint loss keeps network and schedule apart, the bounds share an end, and differences are those of the numbers
given.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import schedules
from gendiff.data import digits
from gendiff.diffusion import denoiser, learned_schedule, objectives, parameterization, weighting
from gendiff.diffusion.types import Batch

CONFIG = schedules.EXPERIMENT.presets["full"]
SMALL = schedules.EXPERIMENT.smoke


def predict(params, x, t, label):
    """A network of one number that reads x, t and the label."""
    return params["scale"] * x + (t / 1000 + label / 10)[:, None, None, None]


@pytest.fixture(scope="module")
def slopes():
    start = schedules.start(SMALL)
    network = dataclasses.replace(schedules.model(SMALL), predict=predict)
    loss = schedules.joint_loss(dataclasses.replace(SMALL, drop_condition=0.0, schedule_batch=4), network)
    shared = objectives.denoising(
        predict, start, parameterization.velocity(), levels=weighting.stratified_levels(), drop_condition=0.0
    )
    images = np.random.default_rng(0).choice(np.linspace(-1, 1, digits.LEVELS), size=(8, 8, 8, 1)).astype(np.float32)
    data = Batch(clean=jnp.asarray(images), condition=(jnp.arange(8),))

    @jax.jit
    def all_of_them(params, key):
        network_key, schedule_key = jax.random.split(jax.random.clone(key))  # as the loss splits it
        few = Batch(clean=data.clean[:4], condition=(data.condition[0][:4],))
        denoise = denoiser.from_network(predict, params["network"], parameterization.velocity(), *few.condition)
        joint = jax.grad(loss, has_aux=True)(params, key, data)[0]
        network = jax.grad(shared, has_aux=True)(params["network"], network_key, data)[0]
        shape = jax.grad(learned_schedule.objective, has_aux=True)(
            params["schedule"], schedule_key, denoise, few.clean
        )[0]
        return joint, network, shape

    return all_of_them({"network": {"scale": jnp.float32(0.3)}, "schedule": start}, jax.random.key(0))


def test_network_and_schedule_learn_each_by_its_own_loss_alone(slopes):
    joint, network, shape = slopes
    assert abs(network["scale"]) > 1e-3 and np.abs(shape.curve.heights).max() > 0
    np.testing.assert_allclose(joint["network"]["scale"], network["scale"], rtol=1e-5)
    for name in ("slope", "heights", "steepness", "centres"):
        np.testing.assert_allclose(
            getattr(joint["schedule"].curve, name), getattr(shape.curve, name), rtol=1e-4, atol=1e-6
        )


def test_learned_and_retold_paths_have_the_ends_of_linear_and_tell_the_network_the_noise_alone():
    linear = schedules.FIXED["linear"]
    ends = schedules.ends(linear)
    retold, start = schedules.RetoldSchedule(linear), learned_schedule.frozen(schedules.start(CONFIG))
    for path in (retold, start):
        np.testing.assert_allclose(path.at(np.array([0.0, 1.0])).log_snr, ends, rtol=1e-6)
    level = retold.at(np.linspace(0.0, 1.0, 9))
    np.testing.assert_allclose(level.t, start.at_log_snr(level.log_snr).t, atol=1e-6)
    np.testing.assert_allclose(level.log_snr, linear.at(0.001 + 0.999 * np.linspace(0.0, 1.0, 9)).log_snr, rtol=1e-9)


def test_every_bound_ends_at_the_same_log_snr_and_only_the_bad_schedule_keeps_signal():
    fixed = schedules.FIXED
    for path in (*fixed.values(), learned_schedule.frozen(schedules.start(CONFIG))):
        u = schedules.position(path, schedules.CLEANEST)
        assert path.at(np.float64(u)).log_snr == pytest.approx(schedules.CLEANEST, abs=1e-6)
    assert schedules.position(fixed["linear"], 50.0) == 1 / schedules.LEVELS  # beyond the cleanest level: that level
    ends = {name: float(path.noisiest.alpha) ** 2 for name, path in fixed.items()}
    assert 0.3 < ends.pop("loud") < 0.4 and max(ends.values()) < 1e-4


def test_variance_ratios_are_of_single_draws():
    draws = np.random.default_rng(0).normal(size=(60, 8))
    linear, start = schedules.variance_ratios(draws, 2 * draws, draws)
    assert linear == pytest.approx((0.25, 0.25, 0.25))
    assert start == (1.0, 1.0, 1.0)
