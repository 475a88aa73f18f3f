"""Pipelines: compositions of the other chapters that a user calls by name."""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
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

__getattr__, __dir__ = on_first_use(
    __name__,
    {"": "diffusers_schedulers interleaved multimodal stable_diffusion"},
    {
        "chat": "Chat",
        "interleaved": "Interleaved",
        "multimodal": "Multimodal",
        "text_to_image": "TextToImage empty_prompt",
        "trained_run": "TrainedRun open_run",
    },
    {"nothing": "empty_prompt"},
)
