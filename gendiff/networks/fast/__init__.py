"""Faster or smaller compiled networks, with equal results.

Every function here equals its plain formula, and tests compare the two.

Layers call these by name, so that each of them reads like its formula. Three kinds of means: barriers, which keep XLA
from computing one thing many times or from joining what it joins wrongly; recomputation, which keeps little for the
backward pass; and derivative rules.
"""

from gendiff.networks.fast.activations import exact_gelu, gelu, silu
from gendiff.networks.fast.fast_convolution import direct_convolution, fast_backward_convolution
from gendiff.networks.fast.products import (
    moments,
    product_of_blocks,
    product_of_groups,
    product_of_rows,
    product_with_rows,
)
from gendiff.networks.fast.recomputation import computed_once, equal_blocks_traced_once, recomputed, remat

__all__ = [
    "computed_once",
    "direct_convolution",
    "equal_blocks_traced_once",
    "exact_gelu",
    "fast_backward_convolution",
    "gelu",
    "moments",
    "product_of_blocks",
    "product_of_groups",
    "product_of_rows",
    "product_with_rows",
    "recomputed",
    "remat",
    "silu",
]
