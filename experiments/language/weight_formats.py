"""The formats of weights that the study of quantisation compares, from 8 bits to GPTQ."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import trees
from gendiff.core.types import Params
from gendiff.weights import calibration, gptq, quantised

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "8 bits"
INT4, COARSE, UNGROUPED = "4 bits", "4 bits, groups of 64", "4 bits, no groups"
TABLE8, SEARCHED = "4 bits, table in 8", "4 bits, scales searched"
GPTQ, SMALL, RANDOM = "4 bits, GPTQ", "4 bits, GPTQ, table in 5", "4 bits, GPTQ, random tokens"


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


def packing(kernels: quantised.Kind, table: quantised.Kind) -> tuple[quantised.Packing, ...]:
    """Rules for the kernels of linear layers and the table of tokens."""
    return *quantised.linear(kernels), quantised.Packing("^token$", table, table=True)


KERNELS = quantised.int4(32, search=True)
NEAREST = {TABLE8: packing(quantised.int4(32), quantised.int8()), SEARCHED: packing(KERNELS, quantised.int8())}
CORRECTED = {GPTQ: packing(KERNELS, quantised.int8()), SMALL: packing(KERNELS, quantised.int4(16))}
"""By GPTQ: scales of 4 bits per weight of a kernel; a table in 8 bits, or one with a scale per 16 weights: 5 bits."""


def better(network: networks.LanguageModel, params: Params, rows: np.ndarray) -> dict[str, Callable[[Params], Params]]:
    """Formats of 4 bits with a table in more, some by GPTQ, calibrated on rows of tokens."""
    hessians = calibration.hessians(networks.pure(network), params, [(row[None],) for row in rows], CORRECTED[SMALL])

    def nearest(rules: Sequence[quantised.Packing]) -> Callable[[Params], Params]:
        return lambda params: quantised.quantise(params, rules)

    def corrected(rules: Sequence[quantised.Packing]) -> Callable[[Params], Params]:
        return lambda params: gptq.quantise(params, hessians, rules)

    return {name: nearest(rules) for name, rules in NEAREST.items()} | {
        name: corrected(rules) for name, rules in CORRECTED.items()
    }
