"""One DDIM step of the target ends where two steps of the teacher end, on every process and at both ends of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, distillation, grids, guidance, oracles, parameterization, samplers, sampling, schedules
from gendiff.diffusion.types import Batch
from tests.diffusion.flows import every_schedule, mixture, rand
from tests.refusals import refusals

FLOW, CLEAN, VELOCITY = schedules.flow(), parameterization.clean(), parameterization.velocity()
GRID, TEACHER, SHAPE = grids.trailing(FLOW, 4), oracles.gaussian(0.6, 0.0), (3,)


@pytest.mark.float64
@every_schedule
@pytest.mark.parametrize("teacher", [oracles.gaussian(0.7, 0.3), mixture()], ids=["gaussian", "mixture"])
def test_one_step_of_the_target_ends_where_two_of_the_teacher_end(float64, schedule, teacher):
    levels = grids.trailing(schedule, 6)
    for start in (0, 2, 4):  # from alpha = 0 where there is one, and to sigma = 0
        level, middle, cleaner = (levels[start + offset] for offset in range(3))
        x = (level.alpha + level.sigma) * rand(start, 5, 3)
        target = distillation.two_steps_in_one(teacher, x, level, middle, cleaner)
        end = samplers.ancestral.ddim_step(teacher(samplers.ancestral.ddim_step(teacher(x, level), level, middle), middle), middle, cleaner)
        np.testing.assert_allclose(samplers.ancestral.ddim_step(target, level, cleaner), end, atol=1e-12 * float(level.sigma + 1))
        np.testing.assert_allclose(level.alpha * target.clean + level.sigma * target.noise, x, atol=1e-12 * float(level.sigma + 1))


def student_of(levels, teacher):
    """A table of clean / x for the exact student of a Gaussian teacher with mean 0, one number per step."""
    one = jnp.ones((1, 1))
    return [distillation.two_steps_in_one(teacher, one, *(levels[start + k] for k in range(3))).clean[0, 0] for start in (0, 2)]


def stepwise(params, x, t):
    """The clean sample as a multiple of x, one for each step of the student: t is 1000, then 500."""
    return jnp.where(t > 750, params[0], params[1])[:, None] * x


def drawn(denoise, levels, **options):
    return sampling.sample(jax.random.key(0), denoise, samplers.ddim(), levels, SHAPE, jnp.arange(4), **options)


@pytest.mark.float64
def test_the_exact_student_has_no_loss_and_draws_in_half_of_the_steps_what_its_teacher_draws(float64):
    levels, batch = grids.trailing(FLOW, 4), Batch(rand(0, 64, 3))
    loss = distillation.progressive_distillation(stepwise, CLEAN, levels)
    exact = student_of(levels, TEACHER)
    assert loss(exact, jax.random.key(0), batch, TEACHER)[0] < 1e-24
    as_teacher = [TEACHER(jnp.ones((1, 1)), levels[k]).clean[0, 0] for k in (0, 2)]
    assert loss(as_teacher, jax.random.key(0), batch, TEACHER)[0] > 1e-3
    student = denoiser.from_network(stepwise, exact, CLEAN)
    np.testing.assert_allclose(drawn(student, distillation.halved(levels)), drawn(TEACHER, levels), atol=1e-12)


def test_every_step_of_the_student_is_drawn_equally_often_and_told_its_own_time():
    times = []

    def spy(params, x, t):
        times.append(np.asarray(t))
        return x

    distillation.progressive_distillation(spy, VELOCITY, grids.trailing(FLOW, 8))(
        (), jax.random.key(0), Batch(jnp.ones((4000, 1))), TEACHER
    )
    found, counts = np.unique(times[0], return_counts=True)
    np.testing.assert_array_equal(found, [250, 500, 750, 1000])
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))


def labelled(params, x, t, label):
    return params * x + label.astype(x.dtype)[:, None]


def test_the_teacher_is_told_the_conditions_of_the_batch_and_may_be_guided():
    batch, levels = Batch(jnp.ones((2, 3)), (jnp.array([1, 4]),)), grids.trailing(FLOW, 2)

    def guided(params, condition):
        given = denoiser.from_network(labelled, params, VELOCITY, *condition)
        return guidance.classifier_free(given, given.with_condition(NO_LABEL), 3.0)

    def value(teacher, **options):
        return float(
            distillation.progressive_distillation(labelled, VELOCITY, levels, **options)(0.5, jax.random.key(0), batch, teacher)[0]
        )

    teacher = denoiser.from_network(labelled, 0.5, VELOCITY)
    assert value(teacher) == pytest.approx(value(0.5, tell=lambda params, told: denoiser.from_network(labelled, params, VELOCITY, *told)))
    assert value(0.5, tell=guided) > value(teacher) + 1


def test_halved_grids_are_those_of_half_the_steps_down_to_one():
    levels = grids.trailing(FLOW, 8)
    for steps in (4, 2, 1):
        levels = distillation.halved(levels)
        jax.tree.map(np.testing.assert_array_equal, levels, grids.trailing(FLOW, steps))


def build(levels=GRID, kind=VELOCITY):
    return lambda: distillation.progressive_distillation(stepwise, kind, levels)


test_grids_that_cannot_be_halved_are_refused = refusals(
    (build(grids.trailing(FLOW, 3)), "levels has 3 steps, of which two cannot always be made one"),
    (build(grids.padded(GRID, 6)), "must have less noise, sigma / alpha, at each step"),
    (build(GRID[::-1]), "must have less noise"),
    (build(kind=parameterization.noise()), "noise prediction divides by alpha, which is 0 at the start of this grid"),
    (lambda: distillation.halved(GRID[:2]), "levels has 1 steps"),
    (lambda: distillation.halved(4), "levels must be a grid", TypeError),
    (lambda: build()()((), jax.random.key(0), Batch(jnp.ones((2, 3)), (jnp.arange(2),)), TEACHER), "a Gaussian takes none", TypeError),
)
