"""A text as a condition: its tokens, which of them are there, and what stands for no text."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import records
from gendiff.networks.layers import Compute, initializers, parameter

NO_TEXT = False
"""Takes the place of a `Text` as NO_LABEL does that of a label, for one value replaces all leaves of a condition: no token is there."""


@records.record
class Text:
    """A caption per sample, as a text encoder gives it.

    Args:
        tokens: (b, k, e) floating, the encoding of each token.
        mask: (b, k) booleans, which tokens are there. The rest is padding, of which nothing reaches an output, not even NaN.
        pooled: (b, p) floating, one encoding of the whole caption, or None. Networks with `pooled_channels` need it, others ignore it.
    """

    tokens: Any
    mask: Any
    pooled: Any = None


class SeenTokens(nn.Module):
    """The text as a network uses it: padding is 0, and a sample without a token gets the learned one of no text.

    Args:
        null: whether there is such a token, and such a pooled encoding. Without it a text of which nothing is there stays as it is.
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
        return Text(tokens, mask, None if pooled is None else jnp.where(nothing, self._learned("null_pooled", pooled), pooled))

    def _learned(self, name: str, like: jax.Array) -> jax.Array:
        return parameter(self, name, initializers.normal(0.02), like.shape[-1:])[None].astype(like.dtype)


def checked_text(text: Text | None, channels: int | None, pooled_channels: int | None, batch: int) -> Text | None:
    """Return the text, if it is one for a network with these channels; without its pooled encoding where the network has no use for it.

    Raises:
        TypeError: for tokens that are no floating encodings and a mask that is not boolean.
        ValueError: for other shapes, a text for a network without `text_channels`, none for one with, and a missing pooled encoding.
    """
    if channels is None or text is None:
        if channels is not None:
            raise ValueError(f"the network reads texts of {channels} channels and needs one: pass networks.Text(tokens, mask)")
        if text is not None:
            raise ValueError("a text was given to a network without: build it with text_channels=…, or pass none")
        return None
    _check_encoding("tokens", text.tokens)
    shape = np.shape(text.tokens)
    if len(shape) != 3 or shape[0] != batch or shape[1] == 0 or shape[2] != channels:
        raise ValueError(f"tokens have shape {shape}: (samples, tokens, text_channels) = ({batch}, 1 or more, {channels}) is needed")
    if jnp.result_type(text.mask) != jnp.bool_:
        raise TypeError(
            f"mask must hold booleans, which tokens are there, got {jnp.result_type(text.mask)}: use mask > 0 for ones and zeros"
        )
    if np.shape(text.mask) != shape[:2]:
        raise ValueError(f"mask has shape {np.shape(text.mask)}: one boolean per token, {shape[:2]}, is needed")
    if pooled_channels is None:
        return records.replace(text, pooled=None)
    if text.pooled is None:
        raise ValueError(f"the network has pooled_channels = {pooled_channels}, and the text no pooled encoding: give it one")
    _check_encoding("pooled", text.pooled)
    if np.shape(text.pooled) != (batch, pooled_channels):
        needed = (batch, pooled_channels)
        raise ValueError(f"pooled has shape {np.shape(text.pooled)}: (samples, pooled_channels) = {needed} is needed")
    return text


def _check_encoding(name: str, value: Any) -> None:
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise TypeError(
            f"{name} must be floating, the output of a text encoder, got {jnp.result_type(value)}: encode numbers of tokens first"
        )
