"""Optimizers: AdamW and Muon with warm-up, decay of the learning rate, and weight decay of matrices only."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from gendiff.core import checks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Count, Numeric, Params, PyTree

DECAYS = ("cosine", "linear", "constant")
_NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
"""Coefficients of Muon's five equal iterations, one entry each.

As a loop they compile in two thirds of the time of optax's default.
"""


class FiniteUpdates(optax.GradientTransformation):
    """A transformation whose updates are finite where gradient, parameters and state are; `adamw` and `muon` are such.

    `make_step` then decides by loss and gradient alone whether a step is skipped, so that it goes over each array once.
    It looks at all updates first where parameters are float16, in which the epsilon of Adam is 0. Make one of your own
    optimizer, if you know this of it, by `FiniteUpdates(*optimizer)`.
    """


def adamw(
    learning_rate: float,
    *,
    warmup: int,
    total: int,
    weight_decay: float = 0.0,
    decay: str = "cosine",
    final: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    clip: float | None = None,
) -> FiniteUpdates:
    """AdamW with the learning rate of `warm_up_then`, and weight decay of the params that `decayed` names.

    Args:
        learning_rate: the highest, above 0.
        warmup: steps until it is reached, in [0, total).
        total: steps until the decay is done.
        weight_decay: at least 0.
        decay: "cosine", "linear" or "constant".
        final: share of the learning rate that is left at the end, in [0, 1].
        betas: decays of the two moments, each in [0, 1).
        epsilon: what is added to the root of the second moment, above 0.
        clip: gradient clipping: the largest global norm of the gradient, above 0; None for no clip.

    Raises:
        ConfigError: for warmup >= total and for numbers out of range.
        ValueError: for an unknown decay.

    References:
        Loshchilov & Hutter, 2019, Algorithm 2 (from memory).
    """
    _require("weight_decay", weight_decay, weight_decay >= 0 and math.isfinite(weight_decay), "at least 0")
    _require("betas", betas, all(0 <= beta < 1 for beta in betas), "in [0, 1)")
    _require("epsilon", epsilon, epsilon > 0, "positive")
    rate = warm_up_then(learning_rate, warmup=warmup, total=total, decay=decay, final=final)
    optimizer = optax.adamw(rate, b1=betas[0], b2=betas[1], eps=epsilon, weight_decay=weight_decay, mask=decayed)
    return _clipped(optimizer, clip)


def muon(
    learning_rate: float,
    *,
    adam_learning_rate: float,
    warmup: int,
    total: int,
    weight_decay: float = 0.0,
    decay: str = "cosine",
    final: float = 0.0,
    momentum: float = 0.95,
    clip: float | None = None,
) -> FiniteUpdates:
    """Muon on matrices, whose steps have singular values near 1, and AdamW on all other parameters.

    A matrix has two axes and is no embedding. The kernel (height, width, in, out) of a convolution over images is the
    matrix (height · width · in, out). Both learning rates follow `warm_up_then`, and weight decay is where `decayed`
    says.

    Args:
        learning_rate: of matrices, the highest, above 0; 0.02 is usual. The steps of a matrix (rows, columns) that has
            more columns than rows are √(columns / rows) times as long.
        adam_learning_rate: of all other numbers, the highest, above 0.
        warmup: steps until they are reached, in [0, total).
        total: steps until the decay is done.
        weight_decay: at least 0.
        decay: "cosine", "linear" or "constant".
        final: share of the learning rates that is left at the end, in [0, 1].
        momentum: decay of the mean of gradients (Nesterov), in [0, 1).
        clip: gradient clipping: the largest global norm of the gradient, above 0; None for no clip.

    Raises:
        ConfigError: for warmup >= total and for numbers out of range.
        ValueError: for an unknown decay.

    References:
        Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks" (from memory).
    """
    _require("momentum", momentum, 0 <= momentum < 1, "in [0, 1)")
    rate = warm_up_then(learning_rate, warmup=warmup, total=total, decay=decay, final=final)
    other = adamw(  # it checks what both share
        adam_learning_rate, warmup=warmup, total=total, weight_decay=weight_decay, decay=decay, final=final
    )
    matrix = optax.contrib.muon(
        rate,
        beta=momentum,
        ns_coeffs=_NEWTON_SCHULZ,
        weight_decay=weight_decay,
        weight_decay_mask=decayed,
        muon_weight_dimension_numbers=_rows_and_columns,
    )
    optimizer = optax.partition({"matrix": matrix, "other": other}, _kinds)
    return _clipped(optimizer, clip)


def warm_up_then(
    learning_rate: float, *, warmup: int, total: int, decay: str = "cosine", final: float = 0.0
) -> Callable[[Count], jax.Array]:
    """Learning rate per step: linear warm-up, then decay to final * learning_rate.

    The warm-up starts at learning_rate / warmup and lasts `warmup` steps. The arguments are those of `adamw`.

    Raises:
        ConfigError: for warmup >= total and for numbers out of range.
        ValueError: for an unknown decay.

    References:
        Loshchilov & Hutter, 2017, Eq. 5 (the cosine; from memory).
    """
    checks.choice("decay", decay, DECAYS)
    _require("learning_rate", learning_rate, learning_rate > 0 and math.isfinite(learning_rate), "positive")
    _require("final", final, 0 <= final <= 1, "in [0, 1]")
    _require("warmup", warmup, warmup >= 0, "at least 0")
    if warmup >= total:
        raise ConfigError(
            f"warmup = {warmup} must be smaller than total = {total}: both count steps, and the decay needs some"
        )

    down: Callable[[Count], jax.Array] = {
        "cosine": optax.cosine_decay_schedule(learning_rate, total - warmup, final),
        "linear": optax.linear_schedule(learning_rate, final * learning_rate, total - warmup),
        "constant": optax.constant_schedule(learning_rate),
    }[decay]
    if not warmup:
        return down
    up = optax.linear_schedule(learning_rate / warmup, learning_rate, max(warmup - 1, 1))
    joined: Callable[[Count], jax.Array] = optax.join_schedules([up, down], [warmup])
    return joined


def decayed(params: Params) -> PyTree:
    """Return which params have weight decay: those with two axes or more, other than embeddings.

    Biases and the scales of norms thus have none.
    """

    def one(path: tuple[object, ...], leaf: Numeric) -> bool:
        name = jax.tree_util.keystr(path[-1:], simple=True)
        return jnp.ndim(leaf) >= 2 and "embedding" not in name

    return jax.tree_util.tree_map_with_path(one, params)


def _clipped(optimizer: optax.GradientTransformation, clip: float | None) -> FiniteUpdates:
    _require("clip", clip, clip is None or clip > 0, "positive, or None for no clip")
    return FiniteUpdates(*(optimizer if clip is None else optax.chain(optax.clip_by_global_norm(clip), optimizer)))


def _kinds(params: Params) -> PyTree:
    """Label params for Muon "matrix", and the others "other"."""
    return jax.tree.map(
        lambda leaf, here: "matrix" if here and jnp.ndim(leaf) in (2, 4) else "other", params, decayed(params)
    )


def _rows_and_columns(params: Params) -> PyTree:
    """Which axes of each matrix are its rows, and which its columns: the last one."""
    return jax.tree.map(
        lambda leaf: optax.contrib.MuonDimensionNumbers(tuple(range(jnp.ndim(leaf) - 1)), jnp.ndim(leaf) - 1), params
    )


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} = {value} must be {allowed}")
