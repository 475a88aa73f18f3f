"""One DDIM step of the target ends where two steps of the teacher end, on every process and at both ends of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import (
    denoiser,
    distillation,
    grids,
    guidance,
    oracles,
    parameterization,
    process,
    samplers,
    sampling,
    schedules,
)
from gendiff.diffusion.types import Batch
from tests.diffusion.distillation.catalogue import linear
from tests.diffusion.flows import every_schedule, mixture, rand
from tests.quickly import in_numpy
from tests.refusals import refusals

FLOW, CLEAN, VELOCITY = schedules.flow(), parameterization.clean(), parameterization.velocity()
GRID, TEACHER, SHAPE, ROWS = grids.trailing(FLOW, 4), oracles.gaussian(0.6, 0.0), (3,), jnp.ones((2, 3))


@in_numpy
def ends(teacher, x, level, middle, cleaner):
    """Of one step of the target, and of two steps of the teacher; and what x is of the target."""
    step = samplers.ancestral.ddim_step
    target = distillation.two_steps_in_one(teacher, x, level, middle, cleaner)
    in_two = step(teacher(step(teacher(x, level), level, middle), middle), middle, cleaner)
    return step(target, level, cleaner), in_two, process.add_noise(target.clean, target.noise, level)


@pytest.mark.float64
@every_schedule
@pytest.mark.parametrize("teacher", [oracles.gaussian(0.7, 0.3), mixture()], ids=["gaussian", "mixture"])
def test_one_step_of_the_target_ends_where_two_of_the_teacher_end(float64, schedule, teacher):
    levels = grids.trailing(schedule, 6)
    # from alpha = 0 where there is one, and to sigma = 0
    level, middle, cleaner = (levels[offset::2][:3] for offset in range(3))
    x = (level.alpha + level.sigma)[:, None] * rand(0, 3, 3)

    in_one, in_two, again = ends(teacher, x, level, middle, cleaner)
    exact = {"rtol": 0, "atol": 1e-12 * float(level.sigma[0] + 1)}
    np.testing.assert_allclose(in_one, in_two, **exact)
    np.testing.assert_allclose(again, x, **exact)


def student_of(levels, teacher):
    """A table of clean / x for the exact student of a Gaussian teacher with mean 0, one number per step."""
    one = jnp.ones((1, 1))
    return [
        distillation.two_steps_in_one(teacher, one, *(levels[start + k] for k in range(3))).clean[0, 0]
        for start in (0, 2)
    ]


def stepwise(params, x, t):
    """The clean sample as a multiple of x, one for each step of the student: t is 1000, then 500."""
    return jnp.where(t > 750, params[0], params[1])[:, None] * x


def sample_of(denoise, levels, **options):
    return sampling.sample(jax.random.key(0), denoise, samplers.ddim(), levels, SHAPE, jnp.arange(4), **options)


@pytest.mark.float64
def test_the_exact_student_has_no_loss_and_draws_in_half_of_the_steps_what_its_teacher_draws(float64):
    levels = grids.trailing(FLOW, 4)
    loss = distillation.progressive_distillation(stepwise, CLEAN, levels)

    @in_numpy
    def run(batch):
        exact = student_of(levels, TEACHER)
        as_teacher = [TEACHER(jnp.ones((1, 1)), levels[k]).clean[0, 0] for k in (0, 2)]
        values = [loss(params, jax.random.key(0), batch, TEACHER)[0] for params in (exact, as_teacher)]
        student = denoiser.from_network(stepwise, exact, CLEAN)
        return values, sample_of(student, distillation.every_other_level(levels)), sample_of(TEACHER, levels)

    (value, other), by_student, by_teacher = run(Batch(rand(0, 64, 3)))
    assert value < 1e-24 < 1e-3 < other
    np.testing.assert_allclose(by_student, by_teacher, rtol=0, atol=1e-12)


def test_every_step_of_the_student_is_drawn_equally_often_and_told_its_own_time():
    times = []

    def spy(params, x, t):
        times.append(t)
        return x

    @in_numpy
    def run(batch):
        distillation.progressive_distillation(spy, VELOCITY, grids.trailing(FLOW, 8))(
            (), jax.random.key(0), batch, TEACHER
        )
        return times[0]

    levels_of, counts = np.unique(run(Batch(jnp.ones((4000, 1)))), return_counts=True)
    np.testing.assert_array_equal(levels_of, [250, 500, 750, 1000])
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))


def test_the_teacher_is_told_the_conditions_of_the_batch_and_may_be_guided():
    batch, levels = Batch(jnp.ones((2, 3)), (jnp.array([1, 4]),)), grids.trailing(FLOW, 2)

    def guided(params, condition):
        denoise = denoiser.from_network(linear, params, VELOCITY, *condition)
        return guidance.classifier_free(denoise, denoise.with_condition(NO_LABEL), 3.0)

    def value(teacher, **options):
        return distillation.progressive_distillation(linear, VELOCITY, levels, **options)(
            0.5, jax.random.key(0), batch, teacher
        )[0]

    def teacher_of(params, condition):
        return denoiser.from_network(linear, params, VELOCITY, *condition)

    @in_numpy
    def values(params):
        return value(teacher_of(params, ())), value(params, tell=teacher_of), value(params, tell=guided)

    plain, same, led = map(float, values(0.5))
    assert plain == pytest.approx(same, rel=1e-6) and abs(led - plain) > 1


def test_halved_grids_are_those_of_half_the_steps_down_to_one():
    levels = grids.trailing(FLOW, 8)
    for steps in (4, 2, 1):
        levels = distillation.every_other_level(levels)
        jax.tree.map(np.testing.assert_array_equal, levels, grids.trailing(FLOW, steps))


def build(levels=GRID, kind=VELOCITY):
    return lambda: distillation.progressive_distillation(stepwise, kind, levels)


test_grids_that_cannot_be_halved_are_refused = refusals(
    (build(grids.trailing(FLOW, 3)), "levels has 3 steps, of which two cannot always be made one"),
    (build(grids.padded(GRID, 6)), "must have less noise, sigma / alpha, at each step"),
    (build(GRID[::-1]), "must go from noise to clean"),
    (build(kind=parameterization.noise()), "noise prediction divides by alpha, which is 0 at the start of this grid"),
    (lambda: distillation.every_other_level(GRID[:2]), "levels has 1 steps"),
    (lambda: distillation.every_other_level(4), "levels must be a grid", TypeError),
    (
        lambda: jax.eval_shape(build()(), (), jax.random.key(0), Batch(ROWS, (jnp.arange(2),)), TEACHER),
        "a Gaussian takes none",
        TypeError,
    ),
)
