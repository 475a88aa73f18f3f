"""Captions as networks learn from them: by the frozen MiniLM, encoded once per distinct caption, or as ids for an
encoder of our own.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gendiff import networks
from gendiff.commands.text_to_image import texts
from gendiff.core.types import Params
from gendiff.data.texts.tokenizer import Tokens
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress

_TOGETHER = 32


@dataclass(frozen=True)
class Encoded:
    """What a network reads of texts: a pytree of arrays (distinct texts, …), and the row (n,) of each text."""

    distinct: Any
    row: np.ndarray

    def rows(self, chosen: np.ndarray) -> Any:
        """The pytree of some of the texts, each array (len(chosen), …)."""
        return jax.tree.map(lambda leaf: leaf[self.row[chosen]], self.distinct)

    def shuffled(self, seed: int) -> "Encoded":
        """The same texts in another order: a network that learns from them learns nothing of what they say."""
        return Encoded(self.distinct, np.random.default_rng(seed).permutation(self.row))


def frozen(captions: Sequence[str], progress: Progress) -> Encoded:
    """Captions as `networks.Text` of MiniLM. Its tokens are kept in half precision, which halves the memory of many
    captions.
    """
    words, row = _distinct(captions)
    # few texts are repeated, so that one program encodes all
    filled = np.arange(max(len(words.ids), _TOGETHER)) % len(words.ids)
    draw, title = functools.partial(_encode(), texts.params()), f"encode {len(words.ids)} captions"
    rows = (np.asarray(each)[filled] for each in (words.ids, words.mask))
    encoded = drawing.draw_all(draw, *rows, together=_TOGETHER, title=title, progress=progress)
    tokens, pooled = (part[: len(words.ids)] for part in encoded)
    return Encoded(networks.Text(tokens, words.mask, pooled), row)


def ids(captions: Sequence[str]) -> Encoded:
    """Captions as {"ids", "mask"} of their tokens."""
    words, row = _distinct(captions)
    return Encoded({"ids": words.ids, "mask": words.mask}, row)


def _distinct(captions: Sequence[str]) -> tuple[Tokens, np.ndarray]:
    """(tokens of the distinct captions, the row of each caption among them)."""
    distinct, row = np.unique(np.array(captions), return_inverse=True)
    return texts.tokens(distinct.tolist()), row


@functools.cache
def _encode() -> Any:
    encode = networks.pure(texts.ENCODER)

    def draw(params: Params, ids: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        text = encode(params, ids, mask)
        return text.tokens.astype(np.float16), text.pooled

    return devices.jit(draw)
