"""A person's own pictures, wherever they lie: opened for random access, split, cached and read ahead in batches."""

from gendiff.data.images.image_set import Images

__all__ = ["Images"]
