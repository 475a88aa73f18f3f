"""A factor of learning rates that is data, so that one program trains side by side what differs in them.

For optimizers whose updates are proportional to their learning rate, such as Adam and RMSProp without weight decay, a
factor on the updates is one on the rate.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gendiff.adversarial import AdversarialState
from gendiff.core import records
from gendiff.training import TrainState


class Paced(NamedTuple):
    """The optimizer's own state, and the factor ()."""

    inner: Any
    pace: jax.Array


def paced(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer with a factor in its state, which begins at 1."""

    def init(params: Any) -> Paced:
        return Paced(optimizer.init(params), jnp.ones(()))

    def update(updates: Any, state: Paced, params: Any = None) -> tuple[Any, Paced]:
        proposed, inner = optimizer.update(updates, state.inner, params)
        return jax.tree.map(lambda each: state.pace * each, proposed), Paced(inner, state.pace)

    return optax.GradientTransformation(init, update)


def at_pace(state: Any, pace: jax.Array) -> Any:
    """The fresh state of a training with this factor, of both players where it is a GAN's."""
    if isinstance(state, AdversarialState):
        return AdversarialState(at_pace(state.generator, pace), at_pace(state.critic, pace))
    return _replaced(state, pace)


def _replaced(state: TrainState, pace: jax.Array) -> TrainState:
    inner = state.optimizer_state
    return records.replace(state, optimizer_state=Paced(inner.inner, jnp.asarray(pace, inner.pace.dtype)))
