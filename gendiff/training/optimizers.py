"""Optimizer recipes: AdamW with warm-up, decay of the learning rate, and weight decay only where it belongs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gendiff.core import checks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params

DECAYS = ("cosine", "linear", "constant")


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
) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter, 2019, Alg. 2) on the learning rate of `warm_up_then`; weight decay as `decayed` says.

    clip: largest global norm of the gradient, None for no clip. Raises ConfigError for warmup >= total and for numbers out of range.
    """
    _require("weight_decay", weight_decay, weight_decay >= 0 and math.isfinite(weight_decay), "at least 0")
    _require("betas", betas, all(0 <= beta < 1 for beta in betas), "in [0, 1)")
    _require("epsilon", epsilon, epsilon > 0, "positive")
    _require("clip", clip, clip is None or clip > 0, "positive, or None for no clip")
    rate = warm_up_then(learning_rate, warmup=warmup, total=total, decay=decay, final=final)
    optimizer = optax.adamw(rate, b1=betas[0], b2=betas[1], eps=epsilon, weight_decay=weight_decay, mask=decayed)
    return optimizer if clip is None else optax.chain(optax.clip_by_global_norm(clip), optimizer)


def warm_up_then(learning_rate: float, *, warmup: int, total: int, decay: str = "cosine", final: float = 0.0) -> Callable[[Any], jax.Array]:
    """Learning rate by step: up linearly from learning_rate / warmup over `warmup` steps, then down to final * learning_rate.

    decay: "cosine" (Loshchilov & Hutter, 2017, Eq. 5), "linear" or "constant"; final: share in [0, 1] kept from step `total` on.
    """
    checks.choice("decay", decay, DECAYS)
    _require("learning_rate", learning_rate, learning_rate > 0 and math.isfinite(learning_rate), "positive")
    _require("final", final, 0 <= final <= 1, "in [0, 1]")
    _require("warmup", warmup, warmup >= 0, "at least 0")
    if warmup >= total:
        raise ConfigError(f"warmup = {warmup} must be smaller than total = {total}: both count steps, and the decay needs some")

    def rate(count: Any) -> jax.Array:
        step = jnp.asarray(count, jnp.float32)
        progress = jnp.clip((step - warmup) / (total - warmup), 0.0, 1.0)
        left = {"cosine": 0.5 * (1.0 + jnp.cos(jnp.pi * progress)), "linear": 1.0 - progress, "constant": jnp.ones_like(progress)}[decay]
        return learning_rate * jnp.minimum(1.0, (step + 1.0) / max(warmup, 1)) * (final + (1.0 - final) * left)

    return rate


def decayed(params: Params) -> Any:
    """Which params weight decay pulls to 0: those with two axes or more that are no embeddings; so no bias and no scale of a norm."""

    def one(path: Any, leaf: Any) -> bool:
        name = jax.tree_util.keystr(path[-1:], simple=True)
        return jnp.ndim(leaf) >= 2 and "embedding" not in name

    return jax.tree_util.tree_map_with_path(one, params)


def _require(name: str, value: Any, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} = {value} must be {allowed}")
