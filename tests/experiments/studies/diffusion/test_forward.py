"""The forward experiment: its scores tell a wrong moment from a right one, and its divergences are those of
quadrature.
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from experiments.diffusion import forward
from gendiff.diffusion import process
from gendiff.diffusion.types import Level
from tests.tables import table


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (50, 8, 8, 1))


@pytest.mark.float64
def test_composed_moments_are_the_closed_form_and_no_other():
    """Mean and variance by `forward_step` alone: of a mean without noise, of a standard deviation without noise, and of
    noise alone.
    """
    path = forward.path()
    assert path.shape == (len(forward.CHAINS), 1001)
    assert np.all(path.alpha[:, 0] == 1) and np.all(path.sigma[:, 0] == 0)
    zero, one = np.zeros(len(path)), np.ones(len(path))
    means, variances = [one], [zero]
    for j in range(path.shape[1] - 1):
        steps = path[:, j], path[:, j + 1]
        means.append(process.forward_step(means[-1], zero, *steps))
        variances.append(
            process.forward_step(np.sqrt(variances[-1]), zero, *steps) ** 2
            + process.forward_step(zero, one, *steps) ** 2
        )
    mean, variance = np.stack(means, 1), np.stack(variances, 1)
    np.testing.assert_allclose(mean, path.alpha, atol=1e-12)
    np.testing.assert_allclose(variance, path.sigma**2, atol=1e-12)
    assert np.abs(mean[:, 1:-1] - path.alpha[:, 2:]).max() > 1e-3


@pytest.mark.float64
def test_scores_of_the_chain_are_standard_normal_and_those_of_a_shifted_form_are_not(images):
    result = forward.chain_scores(forward.path(), images, (1, 20, 40), 4, 10, 200, seed=0)
    assert {kind: z.shape for kind, z in result.items()} == dict.fromkeys(
        (forward.CHAIN, forward.CLOSED, forward.SHIFTED), (3, 3, len(forward.CHAINS), 4)
    )
    for z in (result[forward.CHAIN], result[forward.CLOSED]):
        assert np.abs(z).max() < 4
        assert 0.7 < z.std() < 1.3
    assert np.all(np.abs(result[forward.SHIFTED]).max(axis=(1, 2, 3)) > 4)


@pytest.mark.float64
@table(
    ("moment", "change"),
    [(0, lambda x, clean: x + 0.05), (1, lambda x, clean: x + 0.1 * clean), (2, lambda x, _: 1.05 * x)],
)
def test_each_score_sees_the_moment_that_it_is_named_after(images, moment, change):
    clean, level = np.tile(images, (20, 1, 1, 1)), Level(np.zeros(1), np.array([0.3]), np.array([0.9]))
    noise = np.random.default_rng(1).normal(size=clean.shape)
    right = 0.3 * clean + 0.9 * noise

    def score(x):
        return np.abs(forward._scores(jnp.asarray(x)[None], jnp.asarray(clean), level, 2)).max(axis=(1, 2))

    assert score(right).max() < 4
    wrong = score(change(right, clean))
    assert wrong[moment] > 4 and wrong.argmax() == moment


def divergence(density, reference):
    """KL of one density on the line from another, by quadrature."""
    return scipy.integrate.quad(lambda x: density(x) * math.log(density(x) / reference(x)), -8, 8)[0]


def test_the_upper_bounds_are_the_divergences_by_quadrature_and_two_points_lie_between_the_bounds():
    signal, x0, normal = 0.3, 0.8, scipy.stats.norm
    std, start = math.sqrt(1 - signal), normal(math.sqrt(signal) * x0, math.sqrt(1 - signal)).pdf
    assert forward.upper_bound(x0**2, signal) == pytest.approx(divergence(start, normal.pdf), rel=1e-9)
    assert forward.from_start(x0**2, signal) == pytest.approx(divergence(start, normal(0, std).pdf), rel=1e-9)
    points = [normal(sign * math.sqrt(0.2), math.sqrt(0.8)).pdf for sign in (-1, 1)]  # data at ±1 with equal chance
    exact = divergence(lambda x: (points[0](x) + points[1](x)) / 2, normal.pdf)
    assert forward.lower_bound(forward.CleanLaw(0.0, np.array([1.0])), 0.2) < exact < forward.upper_bound(1.0, 0.2)


def test_the_lower_bound_is_that_of_a_gaussian_and_below_the_upper_one(images):
    rows = images.reshape(50, -1)
    law = forward.law(rows)
    for signal in (1e-9, 1e-3, 0.3):
        mean = math.sqrt(signal) * rows.mean(axis=0)
        covariance = signal * np.cov(rows, rowvar=False, bias=True) + (1 - signal) * np.eye(64)
        exact = (np.trace(covariance) + mean @ mean - 64 - np.linalg.slogdet(covariance)[1]) / 2
        result = forward.lower_bound(law, signal)
        assert result == pytest.approx(exact, rel=1e-6, abs=1e-12)
        assert 0 < result <= 64 * forward.upper_bound(np.mean(rows**2), signal)


def test_zero_terminal_snr_and_flow_leave_exactly_nothing(images):
    result = {name: forward.distance(images, schedule(), 3) for name, schedule in forward.SCHEDULES.items()}
    nothing = {name for name, distance in result.items() if (distance.upper, distance.lower) == ((0.0,) * 3,) * 2}
    assert nothing == {"zero_terminal_snr(linear)", "zero_terminal_snr(scaled_linear)", "flow", "shifted(flow, 3)"}
    assert result["scaled_linear"].signal == pytest.approx(4.6600985e-3, rel=1e-7)
    for distance in result.values():
        assert distance.upper[1] <= distance.upper[0] <= distance.upper[2]
        assert distance.lower[1] <= distance.lower[2]
