"""What the layers of a network are multiplied with on real inputs: the calibration of `gptq`."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import packed, trees
from gendiff.core.records import record, static
from gendiff.core.types import Params
from gendiff.weights.quantised.quantisation import Nibbles, Packing, rule_of


@record
class Observed(packed.PackedKernel):
    """An array in its place in a network, which passes on what it is multiplied with.

    Args:
        array: a kernel (…, in, out) or a table (v, d).
        on_inputs: is called with the inputs (…, in) of each product.
    """

    array: Any
    on_inputs: Callable[[jax.Array], None] = static()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """Of the array."""
        return self.array.dtype

    def dense(self, dtype: Any) -> jax.Array:
        """Return the array."""
        return jnp.asarray(self.array, dtype)

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the kernel (in, out)."""
        self.on_inputs(x)
        return super().product(x, precision)

    def product_with_rows(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, d) by each row of the table."""
        self.on_inputs(x)
        return super().product_with_rows(x, precision)


def hessians(
    predict: Callable[..., Any], params: Params, batches: Iterable[tuple[Any, ...]], rules: Sequence[Packing]
) -> dict[str, np.ndarray]:
    """Collect the mean of x xᵀ of each matrix that the rules pack in 4 bits, where x (in,) is what multiplies it.

    Up to a factor it is the Hessian of the squared error of the layer's output, for each output alike. One pass over
    all batches is enough: inputs are those of the network before anything is rounded.

    Args:
        predict: (params, *inputs) -> anything, such as `networks.pure(network)`.
        params: its parameters, as arrays.
        batches: the inputs of each call, such as `[(tokens,) for tokens in pieces]`. Equal shapes share one program.
            Take a text that nothing is judged on.
        rules: those of `gptq.quantise`.

    Returns:
        By the path of the array: float32 (in, in). A table of tokens has the inputs of the last layer.

    Raises:
        ValueError: without batches; for a matrix that the network never multiplies with.

    References:
        Frantar et al., 2022 (GPTQ), section 3.1: H = 2 X Xᵀ (from memory).
    """
    totals: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    leaves = trees.paths(params, is_leaf=packed.is_packed)
    chosen = [path for path, leaf in leaves.items() if _is_chosen(path, leaf, rules)]

    def add(path: str, rows: int, product: Any) -> None:
        totals[path] = totals.get(path, 0.0) + np.asarray(product, np.float64)
        counts[path] = counts.get(path, 0) + rows

    def observed(path: str, leaf: Any) -> Any:
        def on_inputs(x: jax.Array) -> None:
            rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
            # a network that computes its blocks anew in the backward pass passes nothing else on
            jax.debug.callback(functools.partial(add, path, len(rows)), rows.T @ rows)

        return Observed(leaf, on_inputs) if path in chosen else leaf

    @jax.jit
    def observe(params: Params, *inputs: Any) -> None:
        places = trees.paths(params, is_leaf=packed.is_packed)
        observing = [observed(path, leaf) for path, leaf in places.items()]
        predict(jax.tree.unflatten(jax.tree.structure(params, is_leaf=packed.is_packed), observing), *inputs)

    for inputs in batches:
        observe(params, *inputs)
    jax.effects_barrier()
    if not totals:
        raise ValueError("batches is empty, or no array is multiplied: a Hessian is a mean over inputs")
    if idle := [path for path in chosen if path not in totals]:
        raise ValueError(f"the network multiplies nothing with {idle[0]}: leave it out of the rules")
    return {path: (totals[path] / counts[path]).astype(np.float32) for path in chosen}


def _is_chosen(path: str, leaf: Any, rules: Sequence[Packing]) -> bool:
    rule = rule_of(path, leaf, rules)
    return rule is not None and isinstance(rule.kind, Nibbles) and not packed.is_packed(leaf)
