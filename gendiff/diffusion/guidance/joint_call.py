"""Several denoisers asked about one x: one after the other, or in one call of one network."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class Together:
    """denoisers: asked in their order; with `batched`, in one call of n · b samples with the first's parameters."""

    denoisers: tuple[Any, ...]
    batched: bool = records.static(default=False)

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> list[Prediction]:
        if self.batched:
            return _in_one_pass(self.denoisers, x, level)
        return [denoise(x, level) for denoise in self.denoisers]


def ask(*denoisers: Denoiser, batched: bool = False) -> Together:
    """Checked: TypeError for `batched` with denoisers that are not of one network, parameterization and number of conditions."""
    if batched:
        networks = [denoise for denoise in denoisers if isinstance(denoise, NetworkDenoiser)]
        if len(networks) < len(denoisers):
            raise TypeError("batched=True needs denoisers made by denoiser.from_network; use batched=False for any others")
        first, *others = networks
        for other in others:
            if first.predict != other.predict or first.parameterization != other.parameterization:
                raise TypeError("batched=True needs denoisers of one network and parameterization; use batched=False for two networks")
            if len(first.condition) != len(other.condition):
                raise TypeError(f"{len(first.condition)} conditions against {len(other.condition)}: give one null for each")
    return Together(denoisers, batched)


def _in_one_pass(denoisers: tuple[NetworkDenoiser, ...], x: jax.Array, level: Level) -> list[Prediction]:
    first, *others = denoisers
    count, times = x.shape[0], len(denoisers)

    def stack(leaf: Any, *rest: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        return jnp.concatenate([leaf, *(jnp.broadcast_to(jnp.asarray(other).astype(leaf.dtype), leaf.shape) for other in rest)])

    # a single null broadcasts to whatever it replaces
    condition = jax.tree.map(stack, first.condition_for(count), *(other.condition for other in others))
    levels = jax.tree.map(lambda field: jnp.concatenate([jnp.broadcast_to(field, (count,))] * times), level)
    told = first.with_condition(*condition)(jnp.concatenate([x] * times), levels)
    return [jax.tree.map(lambda field, i=i: field[i * count : (i + 1) * count], told) for i in range(times)]
