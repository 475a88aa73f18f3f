"""The small layers that all networks share."""

from gendiff.networks.layers.compute import (
    ACTIVATIONS,
    Compute,
    Dense,
    activated,
    dense,
    dtype_of,
    parameter,
    quick_gelu,
)
from gendiff.networks.layers.norms import NORMS, Change, GroupNorm, LayerNorm, RMSNorm, per_token

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "Change",
    "Compute",
    "Dense",
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
    "activated",
    "dense",
    "dtype_of",
    "parameter",
    "per_token",
    "quick_gelu",
]
