"""Draws of one Gaussian become exact draws of another, and as many stay as theory allows."""

import jax
import numpy as np
import pytest
import scipy.stats

from gendiff.diffusion import accept_or_reflect
from tests.refusals import refusals

N, STD = 20_000, 0.7


def turned(distance, shape, wrong=None):
    first, second = jax.random.split(jax.random.key(1))
    direction = np.random.default_rng(0).normal(size=shape)
    step = (distance * direction / np.linalg.norm(direction)).astype(np.float32)
    draft_mean = np.broadcast_to(np.float32(0.3), (N, *shape))
    mean = draft_mean + step
    draft = draft_mean + STD * jax.random.normal(first, (N, *shape))
    x, accepted = accept_or_reflect(jax.random.uniform(second, (N,)), draft, draft_mean, mean, STD)
    return (
        np.asarray(x)
        if wrong is None
        else np.where(np.asarray(accepted).reshape(-1, *[1] * len(shape)), draft, wrong(draft)),
        mean,
        accepted,
        step,
    )


SLOW = [(0.5, (1,)), (0.0, (2, 3)), (3.0, (2, 3))]


@pytest.mark.parametrize(
    ("distance", "shape"),
    [(0.0, (1,)), (3.0, (1,)), (0.5, (2, 3)), *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)],
)
def test_the_law_is_exact_and_the_share_that_stays_is_the_largest_possible(distance, shape):
    x, mean, accepted, step = turned(distance, shape)
    share = 2 * scipy.stats.norm.cdf(-distance / (2 * STD))
    assert abs(np.mean(accepted) - share) <= 4 * np.sqrt(share * (1 - share) / N)
    standard = ((x - mean) / STD).reshape(N, -1)
    along = standard @ (step.ravel() / max(distance, 1e-9)) if distance else standard[:, 0]
    assert scipy.stats.kstest(along, "norm").pvalue > 1e-3
    assert scipy.stats.kstest((standard**2).sum(1), "chi2", (standard.shape[1],)).pvalue > 1e-3


def test_a_draw_afresh_in_place_of_the_reflection_is_caught():
    def afresh(draft):
        return 0.3 + 1.0 + STD * np.random.default_rng(2).normal(size=draft.shape)

    x, mean, *_ = turned(1.0, (1,), afresh)
    assert scipy.stats.kstest(((x - mean) / STD).ravel(), "norm").pvalue < 1e-6


ONES = np.ones((2, 3), np.float32)
test_what_does_not_fit_is_refused = refusals(
    (lambda: accept_or_reflect(np.ones(2, np.float32), ONES, ONES, ONES, 0.0), "std = 0 is outside"),
    (lambda: accept_or_reflect(np.ones(2, np.float32), ONES, ONES[:, :2], ONES, 1.0), "draft_mean has shape"),
)
