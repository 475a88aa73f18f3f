"""The smallest games: one whose steps have a closed form, and one with noise, a penalty and an average."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff import adversarial
from gendiff.adversarial import constraints, losses, penalties, step
from tests.quickly import quickly

LIMIT, CRITIC_RATE, RATE, STEPS = 0.3, 0.5, 0.1, 3
ROWS = 24
MOMENTUM = optax.sgd(1e-2, momentum=0.9)


def batch(number=0, rows=ROWS):
    return np.random.default_rng(number).normal(1.0, 0.5, (rows, 2)).astype(np.float32)


def levels(key, count):
    """Noise that is none, so that what is generated is known."""
    return jnp.stack([jnp.linspace(-1.0, 1.0, count), jnp.linspace(0.5, 1.0, count)], 1)


def shifted(params, noise):
    return noise + params["shift"][None]


def linear(params, x):
    return x @ params["slope"]


def exact(**options):
    """The step of a linear critic on the Wasserstein loss, clipped, against a generator that moves all points."""
    sizes = {
        "noise": levels,
        "critic_steps": STEPS,
        "constraint": constraints.weight_clipping(LIMIT),
        "ema_warm_up": False,
    }
    return adversarial.make_step(
        shifted, linear, losses.wasserstein(), optax.sgd(RATE), optax.sgd(CRITIC_RATE), **sizes | options
    )


def exact_start():
    params = {"shift": jnp.array([0.25, -0.5])}, {"slope": jnp.array([0.05, -0.1])}
    return adversarial.start(*params, optax.sgd(RATE), optax.sgd(CRITIC_RATE), jax.random.key(0), ema=(0.5,))


def by_hand(state, rows, factor=1.0, skipped=()):
    """(shift, slope) after one step of `exact`, whose augmentation multiplies by a factor, without some steps of the
    critic.
    """
    shift, slope = (np.asarray(leaf, np.float64) for leaf in (state.params["shift"], state.critic.params["slope"]))
    fake = np.asarray(levels(None, len(rows) // STEPS), np.float64) + shift[None]
    for number in range(STEPS):
        if number not in skipped:
            ascent = factor * (rows[number::STEPS].mean(0) - fake.mean(0))
            slope = np.clip(slope + CRITIC_RATE * ascent, -LIMIT, LIMIT)
    return shift + RATE * factor * slope, slope


def generate(params, noise):
    return noise @ params["kernel"] + params["bias"][None]


def criticise(params, x):
    return jnp.tanh(x @ params["inner"]) @ params["outer"]


def noisy():
    """Two steps of the critic on the relativistic loss, with a penalty of its slopes."""
    sizes = {"noise": step.normal_noise(2), "critic_steps": 2, "penalties": (penalties.gradient(1.0),), "clip": 1.0}
    return adversarial.make_step(generate, criticise, losses.relativistic(), MOMENTUM, MOMENTUM, **sizes)


def noisy_start(seed=0):
    draw = np.random.default_rng(0)
    generator = {"kernel": draw.normal(size=(2, 2)).astype(np.float32), "bias": np.zeros(2, np.float32)}
    critic = {"inner": draw.normal(size=(2, 4)).astype(np.float32), "outer": draw.normal(size=4).astype(np.float32)}
    return adversarial.start(generator, critic, MOMENTUM, MOMENTUM, jax.random.key(seed), ema=(0.9,))


EXACT, NOISY = quickly(exact()), quickly(noisy())


def train(state, first, last):
    """(state, metrics of the last step)."""
    for number in range(first, last):
        state, metrics = NOISY(state, batch(number))
    return state, metrics


def leaves(state):
    """As NumPy arrays by path, keys as their data."""
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    data = [
        (path, jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for path, leaf in flat
    ]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in data}
