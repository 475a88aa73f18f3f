"""Sweeps made from a known law."""

import numpy as np

from gendiff.scaling import fits
from gendiff.scaling.laws import Chinchilla

LAW = Chinchilla(1.8, 480.0, 2000.0, 0.35, 0.37)
BUDGETS = np.geomspace(1e18, 1e21, 5)


def isoflop(law=LAW, *, sizes=9, width=16.0, noise=0.0, seed=0, budgets=BUDGETS):
    """Sizes from 1 / width to width times the best of each budget, with log-normal noise."""
    flops = np.repeat(budgets, sizes)
    parameters = law.optimum(flops).parameters * np.tile(np.geomspace(1 / width, width, sizes), len(budgets))
    tokens = flops / (6 * parameters)
    loss = law.loss(parameters, tokens) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(flops)))
    return fits.points(parameters, tokens, loss)
