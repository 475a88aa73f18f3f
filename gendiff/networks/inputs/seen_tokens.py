"""Encoded texts with clean padding, and a learned token of no text."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gendiff.core.condition_records import Text
from gendiff.networks.layers import Compute, initializers, parameter


class SeenTokens(nn.Module):
    """A text with padding 0, where a sample without a token has the learned token of no text.

    Args:
        null: whether there is such a token, and such a pooled encoding. Without it a text of which nothing is there
            stays as it is.
        compute: how to compute.
    """

    null: bool = True
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, text: Text) -> Text:
        """Return the text with clean padding, in the dtype of `compute`."""
        tokens, mask = jnp.asarray(text.tokens).astype(self.compute.dtype), jnp.asarray(text.mask)
        tokens = jnp.where(mask[..., None], tokens, 0)  # a weight of 0 would not be enough: 0 times NaN is NaN
        pooled = None if text.pooled is None else jnp.asarray(text.pooled).astype(self.compute.dtype)
        if not self.null:
            return Text(tokens, mask, pooled)
        nothing = ~mask.any(-1, keepdims=True)
        tokens = jnp.where(nothing[..., None], self._learned("null_token", tokens)[None], tokens)
        mask = mask | (nothing & (jnp.arange(mask.shape[-1]) == 0)[None])
        return Text(
            tokens, mask, None if pooled is None else jnp.where(nothing, self._learned("null_pooled", pooled), pooled)
        )

    def _learned(self, name: str, like: jax.Array) -> jax.Array:
        row: jax.Array = parameter(self, name, initializers.normal(0.02), like.shape[-1:])
        return row[None].astype(like.dtype)
