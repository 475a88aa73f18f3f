"""Consistency losses vanish for the exact function of Gaussian data at the order of the solver, and training without a
teacher agrees.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training as training_chapter
from gendiff.core import sample_keys
from gendiff.diffusion import denoiser, distillation, grids, oracles, parameterization, samplers, sampling, schedules
from gendiff.diffusion.sampling import State
from gendiff.diffusion.types import Batch, Level, Prediction
from tests.diffusion.flows import rand
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.traced import Traced

STD, LOW = 0.6, 0.05
EDM, FLOW = schedules.edm(LOW, 5.0), schedules.flow()
KIND = distillation.boundary(STD, LOW)
DATA = oracles.gaussian(STD)
CLEAN, NOISE = STD * np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])
"""Of degree 2 in both, anything has its expectation over Gaussian data here."""


def even(key, count):
    return (jnp.arange(count) + 0.5) / count


def network_of(function):
    """The network for `KIND` on `EDM` whose clean prediction is function(params, x, sigma)."""

    def network(params, noised, t, *condition):
        sigma = jnp.exp(4 * t)[:, None]
        x = noised * jnp.sqrt(sigma**2 + STD**2)
        clean = function(params, x, sigma)
        return KIND.target(clean, (x - clean) / sigma, Level(t, jnp.ones_like(t), sigma[:, 0]))

    return network


def exact(scale, x, sigma):
    """Where the flow carries x, down to the least noise, when the scale is 1."""
    ends = jnp.sqrt((STD**2 + LOW**2) / (STD**2 + sigma**2)) * x
    return jnp.where(sigma > LOW * 1.001, scale, 1.0) * ends


def training(function=exact, **options):
    options = {"metric": distillation.mean_square(), "positions": even} | options
    return distillation.consistency_training(network_of(function), EDM, KIND, **options)


def distilling(function=exact, **options):
    options = {"metric": distillation.mean_square(), "positions": even} | options
    return distillation.consistency_distillation(network_of(function), EDM, KIND, **options)


@pytest.mark.float64
@pytest.mark.parametrize(("solver", "order"), [(samplers.ddim(), 1), (samplers.heun(), 2)], ids=["ddim", "heun"])
def test_the_loss_of_the_exact_function_vanishes_at_the_order_of_the_teachers_step(float64, solver, order):
    batch = Batch(jnp.full((64, 1), STD))

    def upside_down(scale, x, sigma):
        return x * jnp.sqrt((STD**2 + sigma**2) / (STD**2 + LOW**2))

    @in_numpy
    def misses(intervals):
        losses = (distilling(function, solver=solver) for function in (exact, upside_down))
        return [
            loss(1.0, jax.random.key(seed), batch, intervals, DATA)[1]["mse"] ** 0.5 for seed, loss in enumerate(losses)
        ]

    result = np.array([misses(intervals) for intervals in (64, 128, 256)])
    assert np.log2(result[:-1, 0] / result[1:, 0]) == pytest.approx([order + 1] * 2, abs=0.15)
    assert result[-1, 1] > 5 * result[-1, 0]


@pytest.mark.float64
def test_a_teacher_and_none_have_the_same_expected_gradient_where_the_function_is_linear(float64):
    """The posterior mean of the clean sample then stands for the sample. The last interval ends on the boundary."""
    batch, noise = Batch(jnp.asarray(CLEAN)), jnp.asarray(NOISE)

    @in_numpy
    def slopes(u, gap):
        """With a teacher that takes DDIM's step, without one, and with Heun's step, which is another one."""
        levels = tuple(EDM.at(jnp.full(4, at)) for at in (u, u - gap))
        cases = (distilling(solver=samplers.ddim()), DATA), (training(),), (distilling(), DATA)

        def slope(loss, *frozen):
            return jax.grad(lambda scale: loss.at(scale, jax.random.key(0), noise, levels, batch, *frozen)[0])(0.7)

        return [slope(*case) for case in cases]

    for u, gap in ((0.9, 0.2), (0.7, 0.01), (0.4, 0.4)):
        taught, alone, by_heun = (float(slope) for slope in slopes(u, gap))
        assert abs(taught) > 1e-6 and alone == pytest.approx(taught, rel=1e-9)
        assert gap < 0.1 or abs(by_heun / taught - 1) > 1e-4


@pytest.mark.float64
def test_data_at_one_point_has_no_loss_for_the_line_through_it_with_and_without_a_teacher(float64):
    """A fresh noise at the cleaner end, or levels in disorder, would leave one."""

    def line(point, x, sigma):
        return point + LOW / sigma * (x - point)

    batch, teacher = Batch(jnp.full((16, 1), 0.3)), oracles.gaussian(0.0, 0.3)

    @in_numpy
    def values(point):
        cases = (training(line),), (distilling(line), teacher)
        losses = [loss(point, jax.random.key(seed), batch, 8, *frozen)[0] for seed, (loss, *frozen) in enumerate(cases)]
        return losses, training().levels(jax.random.key(0), 16, 4)

    (exact, levels), (other, _) = values(0.3), values(0.4)
    assert max(exact) < 1e-20 and min(other) > 1e-5
    for level, u in zip(levels, ([0.25, 0.5, 0.75, 1.0], [0.0, 0.25, 0.5, 0.75]), strict=True):
        np.testing.assert_allclose(level.sigma, EDM.at(np.repeat(u, 4)).sigma, rtol=1e-12)


@pytest.mark.float64
def test_no_gradient_passes_through_the_answer_at_the_cleaner_end_whoever_gives_it(float64):
    batch = Batch(jnp.asarray(CLEAN))

    def loss(params, target):
        return training()(params, jax.random.key(0), batch, 3, target)[0]

    alone, slopes = in_numpy(jax.grad(loss))(0.7, None), in_numpy(jax.grad(loss, (0, 1)))
    (beside, frozen), (other, _) = slopes(0.7, 0.7), slopes(0.7, 0.9)
    assert frozen == 0 and float(alone) == pytest.approx(float(beside), rel=1e-12) and abs(other - alone) > 1e-3


def test_dropout_drops_the_same_at_both_ends():
    keys = []

    def network(params, x, t, key):
        keys.append(key)
        return params * x

    loss = distillation.consistency_training(network, FLOW, parameterization.velocity(), stochastic=True)
    jax.eval_shape(loss, 0.5, jax.random.key(0), Batch(jnp.ones((2, 1))), 4)
    assert len(keys) == 2 and keys[0] is keys[1]


@pytest.mark.float64
def test_distances_and_weights_are_their_formulas(float64):
    x, y, batch = rand(0, 3, 2, 2), rand(1, 3, 2, 2), Batch(jnp.asarray(CLEAN))
    gap = float(EDM.at(np.float64(0.5)).sigma - EDM.at(np.float64(0.25)).sigma)
    square = np.sum((np.asarray(x) - np.asarray(y)) ** 2, (1, 2))

    @in_numpy
    def result(x, y, levels):
        weights = (None, distillation.inverse_gap())
        losses = [
            training(weight=weight).at(0.7, jax.random.key(0), jnp.asarray(NOISE), levels, batch)[0]
            for weight in weights
        ]
        kinds = distillation.pseudo_huber(0.1), distillation.pseudo_huber(), distillation.mean_square()
        distances = [kind(x, y) for kind in kinds]
        return losses, distances, jax.grad(lambda x: distillation.pseudo_huber()(x, y).sum())(y)

    (plain, weighted), distances, slope = result(x, y, tuple(EDM.at(np.full(4, u)) for u in (0.5, 0.25)))
    expected = [np.sqrt(square + 0.01) - 0.1, np.sqrt(square + 4 * 0.00054**2) - 2 * 0.00054, square / 4]
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert np.all(slope == 0) and float(weighted) == pytest.approx(float(plain) / gap, rel=1e-12)


def test_the_number_of_intervals_is_data_beside_the_teacher_and_the_average():
    loss, state = distilling(), training_chapter.start(jnp.float32(0.7), optax.sgd(0.1), jax.random.key(0))
    step = training_chapter.make_step(loss, optax.sgd(0.1), accumulate=2)
    inputs = Batch(jnp.asarray(CLEAN, jnp.float32)), jnp.int32(4), DATA, state.params
    assert jax.eval_shape(step, state, *inputs)[1]["loss"].shape == ()
    levels = in_numpy(lambda key, intervals: loss.levels(key, 8, intervals))
    for intervals in (2, 8):
        assert np.unique(levels(jax.random.key(0), intervals)[0].sigma).size == intervals


def test_intervals_double_in_stages_of_equal_length():
    stages = in_numpy(lambda step: distillation.doubling_intervals(step, 800))
    assert [int(stages(step)) for step in (0, 99, 100, 350, 699, 700, 799, 10_000)] == [
        10,
        10,
        20,
        80,
        640,
        1280,
        1280,
        1280,
    ]
    assert int(distillation.doubling_intervals(250, 800)) == 40
    few = in_numpy(lambda step: distillation.doubling_intervals(step, 30, least=2, most=6))
    assert [int(few(step)) for step in (0, 10, 11, 21, 22, 29)] == [2, 2, 4, 4, 6, 6]


def test_a_step_noises_the_answer_afresh():
    rng = np.random.default_rng(0)
    x, clean, fresh = rng.normal(size=(3, 2, 4)).astype(np.float32)
    levels = Level(np.array([0.07, -1.0]), np.array([0.6, 0.8]), np.array([0.8, 0.6]))

    @functools.partial(in_numpy, static_argnums=0)
    def stepped(scaling):
        prediction = Prediction(jnp.asarray(clean), jnp.asarray(x))
        sampler, state = distillation.consistency(scaling), State(jnp.asarray(x))
        return sampler.step(
            lambda like, part=0: jnp.asarray(fresh), lambda x, level: prediction, state, levels[0], levels[1], 0
        ).x

    np.testing.assert_allclose(stepped(None), 0.8 * clean + 0.6 * fresh, rtol=1e-5)
    skip, out = 0.25 / (0.49 + 0.25), 0.7 / (0.49 + 0.25) ** 0.5  # t = 0.07 · 10
    np.testing.assert_allclose(stepped(10.0), 0.8 * (skip * x + out * clean) + 0.6 * fresh, rtol=1e-5)


def test_a_consistency_model_is_drawn_as_any_denoiser_with_samples_of_their_own():
    """One step ends where the flow does; of several, each noises its answer afresh, so that the law stays that of the
    data.
    """

    def draw(scale, index, levels, steps):
        denoise = denoiser.from_network(network_of(exact), scale, KIND)
        return sampling.sample(
            jax.random.key(0), denoise, distillation.consistency(), levels, (1,), index, num_steps=steps
        )

    run, order = Traced(draw, in_numpy), np.array([5, 0, 2] + list(range(3, 4000)))
    grid = [grids.padded(grids.trailing(EDM, steps), 3) for steps in (1, 3)]
    one, three = (
        np.asarray(run(jnp.float32(1.0), np.arange(4000), levels, steps))
        for levels, steps in zip(grid, (1, 3), strict=True)
    )
    other = run(jnp.float32(1.0), order, grid[1], 3)
    np.testing.assert_allclose(other[:3], three[order[:3]], atol=5e-6)
    assert run.traces == 1 and distillation.consistency().evaluations(3) == 3

    @in_numpy
    def flowed(index):
        noise = sample_keys.first_noise(sample_keys.keys_of(jax.random.key(0), index), (1,), jnp.float32)
        return DATA.flow(EDM.at(1.0).sigma * noise, EDM.at(1.0), EDM.at(0.0))

    np.testing.assert_allclose(one, flowed(np.arange(4000)), rtol=1e-5)
    assert (
        abs(three.std() / (STD**2 + LOW**2) ** 0.5 - 1) < 0.05 and abs(np.corrcoef(one[:, 0], three[:, 0])[0, 1]) < 0.9
    )


def traced(loss, *frozen):
    return jax.eval_shape(lambda: loss(1.0, jax.random.key(0), Batch(np.float32(CLEAN)), *frozen))


velocity = parameterization.velocity()
test_what_cannot_be_is_refused = refusals(
    (
        lambda: distillation.consistency_training(exact, EDM, parameterization.edm(STD)),
        "the network's answer must not matter.*sigma_min=0.05",
    ),
    (
        lambda: distillation.consistency_distillation(exact, FLOW, parameterization.noise()),
        "noise prediction divides by alpha",
    ),
    (
        lambda: distillation.consistency_training(exact, FLOW, velocity, weight=distillation.inverse_gap()),
        "0 for the level of pure noise",
    ),
    *((lambda scale=scale: distillation.consistency(scale), "scaling") for scale in (0.0, float("nan"))),
    (lambda: traced(training(), 0), "intervals = 0"),
    (lambda: traced(training(), 2.5), "intervals must be an integer", TypeError),
    (
        lambda: traced(distilling(solver=samplers.ddpm()), 4, DATA),
        "the solver of consistency_distillation draws noise",
    ),
    (lambda: distillation.pseudo_huber(0.0), "c = 0"),
    (lambda: distillation.doubling_intervals(0, 7), "total = 7"),
    (lambda: distillation.doubling_intervals(0, 100, least=0), "least = 0"),
    (lambda: distillation.doubling_intervals(0, 100, least=10, most=5), "most = 5"),
)
