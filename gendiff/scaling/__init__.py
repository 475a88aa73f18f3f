"""Scaling: costs of models before training or serving, laws of loss by parameters and tokens, and emergence."""

from gendiff.scaling import (
    accelerators,
    accounting,
    cost,
    emergence,
    fits,
    laws,
    price,
    published,
    quantities,
    roofline,
    working_memory,
)
from gendiff.scaling.accelerators import Accelerator
from gendiff.scaling.accounting import Accounted
from gendiff.scaling.cost import DecoderSize
from gendiff.scaling.laws import (
    Chinchilla,
    Frontier,
    Kaplan,
    Optimum,
    Overtraining,
    compute_optimal,
    inference_aware,
    overtraining,
    tokens_per_parameter,
)

__all__ = [
    "Accelerator",
    "Accounted",
    "Chinchilla",
    "DecoderSize",
    "Frontier",
    "Kaplan",
    "Optimum",
    "Overtraining",
    "accelerators",
    "accounting",
    "compute_optimal",
    "cost",
    "emergence",
    "fits",
    "inference_aware",
    "laws",
    "overtraining",
    "price",
    "published",
    "quantities",
    "roofline",
    "tokens_per_parameter",
    "working_memory",
]
