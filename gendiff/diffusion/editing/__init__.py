"""Editing by the start of a draw, inversion, and what is known of a sample: a part of it, or linear measurements."""

from gendiff.diffusion.editing.image_to_image import between_images, first_entry, from_entry, image_to_image, slerp

__all__ = ["between_images", "first_entry", "from_entry", "image_to_image", "slerp"]
