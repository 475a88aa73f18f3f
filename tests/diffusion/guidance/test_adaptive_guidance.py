"""Adaptive guidance stops for each sample on its own, from the step after its predictions were parallel, and then asks
once.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from gendiff.diffusion import guidance, samplers
from gendiff.diffusion.acceleration.stateful_denoiser import StatefulDenoiser
from tests.diffusion.reports import Reports
from tests.quickly import quickly
from tests.refusals import refusals

SCHEDULE = diffusion.schedules.cosine(100)
STEPS, THRESHOLD, SCALE, GAIN = 6, 0.9, 3.0, 1.2
ROWS = Reports()


def network(params, x, t, label):
    """Predicts a velocity, x turned by an angle that grows with the label and falls with t."""
    ROWS.add(x.shape[0])
    angle = jnp.where(label < 0, 0.0, 0.3 * label + 0.1) * params * (t / 100)
    cosine, sine = jnp.cos(angle)[:, None].astype(x.dtype), jnp.sin(angle)[:, None].astype(x.dtype)
    return jnp.concatenate([cosine * x[:, :1] - sine * x[:, 1:], sine * x[:, :1] + cosine * x[:, 1:]], 1)


def pair(label):
    conditional = diffusion.from_network(network, GAIN, diffusion.parameterization.velocity(), label)
    return conditional, conditional.with_condition(gd.NO_LABEL)


def adaptive(label, index, threshold, batched=True):
    denoise = guidance.adaptive_guidance(*pair(label), SCALE, threshold=threshold, batched=batched)
    levels = diffusion.grids.trailing(SCHEDULE, STEPS)
    return diffusion.sample(jax.random.key(0), denoise, diffusion.stateful(samplers.ddim()), levels, (2,), index)


LABELS, INDEX = np.array([0, 1, 2, 3]), np.array([7, 1, 5, 2])


def turned(x, label, t):
    """What the network answers, in NumPy."""
    angle = np.where(label < 0, 0.0, 0.3 * label + 0.1) * GAIN * t / 100
    return np.stack(
        [np.cos(angle) * x[:, 0] - np.sin(angle) * x[:, 1], np.sin(angle) * x[:, 0] + np.cos(angle) * x[:, 1]], 1
    )


def by_hand(label, index, threshold=THRESHOLD, decide=lambda parallel: parallel):
    """The draws, and in which step each sample was parallel first: STEPS for never. On this schedule alpha² + sigma² is
    1.
    """
    levels = diffusion.grids.trailing(SCHEDULE, STEPS)
    x = np.asarray(diffusion.sampling.start_of(jax.random.key(0), levels, (2,), index, None)[1], np.float64)
    stopped, first = np.zeros(len(label), bool), np.full(len(label), STEPS)
    t, alpha, sigma = (np.asarray(field, np.float64) for field in (levels.t, levels.alpha, levels.sigma))
    for j in range(STEPS):
        conditional, free = turned(x, label, t[j]), turned(x, np.full_like(label, -1), t[j])
        parallel = decide(
            (conditional * free).sum(1) / np.linalg.norm(conditional, axis=1) / np.linalg.norm(free, axis=1) > threshold
        )
        velocity = np.where(stopped[:, None], conditional, free + SCALE * (conditional - free))
        first = np.where(parallel & ~stopped, j, first)
        stopped |= parallel
        x = alpha[j + 1] * (alpha[j] * x - sigma[j] * velocity) + sigma[j + 1] * (sigma[j] * x + alpha[j] * velocity)
    return x, first


run = quickly(adaptive, static_argnames="batched")


@pytest.mark.parametrize("batched", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_each_sample_stops_by_itself_and_the_unconditional_network_is_asked_until_all_have(batched):
    result, rows = ROWS.during(run, LABELS, INDEX, np.float32(THRESHOLD), batched=batched)
    expected, first = by_hand(LABELS, INDEX)
    np.testing.assert_allclose(result, expected, atol=2e-5)
    assert len(set(first)) > 2 and first.max() < STEPS - 1  # they stop in different steps, and some steps are left
    assert rows == len(LABELS) * (STEPS + first.max() + 1)
    together, _ = by_hand(LABELS, INDEX, decide=lambda parallel: np.full_like(parallel, parallel.all()))
    assert np.abs(together - expected).max() > 1e-3  # one decision for all would be seen


def test_a_sample_does_not_depend_on_whether_its_neighbours_have_stopped():
    threshold = np.float32(THRESHOLD)
    result = np.asarray(run(LABELS, INDEX, threshold))
    others = np.asarray(run(np.array([9, 1, 9, 0]), np.array([3, 1, 8, 2]), threshold))
    np.testing.assert_allclose(others[1], result[1], atol=5e-6)


def test_the_threshold_is_data_and_at_its_ends_all_steps_are_guided_or_the_first_alone():
    never, _ = ROWS.during(run, LABELS, INDEX, np.float32(1.0))
    np.testing.assert_allclose(never[1:], by_hand(LABELS, INDEX, 2.0)[0][1:], atol=2e-5)  # 1 is rounded
    once, rows = ROWS.during(run, LABELS, INDEX, np.float32(-1.0))
    np.testing.assert_allclose(once, by_hand(LABELS, INDEX, -2.0)[0], atol=2e-5)
    assert rows == len(LABELS) * (STEPS + 1)


class Keeping(StatefulDenoiser):
    """Remembers nothing of use."""

    def init(self, x):
        return ()

    def remembered(self, x, level, memory):
        return diffusion.oracles.gaussian(1.0)(x, level), memory


test_what_cannot_stop_is_refused = refusals(
    (lambda: guidance.adaptive_guidance(*pair(LABELS), 2.0, threshold=1.5), "threshold = 1.5 is outside"),
    (
        lambda: guidance.adaptive_guidance(Keeping(), pair(LABELS)[1], 2.0, threshold=0.9),
        "Keeping has a memory of its own",
        TypeError,
    ),
    (lambda: guidance.adaptive_guidance(*pair(LABELS), 2.0, threshold=0.9, rescale=2.0), "rescale = 2 is outside"),
)
