"""Pipelines: compositions of the other chapters that a user calls by name."""

from gendiff.pipelines.chat import Chat
from gendiff.pipelines.text_to_image import TextToImage, nothing

__all__ = ["Chat", "TextToImage", "nothing"]
