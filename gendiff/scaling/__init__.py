"""What models cost before one is trained or served: operations, bytes, bounds of time, and prices; and what emerges as they grow."""

from gendiff.scaling import accelerators, accounting, cost, emergence, price, quantities, roofline
from gendiff.scaling.accelerators import Accelerator
from gendiff.scaling.accounting import Accounted
from gendiff.scaling.cost import DecoderSize

__all__ = [
    "Accelerator",
    "Accounted",
    "DecoderSize",
    "accelerators",
    "accounting",
    "cost",
    "emergence",
    "price",
    "quantities",
    "roofline",
]
