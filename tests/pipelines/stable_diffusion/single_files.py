"""Tiny folders as single files, with what else such a file holds."""

import numpy as np
import safetensors.numpy

from gendiff.weights import latent_diffusion
from tests.pipelines.stable_diffusion.tiny_folders import FOLDERS, arrays_of
from tests.weights import rig
from tests.weights.diffusers.open_clip_names import open_clip

ELSE = {
    "model_ema.decay": np.ones(()),
    "alphas_cumprod": np.ones(1000, np.float32),
    "sqrt_recip_alphas_cumprod": np.ones(1000, np.float32),
    "betas": np.ones(1000, np.float32),
}
"""What else such a file holds."""
PREFIXES = {
    "stable": {"text_encoder": "cond_stage_model.transformer."},
    "second": {"text_encoder": "cond_stage_model.model."},
    "xl": {"text_encoder": "conditioner.embedders.0.transformer.", "text_encoder_2": "conditioner.embedders.1.model."},
    "refiner": {"text_encoder_2": "conditioner.embedders.0.model."},
}


def in_one_file(name):
    """The arrays of a tiny folder as a single file has them; "second" is "stable" with the encoder of Stable Diffusion
    2.
    """
    folder = "stable" if name == "second" else name
    configs = FOLDERS[folder][2]
    result = dict(ELSE)
    result |= rig.in_single_file(
        arrays_of(folder, "unet"),
        latent_diffusion.UNET,
        latent_diffusion.unet_names(configs["unet"], 6 if "text_encoder_2" in configs else None),
    )
    vae = rig.in_single_file(
        arrays_of(folder, "vae"), latent_diffusion.AUTOENCODER, latent_diffusion.autoencoder_names(configs["vae"])
    )
    pixels = tuple(f"attn_1.{part}.weight" for part in ("q", "k", "v", "proj_out"))
    result |= {key: array[:, :, None, None] if key.endswith(pixels) else array for key, array in vae.items()}
    for part, prefix in PREFIXES[name].items():
        arrays = arrays_of(folder, part)
        if prefix.endswith(".model."):
            arrays = open_clip(arrays) | {"logit_scale": np.ones(())}
        if name == "second":
            last = {
                key.replace("resblocks.1.", "resblocks.2."): array
                for key, array in arrays.items()
                if "resblocks.1." in key
            }
            arrays |= last | {"text_projection": np.ones((8, 8), np.float32)}
        result |= {f"{prefix}{key}": array for key, array in arrays.items()}
    return result


def stored(arrays, folder, kind=np.float32):
    """The file of these arrays."""
    file = folder / "model.safetensors"
    safetensors.numpy.save_file({key: np.ascontiguousarray(array.astype(kind)) for key, array in arrays.items()}, file)
    return file
