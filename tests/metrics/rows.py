"""Random rows and images that the tests of this folder measure."""

import numpy as np


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(seed, *shape):
    return rng(seed).standard_normal(shape)


def uniform(seed, *shape):
    return rng(seed).uniform(-1, 1, shape)
