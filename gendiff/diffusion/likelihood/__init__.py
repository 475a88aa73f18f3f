"""Likelihood along the probability flow, the variational bound, and the flow by an adaptive method."""

from gendiff.diffusion.likelihood.flow_likelihood import (
    MOST_EXACT,
    Divergence,
    Likelihood,
    bits_per_dimension,
    dequantize,
    exact,
    hutchinson,
)

__all__ = ["MOST_EXACT", "Divergence", "Likelihood", "bits_per_dimension", "dequantize", "exact", "hutchinson"]
