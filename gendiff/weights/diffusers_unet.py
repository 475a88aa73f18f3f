"""`UNet2DModel` of diffusers as `networks.UNet`: the fields of the network, and the rules for its parameters."""

from collections.abc import Mapping
from typing import Any

from gendiff.core.types import Params
from gendiff.weights import diffusers_blocks, layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule, convolution, linear, norm

KIND = "UNet2DModel"
DEFAULTS: dict[str, Any] = {
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
SUPPORTED: dict[str, tuple] = {
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
CHANGES_OF_SIZE = {"DownBlock2D": "conv", "ResnetDownsampleBlock2D": "resnet", "UpBlock2D": "conv", "ResnetUpsampleBlock2D": "resnet"}
ATTENTION = ("AttnDownBlock2D", "AttnUpBlock2D")


def network_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `networks.UNet` that make it equal to the model of a config.json, on samples of any size.

    Of num_class_embeds rows the last becomes that of NO_LABEL.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    found = _settings(config)
    down, up = found["down_block_types"], found["up_block_types"]
    levels = [level for level, name in enumerate(down) if name in ATTENTION]
    changes = {CHANGES_OF_SIZE.get(name, found["downsample_type"]) for name in down[:-1]}
    changes |= {CHANGES_OF_SIZE.get(name, found["upsample_type"]) for name in up[:-1]}
    settings.refuse_unless(len(changes) < 2, KIND, "down_block_types, up_block_types", (down, up), "all must change the size alike")
    classes, head = found["num_class_embeds"], found["attention_head_dim"]
    return {
        "channels": found["block_out_channels"],
        "blocks": found["layers_per_block"],
        "attention": (),
        "attention_levels": tuple(levels),
        "middle_attention": found["add_attention"],
        **({"heads": 1} if head is None else {"head_size": head}),
        "groups": found["norm_num_groups"],
        "modulation": {"default": "shift", "scale_shift": "scale_shift"}[found["resnet_time_scale_shift"]],
        "resampling": "block" if changes == {"resnet"} else "convolution",
        "dropout": found["dropout"],
        "num_classes": None if classes is None else classes - 1,
        "out_channels": found["out_channels"],
        "epsilon": found["norm_eps"],
        "downsample_padding": found["downsample_padding"],
        "frequency_shift": int(found["freq_shift"]),
    }


def rules(config: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    found = _settings(config)
    levels = len(found["block_out_channels"])
    made = [
        *convolution("conv_in", "input"),
        *norm("conv_norm_out", "output_norm"),
        *convolution("conv_out", "output"),
        # sines first is another order of the first layer's inputs
        *linear("time_embedding.linear_1", "embedding/time_0", layouts.LINEAR if found["flip_sin_to_cos"] else layouts.SwappedInputs()),
        *linear("time_embedding.linear_2", "embedding/time_1"),
        Rule("embedding/label", ("class_embedding.weight",)),
        *diffusers_blocks.residual("mid_block.resnets.{block}", "middle_{block}"),
        *diffusers_blocks.attention("mid_block.attentions.0", "middle_attention"),
    ]
    for level in range(levels):
        for theirs, ours, sampler in (
            (f"down_blocks.{level}", f"down_{level}", "downsamplers"),
            (f"up_blocks.{levels - 1 - level}", f"up_{level}", "upsamplers"),
        ):
            made += diffusers_blocks.residual(f"{theirs}.resnets.{{block}}", f"{ours}_{{block}}")
            made += diffusers_blocks.attention(f"{theirs}.attentions.{{block}}", f"{ours}_{{block}}_attention")
            made += diffusers_blocks.residual(f"{theirs}.{sampler}.0", f"{ours}_resize")
            made += convolution(f"{theirs}.{sampler}.0.conv", f"{ours}_resize/convolution")
    return tuple(made)


def params(config: Mapping[str, Any], arrays: Arrays, like: Params) -> Params:
    """Return the arrays of a model as the parameters of `networks.UNet(**network_fields(config))`.

    Attention layers may have the names of before diffusers 0.13.

    Args:
        config: its config.json.
        arrays: its arrays by name.
        like: parameters of that network, or their shapes.

    Raises:
        ConfigError: as `network_fields` does.
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    return naming.to_ours(diffusers_blocks.renamed(arrays), rules(config), like)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    found = settings.of(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    channels, down, up = found["block_out_channels"], found["down_block_types"], found["up_block_types"]
    for name, kinds in (
        ("down_block_types", (ATTENTION[0], *list(CHANGES_OF_SIZE)[:2])),
        ("up_block_types", (ATTENTION[1], *list(CHANGES_OF_SIZE)[2:])),
    ):
        settings.refuse_unless(
            len(found[name]) == len(channels) and set(found[name]) <= set(kinds),
            KIND,
            name,
            found[name],
            f"one of {', '.join(kinds)} per level",
        )
    mirrored = [name in ATTENTION for name in down] == [name in ATTENTION for name in reversed(up)]
    settings.refuse_unless(mirrored, KIND, "up_block_types", up, f"attention must stand at the levels of down_block_types = {down!r}")
    width, groups = found["time_embedding_dim"], found["attn_norm_num_groups"]
    settings.refuse_unless(
        width in (None, 4 * channels[0]), KIND, "time_embedding_dim", width, f"only {4 * channels[0]}, four times the first level's"
    )
    # without groups of its own the middle attention of a scale_shift model has no norm
    allowed = (found["norm_num_groups"], *((None,) if found["resnet_time_scale_shift"] == "default" else ()))
    settings.refuse_unless(not found["add_attention"] or groups in allowed, KIND, "attn_norm_num_groups", groups, f"only {allowed}")
    classes = found["num_class_embeds"]
    settings.refuse_unless(classes is None or classes > 1, KIND, "num_class_embeds", classes, "at least 2: the last is that of NO_LABEL")
    return found
