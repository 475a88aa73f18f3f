"""The generator follows the gradient of a KL divergence, which is closed form for Gaussian data and a linear
generator.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import (
    denoiser,
    distillation,
    grids,
    oracles,
    parameterization,
    samplers,
    sampling,
    schedules,
    weighting,
)
from gendiff.diffusion.types import Batch, Level, Prediction
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals

FLOW, CLEAN = schedules.flow(), parameterization.clean()
REAL = oracles.gaussian(0.5, -0.3)
START = {"gain": 1.2, "shift": 0.4}


def linear(params, x, t, *condition):
    return params["gain"] * x + params["shift"]


GENERATE = distillation.one_step(linear, FLOW, CLEAN)
DIVERGENCE = {"weight": weighting.p2(gamma=0.0), "normalise": False}


def fake(params):
    """The exact denoiser of what the generator draws."""
    return oracles.gaussian(params["gain"], params["shift"])


def divergence(params, level):
    """KL(N(a b, a² g² + s²) || N(a m, a² d² + s²)) in nats."""
    variance = (level.alpha * params["gain"]) ** 2 + level.sigma**2
    other = (level.alpha * REAL.std) ** 2 + level.sigma**2
    difference = level.alpha * (params["shift"] - REAL.mean)
    return (jnp.log(other / variance) + (variance + difference**2) / other - 1) / 2


def slopes(params, u, **options):
    """Gradient of the generator's loss in expectation: it is of degree 2 in start and noise, so that ±1 are enough."""
    corners = jnp.array([[1.0], [1.0], [-1.0], [-1.0]]), jnp.array([[1.0], [-1.0], [1.0], [-1.0]])
    loss = distillation.distribution_matching(GENERATE, FLOW, **DIVERGENCE | options)
    level = jax.tree.map(lambda field: jnp.full(4, field), FLOW.at(u))
    return jax.value_and_grad(
        lambda params: loss.at(params, *corners, level, Batch(corners[0]), REAL, fake(params))[0]
    )(params)


@pytest.mark.float64
def test_the_gradient_is_that_of_the_divergence_at_each_level_and_0_at_the_teacher(float64):
    levels = (0.1, 0.5, 0.9)

    @in_numpy
    def both(params):
        of_loss = [slopes(params, u) for u in levels]
        return of_loss, [jax.grad(divergence)(params, FLOW.at(u)) for u in levels]

    for (_, gradient), expected in zip(*both(jax.tree.map(jnp.float64, START)), strict=True):
        for name, slope in gradient.items():
            assert float(slope) == pytest.approx(float(expected[name]), rel=1e-10), name
    for value, gradient in both({"gain": jnp.float64(REAL.std), "shift": jnp.float64(REAL.mean)})[0]:
        assert value < 1e-24 and all(abs(slope) < 1e-12 for slope in gradient.values())


def test_gradient_descent_with_the_defaults_ends_at_the_teacher():
    loss, optimizer = (
        distillation.distribution_matching(GENERATE, FLOW),
        optax.sgd(optax.linear_schedule(0.5, 0.0, 150)),
    )

    @in_numpy
    def trained(params):
        def step(carry, key):
            params, state = carry
            gradient, _ = jax.grad(loss, has_aux=True)(
                params, key, Batch(jnp.zeros((128, 1))), REAL, jax.lax.stop_gradient(fake(params))
            )
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(jax.random.key(0), 150))[0][0]

    after = trained(jax.tree.map(jnp.float32, START))
    assert float(after["shift"]) == pytest.approx(REAL.mean, abs=0.05)
    assert abs(float(after["gain"])) == pytest.approx(REAL.std, abs=0.05)  # of either sign the law is the same


def test_a_direction_is_the_difference_over_the_distance_of_its_own_sample():
    clean, real, other = (np.array(rand(seed, 3, 2, 2), np.float32) for seed in range(3))
    real[2] = clean[2]
    level, direction_of = (
        Level(jnp.zeros(3), jnp.array([0.6, 0.8, 0.6]), jnp.array([0.8, 0.6, 0.8])),
        distillation.matching_direction,
    )
    predictions = [Prediction(jnp.asarray(each), jnp.zeros_like(each)) for each in (real, other)]
    weighted, plain = in_numpy(
        lambda *denoise: (direction_of(*denoise, weighting.p2(0.0)), direction_of(*denoise, normalise=False))
    )(jnp.asarray(clean), *predictions, level)
    snr = np.array([9 / 16, 16 / 9, 9 / 16], np.float32)[:, None, None]
    distance = np.abs(clean - real).mean((1, 2))[:2, None, None]
    np.testing.assert_allclose(weighted[:2], (snr * (other - real))[:2] / distance, rtol=1e-5)
    np.testing.assert_array_equal(weighted[2], 0)
    np.testing.assert_array_equal(plain, other - real)


