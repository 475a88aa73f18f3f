"""Representation alignment: tokens inside of the denoiser learn to say what another network sees in the clean picture.

    loss = denoising loss - scale · mean cos(h(tokens of x_t), f(x_0))

f is any feature function, which stays as it is; h is a small projector, which is trained along and thrown away. A
denoiser that is told early what the picture shows needs fewer steps until its samples are good.

References:
    Yu et al., 2024 (REPA, arXiv 2410.06940), Eq. 7 and 8 (numbers from memory).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Metrics, Params, PyTree
from gendiff.diffusion.objectives import DenoisingLoss
from gendiff.diffusion.types import Batch

Project = Callable[[Params, jax.Array], jax.Array]
PARTS = ("network", "projector")


@records.record
class AlignedLoss:
    """The loss of `aligned`."""

    denoising: DenoisingLoss
    project: Project = records.static()
    features: Callable[..., jax.Array] = records.static()
    scale: float = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Batch, *frozen: PyTree) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics for one batch. frozen: the first arguments of the features, before the samples."""
        if not isinstance(params, dict) or set(params) != set(PARTS):
            raise ValueError(f"params must be a dict of {' and '.join(PARTS)}, got {_shown(params)}")
        features: list[jax.Array] = []

        def predict(*arguments: PyTree, **chance: jax.Array) -> jax.Array:
            output, tokens = self.denoising.predict(*arguments, **chance)
            features.append(tokens)
            return output

        value, metrics = records.replace(self.denoising, predict=predict)(params["network"], key, batch)
        known = jax.lax.stop_gradient(self.features(*frozen, batch.clean))
        similarity = cosine_similarity(self.project(params["projector"], features[-1]), known)
        return value - self.scale * similarity, metrics | {"alignment": similarity}


def aligned(
    denoising: DenoisingLoss, project: Project, features: Callable[..., jax.Array], *, scale: float = 0.5
) -> AlignedLoss:
    """Build a denoising loss with alignment: (params, key, batch, *frozen) -> (scalar, metrics).

    Its parameters are {"network": …, "projector": …}; samples are drawn with those of the network alone. The metric
    `alignment` is the mean cosine, in [-1, 1].

    Args:
        denoising: of `objectives.denoising`, whose network answers (output, tokens), as `networks.with_intermediate`
            makes it. The tokens are (b, …, w).
        project: (projector's parameters, tokens) -> (b, …, c), such as that of `networks.Projector`.
        features: (*frozen, clean) -> (b, …, c), with as many places per sample as there are tokens, in the same order;
            a vector per sample (b, c) is aligned with the mean over the projected tokens. No gradient goes through it.
            What the training step is given behind the batch comes first, so the parameters of a large network need not
            be constants of the program.
        scale: weight of the alignment, at least 0.

    Raises:
        TypeError: for a loss that is none of `objectives.denoising`.
        ValueError: for a scale out of range. When it is called, for params of other parts, and for features whose
            places or channels are not those of the projected tokens.
    """
    if not isinstance(denoising, DenoisingLoss):
        raise TypeError(f"denoising is a {type(denoising).__name__}: pass what diffusion.objectives.denoising builds")
    checks.in_range("scale", scale, 0.0, math.inf, open_high=True)
    return AlignedLoss(denoising, project, features, float(scale))


def cosine_similarity(tokens: ArrayLike, features: ArrayLike) -> Float[Array, ""]:
    """Return the mean cosine between projected tokens (b, …, c) and features (b, …, c) or (b, c), in float32 at least.

    Where one of the two is 0 the cosine is 0, and so is its gradient.

    Raises:
        ValueError: for other numbers of samples, places or channels.
    """
    first, second = (_places(value) for value in (tokens, features))
    if features.ndim == 2:
        first = jnp.mean(first, axis=1, keepdims=True)
    if first.shape != second.shape:
        raise ValueError(
            f"{first.shape[1]} projected tokens of {first.shape[2]} channels cannot be aligned with {second.shape[1]} "
            f"features of {second.shape[2]}: they need equal numbers of samples, places and channels, got "
            f"{tokens.shape} and {features.shape}"
        )
    return jnp.mean(jnp.sum(_unit(first) * _unit(second), axis=-1))


def _places(value: ArrayLike) -> jax.Array:
    """(b, n, c), in float32 at least."""
    array = arrays.widened(value)
    return array.reshape(array.shape[0], -1, array.shape[-1])


def _unit(value: jax.Array) -> jax.Array:
    return arrays.safe_divide(value, arrays.safe_sqrt(jnp.sum(jnp.square(value), axis=-1, keepdims=True)))


def _shown(params: Params) -> str:
    return str(sorted(params)) if isinstance(params, dict) else type(params).__name__
