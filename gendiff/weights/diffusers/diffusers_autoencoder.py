"""`AutoencoderKL` of diffusers as `networks.Autoencoder`: its fields, and the rules for its parameters."""

import math

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_blocks
from gendiff.weights.rules import Rule, convolution, linear, norm

KIND = "AutoencoderKL"
DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"
DEFAULTS: Config = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": (DOWN,),
    "up_block_types": (UP,),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,  # of their tiles only
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "force_upcast": True,  # float32 where a pipeline computes in float16; ours computes in the dtype that it is given
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
SUPPORTED: dict[str, tuple[object, ...]] = {"act_fn": ("silu", "swish"), "force_upcast": (True, False)}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "sample_size": (int, tuple),
    "shift_factor": (float,),
    "latents_mean": (float, tuple),
    "latents_std": (float, tuple),
}


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.Autoencoder` for the model of a config.json, with equal outputs at any image size.

    Its scale and shift are those that pipelines apply beside the model: there, latents are (z -
    shift_factor) · scaling_factor, or (z - latents_mean) / latents_std · scaling_factor per channel. The parameters
    hold neither.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = _settings(config)
    scale, shift = values["scaling_factor"], values["shift_factor"] or 0.0
    if values["latents_mean"] is not None:
        scale, shift = tuple(scale / std for std in values["latents_std"]), tuple(map(float, values["latents_mean"]))
    return {
        "channels": values["block_out_channels"],
        "blocks": values["layers_per_block"],
        "latent_channels": values["latent_channels"],
        "in_channels": values["in_channels"],
        "out_channels": values["out_channels"],
        "groups": values["norm_num_groups"],
        "attention": values["mid_block_add_attention"],
        "encoder_pointwise": values["use_quant_conv"],
        "decoder_pointwise": values["use_post_quant_conv"],
        "scale": scale if isinstance(scale, tuple) else float(scale),
        "shift": shift if isinstance(shift, tuple) else float(shift),
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    levels = len(_settings(config)["block_out_channels"])
    result = [
        *linear("quant_conv", "encoder/pointwise", layouts.Patches(1)),
        *linear("post_quant_conv", "decoder/pointwise", layouts.Patches(1)),
    ]
    for half in ("encoder", "decoder"):
        result += convolution(f"{half}.conv_in", f"{half}/input")
        result += norm(f"{half}.conv_norm_out", f"{half}/output_norm")
        result += convolution(f"{half}.conv_out", f"{half}/output")
        result += diffusers_blocks.residual(f"{half}.mid_block.resnets.{{block}}", f"{half}/middle_{{block}}")
        result += diffusers_blocks.attention(f"{half}.mid_block.attentions.0", f"{half}/middle_attention")
    for level in range(levels):
        for theirs, ours, sampler in (
            (f"encoder.down_blocks.{level}", f"encoder/down_{level}", "downsamplers"),
            (f"decoder.up_blocks.{levels - 1 - level}", f"decoder/up_{level}", "upsamplers"),
        ):
            result += diffusers_blocks.residual(f"{theirs}.resnets.{{block}}", f"{ours}_{{block}}")
            result += convolution(f"{theirs}.{sampler}.0.conv", f"{ours}_resize/convolution")
    return tuple(result)


params = naming.Conversion(rules, lambda _, arrays: diffusers_blocks.renamed(arrays))


def _settings(config: Config) -> Config:
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    channels = values["block_out_channels"]
    levels = len(channels)
    fits = levels > 0 and min(channels) > 0
    settings.refuse_unless(fits, KIND, "block_out_channels", channels, "positive numbers, one per level, are needed")
    for name, kind in (("down_block_types", DOWN), ("up_block_types", UP)):
        settings.refuse_unless(
            values[name] == (kind,) * levels, KIND, name, values[name], f"only {kind}, one per level"
        )
    scale = values["scaling_factor"]
    settings.refuse_unless(0 < scale < math.inf, KIND, "scaling_factor", scale, "a positive number is needed")
    mean, std, shift = values["latents_mean"], values["latents_std"], values["shift_factor"]
    for name, value, other in (("latents_mean", mean, std), ("latents_std", std, mean)):
        complete = isinstance(value, tuple) and len(value) == values["latent_channels"] and isinstance(other, tuple)
        settings.refuse_unless(
            value is None or complete, KIND, name, value, "one number per latent channel, of mean and std, is needed"
        )
    settings.refuse_unless(std is None or min(std) > 0, KIND, "latents_std", std, "positive numbers are needed")
    settings.refuse_unless(
        shift is None or mean is None, KIND, "shift_factor", shift, "where latents_mean is the shift"
    )
    return values
