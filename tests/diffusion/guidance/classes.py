"""Two classes of a Gaussian mixture and the mixture of both, so that p(y | x) is exact at every noise level."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import diffusion
from gendiff.core import records

SHARES = np.array([0.3, 0.7])
WEIGHTS = np.array([[0.5, 0.5], [0.2, 0.8]])
STDS = np.array([[0.3, 0.5], [0.4, 0.2]])


@jax.jit
def ask(denoise, x, level):
    """The prediction, compiled."""
    return denoise(x, level)


def _means():
    return np.random.default_rng(3).normal(size=(2, 2, 3))


def of_class(label):
    """The oracle of one class, samples (3,)."""
    return diffusion.oracles.mixture(WEIGHTS[label], _means()[label], STDS[label])


def whole():
    """The oracle of both classes together."""
    return diffusion.oracles.mixture((SHARES[:, None] * WEIGHTS).ravel(), _means().reshape(4, 3), STDS.ravel())


@records.record
class Posterior:
    """log p(label | x), by Bayes' rule."""

    part: object
    whole: object
    share: object

    def __call__(self, x, level):
        return jnp.log(self.share) + self.part.log_density(x, level) - self.whole.log_density(x, level)


def posterior(label):
    """The exact classifier of noised samples."""
    return Posterior(of_class(label), whole(), SHARES[label])


def noised(count=5):
    """Points among the components, float64 where that is on."""
    return jnp.asarray(np.random.default_rng(5).normal(size=(count, 3)))
