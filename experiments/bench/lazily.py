"""Modules that are imported when they are used first, so that each side imports what it needs, and nothing of the other
side.

`from experiments.bench.lazily import jnp, samplers, torch` names them at the head of a file.
"""

import pkgutil
import sys
from typing import Any

CHAPTERS = {
    "diffusion": "denoiser grids guidance objectives parameterization samplers sampling schedules types video "
    "weighting",
    "networks.layers": "attention convolution",
    "language": "drafts guess_policy processors scoring speculative",
    "pipelines": "stable_diffusion",
    "preferences": "advantage_rules policy_step rollouts",
    "provenance": "text_watermarks",
    "runs": "compile_cache devices dtypes paired_timing program_costs",
    "scaling": "accelerators accounting cost",
    "training": "optimizers sharding",
    "weights": "diffusers_autoencoder files language_models quantised rules",
}
NAMED = {
    "jnp": "jax.numpy",
    "functional": "torch.nn.functional",
    "safetensors": "safetensors.numpy",
    "torch_safetensors": "safetensors.torch",
    "trees": "gendiff.core.trees",
    "losses": "gendiff.adversarial.losses",
    "part_readers": "gendiff.pipelines.stable_diffusion.part_readers",
    "smollm2_file": "gendiff.weights.smollm2",
    "this_machine": "gendiff.commands.plan.this_machine",
    "chat_models": "gendiff.commands.chat.models",
    "environment": "gendiff.runs.reporting.environment",
    "llama_cpp_side": "experiments.bench.llama_cpp",
    "image_coding": "gendiff.commands.images.image_coding",
    "draws": "experiments.diffusion.few_step.draws",
    "writing_tasks": "experiments.language.writing_tasks",
    **{chapter: f"gendiff.{chapter}" for chapter in ("adversarial", "language", "networks", "scaling", "training")},
}
PLACES = {name: f"gendiff.{chapter}.{name}" for chapter, names in CHAPTERS.items() for name in names.split()} | NAMED
"""Name -> the module; a name without an entry is that of a module."""


class Lazily:
    """A module by its full name, or by that in its chapter."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(
            sys.modules[self.module] if self.module in sys.modules else pkgutil.resolve_name(self.module), name
        )


def __getattr__(name: str) -> Any:
    return Lazily(PLACES.get(name, name))
