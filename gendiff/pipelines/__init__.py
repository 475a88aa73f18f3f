"""Pipelines: compositions of the other chapters that a user calls by name."""

from gendiff.core.renamed import renamed
from gendiff.pipelines import diffusers_schedulers, interleaved, multimodal, stable_diffusion
from gendiff.pipelines.chat import Chat
from gendiff.pipelines.interleaved import Interleaved
from gendiff.pipelines.multimodal import Multimodal
from gendiff.pipelines.text_to_image import TextToImage, empty_prompt
from gendiff.pipelines.trained_run import TrainedRun, open_run

__all__ = [
    "Chat",
    "Interleaved",
    "Multimodal",
    "TextToImage",
    "TrainedRun",
    "diffusers_schedulers",
    "empty_prompt",
    "interleaved",
    "multimodal",
    "open_run",
    "stable_diffusion",
]

__getattr__ = renamed("pipelines", {"nothing": ("pipelines.empty_prompt", empty_prompt)})
