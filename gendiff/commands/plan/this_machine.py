"""The rates of the CPU that is here, measured."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.runs import devices
from gendiff.runs.reporting import environment
from gendiff.scaling import Accelerator

REPEATS = 3


def measured(dtype: str, size: int) -> Accelerator:
    """This CPU: a product of two square matrices of `size` rows for its arithmetic, a sum of two long rows for its
    bandwidth.

    What else runs meanwhile slows both. dtype: of the product; the sum is of float32.
    """
    square, row = jnp.ones((size, size), dtype), jnp.ones(16 * size**2, jnp.float32)
    flops = 2 * size**3 / _seconds(lambda x: x @ x, square)
    bandwidth = 2 * row.nbytes / _seconds(lambda x: x + 1, row)
    source = f"measured now, by products of {size} × {size} and a pass over {row.nbytes / 1e6:.0f} MB"
    return Accelerator("this CPU", flops, bandwidth, environment.memory(), source)


def _seconds(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    """Of the fastest of several calls."""
    jitted, spent = devices.jit(function), []
    jitted(x).block_until_ready()
    for _ in range(REPEATS):
        begin = time.perf_counter()
        jitted(x).block_until_ready()
        spent.append(time.perf_counter() - begin)
    return min(spent)
