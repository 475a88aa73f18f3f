"""Data: real images as arrays in [-1, 1], and batches that are a pure function of (seed, step)."""

from gendiff.data import batches, digits, folders, scaling, stored
from gendiff.data.images import Images

__all__ = ["Images", "batches", "digits", "folders", "scaling", "stored"]
