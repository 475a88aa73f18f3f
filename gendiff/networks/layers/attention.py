"""Scaled dot-product attention by equal implementations; each backend has its fastest as the default."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.networks import fast
from gendiff.networks.fast import cpu_attention
from gendiff.networks.layers.compute import Compute, dense
from gendiff.networks.layers.norms import GroupNorm


@dataclasses.dataclass(frozen=True)
class Scores:
    """How products of queries and keys become scores.

    Args:
        scalar: they are divided by its root (query_pre_attn_scalar). None: the head size.
        cap: above 0: c tanh(score / c) stands for a score, and none is larger than c (soft capping). None: they stay.

    References:
        Gemma team, 2024 (Gemma 2), section 2, for the cap (from memory).
    """

    scalar: float | None = None
    cap: float | None = None

    def __post_init__(self) -> None:
        for name in ("scalar", "cap"):
            if getattr(self, name) is not None:
                checks.in_range(name, getattr(self, name), 0.0, float("inf"), open_low=True)


def attend(
    query: Float[Array, "b s heads size"],
    key: Float[Array, "b k groups size"],
    value: Float[Array, "b k groups size"],
    mask: Bool[ArrayLike, "#b #heads #s k"] | None = None,
    *,
    bias: Float[Array, "#b heads #s k"] | None = None,
    scores: Scores = Scores(),
    implementation: str = "auto",
    precision: str | None = None,
) -> Float[Array, "b s heads size"]:
    """Compute softmax(query · key / sqrt(size) + bias) · value, accumulated in at least float32.

    Fewer groups of keys and values than heads are grouped-query attention (GQA).

    Args:
        query: (b, s, heads, size).
        key: (b, k, groups, size): each serves heads / groups queries that stand side by side.
        value: (b, k, groups, size).
        mask: which keys each query sees; a query that sees none gets 0. None: all of them.
        bias: what is added to the scores, as relative positions are. None: nothing.
        scores: how they follow from products, before the mask.
        implementation: "heads_first", "chunked", "xla" or "cudnn", which are equal; the last two have no cap. "auto" is
            "chunked" on one CPU; "cudnn" on a GPU for 16-bit floats without a stated precision, in heads whose size
            is a multiple of 8 up to 128, and for even lengths where there is a mask or a bias; "xla" otherwise on
            accelerators; "heads_first" where that has no such precision or cap. "cudnn" has no forward-mode derivative;
            the others have.
        precision: of the products: None, "default", "high" or "highest".

    Raises:
        ValueError: for an unknown implementation, for a precision with "cudnn", a cap with it or "xla", and where the
            groups do not divide the heads, a mask differs between heads that share keys, or there is a bias for them.

    References:
        Vaswani et al., 2017, Eq. 1; Ainslie et al., 2023, section 2.2, for groups (from memory).
    """
    checks.choice("attention", implementation, ("auto", *IMPLEMENTATIONS))
    allowed = None if mask is None else jnp.asarray(mask)
    added = allowed is not None or bias is not None
    chosen = _fastest(query, key, added, precision, scores) if implementation == "auto" else implementation
    (b, s, heads, size), groups = query.shape, key.shape[2]
    if groups != heads and (heads % groups or (allowed is not None and allowed.shape[1] != 1)):
        raise ValueError(
            f"{heads} heads share {groups} keys and values: a divisor of the heads is needed, and one mask for all of "
            "them"
        )
    if groups != heads and bias is not None:
        raise ValueError(
            f"a bias is for heads with keys of their own, and here {heads} heads share {groups}: repeat keys and values"
        )
    if scores.cap is not None and chosen in ("xla", "cudnn"):
        raise ValueError(f"attention = {chosen!r} has no cap of scores: use 'auto', 'heads_first' or 'chunked'")
    if scores.scalar is not None:
        query = query * (size / scores.scalar) ** 0.5
    cap = {} if scores.cap is None else {"cap": scores.cap}
    if s == 1 and chosen in ("heads_first", "chunked") and bias is None:
        return cpu_attention.one_query_attention(query, key, value, allowed, **cap)
    if groups == heads:
        return IMPLEMENTATIONS[chosen](query, key, value, allowed, precision, bias, **cap)
    # queries of one group are further tokens to it, so that no key is copied
    each = heads // groups
    query = query.reshape(b, s, groups, each, size).swapaxes(2, 3).reshape(b, s * each, groups, size)
    if allowed is not None and allowed.shape[2] > 1:
        allowed = jnp.repeat(allowed, each, 2)
    mixed = IMPLEMENTATIONS[chosen](query, key, value, allowed, precision, None, **cap)
    return mixed.reshape(b, s, each, groups, size).swapaxes(2, 3).reshape(b, s, heads, size)


def causal(
    query_positions: Int[ArrayLike, "b s"],
    key_positions: Int[ArrayLike, "b k"],
    window: int | None = None,
    sinks: int = 0,
) -> Bool[Array, "b 1 s k"]:
    """The mask by which each query sees the keys at its own position and before it.

    A key at a negative position is empty: none sees it.

    Args:
        query_positions: (b, s).
        key_positions: (b, k).
        window: how many keys a query sees, itself included. None: all.
        sinks: how many of the first positions it sees beside those of the window.

    References:
        Beltagy et al., 2020, section 3.1, for the window; Xiao et al., 2023, section 3.2, for sinks (both from memory).
    """
    queries, keys = jnp.asarray(query_positions)[:, None, :, None], jnp.asarray(key_positions)[:, None, None, :]
    visible = (keys >= 0) & (keys <= queries)
    return visible if window is None else visible & ((keys > queries - window) | (keys < sinks))


class ImageAttention(nn.Module):
    """Residual self-attention over the pixels of a feature map, group-normalised first; it starts as the identity.

    Args:
        heads: their number, which divides the channels.
        groups: of the norm, which divide the channels.
        compute: how to compute.
        epsilon: what the norm adds to a variance.

    References:
        Dhariwal & Nichol, 2021, section 3.
    """

    heads: int
    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Add to each pixel what it attends to.

        Raises:
            ValueError: when the heads do not divide the channels.
        """
        b, h, w, c = x.shape
        if c % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide the {c} channels of {self.name}")
        y = fast.recomputed(ImageAttention._projected)(self, x)
        query, key, value = jnp.split(y.reshape(b, h * w, 3 * self.heads, c // self.heads), 3, 2)
        y = attend(query, key, value, implementation=self.compute.attention, precision=self.compute.precision)
        return x + dense(c, self.compute, "output", zero=True)(y.reshape(b, h, w, c))

    def _projected(self, x: jax.Array) -> jax.Array:
        return dense(3 * x.shape[-1], self.compute, "qkv")(
            GroupNorm(self.groups, self.compute, self.epsilon, name="norm")(x)
        )


def _fastest(query: Array, key: Array, added: bool, precision: str | None, scores: Scores) -> str:
    backend = jax.default_backend()
    if backend == "gpu" and precision is None and scores.cap is None and suits_cudnn(query, key, added):
        return "cudnn"
    if backend == "cpu":  # devices may split samples and heads, which chunks would gather
        return "chunked" if jax.device_count() == 1 else "heads_first"
    return "xla" if precision is None and scores.cap is None else "heads_first"


def suits_cudnn(query: Array | jax.ShapeDtypeStruct, key: Array | jax.ShapeDtypeStruct, added: bool) -> bool:
    """Whether JAX's cuDNN attention takes these shapes, on every GPU from Ampere on and in training too.

    added: whether there is a mask or a bias, with which training needs even lengths.
    """
    in_halves = query.dtype in (jnp.bfloat16, jnp.float16) and key.dtype == query.dtype
    size, even = query.shape[-1], query.shape[1] % 2 == 0 and key.shape[1] % 2 == 0
    return in_halves and size % 8 == 0 and size <= 128 and (even or not added)


def _xla(
    query: Array, key: Array, value: Array, mask: Array | None, precision: str | None, bias: Array | None
) -> Array:
    with jax.default_matmul_precision(precision or jax.config.jax_default_matmul_precision):
        mixed = jax.nn.dot_product_attention(query, key, value, bias, mask, implementation="xla")
    return _nothing_seen(mixed, mask)


def _cudnn(
    query: Array, key: Array, value: Array, mask: Array | None, precision: str | None, bias: Array | None
) -> Array:
    if precision is not None:
        raise ValueError(
            f"precision = {precision!r} means nothing to attention = 'cudnn', which computes in 16 bits; use 'xla' or "
            "None"
        )
    added = None if bias is None else bias.astype(query.dtype)
    # cuDNN has no mask that all queries share
    rows = None if mask is None else jnp.broadcast_to(mask, (*mask.shape[:2], query.shape[1], mask.shape[3]))
    mixed = jax.nn.dot_product_attention(query, key, value, added, rows, implementation="cudnn")
    return _nothing_seen(mixed, mask)


def _nothing_seen(mixed: jax.Array, mask: jax.Array | None) -> jax.Array:
    return mixed if mask is None else jnp.where(mask.any(-1)[..., None].swapaxes(1, 2), mixed, 0)


IMPLEMENTATIONS: dict[str, Callable[..., jax.Array]] = {
    "heads_first": cpu_attention.heads_first_attention,
    "chunked": cpu_attention.chunked_attention,
    "xla": _xla,
    "cudnn": _cudnn,
}
