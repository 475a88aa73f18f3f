"""Flax modules as pure functions of their parameters and inputs."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks, explicit_axes, packed
from gendiff.core.types import Params, PyTree
from gendiff.networks import fast
from gendiff.networks.layers import initializers


def init(module: nn.Module, key: jax.Array, *example: PyTree) -> Params:
    """Draw fresh float32 parameters, a plain nested dict.

    Args:
        module: any Linen module without state.
        key: one typed key.
        *example: an example of the inputs, trees of arrays or ShapeDtypeStructs; only shapes and dtypes matter.

    Raises:
        TypeError: for what is no Linen module, or has unhashable fields, and for a key that is not typed.
        ValueError: if the module keeps state other than parameters, and for several keys.
    """
    checks.one_key("key", key)
    return _create(_checked(module), key, *jax.tree.map(_of_its_shape, example))


@dataclasses.dataclass(frozen=True)
class PureFunction:
    """(params, *inputs) -> output, built by `pure`.

    Equal modules make equal functions: rebuilding one does not retrace.

    Args:
        module: the Linen module.
        method: the name of the method that is called; None is `__call__`.
    """

    module: nn.Module
    method: str | None = None

    @property
    def stochastic(self) -> bool:
        """Whether the network has random numbers when it gets a key: a field `dropout` above 0."""
        return getattr(self.module, "dropout", 0.0) > 0

    @property
    def differentiable_forward(self) -> bool:
        """Whether it has forward-mode derivatives (`jax.jvp`): not with the field `convolution` as "fast_backward"."""
        return getattr(self.module, "convolution", "direct") != "fast_backward"

    def __call__(self, params: Params, *inputs: PyTree, key: jax.Array | None = None) -> PyTree:
        """Call the module.

        Args:
            params: of the module, as `init` returns them.
            *inputs: those of the method.
            key: one key for dropout in training; without one nothing is dropped.
        """
        # no data, so nothing may trace them
        flags = {at: value for at, value in enumerate(inputs) if isinstance(value, bool)}
        data = tuple(None if at in flags else value for at, value in enumerate(inputs))

        def apply(params: Params, data: tuple[PyTree, ...], key: jax.Array | None) -> PyTree:
            return self._apply(params, tuple(flags.get(at, value) for at, value in enumerate(data)), key)

        return explicit_axes.as_auto(
            apply, (params, data, key), lambda mesh: explicit_axes.by_sample(jax.tree.leaves(inputs)[0], mesh)
        )

    def _apply(self, params: Params, inputs: tuple[PyTree, ...], key: jax.Array | None) -> PyTree:
        if key is not None:
            return self.module.apply({"params": params}, *inputs, rngs={"dropout": key}, method=self.method)
        with fast.equal_blocks_traced_once():
            return self.module.apply({"params": params}, *inputs, method=self.method)


def pure(module: nn.Module, method: str | None = None) -> PureFunction:
    """Return the module as a function of its parameters: (params, *inputs, key=None) -> output.

    On a mesh with Explicit axes, the result is split as the first axis of the first array among the inputs is.

    Args:
        module: any Linen module without state.
        method: the name of a method, as in "encode"; None is `__call__`.

    Raises:
        TypeError: for what is no Linen module, or has unhashable fields.
        ValueError: for a method that the module lacks.
    """
    checked = _checked(module)
    if method is not None and not callable(getattr(type(module), method, None)):
        raise ValueError(f"method = {method!r}: {type(module).__name__} has no method of that name")
    return PureFunction(checked, method)


def count(params: Params) -> int:
    """Return how many numbers the parameters hold, those that a packed kernel stands for among them."""
    return sum(packed.size(leaf) for leaf in packed.leaves(params))


@functools.partial(jax.jit, static_argnums=0)  # compiled, the forward pass is dead code: only the initialisers run
def _create(module: nn.Module, key: jax.Array, *example: PyTree) -> Params:
    flax_key, draw_key = jax.random.split(key)
    with fast.equal_blocks_traced_once(), initializers.values_unused():
        variables = explicit_axes.as_auto(module.init, (flax_key, *example), explicit_axes.replicated)
    state = sorted(set(variables) - {"params"})
    if state:
        raise ValueError(
            f"{type(module).__name__} keeps state in {', '.join(state)}: networks here are functions of their "
            "parameters alone"
        )
    return initializers.fill(draw_key, variables.get("params", {}))


def _of_its_shape(leaf: PyTree) -> PyTree:
    # the values are of no use, and the devices of an example must not become those of the parameters
    dtype = getattr(leaf, "dtype", None)
    return leaf if dtype is None or jnp.issubdtype(dtype, jax.dtypes.extended) else np.zeros(leaf.shape, dtype)


def _checked(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module must be a flax.linen Module, got {type(module).__name__}; a plain function needs no wrapping"
        )
    try:
        hash(module)
    except TypeError as error:
        raise TypeError(
            f"the fields of {type(module).__name__} must be hashable, so write tuples where lists stand ({error})"
        ) from error
    return module
