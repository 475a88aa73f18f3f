"""`SD3Transformer2DModel` of diffusers as `networks.DiT`: Stable Diffusion 3 and 3.5, medium and large."""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_joint as joint
from gendiff.weights.rules import Rule, linear

KIND = "SD3Transformer2DModel"
DEFAULTS: Config = {
    "sample_size": 128,  # of training; the table of positions knows it
    "patch_size": 2,
    "in_channels": 16,
    "num_layers": 18,
    "attention_head_dim": 64,
    "num_attention_heads": 18,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1152,
    "pooled_projection_dim": 2048,
    "out_channels": 16,
    "pos_embed_max_size": 96,
    "dual_attention_layers": (),
    "qk_norm": None,
}
SUPPORTED: dict[str, tuple[object, ...]] = {"qk_norm": (None, "rms_norm")}
OPTIONAL: dict[str, tuple[type, ...]] = {"out_channels": (int,)}
POSITIVE = (
    "patch_size",
    "in_channels",
    "num_layers",
    "attention_head_dim",
    "num_attention_heads",
    "pos_embed_max_size",
)


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.DiT` for the model of a config.json.

    Outputs are equal on samples up to the size of its table of positions. A text is
    `networks.Text(tokens, mask, pooled)`. Theirs sees every token, padding too, so the mask of an equal call is True
    everywhere.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    for name in POSITIVE:
        settings.refuse_unless(values[name] > 0, KIND, name, values[name], "it must be above 0")
    width, depth, caption = (
        values["num_attention_heads"] * values["attention_head_dim"],
        values["num_layers"],
        values["caption_projection_dim"],
    )
    settings.refuse_unless(
        caption == width, KIND, "caption_projection_dim", caption, f"only {width}, the width of the image's tokens"
    )
    dual = values["dual_attention_layers"]
    fits = all(0 <= number < depth for number in dual)
    settings.refuse_unless(fits, KIND, "dual_attention_layers", dual, f"only numbers of the {depth} layers, from 0")
    return {
        "patch": values["patch_size"],
        "width": width,
        "depth": depth,
        "heads": values["num_attention_heads"],
        "out_channels": values["in_channels"] if values["out_channels"] is None else values["out_channels"],
        "text_channels": values["joint_attention_dim"],
        "pooled_channels": values["pooled_projection_dim"],
        "text_attention": "joint",
        "null_text": False,
        "norm_heads": values["qk_norm"] is not None,
        "own_attention": tuple(sorted(set(dual))),
        "position_table": values["pos_embed_max_size"],
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Their last block asks queries of the text whose answers it leaves out. Ours has none, so no rule names the arrays of
    `unused`.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    block, path, last = "transformer_blocks.{block}", "block_{block}", fields["depth"] - 1
    context = "transformer_blocks.{number}.norm1_context"
    return (
        Rule("position", ("pos_embed.pos_embed",), layouts.FirstOfOne()),
        *linear("pos_embed.proj", "input", layouts.Patches(fields["patch"])),
        *joint.embeddings(),
        *joint.streams(block, path),
        *joint.attention(f"{block}.attn2", f"{path}/own_"),
        *linear(f"{block}.attn2.to_out.0", f"{path}/own_output"),
        *(
            rule
            for number in range(last)
            for rule in linear(f"{context.format(number=number)}.linear", f"block_{number}/stream_1_modulation")
        ),
        *joint.scaled_first(context.format(number=last), f"block_{last}/stream_1_modulation"),
        *joint.scaled_first("norm_out", "output_modulation"),
        *linear("proj_out", "output"),
    )


def unused(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shapes, by name, of arrays that no output depends on: the queries of the text in the last block.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    last, width = f"transformer_blocks.{fields['depth'] - 1}.attn", fields["width"]
    shapes: dict[str, tuple[int, ...]] = {
        f"{last}.add_q_proj.weight": (width, width),
        f"{last}.add_q_proj.bias": (width,),
    }
    return shapes | ({f"{last}.norm_added_q.weight": (width // fields["heads"],)} if fields["norm_heads"] else {})


params = naming.Conversion(rules, unused=unused)
