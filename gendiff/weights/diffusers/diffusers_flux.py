"""`FluxTransformer2DModel` of diffusers as `networks.DiT`: FLUX.1 [dev], [schnell] and those made from them."""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_joint as joint
from gendiff.weights.rules import Rule, linear

KIND = "FluxTransformer2DModel"
PATCH = 2
"""Side of the squares that their pipeline packs into one token, of which no config.json tells."""
PACKED = PATCH**2
REFERENCE_PLACES = 1
"""Where FLUX.1 Kontext has the picture that it changes."""
DEFAULTS: Config = {
    "patch_size": 1,
    "in_channels": 64,
    "out_channels": None,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": False,
    "axes_dims_rope": (16, 56, 56),
}
SUPPORTED: dict[str, tuple[object, ...]] = {"patch_size": (1,)}
OPTIONAL: dict[str, tuple[type, ...]] = {"out_channels": (int,)}
POSITIVE = ("num_layers", "num_single_layers", "attention_head_dim", "num_attention_heads")
AXES = (3, "three")
"""Coordinates that turn a head."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.DiT` that make it equal to the model of a config.json, on samples of any size.

    Ours takes latents (b, h, w, c) and packs them itself, so it has in_channels / 4 channels. Its times are those of
    theirs times 1000, as `schedules.flow` has them. A text is `networks.Text(tokens, mask, pooled)`. Theirs sees every
    token, padding too, so the mask of an equal call is True everywhere. With guidance_embeds there is a
    `networks.GuidanceScale`.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    for name in POSITIVE:
        settings.refuse_unless(values[name] > 0, KIND, name, values[name], "it must be above 0")
    return {**shared_fields(KIND, values, AXES), "pooled_channels": values["pooled_projection_dim"]}


def shared_fields(kind: str, values: Config, axes: tuple[int, str]) -> Config:
    """Return the fields that FLUX.1 and FLUX.2 say by the same settings.

    Args:
        kind: the class, for messages.
        values: its settings.
        axes: how many coordinates turn a head, as a number and in a word.

    Raises:
        ConfigError: as `network_fields` does.
    """
    out_channels = values["in_channels"] if values["out_channels"] is None else values["out_channels"]
    for name, value in (("in_channels", values["in_channels"]), ("out_channels", out_channels)):
        fits = value > 0 and value % PACKED == 0
        settings.refuse_unless(
            fits, kind, name, values[name], f"only multiples of {PACKED}, the pixels that one token packs"
        )
    (count, word), channels, size = axes, values["axes_dims_rope"], values["attention_head_dim"]
    even = all(number > 0 and number % 2 == 0 for number in channels)
    fits = len(channels) == count and even and sum(channels) == size
    settings.refuse_unless(
        fits, kind, "axes_dims_rope", channels, f"only {word} even numbers whose sum is attention_head_dim = {size}"
    )
    return {
        "patch": PATCH,
        "width": values["num_attention_heads"] * size,
        "depth": values["num_layers"],
        "heads": values["num_attention_heads"],
        "out_channels": out_channels // PACKED,
        "text_channels": values["joint_attention_dim"],
        "text_attention": "joint",
        "null_text": False,
        "guidance": values["guidance_embeds"],
        "norm_heads": True,
        "single_depth": values["num_single_layers"],
        "rotary_channels": channels,
        "reference_places": REFERENCE_PLACES,
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    order = layouts.NeighbourPairs(fields["width"] // fields["heads"])
    outputs = layouts.PackedOutputs(PATCH)
    block, path = "transformer_blocks.{block}", "block_{block}"
    single, single_path = "single_transformer_blocks.{block}", "single_block_{block}"
    return (
        *linear("x_embedder", "input", layouts.PackedInputs(PATCH)),
        *joint.embeddings(),
        *joint.streams(block, path, order),
        *linear(f"{block}.norm1_context.linear", f"{path}/stream_1_modulation"),
        *linear(f"{single}.norm.linear", f"{single_path}/modulation"),
        *joint.attention(f"{single}.attn", f"{single_path}/", order),
        *linear(f"{single}.proj_mlp", f"{single_path}/mlp_0"),
        *linear(f"{single}.proj_out", f"{single_path}/output"),
        *joint.scaled_first("norm_out", "output_modulation"),
        *linear("proj_out", "output", outputs, bias=outputs),
    )


params = naming.Conversion(rules)
