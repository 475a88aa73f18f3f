"""`UNet2DConditionModel` of diffusers as `networks.UNet`: Stable Diffusion 1, 2, XL and its refiner."""

import functools

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_blocks
from gendiff.weights.rules import Rule, linear

KIND = "UNet2DConditionModel"
DOWN, UP, MIDDLE = (
    ("CrossAttnDownBlock2D", "DownBlock2D"),
    ("CrossAttnUpBlock2D", "UpBlock2D"),
    "UNetMidBlock2DCrossAttn",
)
FREQUENCIES = 256  # as many as networks.image_size has
DEFAULTS: Config = {
    "sample_size": None,
    "in_channels": 4,
    "out_channels": 4,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": (DOWN[0], DOWN[0], DOWN[0], DOWN[1]),
    "mid_block_type": MIDDLE,
    "up_block_types": (UP[1], UP[0], UP[0], UP[0]),
    "only_cross_attention": False,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "dropout": 0.0,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "reverse_transformer_layers_per_block": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "attention_head_dim": 8,  # the number of heads: a name that was once wrong and had to stay
    "num_attention_heads": None,
    "dual_cross_attention": False,
    "use_linear_projection": False,
    "class_embed_type": None,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "num_class_embeds": None,
    "upcast_attention": False,
    "resnet_time_scale_shift": "default",
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "projection_class_embeddings_input_dim": None,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "mid_block_only_cross_attention": None,
    "cross_attention_norm": None,
    "addition_embed_type_num_heads": 64,  # of another addition_embed_type
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "center_input_sample": (False,),
    "flip_sin_to_cos": (True, False),
    "freq_shift": (0, 1),
    "mid_block_type": (MIDDLE,),
    "only_cross_attention": (False,),
    "downsample_padding": (0, 1),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "reverse_transformer_layers_per_block": (None,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_attention_heads": (None,),  # theirs refuses every other value too
    "dual_cross_attention": (False,),
    "use_linear_projection": (False, True),
    "class_embed_type": (None,),
    "addition_embed_type": (None, "text_time"),
    "upcast_attention": (False, True, None),  # scores are float32 here, whatever the dtype
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "resnet_skip_time_act": (False,),
    "resnet_out_scale_factor": (1.0,),
    "time_embedding_type": ("positional",),
    "time_embedding_act_fn": (None,),
    "timestep_post_act": (None,),
    "time_cond_proj_dim": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "class_embeddings_concat": (False,),
    "mid_block_only_cross_attention": (None, False),
    "cross_attention_norm": (None,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "sample_size": (int, tuple),
    "layers_per_block": (int, tuple),
    "cross_attention_dim": (int, tuple),
    "transformer_layers_per_block": (int, tuple),
    "attention_head_dim": (int, tuple),
    "addition_time_embed_dim": (int,),
    "num_class_embeds": (int,),
    "time_embedding_dim": (int,),
    "projection_class_embeddings_input_dim": (int,),
}


def network_fields(config: Config, pooled_channels: int | None = None) -> Config:
    """Return the fields of `networks.UNet` that make it equal to the model of a config.json, on samples of any size.

    A text is `networks.Text(tokens, mask, pooled)`. Theirs sees every token, padding too, so the mask of an equal call
    is True everywhere. Of num_class_embeds rows the last becomes that of NO_LABEL.

    Args:
        config: its config.json.
        pooled_channels: of the pooled text, which a config.json with addition_embed_type = "text_time" does not tell
            apart from the numbers of an `ImageSize`. None: a model whose width is that of five numbers and
            cross_attention_dim is a refiner, told of a score; any other model is told six numbers.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values, fields = _followed(config)
    return {**fields, **_added(values, pooled_channels)}


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    values, fields = _followed(config)
    projection: layouts.Layout = layouts.LINEAR if values["use_linear_projection"] else layouts.Patches(1)
    attending = functools.partial(diffusers_blocks.transformer, projection=projection)
    return (
        *diffusers_blocks.unet(len(fields["channels"]), values["flip_sin_to_cos"], attending),
        *linear("add_embedding.linear_1", "embedding/added_0"),
        *linear("add_embedding.linear_2", "embedding/added_1"),
    )


params = naming.Conversion(rules)


def _followed(config: Config) -> tuple[Config, Config]:
    """The settings of a config.json, and the fields that follow from them, but for what is added to the time."""
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    levels = len(values["block_out_channels"])
    single = ("layers_per_block", "cross_attention_dim")
    values = {**values, **{name: _one(name, values[name], levels) for name in single}}
    for name in ("attention_head_dim", "transformer_layers_per_block"):
        _check_levels(name, values[name], levels)
    fields = diffusers_blocks.unet_fields(KIND, values, DOWN, UP)
    heads = values["attention_head_dim"]
    for level in (*fields["attention_levels"], levels - 1):
        width, number = fields["channels"][level], heads[level] if isinstance(heads, tuple) else heads
        settings.refuse_unless(
            width % number == 0, KIND, "attention_head_dim", heads, f"it counts heads, which divide {width} channels"
        )
    return values, {
        **fields,
        "heads": heads,
        "text_channels": values["cross_attention_dim"],
        "null_text": False,
        "transformer_depth": values["transformer_layers_per_block"],
        "transformer": "stable_diffusion",
    }


def _check_levels(name: str, value: int | tuple[int | None, ...] | None, levels: int) -> None:
    each = value if isinstance(value, tuple) else (value,) * levels
    fits = len(each) == levels and all(one is not None and one > 0 for one in each)
    settings.refuse_unless(
        fits, KIND, name, value, f"one positive number, or one for each of {levels} levels, is needed"
    )


def _one(name: str, value: int | tuple[int | None, ...] | None, levels: int) -> int | None:
    """The number that is the same for all levels."""
    _check_levels(name, value, levels)
    each = value if isinstance(value, tuple) else (value,)
    settings.refuse_unless(len(set(each)) == 1, KIND, name, value, "all levels must have the same number")
    return each[0]


def _added(values: Config, pooled: int | None) -> Config:
    """The fields of what joins the time: the pooled text, then the numbers of an ImageSize."""
    if values["addition_embed_type"] is None:
        settings.refuse_unless(
            pooled is None, KIND, "addition_embed_type", None, f"'text_time' is needed for pooled_channels = {pooled}"
        )
        return {}
    for name, value in (("addition_time_embed_dim", FREQUENCIES), ("flip_sin_to_cos", True), ("freq_shift", 0)):
        settings.refuse_unless(
            values[name] == value, KIND, name, values[name], f"only {value} where addition_embed_type = 'text_time'"
        )
    width = values["projection_class_embeddings_input_dim"] or 0
    six, five = width - 6 * FREQUENCIES, width - 5 * FREQUENCIES
    refiner = five == (values["cross_attention_dim"] if pooled is None else pooled)
    rest = five if refiner else six
    fits = rest > 0 and pooled in (None, rest)
    needed = (
        f"six or five times {FREQUENCIES} and {'the' if pooled is None else pooled} channels of a pooled text are "
        "needed"
    )
    settings.refuse_unless(
        fits, KIND, "projection_class_embeddings_input_dim", values["projection_class_embeddings_input_dim"], needed
    )
    return {"pooled_channels": rest, "image_size": "score" if refiner else True}
