"""`ControlNetModel` of diffusers as `networks.ControlNet`: its fields, its rules, and the names of a single file."""

from gendiff.core.errors import ConfigError
from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_text_unet, latent_diffusion
from gendiff.weights.rules import Arrays, Rule, convolution, linear

KIND = "ControlNetModel"
SINGLE_FILE = "control_model."
"""How its names begin in a single file that holds more."""
SHARED = (
    "in_channels",
    "flip_sin_to_cos",
    "freq_shift",
    "down_block_types",
    "mid_block_type",
    "only_cross_attention",
    "block_out_channels",
    "layers_per_block",
    "downsample_padding",
    "mid_block_scale_factor",
    "act_fn",
    "norm_num_groups",
    "norm_eps",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "attention_head_dim",
    "num_attention_heads",
    "use_linear_projection",
    "class_embed_type",
    "addition_embed_type",
    "addition_time_embed_dim",
    "num_class_embeds",
    "upcast_attention",
    "resnet_time_scale_shift",
    "projection_class_embeddings_input_dim",
    "addition_embed_type_num_heads",
)
DEFAULTS: Config = {
    "conditioning_channels": 3,
    "controlnet_conditioning_channel_order": "rgb",
    "conditioning_embedding_out_channels": (16, 32, 96, 256),
    "global_pool_conditions": False,
    **{name: diffusers_text_unet.DEFAULTS[name] for name in SHARED},
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "controlnet_conditioning_channel_order": ("rgb",),
    "global_pool_conditions": (False, True),
} | {name: values for name, values in diffusers_text_unet.SUPPORTED.items() if name in SHARED}
OPTIONAL: dict[str, tuple[type, ...]] = {
    name: types for name, types in diffusers_text_unet.OPTIONAL.items() if name in SHARED and name != "layers_per_block"
}


def network_fields(config: Config, pooled_channels: int | None = None) -> Config:
    """Return the fields of `networks.ControlNet` for the model of a config.json, with equal outputs at any size.

    Their `guess_mode` is no setting of a model, and has no match: it multiplies each residual by a number of its own.

    Args:
        config: its config.json.
        pooled_channels: of the pooled text, as for `diffusers_text_unet.network_fields`.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = _settings(config)
    try:
        fields = diffusers_text_unet.network_fields(_of_unet(values), pooled_channels)
    except ConfigError as error:
        raise ConfigError(f"{KIND}, for its way down: {error}") from error
    return {
        **{name: value for name, value in fields.items() if name != "out_channels"},
        "hint_channels": values["conditioning_embedding_out_channels"],
        "pool": values["global_pool_conditions"],
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    network_fields(config)
    return (
        *diffusers_text_unet.rules(_of_unet(_settings(config))),
        *convolution("controlnet_cond_embedding.conv_in", "hint/input"),
        *convolution("controlnet_cond_embedding.blocks.{block}", "hint/block_{block}"),
        *convolution("controlnet_cond_embedding.conv_out", "hint/output"),
        *linear("controlnet_down_blocks.{block}", "control_{block}", layouts.Patches(1)),
        *linear("controlnet_mid_block", "control_middle", layouts.Patches(1)),
    )


params = naming.Conversion(rules)


def of_single_file(arrays: Arrays, config: Config) -> Arrays:
    """Return the arrays of a single file under the names of `ControlNetModel`.

    Args:
        arrays: those of the file, by name. Where some begin with "control_model.", the others are of the U-Net or the
            autoencoder, and are left out.
        config: the config.json of the model.

    Raises:
        ConfigError: as `network_fields` does.
        CheckpointMismatchError: when the file holds no ControlNet.
    """
    alone = "time_embed.0.weight" in arrays  # a file of nothing else, as of Stable Diffusion 2
    return latent_diffusion.renamed(arrays, "" if alone else SINGLE_FILE, single_file_names(config))


def single_file_names(config: Config) -> dict[str, str]:
    """Return what the names of each part of a ControlNet begin with: theirs in the single file, then in diffusers.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    levels = len(fields["channels"])
    zeros = 1 + levels * fields["blocks"] + levels - 1
    names = latent_diffusion.unet_names(_of_unet(_settings(config)))
    names = {there: here for there, here in names.items() if not there.startswith(("output_blocks.", "out."))}
    hint = ("conv_in", *(f"blocks.{block}" for block in range(2 * len(fields["hint_channels"]) - 2)), "conv_out")
    names |= {f"input_hint_block.{2 * number}": f"controlnet_cond_embedding.{part}" for number, part in enumerate(hint)}
    names |= {f"zero_convs.{number}.0": f"controlnet_down_blocks.{number}" for number in range(zeros)}
    return names | {"middle_block_out.0": "controlnet_mid_block"}


def _settings(config: Config) -> Config:
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    hint = values["conditioning_embedding_out_channels"]
    fits = bool(hint) and min(hint) > 0
    settings.refuse_unless(fits, KIND, "conditioning_embedding_out_channels", hint, "positive numbers are needed")
    return values


def _of_unet(values: Config) -> Config:
    """The settings of a U-Net with this way down."""
    down, up = diffusers_text_unet.DOWN, diffusers_text_unet.UP
    mirrored = tuple(up[down.index(kind)] if kind in down else kind for kind in reversed(values["down_block_types"]))
    return {name: values[name] for name in SHARED} | {"up_block_types": mirrored}
