"""Data: real and rendered images as arrays in [-1, 1], and batches that are a pure function of (seed, step)."""

from gendiff.data import batches, captions, digits, image_folder, numpy_files, rendering, scaling, shapes, shapes_oracle
from gendiff.data.images import Images

__all__ = ["Images", "batches", "captions", "digits", "image_folder", "numpy_files", "rendering", "scaling", "shapes", "shapes_oracle"]
