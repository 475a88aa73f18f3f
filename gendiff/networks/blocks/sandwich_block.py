"""A transformer block with a norm before and after attention and MLP, as Lumina and Z-Image have it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gendiff.networks.layers import Compute, RMSNorm, activated, dense
from gendiff.networks.layers.attention import attend
from gendiff.networks.layers.rotary import Rotary, rotate


class SandwichBlock(nn.Module):
    """Self-attention and a gated MLP, each normalised before and after, and added to x.

    With a condition, a linear layer of it scales what both are given, and the tanh of its gates multiplies what they
    add; a fresh block is then the identity.

    Args:
        heads: their number, which divides the channels.
        mlp_width: width of the MLP.
        rotary: how positions turn queries and keys.
        compute: how to compute.
        epsilon: what the norms of tokens add to a mean square; those of queries and keys add 1e-5.

    References:
        Gao et al., 2024 (Lumina-T2X), section 2.2, for norms on both sides; Z-Image team, 2025, section 4, for scales
        and gates of tanh (from memory).
    """

    heads: int
    mlp_width: int
    rotary: Rotary
    compute: Compute = Compute()
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"],
        condition: Float[Array, "b e"] | None,
        positions: Int[Array, "b s axes"],
        mask: Bool[Array, "b s"] | None = None,
    ) -> Float[Array, "b s d"]:
        """Return the tokens after the block.

        Args:
            x: (b, s, d) tokens.
            condition: (b, e), or None for a block that is told nothing.
            positions: (b, s, axes) of the tokens.
            mask: (b, s) which tokens are seen. None: all of them.
        """
        width = x.shape[-1]
        changes: list[jax.Array | None] = [None] * 4
        if condition is not None:
            change = dense(4 * width, self.compute, "modulation", zero=True)(condition, x)[:, None]
            changes = list(jnp.split(change, 4, -1))
        y = self._attended(self._before("norm_0", x, changes[0]), positions, mask)
        y = dense(width, self.compute, "output", bias=False)(y)
        x = x + self._after("norm_0", y, changes[1])
        y = dense(2 * self.mlp_width, self.compute, "mlp_0", bias=False)(self._before("norm_1", x, changes[2]))
        y = dense(width, self.compute, "mlp_1", bias=False)(activated(y, "silu", True))
        return x + self._after("norm_1", y, changes[3])

    def _before(self, name: str, x: jax.Array, scale: jax.Array | None) -> jax.Array:
        y: jax.Array = RMSNorm(self.compute, self.epsilon, name=name)(x)
        return y if scale is None else y * (1 + scale)

    def _after(self, name: str, x: jax.Array, gate: jax.Array | None) -> jax.Array:
        y: jax.Array = RMSNorm(self.compute, self.epsilon, name=f"{name}_after")(x)
        return y if gate is None else y * jnp.tanh(gate)

    def _attended(self, x: jax.Array, positions: jax.Array, mask: jax.Array | None) -> jax.Array:
        y = dense(3 * x.shape[-1], self.compute, "qkv", bias=False)(x)
        query, key, value = jnp.split(y.reshape(*x.shape[:2], 3 * self.heads, -1), 3, 2)
        query, key = (
            rotate(RMSNorm(self.compute, 1e-5, name=f"norm_{name}")(each), positions, self.rotary)
            for name, each in (("query", query), ("key", key))
        )
        visible = None if mask is None else mask[:, None, None, :]
        how = self.compute
        mixed = attend(query, key, value, visible, implementation=how.attention, precision=how.precision)
        return mixed.reshape(x.shape)
