"""A single file of a whole model: the arrays of each part, under the names of a folder of diffusers.

Such a file has no configuration. That of the same model as a folder says what the parts are, and how many blocks of a
text encoder are used: Stable Diffusion 2 leaves out the last one. A file with a transformer may lack all other parts.
Arrays stay in the file, and parts of one array are parts of it.
"""

from collections.abc import Mapping

import numpy as np

from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.types import Config
from gendiff.weights import rules
from gendiff.weights.diffusers import latent_diffusion, original_transformers
from gendiff.weights.rules import Arrays, ForeignArray
from gendiff.weights.transformers import transformers_clip

TRANSFORMERS: Mapping[str, tuple[str, ...]] = {
    "text_encoder": (
        "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.",
        "text_encoders.clip_l.transformer.",
        "text_encoders.qwen3_4b.transformer.",
    ),
    "text_encoder_2": ("text_encoders.clip_g.transformer.", "text_encoders.t5xxl.transformer."),
    "text_encoder_3": ("text_encoders.t5xxl.transformer.",),
}
"""How names of a text encoder begin that has those of transformers, by the part of the folder."""
OPEN_CLIP: Mapping[str, tuple[str, ...]] = {
    "text_encoder": ("cond_stage_model.model.",),
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
}
"""Likewise of one that has those of OpenCLIP. The refiner of Stable Diffusion XL has no other encoder before it."""
OTHERS: Mapping[str, tuple[str, ...]] = {
    "unet": (latent_diffusion.UNET,),
    "vae": (latent_diffusion.AUTOENCODER, "vae."),
    "transformer": original_transformers.PREFIXES,
}
"""Likewise of the other parts."""
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_WHOLE = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_PROJECTION = "text_projection"
NO_PARAMETERS = ("logit_scale", "attn_mask")
"""The temperature and the mask of OpenCLIP."""
LEFT_OUT = (
    "model_ema.",
    "betas",
    "alphas_cumprod",
    "sqrt_",
    "log_one_minus_alphas_cumprod",
    "posterior_",
    "lvlb_weights",
    "logvar",
    "scale_factor",
    "denoiser.sigmas",
    *(f"text_encoders.{name}.logit_scale" for name in ("clip_l", "clip_g", "t5xxl")),
)
"""Prefixes of arrays that are no parameters of a part: moving averages, temperatures, numbers of the noise schedule."""
SHOWN = 3


def parts(arrays: Arrays, configs: Mapping[str, Config]) -> dict[str, dict[str, ForeignArray]]:
    """Return the arrays of each part under the names that diffusers and transformers give them.

    Args:
        arrays: those of the file by name, as `streamed.open_file` finds them.
        configs: the config.json of each part that is wanted, by its name in a folder: "unet", "vae", "text_encoder",
            "text_encoder_2". That of a "transformer" names its class.

    Raises:
        ConfigError: as `network_fields` of a part does.
        CheckpointMismatchError: for a part that the file lacks, but for those beside a transformer; for arrays that
            belong to no part; and as `original_transformers.transformer` does.
    """
    result: dict[str, dict[str, ForeignArray]] = {}
    pooled = configs["text_encoder_2"].get("projection_dim") if "text_encoder_2" in configs else None
    used: list[str] = []
    for name, config in configs.items():
        prefix = _prefix(arrays, name, needed=name == "transformer" or "transformer" not in configs)
        if prefix is None:
            continue
        used.append(prefix)
        named = latent_diffusion.renamed(arrays, prefix, {})
        if name == "unet":
            result[name] = latent_diffusion.unet(arrays, config, pooled)
        elif name == "transformer":
            result[name] = original_transformers.transformer(named, config, config["_class_name"])
        elif name == "vae":
            result[name] = latent_diffusion.autoencoder(arrays, config, prefix)
        elif prefix in TRANSFORMERS.get(name, ()):
            unused = () if _is_projected(config) else (f"{_PROJECTION}.weight",)
            result[name] = {key: array for key, array in named.items() if key not in unused}
        else:
            result[name] = _of_open_clip(named, config)
    unknown = sorted(key for key in arrays if not key.startswith((*used, *LEFT_OUT)))
    if unknown:
        raise CheckpointMismatchError(
            f"{len(unknown)} arrays belong to none of {', '.join(configs)}: {', '.join(unknown[:SHOWN])}"
        )
    return result


def _prefix(arrays: Arrays, part: str, *, needed: bool) -> str | None:
    """How the names of a part begin in this file; None for one that it lacks."""
    allowed = OTHERS.get(part, (*TRANSFORMERS.get(part, ()), *OPEN_CLIP.get(part, ())))
    for prefix in allowed:
        if any(name.startswith(prefix) for name in arrays):
            return prefix
    if not needed:
        return None
    begins = " or ".join(map(repr, allowed)) or "any name of such a file"
    raise CheckpointMismatchError(
        f"has no {part}: no array begins with {begins}; there are {len(arrays)}: {', '.join(sorted(arrays)[:SHOWN])}"
    )


def _of_open_clip(arrays: Arrays, config: Config) -> dict[str, ForeignArray]:
    """Under the names of transformers.

    Blocks that the configuration does not have are left out, and so is a projection.
    """
    depth = config.get("num_hidden_layers", transformers_clip.DEFAULTS["num_hidden_layers"])
    model, result = transformers_clip.PREFIX, dict[str, ForeignArray]()
    for name, array in arrays.items():
        head, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
        if name in NO_PARAMETERS or (name == _PROJECTION and not _is_projected(config)):
            continue
        if name == _PROJECTION:
            result[f"{_PROJECTION}.weight"] = np.asarray(array).T  # (in, out) there
        elif name in _WHOLE:
            result[model + _WHOLE[name]] = array
        elif name.startswith("transformer.resblocks.") and head.isdecimal():
            if int(head) < depth:
                result |= {f"{model}encoder.layers.{head}.{now}": part for now, part in _of_block(rest, array).items()}
        else:
            result[name] = array  # for `rules.to_ours` to refuse
    return result


def _of_block(name: str, array: ForeignArray) -> dict[str, ForeignArray]:
    """One array of a block, or the three parts of the one that holds queries, keys and values."""
    if name.startswith("attn.in_proj_"):
        kind, count = name.removeprefix("attn.in_proj_"), array.shape[0] // 3
        return {
            f"self_attn.{part}_proj.{kind}": rules.rows(array, number * count, count)
            for number, part in enumerate("qkv")
        }
    head, _, kind = name.rpartition(".")
    return {f"{_BLOCK.get(head, head)}.{kind}": array}


def _is_projected(config: Config) -> bool:
    return bool(config.get("architectures") == [transformers_clip.PROJECTED])
