"""Fast attention on a CPU: heads stand before tokens, and derivatives of large weights are computed in chunks.

A chunk stays in the processor's cache. Every function here equals the plain formula, and tests compare the two.
"""

import functools
from collections.abc import Callable

import jax
import jax.export
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array

from gendiff.core import arrays
from gendiff.core.types import PyTree

FEW = 8
"""Keys per query from which attention is that of few queries, such as the newest token's to all that is cached."""

CHUNK = 2**19
"""Weights that are computed at once: 2 MiB of float32, which stay in the cache of a core."""
LARGE = 2**20
"""Weights from which they are computed in chunks."""

MIXED = "mixed values and sums of weights"
"""The name that marks them in a traced program."""


def heads_first_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    precision: str | None,
    bias: Array | None,
    cap: float | None = None,
) -> Array:
    """Attention of (b, s, heads, size) that puts heads before tokens inside, which is the fastest on a CPU.

    `bias` is added to the scores, which then stay below `cap`.
    """
    query, key, value = (array.transpose(0, 2, 1, 3) for array in (query, key, value))
    # the weights are as many as pairs of tokens: the backward pass computes them again rather than keep them
    mixed: jax.Array = jax.checkpoint(_formula(query, key, precision, cap))(query, key, value, mask, bias)
    return mixed.transpose(0, 2, 1, 3)


def chunked_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    precision: str | None,
    bias: Array | None,
    cap: float | None = None,
) -> Array:
    """`heads_first_attention` whose derivative computes large weights in chunks.

    The processor finds a chunk in its cache. A chunk is some samples, some heads of a sample, or some queries of a
    head. Weights are large if there are more than `LARGE` in all samples and heads together. Without a derivative
    nothing is cut: XLA keeps no weights then, and a loop would only cost time. In a program that is exported for any
    number of samples, those of one sample are counted, and one for any number of tokens has no chunks.
    """
    (b, s, heads, _), keys = query.shape, key.shape[1]
    weights = _known(b) * heads * s * keys
    if jax.export.is_symbolic_dim(weights) or weights <= LARGE:
        return heads_first_attention(query, key, value, mask, precision, bias, cap)
    query, key, value = (array.transpose(0, 2, 1, 3) for array in (query, key, value))
    return _chunked(precision, cap, query, key, value, mask, bias).transpose(0, 2, 1, 3)


