"""Logistic regression of hits on one number: the slope, its interval, and p-values by likelihood ratio and by
permutation.
"""

import numpy as np
import scipy

from gendiff.runs.reporting.verdicts import Number


def p_values(x: np.ndarray, hits: np.ndarray) -> dict[str, float]:
    """Of the slope of hits (n,) on x (n,): two-sided by likelihood ratio, and one-sided by 10,000 random orders."""
    return {"likelihood": slope(x, hits)[1], "permuted": permuted(x, hits, 10000)}


def slope(x: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Slope of the log-odds of hits (n,) on x (n,), and its p-value by penalised likelihood ratio, two-sided.

    Firth's penalty keeps the slope finite where x separates hits from misses.

    References: Firth, 1993; Heinze & Schemper, 2002 (both from memory).
    """
    design = np.stack([np.ones(len(x)), np.asarray(x, np.float64)], 1)
    y = np.asarray(hits, np.float64)
    best, full = _firth(design, y, np.array([True, True]))
    _, without = _firth(design, y, np.array([True, False]))
    return float(best[1]), float(scipy.stats.chi2.sf(2 * max(full - without, 0.0), 1))


def interval(x: np.ndarray, hits: np.ndarray, resamples: int) -> Number:
    """The slope with its percentile interval over draws of the items; draws in which x is the same everywhere have no
    slope.
    """
    rng = np.random.default_rng(0)
    draws = (rng.integers(len(x), size=len(x)) for _ in range(resamples))
    low, high = np.quantile([slope(x[rows], hits[rows])[0] for rows in draws if np.ptp(x[rows]) > 0], (0.025, 0.975))
    return slope(x, hits)[0], float(low), float(high)


def permuted(x: np.ndarray, hits: np.ndarray, permutations: int) -> float:
    """Share of random orders in which the sum of x over hits is at least as large: one-sided, of a slope above 0."""
    rng, observed = np.random.default_rng(0), float(x @ hits)
    orders = rng.permuted(np.broadcast_to(np.asarray(x, np.float64), (permutations, len(x))), axis=1) @ hits
    return float((1 + np.sum(orders >= observed - 1e-9)) / (1 + permutations))


def _firth(design: np.ndarray, y: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, float]:
    """Maximum of the log-likelihood plus half of the log-determinant of the information, by damped Newton steps over
    free coefficients.
    """

    def penalised(beta: np.ndarray) -> float:
        p = scipy.special.expit(design @ beta)
        information = design.T @ (design * (p * (1 - p))[:, None])
        likelihood = np.sum(scipy.special.xlogy(y, p) + scipy.special.xlog1py(1 - y, -p))
        return float(likelihood + np.linalg.slogdet(information)[1] / 2)

    beta = np.zeros(2)
    value = penalised(beta)
    for _ in range(100):
        p = scipy.special.expit(design @ beta)
        weight = p * (1 - p)
        inverse = np.linalg.inv(design.T @ (design * weight[:, None]))
        leverage = weight * np.sum((design @ inverse) * design, 1)
        score = design.T @ (y - p + leverage * (0.5 - p))
        part = np.linalg.inv(design[:, free].T @ (design[:, free] * weight[:, None]))
        step = np.zeros(2)
        step[free] = np.clip(part @ score[free], -2.0, 2.0)
        trial = penalised(beta + step)
        while np.max(np.abs(step)) > 1e-8 and trial < value:
            step /= 2
            trial = penalised(beta + step)
        if np.max(np.abs(step)) <= 1e-8:
            break
        beta, value = beta + step, trial
    return beta, value
