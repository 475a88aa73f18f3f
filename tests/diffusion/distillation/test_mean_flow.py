"""The identity of average velocities holds for exact ones, its derivative is exact, and mistakes in it are seen."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.diffusion import distillation, parameterization, schedules
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.types import Batch
from tests.diffusion.distillation.two_time_flows import PATHS, exact, line, position, told_backwards, velocity
from tests.diffusion.families import for_each
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals

STD, KIND = 0.6, parameterization.flow()
U, END = np.array([0.9, 0.6, 0.35]), np.array([0.2, 0.5, 0.05])
every_path = for_each("name", {name: name for name in PATHS})


@pytest.mark.float64
@every_path
def test_the_exact_average_velocity_is_its_own_target_and_mistakes_are_not(float64, name):
    schedule, w = PATHS[name][0], rand(0, 3, 2)

    @in_numpy
    def terms(u, end):
        """The velocity of the flow, p, and then (answer, target) of the exact network and of one that takes its times
        for each other.
        """
        p = position(schedule.at(u))
        moves, pairs = velocity(STD, w, p), []
        for network in (exact(name), told_backwards(name)):
            denoise = two_times.from_network(network, STD, KIND)
            average = functools.partial(distillation.average_velocity, denoise, schedule, end)
            pairs.append(distillation.mean_flow_target(average, w, moves, u, end, schedule))
        return moves, (p - position(schedule.at(end)))[:, None], *pairs

    moves, gap, (answer, target), mistaken = terms(U, END)
    slope = (moves - target) / gap
    assert np.abs(answer - target).max() < 1e-10
    for wrong, why in (
        (moves - slope, "without the factor p - p'"),
        (moves + gap * slope, "with the other sign"),
        (moves, "without a slope"),
    ):
        assert np.abs(answer - wrong).max() > 0.05, why
    assert np.abs(mistaken[0] - mistaken[1]).max() > 0.05
    moves, _, (answer, target), _ = terms(U, U)  # a step without length: the velocity itself
    np.testing.assert_allclose([answer, target], [moves, moves], rtol=1e-10)


@pytest.mark.float64
def test_the_derivative_along_the_path_is_that_of_finite_differences(float64):
    schedule, w, moves, h = PATHS["edm"][0], rand(1, 3, 2), rand(2, 3, 2), 1e-5

    def network(params, x, t, second):
        return jnp.sin(x * params + t[:, None] / 300) + second.t[:, None] / 1000

    average = functools.partial(
        distillation.average_velocity, two_times.from_network(network, 0.7, KIND), schedule, jnp.asarray(END)
    )
    p, end = (position(schedule.at(u)) for u in (U, END))
    around = [np.interp(p + sign * h, *_table(schedule, p + sign * h)) for sign in (1, -1)]
    after, before = (in_numpy(average)(w + sign * h * moves, u) for sign, u in zip((1, -1), around, strict=True))
    _, target = in_numpy(lambda u: distillation.mean_flow_target(average, w, moves, u, jnp.asarray(END), schedule))(U)
    np.testing.assert_allclose(target, moves - (p - end)[:, None] * (after - before) / (2 * h), rtol=1e-6, atol=1e-7)


def _table(schedule, requested):
    """Positions p and the u where they lie, fine around those wanted."""
    u = np.linspace(0.0, 1.0, 100_001)
    return position(schedule.at(u)), u


def loss_of(network, **options):
    return distillation.mean_flow(network, schedules.flow(), KIND, drop_condition=0.0, **options)


@pytest.mark.float64
def test_data_at_one_point_has_no_loss(float64):
    value, metrics = in_numpy(loss_of(line, interval_share=0.5))(0.7, jax.random.key(0), Batch(jnp.full((64, 1), 0.7)))
    assert abs(value) < 1e-20 and metrics["mse"] < 1e-20


def test_a_step_goes_from_the_larger_position_to_the_smaller_and_has_a_length_at_the_stated_share():
    times = in_numpy(
        lambda seed, share: dataclasses.replace(loss_of(exact()), interval_share=share).times(
            jax.random.key(seed), 4000
        )
    )
    for seed, share in enumerate((0.0, 0.3, 1.0)):
        start, end = times(seed, loss_of(exact(), interval_share=share).interval_share)
        assert np.all(start >= end) and np.all((end > 0) & (start < 1))
        assert abs(np.mean(start > end) - share) <= 0.03 * (0 < share < 1)


@pytest.mark.float64
def test_no_gradient_passes_through_the_target_nor_through_the_weight(float64):
    """Data at 0 and U = g w, from u = 0.8 to 0.3: the error is (0.8 g - 1 + 0.5 g) noise, of which the first term alone
    has a gradient.
    """
    places = iter((0.8, 0.3))
    loss = loss_of(
        lambda g, x, t, second: g * x, interval_share=1.0, positions=lambda key, count: jnp.full(count, next(places))
    )
    slope = in_numpy(jax.value_and_grad(lambda g: loss(g, jax.random.key(0), Batch(jnp.zeros((1, 1)))), has_aux=True))
    (value, metrics), result = slope(2.0)
    square = float(metrics["mse"])
    assert float(value) == pytest.approx(square / (square + 1e-3), rel=1e-10)
    assert float(result) == pytest.approx(float(value) * 2 * 0.8 / (1.3 * 2.0 - 1), rel=1e-10)


def test_guidance_mixes_the_velocity_with_that_of_the_null_and_that_of_the_condition():
    def network(params, x, t, label, second):
        return params * x + (label + (t - second.t))[:, None]

    w, u, moves = jnp.ones((2, 1)), jnp.array([0.5, 0.25]), np.array([[10.0], [20.0]], np.float32)
    conditional, free, cases = np.array([[5.0], [7.0]]), np.array([[1.0], [1.0]]), ((1.0, 0.0), (3.0, 0.0), (1.5, 0.4))

    @in_numpy
    def guided(label):
        denoise = two_times.from_network(network, 2.0, KIND, label)
        return [
            loss_of(network, scale=scale, mix=mix).guided(jnp.asarray(moves), denoise, w, u) for scale, mix in cases
        ]

    for (scale, mix), result in zip(cases, guided(jnp.array([3.0, 5.0])), strict=True):
        np.testing.assert_allclose(result, scale * moves + mix * conditional + (1 - scale - mix) * free, rtol=1e-6)


def called(*condition, **options):
    inputs = jnp.float32(1.0), jax.random.key(0), Batch(jnp.zeros((2, 1)), condition)
    return lambda: jax.eval_shape(loss_of(exact(), **options), *inputs)


test_what_cannot_be_is_refused = refusals(
    (
        lambda: loss_of(networks.pure(networks.UNet(convolution="fast_backward"))),
        "in forward mode.*convolution='direct'",
    ),
    (called(scale=2.0), "the batch has no condition, so that guidance changes nothing"),
    (called(interval_share=1.5), "interval_share = 1.5"),
    (called(power=-1.0), "power = -1"),
    (called(mix=1.0), r"mix = 1 is outside \[0, 1\)"),
    (called(scale=np.nan), "scale is not finite"),
    (
        lambda: distillation.mean_flow(exact(), schedules.flow(), parameterization.noise()),
        "noise prediction divides by alpha",
    ),
    (lambda: distillation.mean_flow(exact(), schedules.flow(), KIND, drop_condition=2.0), "drop_condition = 2"),
)
