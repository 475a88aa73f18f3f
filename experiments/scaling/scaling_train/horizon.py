"""AdamW whose learning rate, and the steps over which it falls, are data: trainings of one network that differ in them share a program."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gendiff.core import records
from gendiff.training import TrainState, optimizers


class Horizon(NamedTuple):
    """A learning rate that rises over `warmup` steps to `peak`, and falls along a cosine to `final` · peak at step `total`."""

    peak: Any
    warmup: Any
    total: Any
    final: Any

    def rate(self, step: Any) -> jax.Array:
        """The rate of step 0, 1, …, as `optimizers.warm_up_then` has it."""
        done = jnp.clip((step - self.warmup) / jnp.maximum(self.total - self.warmup, 1.0), 0.0, 1.0)
        falling = self.final + (1.0 - self.final) * 0.5 * (1.0 + jnp.cos(math.pi * done))
        return jnp.asarray(self.peak * jnp.where(step < self.warmup, (step + 1.0) / jnp.maximum(self.warmup, 1.0), falling))


class Followed(NamedTuple):
    """The state of the last part of the optimizer: steps done, and the horizon."""

    steps: jax.Array
    horizon: Horizon


def adamw(weight_decay: float, clip: float) -> optax.GradientTransformation:
    """`optimizers.adamw` with a horizon in its state, which is nothing until `with_horizon` has given one."""
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(weight_decay, mask=optimizers.decayed),
        optax.GradientTransformation(_start, _follow),
    )


def with_horizon(state: TrainState, horizon: Horizon) -> TrainState:
    """The state of one seed, or of several, whose learning rate follows this horizon."""

    def one(part: Any) -> Any:
        return part._replace(horizon=jax.tree.map(jnp.full_like, part.horizon, horizon)) if isinstance(part, Followed) else part

    parts = jax.tree.map(one, state.optimizer_state, is_leaf=lambda part: isinstance(part, Followed))
    return records.replace(state, optimizer_state=parts)


def _start(params: Any) -> Followed:
    del params
    return Followed(jnp.zeros((), jnp.int32), Horizon(*(jnp.zeros(()) for _ in Horizon._fields)))


def _follow(updates: Any, state: Followed, params: Any = None) -> tuple[Any, Followed]:
    del params
    rate = state.horizon.rate(state.steps)
    return jax.tree.map(lambda each: -rate.astype(each.dtype) * each, updates), state._replace(steps=state.steps + 1)
