"""DEIS, UniPC and PNDM: their published algorithms written out, what their predictions integrate exactly, and how they
start.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from gendiff.diffusion import grids, schedules
from gendiff.diffusion.samplers.deis import deis
from gendiff.diffusion.samplers.dpm_solver_multistep import STARTS, dpm_solver_multistep
from gendiff.diffusion.samplers.pndm import pndm
from gendiff.diffusion.samplers.unipc import unipc
from gendiff.diffusion.types import Prediction
from tests.diffusion.samplers.draws import MIXTURE, START, even_levels, trajectory
from tests.tables import table

each_variable = pytest.mark.parametrize("variable", ["log_ratio", "ratio"])


@pytest.mark.float64
@pytest.mark.parametrize(
    "sampler", [dpm_solver_multistep(3, start="plain"), deis(2, variable="ratio")], ids=["3M plain", "DEIS 2 ratio"]
)
def test_settings_without_a_line_in_the_catalogue_are_of_second_order(sampler):
    """By the distances of end points with n and 2n steps even in log-SNR."""
    ends = [trajectory(sampler, grids.padded(even_levels(n), 512), steps=n)[-1] for n in (128, 256, 512)]
    coarse, fine = (np.linalg.norm(a - b) for a, b in zip(ends, ends[1:], strict=False))
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.15)


# DEIS.


def deis_by_hand(levels, start, order, variable):
    """x/alpha gains, for each prediction, the integral of its Lagrange polynomial over sigma/alpha (Zhang & Chen, 2023,
    Secs. 3-4).
    """
    alpha, ratio = np.asarray(levels.alpha), np.asarray(levels.sigma / levels.alpha)
    coordinate = np.log if variable == "log_ratio" else np.asarray
    x, predictions, states = start, [], [start]
    for j in range(len(alpha) - 1):
        predictions.insert(0, np.asarray(MIXTURE(x, levels[j]).noise))
        nodes = coordinate(ratio[j::-1][:order])

        def lagrange(r, i, nodes=nodes):
            return np.prod([(coordinate(r) - other) / (nodes[i] - other) for k, other in enumerate(nodes) if k != i])

        gains = [
            quad(lagrange, ratio[j], ratio[j + 1], args=(i,), epsrel=1e-12, epsabs=0)[0] for i in range(len(nodes))
        ]
        x = alpha[j + 1] * (x / alpha[j] + sum(g * e for g, e in zip(gains, predictions, strict=False)))
        states.append(x)
    return np.stack(states)


@pytest.mark.float64
@each_variable
def test_deis_integrates_the_lagrange_polynomials(variable):
    levels = grids.karras(schedules.edm(), 6, end="first")
    result = trajectory(deis(4, variable=variable, start="plain"), levels, 80 * START)
    np.testing.assert_allclose(result, deis_by_hand(levels, 80 * START, 4, variable), rtol=1e-8, atol=1e-9)


@pytest.mark.float64
@each_variable
def test_the_corrected_start_of_deis_does_not_amplify_noise(variable):
    """The cosine table starts at sigma/alpha = 20291: there the first step is corrected by clean predictions."""
    table = schedules.cosine()
    exact, levels = trajectory(deis(3), grids.trailing(table, 500))[-1], grids.trailing(table, 8)
    errors = [np.abs(trajectory(deis(3, variable=variable, start=start), levels)[-1] - exact).max() for start in STARTS]
    assert errors[1] < errors[0] < 0.3


@pytest.mark.float64
@each_variable
def test_deis_integrates_a_noise_prediction_linear_in_the_variable_exactly(variable):
    """∫ (0.3 + 0.7 v) dr with v = r or log r, r = sigma/alpha, from the second step on: the first knows no slope."""

    def denoise(x, level):
        ratio = level.sigma / level.alpha
        noise = jnp.full_like(x, 0.3) + 0.7 * (jnp.log(ratio) if variable == "log_ratio" else ratio)
        return Prediction((x - level.sigma * noise) / level.alpha, noise)

    levels = even_levels(4)
    result = np.asarray(
        trajectory(deis(3, variable=variable, start="plain"), levels, denoise=jax.tree_util.Partial(denoise))
    )[1:]
    r, alpha = np.asarray(levels.sigma / levels.alpha)[1:], np.asarray(levels.alpha)[1:, None, None]
    primitive = 0.3 * r + 0.7 * (r * np.log(r) - r if variable == "log_ratio" else r**2 / 2)
    expected = alpha * (result[0] / alpha[0] + (primitive - primitive[0])[:, None, None])
    np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-12)


# UniPC.


def unipc_by_hand(levels, start, order, variant, lower_order_final):
    """Alg. 1 and 2 with the data prediction (Zhao et al., 2023, App. A): correct x with the evaluation at x, then
    predict from there.
    """
    alpha, sigma = np.asarray(levels.alpha), np.asarray(levels.sigma)
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

    x, before, at_levels, states, used = start, start, {}, [start], 0
    for j in range(steps):
        at_levels[j] = np.asarray(MIXTURE(x, levels[j]).clean)
        if used:
            x = moved(before, {level: at_levels[level] for level in range(j - used, j + 1)}, j - 1, j)
        used = min(order, j + 1, steps - j if lower_order_final else order)
        before, x = x, moved(x, {level: at_levels[level] for level in range(j - used + 1, j + 1)}, j, j + 1)
        states.append(x)
    return np.stack(states)


@pytest.mark.float64
@table(("order", "variant"), itertools.product((1, 2, 3), ("bh1", "bh2")))
def test_unipc_is_the_published_algorithm(order, variant):
    """On an uneven grid; x between steps is the predicted one, before its correction."""
    levels, lower = grids.karras(schedules.edm(), 6, end="first"), order == 3
    expected = unipc_by_hand(levels, 80 * START, order, variant, lower)
    result = trajectory(unipc(order, variant=variant, lower_order_final=lower), levels, 80 * START)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-10)


# PNDM.

TABLE = schedules.scaled_linear()
MEANS = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]


def pndm_by_hand(indices, runge_kutta):
    """Liu et al., 2022, Alg. 1, on entries of the table; its start, or that of Stable Diffusion's PLMS."""

    def noise(x, level):
        return np.asarray(MIXTURE(x, level).noise)

    def phi(x, e, level, end):
        return end.alpha / level.alpha * x + (end.sigma - end.alpha * level.sigma / level.alpha) * e

    levels = [TABLE.table[i] for i in indices]
    x, predictions, states = START, [], [START]
    for j, (level, end) in enumerate(zip(levels, levels[1:], strict=False)):
        e = noise(x, level)
        predictions.insert(0, e)
        if runge_kutta and j < 3:
            middle = TABLE.table[(indices[j] + indices[j + 1]) // 2]
            e2 = noise(phi(x, e, level, middle), middle)
            e3 = noise(phi(x, e2, level, middle), middle)
            e4 = noise(phi(x, e3, level, end), end)
            mean = (e + 2 * e2 + 2 * e3 + e4) / 6
        elif j == 0:
            mean = (e + noise(phi(x, e, level, end), end)) / 2
        else:
            mean = sum(w * past for w, past in zip(MEANS[min(j, 3)], predictions, strict=False))
        x = phi(x, mean, level, end)
        states.append(x)
    return np.stack(states)


@pytest.mark.float64
@pytest.mark.parametrize("runge_kutta", [False, True], ids=["plms", "runge_kutta"])
def test_pndm_is_the_published_algorithm(runge_kutta):
    indices = [901, 701, 501, 361, 201, 101, 1]
    levels, sampler = jax.tree.map(jnp.asarray, TABLE.table[np.asarray(indices)]), pndm(TABLE if runge_kutta else None)
    np.testing.assert_allclose(trajectory(sampler, levels), pndm_by_hand(indices, runge_kutta), rtol=1e-9, atol=1e-11)
