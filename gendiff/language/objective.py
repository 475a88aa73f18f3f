"""The language Loss: cross-entropy of each next token."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Loss, Metrics, Params, PyTree


@records.record
class Texts:
    """A batch of texts.

    Attributes:
        tokens: (b, s) ids, behind which −1 may stand.
        weight: (b, s) how much each token counts as a target; the first one of a text is none. None: 1.
        bytes: (b, s) how many bytes of text each token stands for, for the metric `bits_per_byte`. None: not known.
        segments: (b, s) ids of the texts that are packed into each row, such as those of
            `preferences.instruction.packed`. The first token of each is no target. None: a row is one text.
    """

    tokens: ArrayLike
    weight: ArrayLike | None = None
    bytes: ArrayLike | None = None
    segments: ArrayLike | None = None


@records.record
class NextTokenLoss:
    """The loss of `next_token`."""

    predict: Callable[..., tuple[PyTree, ...]] = records.static()
    z_loss: float = records.static()
    stochastic: bool = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Texts) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        if not isinstance(batch, Texts):
            raise TypeError(f"batch is a {type(batch).__name__}: pass language.Texts(tokens)")
        if batch.tokens.ndim != 2 or batch.tokens.shape[1] < 2:
            raise ValueError(
                f"tokens has shape {batch.tokens.shape}: (texts, tokens) with at least two tokens is needed"
            )
        for name, values in (("weight", batch.weight), ("bytes", batch.bytes), ("segments", batch.segments)):
            if values is not None:
                checks.same_shape("tokens", batch.tokens, name, values)
        chance = {"key": key} if self.stochastic else {}
        # behind cache and every
        packed = () if batch.segments is None else (None, True, jnp.asarray(batch.segments)[:, :-1])
        logits = self.predict(params, batch.tokens[:, :-1], *packed, **chance)[0]
        target = batch.tokens[:, 1:]
        weight = jnp.asarray(target >= 0, arrays.at_least_float32(logits.dtype))
        if batch.weight is not None:
            weight = weight * jnp.asarray(batch.weight)[:, 1:].astype(weight.dtype)
        if batch.segments is not None:
            weight = weight * (batch.segments[:, 1:] == batch.segments[:, :-1]).astype(weight.dtype)
        loss, metrics = surprise(logits, target, weight, self.z_loss)
        if batch.bytes is not None:
            per_token = _mean(weight, jnp.asarray(batch.bytes)[:, 1:].astype(weight.dtype))
            metrics["bits_per_byte"] = arrays.safe_divide(metrics["nll"], per_token) / math.log(2)
        return loss, metrics


def surprise(
    logits: Float[Array, "*rows v"], target: Int[ArrayLike, "*rows"], weight: Float[Array, "*rows"], z_loss: float = 0.0
) -> tuple[Float[Array, ""], Metrics]:
    """Weighted mean of −log p(target), in nats, with the metrics `nll` and `accuracy`; 0 where nothing has weight.

    Args:
        logits: (…, v). They may be no number where the weight is 0.
        target: (…) ids, at least 0 where the weight is not 0.
        weight: (…) at least 0.
        z_loss: the factor of the mean of log² Z, which is added to the loss.
    """
    wide = jnp.where(weight[..., None] > 0, logits.astype(weight.dtype), 0)
    normaliser = jax.nn.logsumexp(wide, -1)
    nll = _mean(weight, normaliser - jnp.take_along_axis(wide, jnp.maximum(target, 0)[..., None], -1)[..., 0])
    metrics = {"nll": nll, "accuracy": _mean(weight, (arrays.argmax(wide) == target).astype(weight.dtype))}
    return nll + z_loss * _mean(weight, jnp.square(normaliser)), metrics


def _mean(weight: Array, values: Array) -> Array:
    return arrays.safe_divide(jnp.sum(weight * values), jnp.sum(weight))


def next_token(
    predict: Callable[..., tuple[PyTree, ...]], *, z_loss: float = 0.0, stochastic: bool | None = None
) -> Loss:
    """Mean over tokens of −log p(token | earlier tokens), in nats. Also known as: cross-entropy, teacher forcing.

    Args:
        predict: the network, (params, tokens (b, s)) -> (logits (b, s, v), …), such as
            `networks.pure(networks.LanguageModel(…))`. For a batch with segments it is called as (params, tokens, None,
            True, segments).
        z_loss: ≥ 0, the factor of the mean of log² Z, which keeps the logits' normaliser Z near 1.
        stochastic: whether the network gets a fresh `key=` at every call. None asks its attribute `stochastic`.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics), for a batch `Texts`. Metrics are `nll` (nats per token),
        `accuracy`, and `bits_per_byte` where the batch knows its bytes: the sum of nll over that of bytes, which does
        not depend on the tokenizer.

    Raises:
        ValueError: for a negative `z_loss`.

    References:
        Radford et al., 2018, Eq. 1; Chowdhery et al., 2022, section 5, for the z-loss; Gao et al., 2020, section 3.1,
        for bits per byte (from memory).
    """
    checks.in_range("z_loss", z_loss, 0.0, math.inf, open_high=True)
    return NextTokenLoss(
        predict, float(z_loss), getattr(predict, "stochastic", False) if stochastic is None else stochastic
    )
