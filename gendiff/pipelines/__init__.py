"""Pipelines: compositions of the other chapters that a user calls by name."""

from gendiff.pipelines import diffusers_schedulers, stable_diffusion
from gendiff.pipelines.chat import Chat
from gendiff.pipelines.text_to_image import TextToImage, nothing

__all__ = ["Chat", "TextToImage", "diffusers_schedulers", "nothing", "stable_diffusion"]
