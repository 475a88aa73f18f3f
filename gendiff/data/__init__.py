"""Data: real and rendered images as arrays in [-1, 1], and batches that are a pure function of (seed, step)."""

from gendiff.data import batches, captions, digits, folders, rendering, scaling, shapes, shapes_oracle, stored
from gendiff.data.images import Images

__all__ = ["Images", "batches", "captions", "digits", "folders", "rendering", "scaling", "shapes", "shapes_oracle", "stored"]
