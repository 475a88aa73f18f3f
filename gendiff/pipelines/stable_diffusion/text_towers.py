"""From prompts to what a network reads: one or two text encoders side by side, rows put together, weights applied."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff import networks
from gendiff.core import records
from gendiff.core.types import ArrayLike, Params
from gendiff.pipelines.stable_diffusion.prompts import Prompt


@records.record
class TextTowers:
    """Text encoders that read the same prompt. Their tokens stand side by side in one encoding.

    Args:
        names: of each tower, under which its parameters are.
        encode: (params, ids) -> `networks.Text` of each, as `networks.pure(text_encoder)`.
        pooled: whether the pooled encoding of the last tower goes along: that of the first row of a text.

    References:
        Rombach et al., 2022, section 3.3; Podell et al., 2023, section 2.1, for two towers (from memory).
    """

    names: tuple[str, ...] = records.static()
    encode: tuple[Callable[..., networks.Text], ...] = records.static()
    pooled: bool = records.static(default=False)

    def __call__(self, params: Mapping[str, Params], prompt: Prompt) -> networks.Text:
        """Encode b texts. Every token counts, padding too, as in the training of these models.

        A token of weight w is e + (w - 1) (e - e₀), where e is its encoding and e₀ that of the empty text at its place.

        Args:
            params: those of each tower, by its name.
            prompt: of b texts, from the tokenizers of the same towers.

        Raises:
            ValueError: for missing parameters, and a prompt of another number of towers.
        """
        if missing := [name for name in self.names if name not in params]:
            raise ValueError(f"params has no {', '.join(missing)}: each text encoder needs its own")
        if len(prompt.ids) != len(self.names):
            raise ValueError(
                f"the prompt is of {len(prompt.ids)} tokenizers, and there are {len(self.names)} text encoders"
            )
        read = [
            _tower(encode, params[name], prompt.ids[position], prompt.weights[position], prompt.empty[position])
            for position, (name, encode) in enumerate(zip(self.names, self.encode, strict=True))
        ]
        blank = jnp.asarray(prompt.blank)
        tokens = jnp.where(blank[:, None, None], 0, jnp.concatenate([tokens for tokens, _ in read], -1))
        last = read[-1][1] if self.pooled else None
        pooled = None if last is None else jnp.where(blank[:, None], 0, last)
        return networks.Text(tokens, jnp.ones(tokens.shape[:2], bool), pooled)


def _tower(
    encode: Callable[..., networks.Text], params: Params, ids: ArrayLike, weights: ArrayLike, empty: ArrayLike
) -> tuple[Float[Array, "b s e"], Float[Array, "b p"]]:
    """(tokens of all rows, one after the other; pooled encoding of the first row)."""
    ids, weights, empty = jnp.asarray(ids), jnp.asarray(weights), jnp.asarray(empty)
    texts, rows, length = ids.shape
    read = encode(params, jnp.concatenate([ids.reshape(texts * rows, length), empty]))
    tokens, pooled = jnp.asarray(read.tokens), jnp.asarray(read.pooled)
    words, nothing = tokens[:-1], tokens[-1:]
    strength = weights.reshape(texts * rows, length, 1).astype(words.dtype)
    words = words + (strength - 1) * (words - nothing)
    return words.reshape(texts, rows * length, -1), pooled[:-1].reshape(texts, rows, -1)[:, 0]
