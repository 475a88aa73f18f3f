"""Folders of Stable Diffusion, FLUX and DiT from diffusers: opened, inspected, and sampled by pure functions."""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
    from gendiff.pipelines.stable_diffusion import adapters, prompt_weights
    from gendiff.pipelines.stable_diffusion.edits import Edit, edit
    from gendiff.pipelines.stable_diffusion.inspection import Inspection, inspect
    from gendiff.pipelines.stable_diffusion.latent_pipeline import LatentPipeline, classifier_free
    from gendiff.pipelines.stable_diffusion.opened import Opened, arranged, open_model
    from gendiff.pipelines.stable_diffusion.prompt_pipeline import PromptPipeline, handed_over, refined
    from gendiff.pipelines.stable_diffusion.prompts import Prompt, aligned, encode, repeated
    from gendiff.pipelines.stable_diffusion.reference_sizes import reference_size, with_painted
    from gendiff.pipelines.stable_diffusion.saved import save
    from gendiff.pipelines.stable_diffusion.skipped_layers import skipping
    from gendiff.pipelines.stable_diffusion.text_towers import TextTowers

__all__ = [
    "Edit",
    "Inspection",
    "LatentPipeline",
    "Opened",
    "Prompt",
    "PromptPipeline",
    "TextTowers",
    "adapters",
    "aligned",
    "arranged",
    "classifier_free",
    "edit",
    "encode",
    "handed_over",
    "inspect",
    "open_model",
    "prompt_weights",
    "reference_size",
    "refined",
    "repeated",
    "save",
    "skipping",
    "with_painted",
]

__getattr__, __dir__ = on_first_use(
    __name__,
    {"": "adapters prompt_weights"},
    {
        "edits": "Edit edit",
        "inspection": "Inspection inspect",
        "latent_pipeline": "LatentPipeline classifier_free",
        "opened": "Opened arranged open_model",
        "prompt_pipeline": "PromptPipeline handed_over refined",
        "prompts": "Prompt aligned encode repeated",
        "reference_sizes": "reference_size with_painted",
        "saved": "save",
        "skipped_layers": "skipping",
        "text_towers": "TextTowers",
    },
)
