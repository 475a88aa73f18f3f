"""Rollouts: the actions of a policy, step by step: tokens of a text, or the levels of a denoising.

Everything else here learns from it.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks, records
from gendiff.core.errors import ConfigError
from gendiff.core.types import ArrayLike, PyTree
from gendiff.preferences import masked

T = TypeVar("T")


@records.record
class Rollout:
    """Samples of a policy. Built by `rollout`; every leaf has the axis of samples in front.

    Attributes:
        actions: what was done at each step, a tree of arrays (b, …): tokens (b, s), or the states of a denoising (b,
            s + 1, …).
        log_probs: (b, s) logarithm of each action's probability, or density, in the law that it was drawn from; 0 where
            none was drawn.
        mask: (b, s) 1 where the policy acted, 0 behind the end of a sample.
        context: what the policy answered to, a tree of arrays (b, …): prompts, labels. () for nothing.
    """

    actions: PyTree
    log_probs: jax.Array
    mask: jax.Array
    context: PyTree = ()


@records.record
class Experience:
    """A rollout with advantages and returns. Every leaf has the axis of samples in front.

    Attributes:
        rollout: what the policy did.
        scores: (b,) rewards of whole samples.
        reference: (b, s) log-probabilities of the same actions by the reference policy.
        values: (b, s) what the critic expected before each action; None without a critic.
        advantages: (b, s) how much better each action was than expected.
        returns: (b, s) what the critic should have expected; None without a critic.
    """

    rollout: Rollout
    scores: jax.Array
    reference: jax.Array
    values: jax.Array | None
    advantages: jax.Array
    returns: jax.Array | None


def rollout(
    actions: PyTree, log_probs: Float[ArrayLike, "b s"], mask: Shaped[ArrayLike, "b s"], context: PyTree = ()
) -> Rollout:
    """Build the record of a policy's actions.

    What stands behind the end of a sample may be anything, NaN too; its log-probability is 0.

    Args:
        actions: tree of arrays (b, …).
        log_probs: (b, s) of each action in the law that it was drawn from, temperature and truncation included.
        mask: (b, s) not 0 where the policy acted.
        context: tree of arrays (b, …).

    Raises:
        ValueError: for a mask of another shape than log_probs.
        ConfigError: for actions and context with another number of samples.
    """
    acted = masked.acted(mask, log_probs=log_probs)
    for name, tree in (("actions", actions), ("context", context)):
        for leaf in jax.tree.leaves(tree):
            if jnp.shape(leaf)[:1] != acted.shape[:1]:
                raise ConfigError(
                    f"{name} holds an array of shape {jnp.shape(leaf)}, but log_probs has {acted.shape[0]} samples in "
                    "front"
                )
    log_p = masked.zeroed(log_probs, mask)
    return Rollout(
        jax.tree.map(jnp.asarray, actions), log_p, acted.astype(log_p.dtype), jax.tree.map(jnp.asarray, context)
    )


def at_last(values: Float[ArrayLike, "b s"], mask: Shaped[ArrayLike, "b s"]) -> Float[Array, "b"]:
    """Each sample's value at the last step at which the policy acted.

    A reward model that answers after each token is read there. The last column would be padding for every sample but
    the longest.

    Args:
        values: (b, s).
        mask: (b, s) not 0 where the policy acted. A sample without a step has 0.

    Raises:
        ValueError: for different shapes.
    """
    acted = masked.acted(mask, values=values)
    last = acted.shape[1] - 1 - jnp.argmax(acted[:, ::-1], 1)
    return jnp.take_along_axis(masked.zeroed(values, mask), last[:, None], 1)[:, 0]


def minibatches(key: jax.Array, tree: T, epochs: int, count: int) -> T:
    """Every array (b, …) of a tree as (epochs · count, b / count, …): each epoch is all samples in an order of its own.

    Args:
        key: one typed key.
        tree: arrays (b, …).
        epochs: how often each sample is there, at least 1.
        count: how many minibatches an epoch has, at least 1.

    Raises:
        ConfigError: for a count that does not divide b.
    """
    for name, value in (("epochs", epochs), ("minibatches", count)):
        checks.integer(name, value, 1)
    size = jax.tree.leaves(tree)[0].shape[0]
    if size % count:
        raise ConfigError(f"minibatches = {count} does not divide the {size} samples: choose a divisor of {size}")
    orders = jax.vmap(lambda epoch_key: jax.random.permutation(epoch_key, size))(jax.random.split(key, epochs))
    rows = orders.reshape(epochs * count, size // count)
    parts: T = jax.tree.map(lambda leaf: leaf[rows], tree)
    return parts
