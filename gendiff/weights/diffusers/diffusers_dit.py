"""`DiTTransformer2DModel` of diffusers as `networks.DiT`: its fields, and the rules for its parameters."""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Rule, linear

KINDS = ("DiTTransformer2DModel", "Transformer2DModel")
DEFAULTS: Config = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "norm_num_groups": 32,  # of other inputs than patches
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "upcast_attention": False,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
    # of the class before it was split, written into the published files
    "cross_attention_dim": None,
    "double_self_attention": False,
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "use_linear_projection": False,
    "attention_type": "default",
    "caption_channels": None,
    "interpolation_scale": None,
    "use_additional_conditions": None,
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "dropout": (0.0,),
    "attention_bias": (True,),
    "activation_fn": ("gelu-approximate",),
    "upcast_attention": (False,),
    "norm_type": ("ada_norm_zero",),
    "norm_elementwise_affine": (False,),
    "cross_attention_dim": (None,),
    "double_self_attention": (False,),
    "num_vector_embeds": (None,),
    "only_cross_attention": (False,),
    "use_linear_projection": (False,),
    "attention_type": ("default",),
    "caption_channels": (None,),
    "interpolation_scale": (None, 1),
    "use_additional_conditions": (None, False),
}
OPTIONAL: dict[str, tuple[type, ...]] = {"out_channels": (int,)}
POSITIVE = ("patch_size", "num_layers", "attention_head_dim", "num_attention_heads", "in_channels")


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.DiT` for the model of a config.json.

    Outputs are equal on square samples of its sample_size. At other sizes theirs squeezes the positions, ours counts
    on. The row after the last class is that of NO_LABEL.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, KINDS, DEFAULTS, SUPPORTED, OPTIONAL)
    for name in POSITIVE:
        settings.refuse_unless(values[name] > 0, KINDS[0], name, values[name], "it must be above 0")
    return {
        "patch": values["patch_size"],
        "width": values["num_attention_heads"] * values["attention_head_dim"],
        "depth": values["num_layers"],
        "heads": values["num_attention_heads"],
        "expansion": 4,
        "num_classes": values["num_embeds_ada_norm"],
        "out_channels": values["in_channels"] if values["out_channels"] is None else values["out_channels"],
        "mlp_epsilon": values["norm_eps"],
        "frequency_shift": 1,
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    They keep a time and label embedder in each block; ours has one, so all of theirs must be equal.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    block, depth = "transformer_blocks.{block}", fields["depth"]
    embedder = f"transformer_blocks.{naming.COPY}.norm1.emb"
    return (
        *linear("pos_embed.proj", "input", layouts.Patches(fields["patch"])),
        *linear(f"{embedder}.timestep_embedder.linear_1", "embedding/time_0", copies=depth),
        *linear(f"{embedder}.timestep_embedder.linear_2", "embedding/time_1", copies=depth),
        Rule("embedding/label", (f"{embedder}.class_embedder.embedding_table.weight",), copies=depth),
        *linear(f"{block}.norm1.linear", "block_{block}/modulation"),
        *linear(f"{block}.attn1.to_q {block}.attn1.to_k {block}.attn1.to_v", "block_{block}/qkv"),
        *linear(f"{block}.attn1.to_out.0", "block_{block}/output"),
        *linear(f"{block}.ff.net.0.proj", "block_{block}/mlp_0"),
        *linear(f"{block}.ff.net.2", "block_{block}/mlp_1"),
        *linear("proj_out_1", "output_modulation"),
        *linear("proj_out_2", "output"),
    )


params = naming.Conversion(rules)
