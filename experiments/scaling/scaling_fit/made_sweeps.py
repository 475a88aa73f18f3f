"""Trainings that a law makes up: profiles at equal operations, training curves, and noise; and the bias of a parabola, in closed form."""

import math

import numpy as np

from gendiff.scaling import fits
from gendiff.scaling.fits import Points
from gendiff.scaling.laws import Chinchilla

EVEN = Chinchilla(1.7, 400.0, 400.0, 0.31, 0.31)
"""A surface that falls with N as it does with D, so that its profiles are symmetric."""
UNEVEN = Chinchilla(1.7, 600.0, 8.0, 0.46, 0.15)
"""One whose profiles are not."""


def profiles(law: Chinchilla, budgets: tuple[float, ...], sizes: int, spread: float) -> Points:
    """Per budget so many sizes, evenly in their log, from the best one over `spread` to the best one times `spread`."""
    flops = np.repeat(np.array(budgets, np.float64), sizes)
    parameters = law.optimum(flops).parameters * np.tile(np.exp(_offsets(sizes, spread)), len(budgets))
    tokens = flops / (6 * parameters)
    return fits.points(parameters, tokens, np.asarray(law.loss(parameters, tokens)))


def noisy(points: Points, noise: float, rng: np.random.Generator) -> Points:
    """The same runs with normal noise in the log of the loss."""
    return fits.points(points.parameters, points.tokens, points.loss * np.exp(noise * rng.normal(size=len(points.loss))))


def parabola_bias(law: Chinchilla, sizes: int, spread: float) -> float:
    """How many times too large the minimum of the parabola through such a profile is.

    At every budget the loss is a constant plus a factor times exp(-α u) / α + exp(β u) / β, with u = ln N - ln N*. So the minimum of the
    parabola through it misses N* by the same factor everywhere, and the exponent is exact.
    """
    u = _offsets(sizes, spread)
    bend, tilt, _ = np.polyfit(u, np.exp(-law.alpha * u) / law.alpha + np.exp(law.beta * u) / law.beta, 2)
    return math.exp(-tilt / (2 * bend))


def _offsets(sizes: int, spread: float) -> np.ndarray:
    return np.linspace(-math.log(spread), math.log(spread), sizes)
