"""Two exact halves make the exact whole; steps have the lengths and places of the method, and halves of the shortest
are told none.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.diffusion import distillation, oracles, parameterization, schedules
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.types import Batch
from tests.diffusion.distillation.two_time_flows import PATHS, exact, line, told_backwards
from tests.diffusion.families import for_each
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals

STD, KIND = 0.6, parameterization.flow()
DATA = oracles.gaussian(STD)
U, LENGTH = np.array([1.0, 0.75, 0.5]), np.array([1.0, 0.25, 0.125])


@pytest.mark.float64
@for_each("name", {name: name for name in PATHS})
def test_two_exact_halves_are_the_exact_whole_and_mistakes_are_not(float64, name):
    """Halves of the shortest step are told to have no length: they are Euler's steps, which miss the flow."""
    schedule, x = PATHS[name][0], rand(0, 3, 2)

    def told_too_far(std, x, t, second):
        return exact(name)(std, x, t, networks.EndTime(second.t - 0.1 * (t - second.t)))

    @in_numpy
    def clean_and_noise(u, length):
        """Of the flow itself, of two exact halves, of halves with a short one, and of two mistakes."""
        level, cleaner = schedule.at(u), schedule.at(u - length)

        def halves(network, shortest=1e-3):
            denoise = two_times.from_network(network, STD, KIND)
            pair = distillation.two_halves_in_one(denoise, schedule, x, u, length, shortest=shortest)
            return pair.clean, pair.noise

        expected = two_times.pair_between(x, level, DATA.flow(x, level, cleaner), cleaner)
        return (
            expected,
            halves(exact(name)),
            halves(exact(name), 0.125),
            halves(told_backwards(name)),
            halves(told_too_far),
        )

    expected, full, short, *mistakes = (np.asarray(pair) for pair in clean_and_noise(U, LENGTH))
    np.testing.assert_allclose(full, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(short[:, :2], expected[:, :2], rtol=1e-9, atol=1e-11)
    for other in (short[:, 2:] - expected[:, 2:], *(mistake - expected for mistake in mistakes)):
        assert np.abs(other).max() > 1e-4


def loss_of(network=None, steps=8, **options):
    return distillation.shortcut(network or exact(), schedules.flow(), KIND, steps=steps, drop_condition=0.0, **options)


def test_steps_are_halves_of_halves_that_begin_at_multiples_of_their_length_and_data_has_none():
    u, length = in_numpy(loss_of().times, static_argnums=(1, 2))(jax.random.key(0), 4000, 3000)
    lengths = length[:3000]
    assert set(lengths) == {1.0, 0.5, 0.25, 0.125} and not length[3000:].any()
    for each in set(lengths):
        assert abs(np.mean(lengths == each) - 0.25) < 0.04
        places, counts = np.unique(u[:3000][lengths == each], return_counts=True)
        np.testing.assert_array_equal(places, np.arange(1, 1 / each + 1) * each)
        assert counts.min() > 0.6 * counts.mean()
    assert 0 <= u[3000:].min() < 0.01 and 0.99 < u[3000:].max() < 1


@pytest.mark.float64
def test_data_at_a_point_has_no_loss_for_the_line_through_it(float64):
    value = in_numpy(lambda point: loss_of(line, share=0.5)(point, jax.random.key(0), Batch(jnp.full((32, 1), 0.3)))[0])
    assert value(0.3) < 1e-20 and value(0.4) > 1e-3


def test_the_parameters_of_the_average_give_targets_without_a_gradient():
    batch, loss = Batch(jnp.asarray(rand(0, 4, 1), jnp.float32)), loss_of(share=0.5)
    slopes = in_numpy(jax.grad(lambda params, target: loss(params, jax.random.key(0), batch, target)[0], (0, 1)))
    (first, none), (second, nothing) = slopes(0.8, 0.8), slopes(0.8, 0.5)
    assert none == nothing == 0 and first != second


test_what_cannot_be_is_refused = refusals(
    (lambda: loss_of(steps=12), "steps = 12 is no power of 2.*take 8"),
    (lambda: loss_of(steps=1), "steps = 1"),
    (lambda: loss_of(share=1.5), "share = 1.5"),
    (
        lambda: loss_of()(1.0, jax.random.key(0), Batch(jnp.zeros((2, 1)))),
        r"share = 0.25 of a batch of 2 samples is 0 of them",
    ),
    (
        lambda: distillation.shortcut(exact(), schedules.flow(), parameterization.noise()),
        "noise prediction divides by alpha",
    ),
)
