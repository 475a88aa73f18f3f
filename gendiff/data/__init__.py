"""Data: real and rendered images as arrays in [-1, 1], and batches that are a pure function of (seed, step)."""

from gendiff.data import (
    array_records,
    batches,
    cache,
    captions,
    digits,
    held_out,
    image_folder,
    numpy_files,
    pipeline,
    random_access,
    rendering,
    saved_datasets,
    scaling,
    shapes,
    shapes_oracle,
    sources,
)
from gendiff.data.images import Images

__all__ = [
    "Images",
    "array_records",
    "batches",
    "cache",
    "captions",
    "digits",
    "random_access",
    "held_out",
    "image_folder",
    "numpy_files",
    "pipeline",
    "rendering",
    "saved_datasets",
    "scaling",
    "shapes",
    "shapes_oracle",
    "sources",
]
