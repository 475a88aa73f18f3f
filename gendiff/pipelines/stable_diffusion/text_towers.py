"""From prompts to what a network reads: text encoders put together, rows put together, weights applied."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gendiff import networks
from gendiff.core import records
from gendiff.core.types import ArrayLike, Params
from gendiff.pipelines.stable_diffusion.prompts import Prompt


@records.record
class TextTowers:
    """Text encoders that read the same prompt.

    Args:
        names: of each tower, under which its parameters are.
        encode: (params, ids) -> `networks.Text` of each, as `networks.pure(text_encoder)`.
        pooled: towers whose pooled encodings go along, side by side: those of the first row of a text.
        tokens: groups of towers. Tokens of a group stand side by side, and those of the next group follow them;
            narrower ones end in zeros. None: all towers are one group.
        masked: whether padding is left out. Without it every token counts, as in the training of most models.
        zeros: (tokens, channels) of zeros that stand in the place of a last group that is lacking.

    References:
        Rombach et al., 2022, section 3.3; Podell et al., 2023, section 2.1, for two towers; Esser et al., 2024, App.
        B.3, for three (from memory).
    """

    names: tuple[str, ...] = records.static()
    encode: tuple[Callable[..., networks.Text], ...] = records.static()
    pooled: tuple[str, ...] = records.static(default=())
    tokens: tuple[tuple[str, ...], ...] | None = records.static(default=None)
    zeros: tuple[int, int] | None = records.static(default=None)
    masked: bool = records.static(default=False)

    def __call__(self, params: Mapping[str, Params], prompt: Prompt) -> networks.Text:
        """Encode b texts.

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
        read = {
            name: _tower(encode, params[name], prompt.ids[position], prompt.weights[position], prompt.empty[position])
            for position, (name, encode) in enumerate(zip(self.names, self.encode, strict=True))
        }
        groups = [jnp.concatenate([read[name].tokens for name in group], -1) for group in self.tokens or (self.names,)]
        if self.zeros is not None:
            groups.append(jnp.zeros((groups[0].shape[0], *self.zeros), groups[0].dtype))
        width, blank = max(group.shape[-1] for group in groups), jnp.asarray(prompt.blank)
        wide = [jnp.pad(group, ((0, 0), (0, 0), (0, width - group.shape[-1]))) for group in groups]
        tokens = jnp.where(blank[:, None, None], 0, jnp.concatenate(wide, 1))
        pooled = [encoded for name in self.pooled if (encoded := read[name].pooled) is not None]
        summary = jnp.where(blank[:, None], 0, jnp.concatenate(pooled, -1)) if pooled else None
        mask = jnp.ones(tokens.shape[:2], bool)
        if self.masked:
            mask = jnp.concatenate([read[group[0]].mask for group in self.tokens or (self.names,)], 1)
        return networks.Text(tokens, mask, summary)


class _Encoded(NamedTuple):
    tokens: Float[Array, "b s e"]
    mask: Bool[Array, "b s"]
    pooled: Float[Array, "b p"] | None


def _tower(
    encode: Callable[..., networks.Text], params: Params, ids: ArrayLike, weights: ArrayLike, empty: ArrayLike
) -> _Encoded:
    """(tokens of all rows, one after the other; which are there; pooled encoding of the first row, if there is one)."""
    ids, weights, empty = jnp.asarray(ids), jnp.asarray(weights), jnp.asarray(empty)
    texts, rows, length = ids.shape
    read = encode(params, jnp.concatenate([ids.reshape(texts * rows, length), empty]))
    tokens = jnp.asarray(read.tokens)
    words, nothing = tokens[:-1], tokens[-1:]
    strength = weights.reshape(texts * rows, length, 1).astype(words.dtype)
    words = words + (strength - 1) * (words - nothing)
    first = None if read.pooled is None else jnp.asarray(read.pooled)[:-1].reshape(texts, rows, -1)[:, 0]
    mask = jnp.asarray(read.mask)[:-1].reshape(texts, rows * length)
    return _Encoded(words.reshape(texts, rows * length, -1), mask, first)
