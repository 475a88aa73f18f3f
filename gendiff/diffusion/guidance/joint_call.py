"""Several denoisers asked about one x: one after the other, or in one call of one network."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.diffusion import conditions
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class JointCall:
    """Denoisers that answer together.

    Args:
        denoisers: asked in their order.
        batched: whether one call of n · b samples asks them all, with the first one's parameters.
    """

    denoisers: tuple[Denoiser, ...]
    batched: bool = records.static(default=False)

    @classmethod
    def checked(cls, *denoisers: Denoiser, batched: bool = False) -> "JointCall":
        """The call, if the denoisers may share it.

        Raises:
            TypeError: for `batched` with denoisers that are not of one network, parameterization and structure of
                conditions.
        """
        if batched:
            _refuse_strangers(*denoisers)
        return cls(denoisers, batched)

    def __call__(
        self, x: Float[Array, "b *shape"], level: Level, first_only: bool | jax.Array = False
    ) -> list[Prediction]:
        """The predictions of all denoisers, in their order.

        Args:
            x: (b, …).
            level: () or (b,).
            first_only: () whether the first denoiser alone is asked, whose prediction then stands for all. Under `vmap`
                over it, and only there, all are asked all the same: `batched` then asks the first one twice.

        Raises:
            ValueError: for `batched` with conditions of unequal shapes.
        """
        if not arrays.is_concrete(first_only):
            return self._unless(jnp.asarray(first_only), x, level)
        if first_only:
            return [self.denoisers[0](x, level)] * len(self.denoisers)
        return self._all(x, level)

    def _all(self, x: jax.Array, level: Level) -> list[Prediction]:
        if self.batched:
            return _in_one_pass(_networks(self.denoisers), x, level)
        return [denoise(x, level) for denoise in self.denoisers]

    def _unless(self, first_only: jax.Array, x: jax.Array, level: Level) -> list[Prediction]:
        first, *others = self.denoisers
        if self.batched:
            predictions: list[Prediction] = jax.lax.cond(
                first_only, lambda: [first(x, level)] * len(self.denoisers), lambda: self._all(x, level)
            )
            return predictions
        answer = first(x, level)  # outside of the branches, so that vmap asks it once
        return [answer, *(_in_place(answer, first_only, other, x, level) for other in others)]


def _networks(denoisers: Sequence[Denoiser]) -> list[NetworkDenoiser]:
    return [denoise for denoise in denoisers if isinstance(denoise, NetworkDenoiser)]


def _refuse_strangers(*denoisers: Denoiser) -> None:
    networks = _networks(denoisers)
    if len(networks) < len(denoisers):
        raise TypeError("batched=True needs denoisers made by denoiser.from_network; use batched=False for any others")
    first, *others = networks
    structure: object = jax.tree.structure(first.condition)
    for other in others:
        if first.predict != other.predict or first.parameterization != other.parameterization:
            raise TypeError(
                "batched=True needs denoisers of one network and parameterization; use batched=False for two networks"
            )
        if structure != jax.tree.structure(other.condition):
            raise TypeError(
                f"batched=True needs conditions of one structure, got {len(first.condition)} and "
                f"{len(other.condition)} of them, or different trees: give one null for each"
            )


def _in_one_pass(denoisers: Sequence[NetworkDenoiser], x: jax.Array, level: Level) -> list[Prediction]:
    count, times = x.shape[0], len(denoisers)
    each = [conditions.for_each(denoise.condition, count) for denoise in denoisers]
    together = jax.tree.map(_stacked, *each)
    levels = jax.tree.map(lambda field: jnp.concatenate([jnp.broadcast_to(field, (count,))] * times), level)
    joint = records.replace(denoisers[0], condition=together)(jnp.concatenate([x] * times), levels)
    return [jax.tree.map(lambda field, i=i: field[i * count : (i + 1) * count], joint) for i in range(times)]


def _in_place(answer: Prediction, keep: jax.Array, other: Denoiser, x: jax.Array, level: Level) -> Prediction:
    """The prediction where `keep` is true, else the one of another denoiser."""

    def ask() -> tuple[jax.Array, jax.Array]:
        prediction = other(x, level)
        return prediction.clean, prediction.noise

    clean, noise = jax.lax.cond(keep, lambda: (answer.clean, answer.noise), ask)
    return records.replace(answer, clean=clean, noise=noise)


def _stacked(first: jax.Array, *others: jax.Array) -> jax.Array:
    for other in others:
        if other.shape != first.shape:
            shapes = f"got {first.shape} and {other.shape}"
            raise ValueError(
                f"batched=True needs conditions of one shape, {shapes}: pad texts to one length, or use batched=False"
            )
    return jnp.concatenate([first, *(leaf.astype(first.dtype) for leaf in others)])
