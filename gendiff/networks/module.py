"""The door between Flax and the rest: a module in, a pure function of (params, x, t, *condition) out."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.types import ArrayLike, Params
from gendiff.networks import initializers


def init(module: nn.Module, key: jax.Array, x: Float[ArrayLike, "b *shape"], t: Float[ArrayLike, " b"], *condition: Any) -> Params:
    """Fresh float32 parameters of a network, a plain nested dict.

    key: one typed key. x, t, condition: an example of the input; only shapes and dtypes matter. Raises ValueError if the module keeps
    state other than parameters.
    """
    checks.one_key("key", key)
    return _create(_hashable(module), key, x, t, *condition)


@dataclasses.dataclass(frozen=True)
class Network:
    """(params, x, t, *condition) -> output: what `pure` makes. Equal modules make equal networks: rebuilding one does not retrace."""

    module: nn.Module

    @property
    def stochastic(self) -> bool:
        """Whether it draws at random when it gets a key: the module has a field `dropout` above 0."""
        return getattr(self.module, "dropout", 0.0) > 0

    def __call__(
        self, params: Params, x: Float[ArrayLike, "b *shape"], t: Float[ArrayLike, " b"], *condition: Any, key: jax.Array | None = None
    ) -> Float[Array, "..."]:
        """The network's output, in the dtype of x.

        key: the key of dropout in training; without one nothing is dropped.
        """
        rngs = None if key is None else {"dropout": key}
        return self.module.apply({"params": params}, x, t, *condition, rngs=rngs)  # type: ignore[return-value]


def pure(module: nn.Module) -> Network:
    """The network as a function of its parameters: (params, x, t, *condition, key=None) -> output.

    Raises TypeError for what is no Linen module, or has unhashable fields.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a flax.linen Module, got {type(module).__name__}; a plain function needs no wrapping")
    return Network(_hashable(module))


def count(params: Params) -> int:
    """How many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@functools.partial(jax.jit, static_argnums=0)  # compiled, the forward pass is dead code: only the initialisers run
def _create(module: nn.Module, key: jax.Array, x: jax.Array, t: jax.Array, *condition: Any) -> Params:
    own, drawn = jax.random.split(key)
    variables = module.init(own, x, t, *condition)
    state = sorted(set(variables) - {"params"})
    if state:
        raise ValueError(
            f"{type(module).__name__} keeps state in {', '.join(state)}: networks here are functions of their parameters alone"
        )
    return initializers.fill(drawn, variables.get("params", {}))


def _hashable(module: nn.Module) -> nn.Module:
    try:
        hash(module)
    except TypeError as error:
        raise TypeError(f"the fields of {type(module).__name__} must be hashable, so write tuples where lists stand ({error})") from error
    return module
