"""Prompts as the networks read them: tokens of MiniLM, and what a person should know of a prompt."""

import functools
import sys
from collections.abc import Collection, Iterator, Sequence

import jax
import numpy as np

from gendiff import networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import tokenizer
from gendiff.data.texts.tokenizer import Tokenizer, Tokens
from gendiff.networks import text_encoder
from gendiff.weights import mini_lm

LENGTH = 24
"""Tokens of a text; the longest caption of two objects has 20."""
WIDTH = 384
"""Channels of a token of MiniLM."""
VOCABULARY = 30522
"""Ids of its tokenizer, which the encoder from scratch uses too."""
ENCODER = text_encoder.mini_lm_l6().clone(normalize=False)
"""Its pooled encoding is the mean of the tokens, of their own size."""
ARTICLES = ("a", "an", "the")


def tokens(texts: Sequence[str]) -> Tokens:
    """As MiniLM's tokenizer writes them; what does not fit is left out with a TruncationWarning."""
    return _tokenizer()(list(texts))


def fits(text: str) -> bool:
    """Whether nothing of a text is left out."""
    return len(_tokenizer().library.encode(text).ids) <= LENGTH


def words(text: str) -> Sequence[str]:
    """The words of a text in small letters, without what stands between them."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def unknown_words(text: str, known: Collection[str]) -> list[str]:
    """The words of a text that are not among those known, in their order, but for articles, which say nothing."""
    return list(dict.fromkeys(word for word in words(text) if word not in known and word not in ARTICLES))


def notes(text: str, unknown: int, known: Collection[str]) -> Iterator[str]:
    """What a person should know of a prompt. unknown: number of its tokens that the encoder cannot write. known: words
    of the training.
    """
    if unknown:
        yield f"{unknown} of its tokens stand for letters that the encoder, which learned English, does not know"
    if new := unknown_words(text, known):
        words, them = ("words", "them") if len(new) > 1 else ("word", "it")
        yield f"no caption of the training has the {words} {', '.join(new)}: the pictures may ignore {them}"


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


@functools.cache
def _tokenizer() -> Tokenizer:
    return tokenizer.load(mini_lm.folder(), LENGTH, too_long="warn")