@pytest.mark.parametrize(
    "schedule", [FLOW, schedules.zero_terminal_snr(schedules.linear(50)), schedules.edm()], ids=["flow", "table", "edm"]
)
def test_a_generator_is_what_ddim_draws_in_one_step_of_a_trailing_grid(schedule):
    def network(params, x, t, label):
        return params * jnp.tanh(x) + 0.001 * t[:, None] + label[:, None].astype(x.dtype)

    kind, levels, label, noise = (
        parameterization.velocity(),
        grids.trailing(schedule, 1),
        jnp.array([1, NO_LABEL]),
        rand(0, 2, 3),
    )

    @in_numpy
    def both(noise):
        denoise, start = denoiser.from_network(network, 0.5, kind, label), levels.sigma[0] * noise
        samples = sampling.sample(jax.random.key(0), denoise, samplers.ddim(), levels, (3,), jnp.arange(2), start=start)
        return distillation.one_step(network, schedule, kind)(0.5, noise, label), samples

    np.testing.assert_allclose(*both(noise), rtol=1e-5, atol=1e-5)


def test_the_fake_denoiser_learns_from_the_generators_samples_under_the_batchs_conditions():
    calls = []

    def spy(params, key, batch):
        calls.append(batch)
        return jnp.mean(batch.clean), {}

    label = jnp.arange(2000)
    loss = distillation.on_generated(GENERATE, spy)

    @in_numpy
    def run(generator):
        loss((), jax.random.key(0), Batch(jnp.zeros((2000, 1)), (label,)), generator)
        return calls[0]

    batch = run({"gain": 2.0, "shift": 5.0})
    clean = np.asarray(batch.clean)
    assert clean.mean() == pytest.approx(5, abs=0.2) and clean.std() == pytest.approx(2, abs=0.2)
    np.testing.assert_array_equal(batch.condition[0], label)


def test_an_adversary_adds_its_weighted_cost_of_the_noised_samples_and_its_gradient():
    start, noise, level = rand(0, 4, 2), rand(1, 4, 2), FLOW.at(jnp.full(4, 0.25))

    def adversary(critic, x, at, condition):
        return critic * x[:, 0] + at.sigma

    def value(params, *critic, **options):
        loss = distillation.distribution_matching(GENERATE, FLOW, **options)
        return loss.at(params, start, noise, level, Batch(start), REAL, fake(START), *critic)[0]

    options = {"adversary": adversary, "adversary_weight": 0.1}

    @in_numpy
    def run(params):
        return jax.value_and_grad(value)(params), jax.value_and_grad(lambda params: value(params, 2.0, **options))(
            params
        )

    (without, slope), (full, both) = run(START)
    x = 0.75 * (1.2 * start + 0.4) + 0.25 * noise
    assert float(full - without) == pytest.approx(0.1 * float(jnp.mean(2 * x[:, 0] + 0.25)), rel=1e-4)
    assert float(both["shift"] - slope["shift"]) == pytest.approx(0.1 * 2 * 0.75, rel=1e-4)


def call(*critic, **options):
    loss = distillation.distribution_matching(GENERATE, FLOW, **options)
    return lambda: jax.eval_shape(loss, START, jax.random.key(0), Batch(jnp.ones((2, 1))), REAL, REAL, *critic)


test_what_does_not_go_together_is_refused = refusals(
    (call(1.0), "an adversary and its frozen tree go together"),
    (call(adversary=lambda *inputs: inputs[1][:, 0]), "an adversary and its frozen tree go together"),
    (lambda: distillation.distribution_matching(GENERATE, FLOW, adversary_weight=-1.0), "adversary_weight = -1"),
    (lambda: distillation.one_step(linear, FLOW, parameterization.noise()), "noise prediction divides by alpha"),
    (lambda: weighting.uniform_levels(span=(0.5, 0.5)), r"span\[0\] = 0.5 is outside \[0, 0.5\)"),
    (lambda: weighting.uniform_levels(span=(0.0, 1.5)), r"span\[1\] = 1.5"),
)
