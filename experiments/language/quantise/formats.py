"""The formats that are compared, by name."""

from collections.abc import Callable

import jax.numpy as jnp

from gendiff.core import trees
from gendiff.core.types import Params
from gendiff.weights import quantised

FLOAT32, BFLOAT16, INT8, INT4, COARSE, UNGROUPED = "float32", "bfloat16", "8 bits", "4 bits", "4 bits, groups of 64", "4 bits, no groups"


def formats(tables: bool) -> dict[str, Callable[[Params], Params]]:
    """From parameters to parameters in each format. tables: those of tokens are packed too."""

    def packed(kind: quantised.Kind) -> Callable[[Params], Params]:
        return lambda params: quantised.quantise(params, quantised.linear(kind, tables=tables))

    return {
        FLOAT32: lambda params: params,
        BFLOAT16: lambda params: trees.cast(params, jnp.bfloat16),
        INT8: packed(quantised.int8()),
        INT4: packed(quantised.int4(32)),
        COARSE: packed(quantised.int4(64)),
        UNGROUPED: packed(quantised.int4(None)),
    }
