"""Feature cache: a network computes its deep levels, or some of its blocks, in one step of several, and reuses them.

Also known as: DeepCache; block caching.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import Condition, Count, Params, PyTree, Scalar
from gendiff.diffusion.acceleration.stateful_denoiser import StatefulDenoiser
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Level, Prediction

SOME_LEVEL = Level(0.0, 1.0, 0.0)
"""Whatever the level is: shapes of features do not depend on it."""


@records.record
class FeatureCache(StatefulDenoiser):
    """A network with a cache of features. Built by `feature_cache`."""

    denoise: NetworkDenoiser
    empty: Condition
    every: Count
    refresh: Callable[[Level], Scalar] | None = None

    def init(self, x: Float[Array, "b *shape"]) -> tuple[Array, PyTree]:
        """The age of the features, 0 for none, and zeros in their place."""
        shapes = jax.eval_shape(lambda x: self._asked(x, SOME_LEVEL, self._anew)[1], x)
        return jnp.zeros((), jnp.int32), jax.tree.map(lambda leaf: _zeros(x, leaf), shapes)

    def remembered(self, x: Float[Array, "b *shape"], level: Level, memory: PyTree) -> tuple[Prediction, PyTree]:
        """The prediction, and the features with their age in steps."""
        age, held = memory
        stale = self._stale(age, level)

        def predict(*inputs: PyTree) -> PyTree:
            if arrays.is_concrete(stale):
                return self._anew(*inputs) if stale else self.denoise.predict(*inputs, held)
            return jax.lax.cond(stale, lambda: self._anew(*inputs), lambda: self.denoise.predict(*inputs, held))

        prediction, features = self._asked(x, level, predict)
        return prediction, (jnp.where(stale, 1, age + 1), features)

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The prediction of the whole network."""
        return self.denoise(x, level)

    def full_evaluations(self, steps: int) -> int:
        """How many of `steps` steps compute the full network where `refresh` is None: ceil(steps / every)."""
        return -(-steps // int(self.every))

    def _anew(self, *inputs: PyTree) -> PyTree:
        return self.denoise.predict(*inputs, self.empty)

    def _asked(self, x: Array, level: Level, predict: Callable[..., tuple[Array, PyTree]]) -> tuple[Prediction, PyTree]:
        """The prediction by a network that returns (output, features), and its features."""
        beside: list[PyTree] = []

        def output(params: Params, x: Array, t: Array, *condition: Condition) -> Array:
            answer, features = predict(params, x, t, *condition)
            beside.append(features)
            return answer

        return records.replace(self.denoise, predict=output)(x, level), beside[0]

    def _stale(self, age: Array, level: Level) -> Array | bool:
        """() whether everything is computed in this step."""
        if arrays.is_concrete(self.every) and int(self.every) == 1:
            return True
        stale = (age == 0) | (age >= self.every)
        if self.refresh is None:
            return stale
        refresh = jnp.asarray(self.refresh(level))
        if refresh.shape:
            raise ValueError(
                f"refresh answered shape {refresh.shape}: one decision () for the whole batch is needed, at levels of "
                "shape ()"
            )
        return stale | refresh


def feature_cache(
    denoise: NetworkDenoiser, empty: Condition, every: Count = 3, *, refresh: Callable[[Level], Scalar] | None = None
) -> FeatureCache:
    """A denoiser whose network runs in full in each `every`-th step, and reuses its deep features in the steps between.

    Also known as: DeepCache, for the levels of a U-Net.

    It saves only under `stateful(sampler)`, where n steps compute everything ceil(n / every) times
    (`full_evaluations`). With every = 1 it is the network itself. `scaling.accounting.count` tells how many operations
    a step has with cached features and without.

    Args:
        denoise: from `from_network`, with a network that takes its features as one more condition, the last, and then
            returns (output, features): `networks.UNet` with `DeepFeatures`, `networks.DiT` with `BlockChange`.
        empty: the condition without features, such as `networks.DeepFeatures(1)`. It has no arrays.
        every: () at least 1, data under jit. Features are at most every − 1 steps old.
        refresh: a function of the level that answers () whether the full network runs there as well: a plain function,
            or a record whose numbers stay data. It is for levels at which features change fast. None: the steps
            alone decide.

    Raises:
        TypeError: for a denoiser that is not of a network, and for an `every` that is no integer.
        ValueError: for an `every` below 1, an `empty` with arrays in it, and, when called, for a refresh that answers
            another shape.

    References:
        Ma et al., 2024 (DeepCache), section 3.2, with every = N; Wimbauer et al., 2024, for blocks (both from memory).
    """
    if not isinstance(denoise, NetworkDenoiser):
        raise TypeError(
            f"denoise must be made by denoiser.from_network, got {type(denoise).__name__}: guide afterwards, by guided"
        )
    checks.integer("every", every, 1)
    if jax.tree.leaves(empty):
        shapes = jax.tree.map(np.shape, jax.tree.leaves(empty))
        raise ValueError(
            f"empty holds arrays of shapes {shapes}: give the record without them, as in networks.DeepFeatures(1)"
        )
    return FeatureCache(denoise, empty, every, refresh)


def _zeros(x: Array, like: jax.ShapeDtypeStruct) -> Array:
    """Zeros of a shape (b, …), made from x: inside `shard_map` they vary over the mesh as x does."""
    zero = arrays.zero_per_sample(x, like.dtype)
    return jnp.broadcast_to(zero.reshape(-1, *[1] * (len(like.shape) - 1)), like.shape)
