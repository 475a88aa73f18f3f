"""The formats that are compared, by name."""

from collections.abc import Callable

import jax.numpy as jnp

from gendiff.core import trees
from gendiff.core.types import Params
from gendiff.weights import quantised

FLOAT32, BFLOAT16, INT8, INT4, COARSE, UNGROUPED = "float32", "bfloat16", "8 bits", "4 bits", "4 bits, groups of 64", "4 bits, no groups"


def formats(tables: bool) -> dict[str, Callable[[Params], Params]]:
    """From parameters to parameters in each format. tables: those of tokens are packed too."""

    def packed(kind: quantised.Kind, of_tables: quantised.Kind) -> Callable[[Params], Params]:
        rules = quantised.linear(kind)
        if tables:
            rules = (*rules, quantised.Packing(r"(^|/)token$", of_tables, table=True))
        return lambda params: quantised.quantise(params, rules)

    eight = quantised.int8()
    return {
        FLOAT32: lambda params: params,
        BFLOAT16: lambda params: trees.cast(params, jnp.bfloat16),
        INT8: packed(eight, eight),
        INT4: packed(quantised.int4(32), quantised.int4(32)),
        COARSE: packed(quantised.int4(64), quantised.int4(64)),
        UNGROUPED: packed(quantised.int4(None), quantised.int4(None)),
    }
