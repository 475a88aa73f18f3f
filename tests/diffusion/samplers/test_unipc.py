"""UniPC: its published algorithm with linear systems solved by NumPy, and what its variants change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.unipc import unipc as solver
from tests.diffusion.samplers import even_grid, peer_trajectory

MIXTURE = oracles.mixture([0.3, 0.7], np.random.default_rng(1).normal(size=(2, 3)), [0.4, 0.6])
START = np.random.default_rng(0).normal(size=(2, 3))


@jax.jit
def run(sampler, grid, start):
    return sampling.sample(jax.random.key(0), MIXTURE, sampler, grid, (3,), jnp.arange(2), start=start, trajectory=True)


def by_hand(grid, start, order, variant, lower_order_final):
    """Alg. 1 and 2 with the data prediction (Zhao et al., 2023, App. A): correct x with the evaluation at x, then predict from there."""
    alpha, sigma = np.asarray(grid.alpha), np.asarray(grid.sigma)
    position, steps = np.log(alpha / sigma), len(alpha) - 1

    def moved(x, predictions, begin, end):
        """From level to level, by the predictions at each of several levels, the one at the beginning included."""
        h, present = position[end] - position[begin], predictions[begin]
        first = sigma[end] / sigma[begin] * x - alpha[end] * np.expm1(-h) * present
        others = [level for level in predictions if level != begin]
        if not others:
            return first
        b = {"bh1": -h, "bh2": np.expm1(-h)}[variant]
        ratios = np.array([(position[level] - position[begin]) / h for level in others])
        term, factorial, rows, right = np.expm1(-h) / -h - 1, 1, [], []
        for k in range(len(others)):
            rows.append(ratios**k)
            right.append(term * factorial / b)
            factorial *= k + 2
            term = term / -h - 1 / factorial
        weights = [0.5] if len(others) == 1 else np.linalg.solve(np.array(rows), np.array(right))
        differences = [(predictions[level] - present) / ratio for level, ratio in zip(others, ratios, strict=True)]
        return first - alpha[end] * b * sum(w * d for w, d in zip(weights, differences, strict=True))

    x, before, seen, states, used = start, start, {}, [start], 0
    for j in range(steps):
        seen[j] = np.asarray(MIXTURE(x, grid[j]).clean)
        if used:
            x = moved(before, {level: seen[level] for level in range(j - used, j + 1)}, j - 1, j)
        used = min(order, j + 1, steps - j if lower_order_final else order)
        before, x = x, moved(x, {level: seen[level] for level in range(j - used + 1, j + 1)}, j, j + 1)
        states.append(x)
    return np.stack(states)


@pytest.mark.float64
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_steps_are_the_published_algorithm(order, variant):
    """On an uneven grid; x between steps is the predicted one, before its correction."""
    grid = grids.karras(schedules.edm(), 6, end="first")
    lower = order == 3
    expected = by_hand(grid, 80 * START, order, variant, lower)
    found = run(solver(order, variant=variant, lower_order_final=lower), grid, 80 * START)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("kind", "mean"), [(parameterization.noise, 0.2464), (parameterization.velocity, 0.1014)], ids=["noise", "velocity"]
)
def test_second_order_reaches_the_published_means(kind, mean):
    found = peer_trajectory.end(solver(2, lower_order_final=True), peer_trajectory.linspace(), kind)
    assert found.mean() == pytest.approx(mean, abs=5.1e-5)


@pytest.mark.float64
def test_variants_differ_only_where_one_other_prediction_is_in_use():
    grid, states = even_grid.levels(5), {}
    for order in (2, 3):
        for variant in ("bh1", "bh2"):
            states[order, variant] = np.asarray(run(solver(order, variant=variant), grid, START))
    for order in (2, 3):
        first, second = states[order, "bh1"], states[order, "bh2"]
        np.testing.assert_allclose(first[1], second[1], rtol=1e-12)
        assert np.abs(first[2] - second[2]).max() > 1e-3


def test_one_step_is_ddim():
    grid = even_grid.levels(1)
    np.testing.assert_allclose(run(solver(3), grid, START), run(ancestral.ddim(), grid, START), atol=1e-6)


@pytest.mark.parametrize(
    ("mistake", "named"), [(lambda: solver(0), "order"), (lambda: solver(4), "order"), (lambda: solver(2, variant="bh3"), "bh")]
)
def test_impossible_settings_are_refused_by_name(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake()
