"""Where `train --preset NAME` begins. The presets for large machines are meant for `--data PHOTOS` of your own."""

from typing import Any

from gendiff.commands.train.config import Config

_ACCELERATOR: dict[str, Any] = {
    "dtype": "bfloat16",
    "flip": True,
    "ema": 0.9999,
    "weight_decay": 0.0,
    "checkpoint_every": 5000,
    "log_every": 100,
    "preview_every": 10_000,
    "samples": 10_000,
    "together": 250,
    "draw_size": 5000,
}
_UNET: dict[str, Any] = {"size": 64, "network": "unet-base", "batch": 128, "steps": 200_000, "learning_rate": 2e-4, "warmup": 5000}
_DIT: dict[str, Any] = {"size": 256, "network": "dit-b/16", "batch": 256, "steps": 400_000, "learning_rate": 1e-4, "warmup": 1000}

PRESETS = {
    "full": Config(),
    "emoji": Config(data=("emoji",)),
    "textures": Config(data=("textures",)),
    "unet-64": Config(**_UNET, **_ACCELERATOR),
    # Batch, steps, rate, flips and average of Peebles & Xie (2023), with a cosine after the warm-up, which they do without. They train on
    # latents of 32 × 32 in patches of 2. No preset has an autoencoder: these are pixels in patches of 16, which give as many tokens, 256.
    "imagenet-folder-256": Config(**_DIT, **_ACCELERATOR, remat="products"),
}
"""Name -> configuration. `--network dit-l/16` or `dit-xl/16` makes the last one larger."""
MESHES = {"imagenet-folder-256": "fsdp=all"}
"""Name -> --mesh: each device holds its share of the parameters, averages and moments."""
