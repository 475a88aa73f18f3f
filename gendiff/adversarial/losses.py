"""Losses of GANs, for critic and generator, as functions of the critic's logits: one record per game.

Logits are (b,), larger where the critic sees real data. Each loss is a mean over the batch, in at least float32, and
finite for logits of any size that the dtype holds. In the formulas r is a real logit, f a generated one, and
softplus(x) = log(1 + exp(x)).
"""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.records import record
from gendiff.core.types import ArrayLike


@record
class AdversarialLoss(abc.ABC):
    """The losses of critic and generator, each over its own parameters.

    Attributes:
        uses_real: whether the generator's loss reads real logits. Where it does not, they need not be computed.
    """

    uses_real: ClassVar[bool] = False

    @abc.abstractmethod
    def critic(self, real: Float[ArrayLike, "b"], fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """The critic's loss.

        Args:
            real: (b,) logits of real samples.
            fake: (b,) logits of generated samples.

        Raises:
            ValueError: for logits that are not (b,), and for different numbers of them.
        """

    @abc.abstractmethod
    def generator(self, real: Float[ArrayLike, "b"] | None, fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """The generator's loss.

        Args:
            real: (b,) logits of real samples; None will do where `uses_real` is False.
            fake: (b,) logits of generated samples, through which the gradient reaches the generator.

        Raises:
            ValueError: for logits that are not (b,), and for different numbers of them.
            TypeError: for real = None where `uses_real` is True.
        """


@record
class NonSaturating(AdversarialLoss):
    """Built by `non_saturating`."""

    def critic(self, real: Float[ArrayLike, "b"], fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """Cross-entropy: mean softplus(−r) + mean softplus(f)."""
        real, fake = _pair(real, fake)
        return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))

    def generator(self, real: Float[ArrayLike, "b"] | None, fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """Cross-entropy of the critic with the samples labelled as real: mean softplus(−f)."""
        return jnp.mean(jax.nn.softplus(-_logits("fake", fake)))


@record
class Minimax(AdversarialLoss):
    """Built by `minimax`."""

    def critic(self, real: Float[ArrayLike, "b"], fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """As of `non_saturating`: mean softplus(−r) + mean softplus(f)."""
        return NonSaturating().critic(real, fake)

    def generator(self, real: Float[ArrayLike, "b"] | None, fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """The critic's value of the game: −mean softplus(f)."""
        return -jnp.mean(jax.nn.softplus(_logits("fake", fake)))


@record
class Hinge(AdversarialLoss):
    """Built by `hinge`."""

    def critic(self, real: Float[ArrayLike, "b"], fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """Margins of 1: mean max(0, 1 − r) + mean max(0, 1 + f)."""
        real, fake = _pair(real, fake)
        return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))

    def generator(self, real: Float[ArrayLike, "b"] | None, fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """−mean f."""
        return -jnp.mean(_logits("fake", fake))


@record
class Wasserstein(AdversarialLoss):
    """Built by `wasserstein`."""

    def critic(self, real: Float[ArrayLike, "b"], fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """Mean f − mean r; its negative estimates the distance."""
        real, fake = _pair(real, fake)
        return jnp.mean(fake) - jnp.mean(real)

    def generator(self, real: Float[ArrayLike, "b"] | None, fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """−mean f."""
        return -jnp.mean(_logits("fake", fake))


@record
class Relativistic(AdversarialLoss):
    """Built by `relativistic`."""

    uses_real: ClassVar[bool] = True

    def critic(self, real: Float[ArrayLike, "b"], fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """Each real sample should look more real than the generated one of its row: mean softplus(f − r)."""
        real, fake = _pair(real, fake)
        return jnp.mean(jax.nn.softplus(fake - real))

    def generator(self, real: Float[ArrayLike, "b"] | None, fake: Float[ArrayLike, "b"]) -> Float[Array, ""]:
        """The other way round: mean softplus(r − f)."""
        if real is None:
            raise TypeError(
                "real is None: the generator's relativistic loss compares each sample with a real one, so pass real "
                "logits"
            )
        real, fake = _pair(real, fake)
        return jnp.mean(jax.nn.softplus(real - fake))


def non_saturating() -> AdversarialLoss:
    """The first GANs' loss, whose generator gradient is largest where the critic is sure that a sample is generated.

    References:
        Goodfellow et al., 2014, Eq. 1 for the critic; section 3 for the generator (from memory).
    """
    return NonSaturating()


def minimax() -> AdversarialLoss:
    """The same game as a zero-sum one: the generator's gradient vanishes where the critic is sure.

    It is here to show that.

    References:
        Goodfellow et al., 2014, Eq. 1 (from memory).
    """
    return Minimax()


def hinge() -> AdversarialLoss:
    """A critic that no longer learns from samples beyond a margin; usual with spectral normalisation.

    References:
        Lim & Ye, 2017; Miyato et al., 2018, Eqs. 16 and 17 (both from memory).
    """
    return Hinge()


def wasserstein() -> AdversarialLoss:
    """The dual of the Wasserstein-1 distance. Also known as: WGAN.

    It means something for a Lipschitz critic only: add a gradient penalty, weight clipping or spectral normalisation.
    Logits have no zero: a constant that is added to the critic changes nothing.

    References:
        Arjovsky et al., 2017, Eqs. 2 and 3, Algorithm 1 (from memory).
    """
    return Wasserstein()


def relativistic() -> AdversarialLoss:
    """The critic compares samples in pairs, row by row. Also known as: relativistic GAN (RpGAN).

    It is the loss of R3GAN, which adds `penalties.r1` and `penalties.r2`.

    References:
        Jolicoeur-Martineau, 2018, RSGAN; Huang et al., 2024 (R3GAN), Eq. 2 (both from memory). The generator has the
        non-saturating form of R3GAN's published code.
    """
    return Relativistic()


def _pair(real: ArrayLike, fake: ArrayLike) -> tuple[jax.Array, jax.Array]:
    checks.same_shape("real", real, "fake", fake)
    return _logits("real", real), _logits("fake", fake)


def _logits(name: str, logits: ArrayLike) -> jax.Array:
    array = jnp.asarray(logits)
    if array.ndim != 1:  # a column and a row would broadcast to all pairs
        raise ValueError(
            f"{name} has shape {array.shape}, but logits are (b,), one per sample: (b, 1) needs logits[:, 0]"
        )
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
