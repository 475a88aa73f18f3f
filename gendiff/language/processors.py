"""Processors of logits, between a model's logits and the sampled distribution: temperature, top-k, top-p and others.

A processor is a record, (logits, context) -> logits. The distribution that is sampled is softmax(processor(logits,
context)); −inf is probability 0. Their numbers are data, () or one per text (b,), so that one compile serves all
settings. No processor sorts the vocabulary.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, DType, Scalar

Ids = ArrayLike | Sequence[int | np.integer] | Sequence[Sequence[int]]
"""Ids of tokens: (k,), or (b, k) for each text."""


@records.record
class Context:
    """The texts that a processor reads beside the logits.

    Attributes:
        tokens: (b, s) each text so far, its prompt and then what was generated, behind which −1 stands.
        length: (b,) how many tokens that is.
        generated: (b,) how many of them were generated: the number of the token that is to come, from 0 on.
    """

    tokens: jax.Array
    length: jax.Array
    generated: jax.Array


Processor = Callable[[jax.Array, Context], jax.Array]
"""(logits (b, v), context) -> logits (b, v)."""


@records.record
class Chain:
    """One processor after the other. Built by `chain`."""

    processors: tuple[Processor, ...]

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        for processor in self.processors:
            logits = processor(logits, context)
        return logits


def chain(*processors: Processor) -> Chain:
    """One processor after the other, the first one first. Without any, logits stay as they are.

    With the temperature first, as in `transformers`, top-p and min-p cut what it has flattened.

    Args:
        *processors: each (logits, context) -> logits.
    """
    for processor in processors:
        if not callable(processor):
            raise TypeError(f"a processor is a function of (logits, context), got {processor!r}")
    return Chain(processors)


@records.record
class Temperature:
    """Built by `temperature`."""

    value: Scalar

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        value = _column(self.value, logits)
        best = arrays.argmax(logits)[:, None] == jnp.arange(logits.shape[1])[None]
        greedy = jnp.where(best, logits - jnp.max(logits, 1, keepdims=True), -jnp.inf)  # NaN stays NaN
        return jnp.where(value == 0, greedy, logits / jnp.where(value == 0, 1.0, value))


def temperature(value: Scalar) -> Temperature:
    """Divide the logits. At 0 all probability is on the largest one, the first of equals: greedy decoding, as data.

    Args:
        value: () or (b,), ≥ 0.

    Raises:
        ValueError: for a concrete negative value.
    """
    checks.in_range("temperature", value, 0.0, math.inf, open_high=True)
    return Temperature(value)


@records.record
class TopK:
    """Built by `top_k`."""

    number: Count

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        needed = jnp.maximum(_column(self.number, logits, jnp.int32), 1)
        return _largest(logits, jnp.ones(logits.shape, jnp.int32), needed)


def top_k(number: Count) -> TopK:
    """Keep the largest logits. All of those that equal the last one kept are kept too.

    Args:
        number: () or (b,) how many, ≥ 1; beyond the vocabulary all are kept.

    Raises:
        ValueError: for a concrete number below 1.

    References:
        Fan et al., 2018, section 5.1 (from memory).
    """
    checks.in_range("number", number, 1.0, math.inf)
    return TopK(number)


@records.record
class TopP:
    """Built by `top_p`."""

    share: Scalar

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        share = _column(self.share, logits)
        least = jnp.finfo(logits.dtype).tiny  # the largest logit alone is above this
        truncated = _largest(logits, jax.nn.softmax(logits, 1), jnp.maximum(share, least))
        return jnp.where(share >= 1, logits, truncated)


def top_p(share: Scalar) -> TopP:
    """Keep the fewest tokens that hold this share of the probability. Also known as: nucleus sampling (top-p).

    The likeliest come first. Tokens as likely as the last one stay too.

    Args:
        share: () or (b,) in [0, 1]. 0 keeps the likeliest token, 1 all.

    Raises:
        ValueError: for a concrete share outside [0, 1].

    References:
        Holtzman et al., 2020, section 3.1 (from memory).
    """
    checks.in_range("share", share, 0.0, 1.0)
    return TopP(share)


@records.record
class MinP:
    """Built by `min_p`."""

    share: Scalar

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        floor = jnp.max(logits, 1, keepdims=True) + jnp.log(_column(self.share, logits))
        return jnp.where(logits < floor, -jnp.inf, logits)


def min_p(share: Scalar) -> MinP:
    """Keep the tokens whose probability is at least this share of the largest one.

    Args:
        share: () or (b,) in [0, 1]. 0 keeps all.

    Raises:
        ValueError: for a concrete share outside [0, 1].

    References:
        Nguyen et al., 2024, section 3 (from memory).
    """
    checks.in_range("share", share, 0.0, 1.0)
    return MinP(share)


@records.record
class RepetitionPenalty:
    """Built by `repetition_penalty`."""

    value: Scalar

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        value = _column(self.value, logits)
        lower = jnp.where(logits > 0, logits / value, logits * value)
        return jnp.where(_among(context.tokens, logits), lower, logits)


def repetition_penalty(value: Scalar) -> RepetitionPenalty:
    """Divide positive logits of tokens that the text has already, its prompt included, and multiply negative ones.

    Args:
        value: () or (b,) > 0. 1 changes nothing.

    Raises:
        ValueError: for a concrete value that is not positive.

    References:
        Keskar et al., 2019, section 4.1 (from memory).
    """
    checks.in_range("value", value, 0.0, math.inf, open_low=True, open_high=True)
    return RepetitionPenalty(value)


@records.record
class Banned:
    """Built by `banned` and by `min_tokens`."""

    ids: jax.Array
    until: Count | None = None

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        now = _among(jnp.asarray(self.ids), logits)
        if self.until is not None:
            now &= context.generated[:, None] < _column(self.until, logits, jnp.int32)
        return jnp.where(now, -jnp.inf, logits)


def banned(ids: Ids) -> Banned:
    """Never generate these tokens.

    Args:
        ids: (k,) integers, or (b, k) for each text; −1 stands for none.
    """
    return Banned(_ids(ids))


def min_tokens(number: Count, stop: Ids) -> Banned:
    """Never generate a token that stops before this many were generated.

    Args:
        number: () or (b,), ≥ 0.
        stop: (k,) integers, or (b, k) for each text, as of `generate`; −1 stands for none.
    """
    checks.in_range("number", number, 0.0, math.inf)
    return Banned(_ids(stop), number)


@records.record
class Allowed:
    """Built by `allowed`."""

    rule: Callable[[Context], jax.Array]

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        mask: Bool[Array, "b v"] = self.rule(context)
        if mask.shape not in (logits.shape, (1, *logits.shape[1:])) or mask.dtype != bool:
            raise ValueError(
                f"the rule of allowed tokens answers {mask.dtype}{list(mask.shape)}, but logits are "
                f"{list(logits.shape)}"
            )
        return jnp.where(mask, logits, -jnp.inf)


def allowed(rule: Callable[[Context], jax.Array]) -> Allowed:
    """Constrain the text: generate only what the rule allows. A text to which it allows nothing ends there.

    Args:
        rule: context -> (b or 1, v) which tokens may come next. A function is static; a record's arrays are data.
    """
    if not callable(rule):
        raise TypeError(f"rule must be a function of the context, got {rule!r}")
    return Allowed(rule)


def _column(value: Scalar, logits: Array, dtype: DType | None = None) -> Array:
    """A number () or (b,) as (1, 1) or (b, 1)."""
    array = jnp.asarray(value, dtype or logits.dtype)
    if array.shape not in ((), logits.shape[:1]):
        raise ValueError(f"a number () or one per text {logits.shape[:1]} is needed, got shape {array.shape}")
    return array.reshape(-1, 1)


def _ids(ids: Ids) -> Array:
    values = jnp.asarray(ids, jnp.int32) if np.size(ids) == 0 else jnp.asarray(ids)
    if values.ndim not in (1, 2) or not jnp.issubdtype(values.dtype, jnp.integer):
        raise ValueError(f"ids must be integers (k,) or (b, k), got {values.dtype}{list(values.shape)}")
    return values


def _among(ids: Array, logits: Array) -> Bool[Array, "#b v"]:
    """Which of the vocabulary is among ids (k,) or (b, k); −1 is none."""
    rows = ids if ids.ndim == 2 else ids[None]
    places = jnp.where(rows < 0, logits.shape[1], rows)
    return jax.vmap(lambda at: jnp.zeros(logits.shape[1], bool).at[at].set(True, mode="drop"))(places)


def _largest(logits: Array, weights: Array, needed: Array) -> Array:
    """The fewest logits (b, v), the largest first, whose weights sum to what is needed (b, 1); −inf for the rest.

    Floats in their order are integers in theirs, so the smallest logit that is kept is found bit by bit: as many sums
    as a float has bits.
    """
    ordered = _ordered(logits)
    bits = 8 * ordered.dtype.itemsize
    one = jnp.asarray(1, ordered.dtype)

    def longer(number: Array, threshold: Array) -> Array:
        candidate = threshold | (one << (bits - 1 - number).astype(ordered.dtype))
        enough = jnp.sum(jnp.where(ordered >= candidate, weights, 0), 1, keepdims=True) >= needed
        return jnp.where(enough, candidate, threshold)

    threshold = jax.lax.fori_loop(0, bits, longer, jnp.zeros((logits.shape[0], 1), ordered.dtype))
    return jnp.where(ordered >= threshold, logits, -jnp.inf)


def _ordered(values: Array) -> Array:
    """Floats as unsigned integers of the same order."""
    wide = arrays.widened(values)
    wide = jnp.where(wide == 0, 0.0, wide)  # one zero, not two
    bits = 8 * wide.dtype.itemsize
    plain = jax.lax.bitcast_convert_type(wide, jnp.uint32 if bits == 32 else jnp.uint64)
    sign = jnp.asarray(1, plain.dtype) << jnp.asarray(bits - 1, plain.dtype)
    return jnp.where(plain & sign, ~plain, plain | sign)
