"""Weights in 8 and 4 bits: how arrays are packed, how packed kernels are multiplied, and the blocks of GGUF files."""

from gendiff.weights.quantised.quantisation import (
    LINEAR,
    Kind,
    Nibbles,
    Packing,
    Scaled,
    dequantise,
    float8,
    int4,
    int8,
    linear,
    nbytes,
    packed_array,
    quantise,
)

__all__ = [
    "LINEAR",
    "Kind",
    "Nibbles",
    "Packing",
    "Scaled",
    "dequantise",
    "float8",
    "int4",
    "int8",
    "linear",
    "nbytes",
    "packed_array",
    "quantise",
]
