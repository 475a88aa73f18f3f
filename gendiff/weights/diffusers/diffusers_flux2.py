"""`Flux2Transformer2DModel` of diffusers as `networks.DiT`: FLUX.2 [klein], and [dev]."""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_joint as joint
from gendiff.weights.diffusers.diffusers_flux import PATCH, POSITIVE, shared_fields
from gendiff.weights.rules import Rule, linear

KIND = "Flux2Transformer2DModel"
DEFAULTS: Config = {
    "patch_size": 1,
    "in_channels": 128,
    "out_channels": None,
    "num_layers": 8,
    "num_single_layers": 48,
    "attention_head_dim": 128,
    "num_attention_heads": 48,
    "joint_attention_dim": 15360,
    "timestep_guidance_channels": 256,
    "mlp_ratio": 3.0,
    "axes_dims_rope": (32, 32, 32, 32),
    "rope_theta": 2000,
    "eps": 1e-6,
    "guidance_embeds": True,
}
SUPPORTED: dict[str, tuple[object, ...]] = {"patch_size": (1,), "timestep_guidance_channels": (256,), "eps": (1e-6,)}
OPTIONAL: dict[str, tuple[type, ...]] = {"out_channels": (int,)}
REFERENCE_PLACES = 10
"""How far apart the pictures stand that it reads beside the prompt."""
EMBEDDERS = {"timestep_embedder": "time", "guidance_embedder": "guidance"}
MODULATIONS = {
    "double_stream_modulation_img": "modulation",
    "double_stream_modulation_txt": "stream_1_modulation",
    "single_stream_modulation": "single_modulation",
}


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.DiT` that make it equal to the model of a config.json, on samples of any size.

    Ours takes latents (b, h, w, c) and packs them itself, so it has in_channels / 4 channels. Its times are those of
    theirs times 1000, as `schedules.flow` has them. Theirs sees every token, padding too, so the mask of an equal call
    is True everywhere. With guidance_embeds there is a `networks.GuidanceScale`.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    for name in (*POSITIVE, "joint_attention_dim", "mlp_ratio"):
        settings.refuse_unless(values[name] > 0, KIND, name, values[name], "it must be above 0")
    settings.refuse_unless(values["rope_theta"] > 1, KIND, "rope_theta", values["rope_theta"], "it must be above 1")
    fields = shared_fields(KIND, values, (4, "four"))
    return {
        **fields,
        "rotary_base": float(values["rope_theta"]),
        "word_places": True,
        "reference_places": REFERENCE_PLACES,
        "bias": False,
        "shared_modulation": True,
        "gated": True,
        "activation": "silu",
        "mlp_width": int(fields["width"] * values["mlp_ratio"]),
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    order = layouts.NeighbourPairs(fields["width"] // fields["heads"])
    block, path, text = "transformer_blocks.{block}", "block_{block}", "block_{block}/stream_1_"
    single, single_path = "single_transformer_blocks.{block}.attn", "single_block_{block}"
    first = layouts.FirstOutputs(2 * fields["width"], order)
    norms = ("query", "key")
    return (
        *linear("x_embedder", "input", layouts.PackedInputs(PATCH)),
        *(
            rule
            for theirs, ours in EMBEDDERS.items()
            for number in (1, 2)
            for rule in linear(f"time_guidance_embed.{theirs}.linear_{number}", f"embedding/{ours}_{number - 1}")
        ),
        *linear("context_embedder", "text_0"),
        *(rule for theirs, ours in MODULATIONS.items() for rule in linear(f"{theirs}.linear", ours)),
        *joint.attention(f"{block}.attn", f"{path}/", order),
        *linear(f"{block}.attn.to_out.0", f"{path}/output"),
        *linear(f"{block}.ff.linear_in", f"{path}/mlp_0"),
        *linear(f"{block}.ff.linear_out", f"{path}/mlp_1"),
        *joint.added_attention(f"{block}.attn", text, order),
        *linear(f"{block}.ff_context.linear_in", f"{text}mlp_0"),
        *linear(f"{block}.ff_context.linear_out", f"{text}mlp_1"),
        *linear(f"{single}.to_qkv_mlp_proj", f"{single_path}/qkv_mlp", first),
        *(Rule(f"{single_path}/norm_{name}/scale", (f"{single}.norm_{name[0]}.weight",), order) for name in norms),
        *linear(f"{single}.to_out", f"{single_path}/output"),
        *joint.scaled_first("norm_out", "output_modulation"),
        *linear("proj_out", "output", layouts.PackedOutputs(PATCH)),
    )


params = naming.Conversion(rules)
