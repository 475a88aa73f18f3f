"""Routing of a mixture of experts: losses and measures of load balance, and an update without a loss."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core.types import Params, Scalar


class Routing(NamedTuple):
    """The routing of one block. Axis e is that of the experts.

    Attributes:
        logits: (b, s, e) of the router, in at least float32.
        chosen: (b, s, e) which experts each token was sent to, whether or not they had room.
        kept: (b, s, e) which of them took it.
        weights: (b, s, e) by which their answers are summed, 0 where they did not take it.
        given: (b, s) False for padding, which is sent nowhere.
    """

    logits: jax.Array
    chosen: jax.Array
    kept: jax.Array
    weights: jax.Array
    given: jax.Array


Layers = Routing | tuple[Routing, ...]
"""One block's, or those of all blocks: `Answer.routing` of a language model."""


def balance_loss(layers: Layers) -> Float[Array, " layers"]:
    """Per block, e · Σ_i f_i P_i: 1 where experts are evenly used, e where one gets all.

    Also known as: auxiliary load-balancing loss.

    f_i is the share of all choices that name expert i, counted before anything is dropped; P_i the mean of its
    probability, of the softmax over all experts. Gradients go through P alone. Blocks are not pooled: opposite
    imbalances of two blocks would cancel.

    Args:
        layers: of one block or several.

    Raises:
        ValueError: for no block.

    References:
        Fedus et al., 2021, Eq. 4 to 6, here with f for any number of choices (from memory).
    """
    return _of_each(
        layers,
        lambda routing: routing.logits.shape[-1] * jnp.sum(_shares(routing.chosen) * _mean(routing, _probabilities)),
    )


def z_loss(layers: Layers) -> Float[Array, " layers"]:
    """Router z-loss per block: the mean over tokens of (log Σ_i exp(logit_i))², which keeps logits small.

    Args:
        layers: of one block or several.

    Raises:
        ValueError: for no block.

    References:
        Zoph et al., 2022, Eq. 5 (from memory).
    """
    return _of_each(
        layers, lambda routing: _mean(routing, lambda block: jnp.square(jax.nn.logsumexp(block.logits, -1)))
    )


def load(layers: Layers) -> Float[Array, "layers e"]:
    """Per block and expert, its share of all choices, whether or not it had room.

    Each row sums to 1, or to 0 without a token.

    Args:
        layers: of one block or several.

    Raises:
        ValueError: for no block.
    """
    return _of_each(layers, lambda routing: _shares(routing.chosen))


def dropped(layers: Layers) -> Float[Array, " layers"]:
    """Per block, the share of all choices whose expert had no room.

    Args:
        layers: of one block or several.

    Raises:
        ValueError: for no block.
    """

    def share(routing: Routing) -> jax.Array:
        chosen = _counts(routing.chosen).sum()
        return (chosen - _counts(routing.kept).sum()) / jnp.maximum(chosen, 1)

    return _of_each(layers, share)


def balanced(
    balance: Float[Array, "*layers e"], load: Float[Array, "*layers e"], rate: Scalar
) -> Float[Array, "*layers e"]:
    """Move the numbers by which experts are chosen, by `rate` each.

    They rise where an expert got less than the mean, and fall where it got more.

    Args:
        balance: what is added to probabilities when experts are chosen, not when their answers are summed.
        load: what each expert got (see `load`).
        rate: of the change.

    References:
        Wang et al., 2024, Algorithm 1 (from memory).
    """
    return balance + jnp.asarray(rate, balance.dtype) * jnp.sign(jnp.mean(load, -1, keepdims=True) - load)


def rebalanced(params: Params, layers: Layers | Float[Array, "layers e"], rate: Scalar) -> Params:
    """Return parameters of a language model whose `balance` has moved in every block (see `balanced`).

    Call it after the step of an optimizer, with what the network answered in that step.

    Args:
        params: of a network with `Experts(bias_balanced=True)`.
        layers: `Answer.routing`, or its `load`, which a loss can give as a metric.
        rate: of the change.
    """
    result = dict(params)
    for number, share in enumerate(layers if isinstance(layers, jax.Array) else load(layers)):
        block = dict(params[f"block_{number}"])
        experts = dict(block["experts"])
        experts["balance"] = balanced(experts["balance"], share.astype(experts["balance"].dtype), rate)
        result[f"block_{number}"] = block | {"experts": experts}
    return result


def _of_each(layers: Layers, function: Callable[[Routing], jax.Array]) -> jax.Array:
    routings = (layers,) if isinstance(layers, Routing) else tuple(layers)
    if not routings:
        raise ValueError("no block has a router: the network needs experts")
    return jnp.stack([function(routing) for routing in routings])


def _probabilities(routing: Routing) -> jax.Array:
    return jax.nn.softmax(routing.logits, -1)


def _mean(routing: Routing, function: Callable[[Routing], jax.Array]) -> jax.Array:
    """The mean over given tokens of what `function` gives, (b, s, …)."""
    values = function(routing)
    present = routing.given.reshape(*routing.given.shape, *[1] * (values.ndim - 2))
    return jnp.sum(jnp.where(present, values, 0), (0, 1)) / jnp.maximum(jnp.sum(routing.given), 1)


def _counts(chosen: jax.Array) -> jax.Array:
    """How many tokens each expert got, as numbers with a fraction."""
    return jnp.sum(chosen, (0, 1), dtype=jnp.int32).astype(jnp.float32)


def _shares(chosen: jax.Array) -> jax.Array:
    counts = _counts(chosen)
    return counts / jnp.maximum(counts.sum(), 1)
