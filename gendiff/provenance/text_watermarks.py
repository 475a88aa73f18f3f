"""Watermarks of texts, as processors of logits: a secret key and the tokens before choose which tokens become likelier.

Each is a record (logits (b, v), context) -> logits that rides on any decoding loop whose context has `tokens` (b, s)
and `length` (b,). It comes last, after temperature and truncation. Its key and numbers are data, so one program serves
all of them. `text_detection` reads the mark from tokens and the record alone, without the model.

Every choice is a fixed hash (`keyed_hash`) of the key, the `width` tokens before and the token itself. Hashes of
different inputs are as good as independent, so the law of the score of unmarked text is exact. The first `width` tokens
of a text carry no mark.
"""

import abc
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Bool, Float, Int, UInt32

from gendiff.core import arrays, checks
from gendiff.core.records import record, replace, static
from gendiff.core.types import Numeric, Scalar
from gendiff.provenance import keyed_hash
from gendiff.provenance.keyed_hash import State

LONGEST = 16
"""Most tokens before that a choice may depend on."""
_PLACE = 0x50
"""The number that the hash takes to choose a digit of the payload."""


@runtime_checkable
class Written(Protocol):
    """The texts that a processor reads, such as `language.processors.Context`."""

    tokens: jax.Array
    length: jax.Array


@record
class TextWatermark(abc.ABC):
    """A watermark of texts: a processor of logits with a key, and the law of its scores.

    Attributes:
        words: (2,) the secret key, see `keyed_hash.key`.
        vocabulary: number of tokens.
        width: how many tokens before a token choose with it.
    """

    words: jax.Array
    vocabulary: int = static()
    width: int = static()

    def states(self, before: Int[Array, "*places width"], tokens: Int[Array, "*#places candidates"]) -> State:
        """The hash of each candidate behind the tokens before it: two arrays (*places, candidates)."""
        state = keyed_hash.start(self.words)
        for offset in range(self.width):
            state = keyed_hash.taken(state, before[..., offset])
        first, second = (jnp.broadcast_to(word, before.shape[:-1])[..., None] for word in state)
        return keyed_hash.taken((first, second), tokens)

    @abc.abstractmethod
    def values(self, state: State) -> Array:
        """The value of a token with this hash."""

    def gains(self, values: np.ndarray) -> np.ndarray:
        """The gain of each value: its addend of the score of a text, in float64."""
        return np.asarray(values, np.float64)

    @abc.abstractmethod
    def law(self, score: Numeric, count: Numeric) -> tuple[Numeric, Numeric]:
        """(z, p) of scores (…) of so many distinct choices, under the law of unmarked text; p is exact."""

    def choices(self, logits: Array, context: Written) -> tuple[State, Bool[Array, "b 1"]]:
        """The hashes (b, v) of the whole vocabulary, and whether the text has enough tokens for a mark."""
        if logits.shape[1] != self.vocabulary:
            raise ValueError(f"the watermark is for {self.vocabulary} tokens, but logits are {list(logits.shape)}")
        before, enough = _last(context, self.width)
        return self.states(before, jnp.arange(self.vocabulary)[None]), enough[:, None]


@record
class GreenList(TextWatermark):
    """Built by `green_list`, `unigram` and `self_hash`."""

    gamma: Scalar
    delta: Scalar
    payload: np.ndarray | None = None
    robust: bool = static(default=False)

    def __call__(self, logits: Float[Array, "b v"], context: Written) -> Float[Array, "b v"]:
        """Add delta to the logits of green tokens."""
        state, enough = self.choices(logits, context)
        delta = jnp.asarray(self.delta, logits.dtype)
        return jnp.where(self.values(state) & enough & (delta != 0), logits + delta, logits)

    def states(self, before: Int[Array, "*places width"], tokens: Int[Array, "*#places candidates"]) -> State:
        """The hash of each candidate; a robust one is the least of those with itself and with each token before."""
        if not self.robust:
            return TextWatermark.states(self, before, tokens)
        hashed = keyed_hash.taken(keyed_hash.start(self.words), tokens)
        least = keyed_hash.word(keyed_hash.taken(hashed, tokens))
        for offset in range(self.width):
            least = jnp.minimum(least, keyed_hash.word(keyed_hash.taken(hashed, before[..., offset, None])))
        return keyed_hash.taken(hashed, least)

    def values(self, state: State) -> Bool[Array, "*shape"]:
        """Whether a token is green."""
        step = threshold(self.gamma)
        word = keyed_hash.word(state)
        if self.payload is not None:
            digits = jnp.asarray(self.payload).astype(jnp.uint32)
            word = word - digits[places(state, digits.shape[0])] * step
        return word < step

    def law(self, score: Numeric, count: Numeric) -> tuple[Numeric, Numeric]:
        """Binomial: each distinct choice of unmarked text is green with probability gamma."""
        return _binomial(score, count, int(threshold(np.float32(self.gamma))) / 2**32)


