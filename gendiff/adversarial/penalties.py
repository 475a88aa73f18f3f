"""Penalties of a critic's slope, added to its loss, which keep it smooth.

A penalty is called as `(key, criticise, real, fake) -> ()` with `criticise: x -> logits (b,)`, parameters and
conditions bound, and answers its cost with the weight in it. The slope of a sample is the gradient of its logit by the
sample. All slopes come from one gradient, that of the sum of the logits. For a critic that judges rows one by one this
is exact. For a critic that looks across the batch (minibatch features), row i of it is the change of all logits
together with sample i: such a critic is held smooth as a function of its whole batch. A packed critic judges m samples
at once, and its slope is that of the pack. Where pictures are augmented, it matters by which pictures
one differentiates: `criticise` of changed pictures gives the slope there; R3GAN's code has the slope by the pictures
before their change, which is that of `lambda x: criticise(augment(key, x))`, with one key for both uses.
"""

import abc
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks
from gendiff.core.records import record
from gendiff.core.types import ArrayLike, Scalar

Criticise = Callable[[jax.Array], jax.Array]
"""Samples (b, …) -> logits (b,)."""
Samples = Float[ArrayLike, "b *shape"]


@record
class Penalty(abc.ABC):
    """A cost of the critic's slope.

    Attributes:
        weight: () at least 0, data under jit.
    """

    weight: Scalar

    @abc.abstractmethod
    def __call__(self, key: jax.Array, criticise: Criticise, real: Samples, fake: Samples) -> Float[Array, ""]:
        """The weighted cost.

        Args:
            key: one key, for penalties that draw where they look.
            criticise: x -> logits (b,), differentiable twice.
            real: (b, …) real samples, as the critic sees them: packed, augmented.
            fake: (b, …) generated samples, likewise.
        """


@record
class GradientPenalty(Penalty):
    """Built by `gradient`."""

    target: Scalar

    def __call__(self, key: jax.Array, criticise: Criticise, real: Samples, fake: Samples) -> Float[Array, ""]:
        """The weight times `gradient_penalty`."""
        return _weighted(self.weight, gradient_penalty(key, criticise, real, fake, self.target))


@record
class R1(Penalty):
    """Built by `r1`."""

    def __call__(self, key: jax.Array, criticise: Criticise, real: Samples, fake: Samples) -> Float[Array, ""]:
        """Half of the weight times the `gradient_square` at real samples."""
        return _weighted(self.weight, gradient_square(criticise, real) / 2)


@record
class R2(Penalty):
    """Built by `r2`."""

    def __call__(self, key: jax.Array, criticise: Criticise, real: Samples, fake: Samples) -> Float[Array, ""]:
        """Half of the weight times the `gradient_square` at generated samples."""
        return _weighted(self.weight, gradient_square(criticise, fake) / 2)


def gradient(weight: Scalar = 10.0, target: Scalar = 1.0) -> Penalty:
    """The penalty of WGAN-GP: weight · E(|∇D(x̂)| − target)², between real and generated samples.

    Args:
        weight: () at least 0. 10 for pictures; 0.1 in the published toy experiments on points.
        target: () the slope that costs nothing, at least 0; 1 for the Wasserstein distance, 0 for a flat critic.

    Raises:
        ValueError: for numbers below 0 or not finite.

    References:
        Gulrajani et al., 2017, Eq. 3 and Algorithm 1 (from memory), with `gan_toy.py` of their code.
    """
    _check("weight", weight)
    _check("target", target)
    return GradientPenalty(weight, target)


def r1(weight: Scalar) -> Penalty:
    """The R1 penalty: weight / 2 · E|∇D(x)|² at real samples.

    Args:
        weight: () at least 0, the γ of the paper. Its code has no half, so that the 10 there is 20 here (from memory).

    Raises:
        ValueError: for a weight below 0 or not finite.

    References:
        Mescheder et al., 2018, Eq. 9 (from memory).
    """
    _check("weight", weight)
    return R1(weight)


def r2(weight: Scalar) -> Penalty:
    """The R2 penalty: weight / 2 · E|∇D(x)|² at generated samples. R3GAN has it beside `r1`, with one weight.

    Args:
        weight: () at least 0.

    Raises:
        ValueError: for a weight below 0 or not finite.

    References:
        Mescheder et al., 2018, Eq. 10 (from memory).
    """
    _check("weight", weight)
    return R2(weight)


def gradient_penalty(
    key: jax.Array, criticise: Criticise, real: Samples, fake: Samples, target: Scalar = 1.0
) -> Float[Array, ""]:
    """E(|∇D(x̂)| − target)² at x̂ = u x + (1 − u) G(z), u uniform for each row. Also known as: WGAN-GP.

    A slope of 0 has the cost target² and no gradient, rather than NaN.

    Args:
        key: one key, for the places on the segments.
        criticise: x -> logits (b,), differentiable twice.
        real: (b, …) real samples.
        fake: (b, …) generated samples.
        target: () the slope that costs nothing.

    Raises:
        ValueError: for different shapes.
        TypeError: for samples that are not floating.

    References:
        Gulrajani et al., 2017, Eq. 3 and Algorithm 1 (from memory), with `gan_toy.py` of their code.
    """
    checks.same_shape("real", real, "fake", fake)
    share = arrays.expand(jax.random.uniform(key, real.shape[:1]), real)
    between = share * jnp.asarray(real) + (1 - share) * jnp.asarray(fake)
    slopes = arrays.safe_sqrt(_squared_slopes(criticise, between))
    return jnp.mean((slopes - jnp.asarray(target, slopes.dtype)) ** 2)


def gradient_square(criticise: Criticise, x: Samples) -> Float[Array, ""]:
    """E|∇D(x)|²: the mean over the samples of the squared norm of the slope.

    Args:
        criticise: x -> logits (b,), differentiable twice.
        x: (b, …) samples.

    References:
        Mescheder et al., 2018, Eqs. 9 and 10, without the factor γ / 2 (from memory).
    """
    return jnp.mean(_squared_slopes(criticise, jnp.asarray(x)))


def _squared_slopes(criticise: Criticise, x: jax.Array) -> Float[Array, "b"]:
    slopes = arrays.flatten_samples(jax.grad(lambda x: jnp.sum(criticise(x)))(x))
    return jnp.sum(jnp.square(arrays.widened(slopes)), axis=1)


def _weighted(weight: Scalar, cost: jax.Array) -> jax.Array:
    return jnp.asarray(weight, cost.dtype) * cost


def _check(name: str, value: Scalar) -> None:
    checks.in_range(name, value, 0.0, math.inf, open_high=True)
