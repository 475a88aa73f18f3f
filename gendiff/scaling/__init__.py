"""What models cost before one is trained or served: operations, bytes, bounds of time, and prices; NumPy or Python numbers in and out."""

from gendiff.scaling import accelerators, cost, price, quantities, roofline
from gendiff.scaling.accelerators import Accelerator
from gendiff.scaling.cost import DecoderSize

__all__ = ["Accelerator", "DecoderSize", "accelerators", "cost", "price", "quantities", "roofline"]