@record
class Gumbel(TextWatermark):
    """Built by `gumbel`."""

    def __call__(self, logits: Float[Array, "b v"], context: Written) -> Float[Array, "b v"]:
        """Leave the token that the key draws, or the logits as they are where this context has been."""
        state, enough = self.choices(logits, context)
        uniform = (self.values(state).astype(jnp.float32) + 0.5) * 2.0**-23
        best = arrays.argmax(logits - jnp.log(-jnp.log(uniform)))[:, None]
        marked = jnp.where(
            best == jnp.arange(self.vocabulary)[None], logits - jnp.take_along_axis(logits, best, 1), -jnp.inf
        )
        return jnp.where(enough & ~_repeated(context, self.width), marked, logits)

    def values(self, state: State) -> UInt32[Array, "*shape"]:
        """The uniform number of a token in steps of 2⁻²³."""
        return keyed_hash.word(state) >> 9

    def gains(self, values: np.ndarray) -> np.ndarray:
        """−log(1 − u)."""
        return -np.log1p(-(np.asarray(values, np.float64) + 0.5) * 2.0**-23)

    def law(self, score: Numeric, count: Numeric) -> tuple[Numeric, Numeric]:
        """Gamma: what a distinct choice of unmarked text adds is exponential."""
        counted = np.maximum(count, 1)
        return (score - count) / np.sqrt(counted), np.where(count > 0, scipy.stats.gamma.sf(score, counted), 1.0)


@record
class Tournament(TextWatermark):
    """Built by `tournament`."""

    layers: int = static()

    def __call__(self, logits: Float[Array, "b v"], context: Written) -> Float[Array, "b v"]:
        """The logits of the winner, or the logits as they are where this context has been."""
        state, enough = self.choices(logits, context)
        word = keyed_hash.word(state)

        def layer(number: Array, probability: Array) -> Array:
            favoured = ((word >> number.astype(jnp.uint32)) & 1).astype(probability.dtype)
            lost = jnp.minimum(jnp.sum(probability * favoured, 1, keepdims=True), 1)  # rounding can make it more
            return probability * (1 + favoured - lost)

        wide = arrays.widened(logits)
        won = jnp.log(jax.lax.fori_loop(0, self.layers, layer, jax.nn.softmax(wide, 1))).astype(logits.dtype)
        return jnp.where(enough & ~_repeated(context, self.width), won, logits)

    def values(self, state: State) -> UInt32[Array, "*shape"]:
        """How many layers favour a token."""
        bits = keyed_hash.word(state) & jnp.uint32(2**self.layers - 1)
        return jax.lax.population_count(bits)

    def law(self, score: Numeric, count: Numeric) -> tuple[Numeric, Numeric]:
        """Binomial: each layer favours a distinct choice of unmarked text with probability 1/2."""
        return _binomial(score, count * self.layers, 0.5)


def colours(gamma: Scalar) -> int:
    """Return how many digits there are of a payload: ⌊1 / gamma⌋."""
    return math.floor(1 / float(gamma))


def green_list(
    key: int,
    vocabulary: int,
    *,
    gamma: Scalar = 0.25,
    delta: Scalar = 2.0,
    width: int = 1,
    payload: Sequence[int] | None = None,
) -> GreenList:
    """Make a share gamma of the tokens likelier, chosen anew by the tokens before. Also known as: KGW (Kirchenbauer).

    Each token is green with probability gamma by itself, where the paper takes exactly gamma of the vocabulary; so the
    law of unmarked text is exactly binomial.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        vocabulary: number of tokens.
        gamma: () in (0, 1), the share.
        delta: () ≥ 0, added to their logits. At 0 logits stay as they are, bit for bit.
        width: tokens before that choose with the token, 0 … 16. A change of one token of a text costs width + 1
            choices.
        payload: digits from 0 … ⌊1/gamma⌋ − 1, which `text_detection.read_payload` reads back.

    Raises:
        ValueError: for numbers out of range.

    References:
        Kirchenbauer et al., 2023, algorithm 2; Yoo et al., 2024, for the payload (both from memory).
    """
    _check(vocabulary, width)
    checks.in_range("gamma", gamma, 0.0, 1.0, open_low=True, open_high=True)
    checks.in_range("delta", delta, 0.0, math.inf, open_high=True)
    digits = None
    if payload is not None:
        if len(payload) == 0:
            raise ValueError("payload has no digits: leave it out")
        for digit in payload:
            checks.integer("a digit of payload", digit, 0, colours(gamma) - 1)
        digits = np.array(payload, np.uint32)
    return GreenList(keyed_hash.key(key), vocabulary, width, gamma, delta, digits)