def one_query_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None, cap: float | None = None
) -> jax.Array:
    """Attention of one query of each text, (b, 1, heads, size), to (b, k, groups, size) as a cache holds them.

    Sums in place of products of matrices: XLA:CPU reads every key and value once and moves none of them.

    Args:
        query: of the newest token; heads / groups queries that stand side by side share a group of keys.
        key: (b, k, groups, size).
        value: (b, k, groups, size).
        mask: (#b, 1 or heads, 1, k), or None.
        cap: of the scores, or None.
    """
    accumulate = jnp.promote_types(query.dtype, jnp.float32)
    groups = key.shape[2]

    def mixed(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None) -> jax.Array:
        query = (
            query.astype(accumulate).reshape(query.shape[0], 1, groups, -1, query.shape[-1]) * query.shape[-1] ** -0.5
        )
        # (b, k, groups, heads of each)
        scores = _capped(jnp.sum(query * key[:, :, :, None].astype(accumulate), -1), cap)
        if mask is not None:
            mask = mask[:, :, 0].swapaxes(1, 2)
            mask = mask.reshape(*mask.shape[:2], *((1, 1) if mask.shape[2] == 1 else scores.shape[2:]))
        weights = _exponentials(scores, mask, 1)
        total = weights.sum(1)[..., None]
        summed = jnp.sum(
            weights.astype(value.dtype).astype(accumulate)[..., None] * value[:, :, :, None].astype(accumulate), 1
        )
        return (summed / total if mask is None else arrays.safe_divide(summed, total)).astype(value.dtype)

    result: jax.Array = jax.checkpoint(mixed)(query, key, value, mask)
    return result.reshape(query.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _chunked(
    precision: str | None,
    cap: float | None,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    bias: Array | None,
) -> Array:
    """Attention of (b, heads, s, size) without a derivative."""
    return _formula(query, key, precision, cap)(query, key, value, mask, bias)


@_chunked.defjvp
def _chunked_tangent(
    precision: str | None, cap: float | None, primals: tuple[PyTree, ...], tangents: tuple[PyTree, ...]
) -> tuple[Array, Array]:
    # the rule is the derivative of the same formula in chunks, so that it has all further derivatives too
    policy = jax.checkpoint_policies.save_only_these_names(MIXED)
    function = jax.checkpoint(_formula(primals[0], primals[1], precision, cap), policy=policy)
    return jax.jvp(functools.partial(_in_chunks, function), primals, tangents)


def _in_chunks(function: Callable[..., Array], query: Array, key: Array, *others: Array | None) -> Array:
    """Call the function on some samples, heads and queries after the others."""
    samples, heads, queries, _ = query.shape
    sizes = chunk_sizes(_known(samples), heads, queries, key.shape[2])
    for axis in (2, 1, 0):  # one loop in the other
        if jax.export.is_symbolic_dim(query.shape[axis]) or sizes[axis] < query.shape[axis]:
            function = functools.partial(_along, function, axis, sizes[axis])
    return function(query, key, *others)


def chunk_sizes(samples: int, heads: int, queries: int, keys: int) -> tuple[int, int, int]:
    """How many samples, heads and queries a chunk has: as many as `CHUNK` allows and divide what there is."""
    some_queries = _divisor(queries, CHUNK // keys)
    some_heads = _divisor(heads, CHUNK // (queries * keys)) if some_queries == queries else 1
    return _divisor(samples, CHUNK // (heads * queries * keys)) if some_heads == heads else 1, some_heads, some_queries


def _known(samples: object) -> int:
    """The number of samples, 1 where a program is exported for any number."""
    return samples if isinstance(samples, int) else 1


def _divisor(length: int, most: int) -> int:
    """Return the largest divisor of the length that is at most `most`.

    Where that divisor is less than a quarter of `most`, it is the length itself.
    """
    largest = max(number for number in range(1, max(min(most, length), 1) + 1) if length % number == 0)
    return largest if 4 * largest >= min(most, length) else length


def _along(function: Callable[..., jax.Array], axis: int, size: int, *arrays: jax.Array | None) -> jax.Array:
    """Call the function of (query, key, value, mask, bias) on `size` entries of an axis after the others."""

    def cut(array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array.reshape(*array.shape[:axis], -1, size, *array.shape[axis + 1 :]), axis, 0)

    looked_at = (1, 2) if axis == 2 else ()  # every query looks at all keys and values
    parts = {
        at: cut(array)
        for at, array in enumerate(arrays)
        if array is not None and array.shape[axis] != 1 and at not in looked_at
    }
    results = jnp.moveaxis(
        jax.lax.map(lambda some: function(*(some.get(at, full) for at, full in enumerate(arrays))), parts), 0, axis
    )
    return results.reshape(*results.shape[:axis], -1, *results.shape[axis + 2 :])


def _formula(query: jax.Array, key: jax.Array, precision: str | None, cap: float | None) -> Callable[..., jax.Array]:
    """Attention of these (b, heads, tokens, size) or of a chunk of them."""
    return functools.partial(_mixed, precision=precision, cap=cap, few=FEW * query.shape[2] <= key.shape[2])


def _mixed(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    bias: Array | None,
    precision: str | None,
    cap: float | None,
    few: bool,
) -> Array:
    accumulate = jnp.promote_types(query.dtype, jnp.float32)
    query = query * query.shape[-1] ** -0.5
    if few:  # a product with a row per key is the faster one
        scores = jnp.einsum(
            "bhkd,bhqd->bhkq", key, query, precision=precision, preferred_element_type=accumulate
        ).swapaxes(2, 3)
    else:
        scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, precision=precision, preferred_element_type=accumulate)
    if bias is not None:
        scores = scores + bias.astype(accumulate)
    weights = _exponentials(_capped(scores, cap), mask, -1)
    # for many queries a column of ones makes the sum of the weights part of the product; for few it would copy all
    # values
    summed = value if few else jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)
    mixed = jnp.einsum(
        "bhqk,bhkd->bhqd", weights.astype(value.dtype), summed, precision=precision, preferred_element_type=accumulate
    )
    mixed = checkpoint_name(mixed, MIXED)
    mixed, total = (mixed, weights.sum(-1, keepdims=True)) if few else (mixed[..., :-1], mixed[..., -1:])
    mixed = mixed / total if mask is None else arrays.safe_divide(mixed, total)
    return mixed.astype(value.dtype)


def _capped(scores: jax.Array, cap: float | None) -> jax.Array:
    return scores if cap is None else cap * jnp.tanh(scores / cap)


def _exponentials(scores: jax.Array, mask: jax.Array | None, axis: int) -> jax.Array:
    """Return exp(scores less their largest along the axis of keys), and 0 where the mask hides a score.

    It is a softmax before the division.
    """
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    # the shift cancels, so it needs no derivative
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis, keepdims=True)))
    return weights if mask is None else jnp.where(mask, weights, 0)
