"""Small networks of digits that learn side by side: every array of parameters has an axis of networks in front."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff import diffusion
from gendiff.core import records
from gendiff.core.types import Loss, Metrics, Params
from gendiff.data import batches
from gendiff.diffusion import objectives, parameterization, schedules, weighting
from gendiff.networks import embeddings, fast
from gendiff.training import optimizers

SHAPE, PIXELS, TIMES = (8, 8, 1), 64, 64
SCHEDULE, FORM = schedules.flow(), parameterization.flow()
HIDDEN = ("first", "second")


def init(width: int, key: jax.Array) -> Params:
    """Of one MLP with hidden layers of this width. Its output begins at 0."""
    sizes = {"input": (PIXELS, width), "time": (TIMES, width), "output": (width, PIXELS)}
    sizes |= {name: (width, width) for name in HIDDEN}

    def layer(name: str, key: jax.Array) -> Params:
        scale = 0.0 if name == "output" else sizes[name][0] ** -0.5
        return {"kernel": scale * jax.random.normal(key, sizes[name]), "bias": jnp.zeros(sizes[name][1])}

    return {name: layer(name, jax.random.fold_in(key, number)) for number, name in enumerate(sizes)}


def predict(params: Params, x: jax.Array, t: jax.Array, *, pace: float = 1.0, standardised: bool = False) -> jax.Array:
    """What one MLP answers to x (b, 8, 8, 1) at times t (b,).

    pace: factor on times 0 … 1000. At 1 the fastest waves differ between neighbouring levels. standardised: what enters
    each layer behind the first has mean 0 and variance 1.
    """

    def linear(name: str, y: jax.Array) -> jax.Array:
        return y @ params[name]["kernel"] + params[name]["bias"][None]

    def entering(y: jax.Array) -> jax.Array:
        return jax.nn.standardize(y, epsilon=1e-6) if standardised else y

    time = embeddings.sinusoidal(pace * t, TIMES).astype(x.dtype)
    y = fast.silu(linear("input", x.reshape(x.shape[0], PIXELS)) + linear("time", time))
    for name in HIDDEN:
        y = y + fast.silu(linear(name, entering(y)))
    return linear("output", entering(y)).reshape(x.shape)


LOSS: Loss = objectives.denoising(predict, SCHEDULE, FORM, levels=weighting.stratified_levels(), drop_condition=0.0)
"""Of one network."""


@records.record
class SumOfLosses:
    """The loss of networks that learn side by side: the gradient of each is that of its own loss.

    Attributes:
        loss: of one network.
    """

    loss: Loss = records.static(default=LOSS)

    def __call__(self, params: Params, key: jax.Array, images: jax.Array) -> tuple[jax.Array, Metrics]:
        """The sum, and as metric the mean over networks, for images (b, networks, 8, 8, 1)."""
        losses = each_loss(params, key, images, self.loss)
        return jnp.sum(losses), {"mse": jnp.mean(losses)}


def each_loss(params: Params, key: jax.Array, images: jax.Array, loss: Loss = LOSS) -> jax.Array:
    """(networks,) for images (b, networks, 8, 8, 1); each network has levels and noise of its own."""

    def one(params: Params, key: jax.Array, images: jax.Array) -> jax.Array:
        return loss(params, key, diffusion.Batch(clean=images))[0]

    return jax.vmap(one, in_axes=(0, 0, 1))(params, jax.random.split(key, images.shape[1]), images)


def batch_at(images: np.ndarray, rows: Sequence[np.ndarray], batch: int, seed: int, step: int) -> np.ndarray:
    """(batch, networks, 8, 8, 1) of the rows of each network: the networks lie behind, so that devices can share the
    pictures.
    """
    return images[np.stack([each[batches.batch_at(len(each), batch, seed, step)] for each in rows], 1)]


@functools.lru_cache  # one object, so that all trainings share a compiled start
def starts(width: int, count: int) -> Callable[[jax.Array], Params]:
    """From a key to the parameters of so many networks."""
    return lambda key: jax.vmap(functools.partial(init, width))(jax.random.split(key, count))


@functools.lru_cache  # one object, so that all trainings share a compiled step
def optimizer(learning_rate: float, warmup: int, clip: float) -> optax.GradientTransformation:
    """Adam for each network by itself, at a constant rate after the warm-up: the norm of its gradient is its own."""
    rates: dict[str, Any] = {"warmup": warmup, "total": warmup + 1, "decay": "constant"}
    one = optimizers.adamw(learning_rate, clip=clip, **rates)
    return optax.GradientTransformation(jax.vmap(one.init), jax.vmap(one.update))
