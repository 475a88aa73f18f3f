"""`UNet2DModel` of diffusers as `networks.UNet`: the fields of the network, and the rules for its parameters."""

from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.diffusers import diffusers_blocks
from gendiff.weights.rules import Rule

KIND = "UNet2DModel"
DEFAULTS: Config = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,  # of learned times only
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "freq_shift": (0, 1),
    "flip_sin_to_cos": (True, False),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True, False),
    "class_embed_type": (None,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "sample_size": (int, tuple),
    "time_embedding_dim": (int,),
    "attention_head_dim": (int,),
    "attn_norm_num_groups": (int,),
    "num_class_embeds": (int,),
    "num_train_timesteps": (int,),
}
CHANGES_OF_SIZE = {
    "DownBlock2D": "conv",
    "ResnetDownsampleBlock2D": "resnet",
    "UpBlock2D": "conv",
    "ResnetUpsampleBlock2D": "resnet",
}
DOWN = ("AttnDownBlock2D", "DownBlock2D", "ResnetDownsampleBlock2D")
UP = ("AttnUpBlock2D", "UpBlock2D", "ResnetUpsampleBlock2D")


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.UNet` that make it equal to the model of a config.json, on samples of any size.

    Of num_class_embeds rows the last becomes that of NO_LABEL.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    return _followed(config)[1]


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    values, fields = _followed(config)
    return diffusers_blocks.unet(len(fields["channels"]), values["flip_sin_to_cos"], diffusers_blocks.attention)


params = naming.Conversion(rules, lambda _, arrays: diffusers_blocks.renamed(arrays))


def _followed(config: Config) -> tuple[Config, Config]:
    """The settings of a config.json, and the fields that follow from them."""
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    fields = diffusers_blocks.unet_fields(KIND, values, DOWN, UP)
    # without groups of its own the middle attention of a scale_shift model has no norm
    allowed = (values["norm_num_groups"], *((None,) if values["resnet_time_scale_shift"] == "default" else ()))
    groups, head = values["attn_norm_num_groups"], values["attention_head_dim"]
    settings.refuse_unless(
        not values["add_attention"] or groups in allowed, KIND, "attn_norm_num_groups", groups, f"only {allowed}"
    )
    down, up = values["down_block_types"], values["up_block_types"]
    changes = {CHANGES_OF_SIZE.get(name, values["downsample_type"]) for name in down[:-1]}
    changes |= {CHANGES_OF_SIZE.get(name, values["upsample_type"]) for name in up[:-1]}
    settings.refuse_unless(
        len(changes) < 2, KIND, "down_block_types, up_block_types", (down, up), "all must change the size alike"
    )
    attention = {
        "middle_attention": values["add_attention"],
        "resampling": "block" if changes == {"resnet"} else "convolution",
    }
    return values, {**fields, **attention, **({"heads": 1} if head is None else {"head_size": head})}