def unigram(key: int, vocabulary: int, *, gamma: Scalar = 0.5, delta: Scalar = 2.0) -> GreenList:
    """One green list for the whole text: it survives changes best, and is learned from marked text most easily.

    Each distinct token is one choice, however often it stands, so long texts are needed.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        vocabulary: number of tokens.
        gamma: () in (0, 1), the share of green tokens.
        delta: () ≥ 0, added to their logits.

    Raises:
        ValueError: for numbers out of range.

    References:
        Zhao et al., 2023 (from memory).
    """
    return green_list(key, vocabulary, gamma=gamma, delta=delta, width=0)


def self_hash(key: int, vocabulary: int, *, gamma: Scalar = 0.25, delta: Scalar = 2.0, width: int = 3) -> GreenList:
    """Let the token itself and one of the `width` before it choose: that with the least hash.

    A change of one of the tokens before moves the choice with probability 1 / (width + 1) alone.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        vocabulary: number of tokens.
        gamma: () in (0, 1), the share of green tokens.
        delta: () ≥ 0, added to their logits.
        width: tokens before, 1 … 16.

    Raises:
        ValueError: for numbers out of range.

    References:
        Kirchenbauer et al., 2024, anchored minimum hash (from memory).
    """
    checks.integer("width", width, 1, LONGEST)
    return replace(green_list(key, vocabulary, gamma=gamma, delta=delta, width=width), robust=True)


def gumbel(key: int, vocabulary: int, *, width: int = 4) -> Gumbel:
    """Draw each token by the key in place of chance: over keys, its law is the model's.

    Also known as: Gumbel watermark (Aaronson), exponential minimum sampling.

    The token is argmax over v of log p(v) − log(−log u(v)). Where the same tokens stood before earlier in the text, the
    text is drawn by chance, since the key would draw the same again.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        vocabulary: number of tokens.
        width: tokens before that choose with the token, 1 … 16.

    Raises:
        ValueError: for numbers out of range.

    References:
        Aaronson and Kirchner, 2022 (from memory).
    """
    _check(vocabulary, width, 1)
    return Gumbel(keyed_hash.key(key), vocabulary, width)


def tournament(key: int, vocabulary: int, *, layers: int = 30, width: int = 4) -> Tournament:
    """Let the key choose each token by a knock-out of `layers` rounds. Also known as: tournament sampling (SynthID).

    Over keys, the law of each token is the model's. A round turns p(v) into p(v) (1 + g(v) − Σ p g): the winner of two
    draws, of which the one with the larger g wins. Repeated contexts are drawn by chance, as with `gumbel`.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        vocabulary: number of tokens.
        layers: rounds, 1 … 31.
        width: tokens before that choose with the token, 1 … 16.

    Raises:
        ValueError: for numbers out of range.

    References:
        Dathathri et al., 2024, non-distortionary two-candidate tournaments (from memory).
    """
    _check(vocabulary, width, 1)
    checks.integer("layers", layers, 1, 31)
    return Tournament(keyed_hash.key(key), vocabulary, width, layers)


def threshold(gamma: Scalar) -> Array:
    """The share in steps of 2⁻³², equal wherever it is computed."""
    return (jnp.asarray(gamma, jnp.float32) * jnp.float32(2.0**32)).astype(jnp.uint32)


def places(state: State, digits: int) -> Array:
    """Which digit of the payload a choice carries."""
    return keyed_hash.word(keyed_hash.taken(state, _PLACE)) % jnp.uint32(digits)


def green_share(gamma: float, delta: float) -> float:
    """Share of green tokens of equal logits, the most that delta gives: gamma e^delta / (1 + (e^delta − 1) gamma)."""
    return gamma * math.exp(delta) / (1 + math.expm1(delta) * gamma)


def _check(vocabulary: int, width: int, least: int = 0) -> None:
    checks.integer("vocabulary", vocabulary, 1, 2**31 - 1)
    checks.integer("width", width, least, LONGEST)


def _last(context: Written, width: int) -> tuple[Int[Array, "b width"], Bool[Array, "b"]]:
    tokens, length = jnp.asarray(context.tokens), jnp.asarray(context.length)
    at = length[:, None] - width + jnp.arange(width)[None]
    return jnp.take_along_axis(tokens, jnp.maximum(at, 0), 1), length >= width


def _repeated(context: Written, width: int) -> Bool[Array, "b 1"]:
    """Whether the last tokens of a text stand in it earlier too."""
    tokens, length = jnp.asarray(context.tokens), jnp.asarray(context.length)
    before, _ = _last(context, width)
    starts = max(tokens.shape[1] - width, 0)
    alike = jnp.arange(starts)[None] < length[:, None] - width
    for offset in range(width):
        alike &= tokens[:, offset : offset + starts] == before[:, offset, None]
    return jnp.any(alike, 1, keepdims=True)


def _binomial(hits: Numeric, count: Numeric, share: float) -> tuple[Numeric, Numeric]:
    z = (hits - share * count) / np.sqrt(np.maximum(count, 1) * share * (1 - share))
    return z, np.where(count > 0, scipy.stats.binom.sf(hits - 1, count, share), 1.0)
