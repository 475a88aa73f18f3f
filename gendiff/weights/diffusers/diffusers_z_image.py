"""`ZImageTransformer2DModel` of diffusers as `networks.SingleStreamTransformer`: Z-Image and Z-Image-Turbo."""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_joint as joint
from gendiff.weights.rules import Rule, linear

KIND = "ZImageTransformer2DModel"
DEFAULTS: Config = {
    "all_patch_size": (2,),
    "all_f_patch_size": (1,),
    "in_channels": 16,
    "dim": 3840,
    "n_layers": 30,
    "n_refiner_layers": 2,
    "n_heads": 30,
    "n_kv_heads": 30,
    "norm_eps": 1e-5,
    "qk_norm": True,
    "cap_feat_dim": 2560,
    "siglip_feat_dim": None,
    "rope_theta": 256.0,
    "t_scale": 1000.0,
    "axes_dims": (32, 48, 48),
    "axes_lens": (1024, 512, 512),  # of their tables of positions; ours have no end
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "all_patch_size": ((2,),),
    "all_f_patch_size": ((1,),),
    "qk_norm": (True,),
    "siglip_feat_dim": (None,),
}
POSITIVE = ("in_channels", "dim", "n_layers", "n_heads", "cap_feat_dim")
BLOCKS = {"noise_refiner": "image_block", "context_refiner": "text_block", "layers": "block"}


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.SingleStreamTransformer` that make it equal to the model of a config.json.

    Its times are 1000 − 1000 times theirs, and its answer is minus theirs, as `schedules.flow` has them. The mask of a
    text says which of its tokens are there.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, {})
    for name in POSITIVE:
        settings.refuse_unless(values[name] > 0, KIND, name, values[name], "it must be above 0")
    width, heads, axes = values["dim"], values["n_heads"], values["axes_dims"]
    settings.refuse_unless(
        values["n_refiner_layers"] >= 0, KIND, "n_refiner_layers", values["n_refiner_layers"], ">= 0"
    )
    settings.refuse_unless(values["rope_theta"] > 1, KIND, "rope_theta", values["rope_theta"], "it must be above 1")
    settings.refuse_unless(width % heads == 0, KIND, "n_heads", heads, f"it must divide dim = {width}")
    shared = values["n_kv_heads"]
    settings.refuse_unless(shared == heads, KIND, "n_kv_heads", shared, f"only n_heads = {heads}")
    fits = len(axes) == 3 and all(number > 0 and number % 2 == 0 for number in axes) and sum(axes) == width // heads
    settings.refuse_unless(
        fits, KIND, "axes_dims", axes, f"only three even numbers whose sum is dim / n_heads = {width // heads}"
    )
    return {
        "width": width,
        "depth": values["n_layers"],
        "refiners": values["n_refiner_layers"],
        "heads": heads,
        "mlp_width": int(width / 3 * 8),
        "text_channels": values["cap_feat_dim"],
        "out_channels": values["in_channels"],
        "rotary_channels": axes,
        "rotary_base": float(values["rope_theta"]),
        "time_scale": float(values["t_scale"]),
        "epsilon": float(values["norm_eps"]),
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    fields = network_fields(config)
    order = layouts.NeighbourPairs(fields["width"] // fields["heads"])
    last = "all_final_layer.2-1"
    return (
        *linear("all_x_embedder.2-1", "input"),
        Rule("image_filling", ("x_pad_token",), layouts.FirstOfOne()),
        *linear("t_embedder.mlp.0", "time_0"),
        *linear("t_embedder.mlp.2", "time_1"),
        Rule("text_norm/scale", ("cap_embedder.0.weight",)),
        *linear("cap_embedder.1", "text_0"),
        Rule("text_filling", ("cap_pad_token",), layouts.FirstOfOne()),
        *(rule for theirs, ours in BLOCKS.items() for rule in _block(theirs, ours, order)),
        *linear(f"{last}.adaLN_modulation.1", "output_modulation"),
        *linear(f"{last}.linear", "output"),
    )


def _block(theirs: str, ours: str, order: layouts.Layout) -> tuple[Rule, ...]:
    block, path = f"{theirs}.{{block}}", f"{ours}_{{block}}"
    norms = {
        "norm_0": "attention_norm1",
        "norm_0_after": "attention_norm2",
        "norm_1": "ffn_norm1",
        "norm_1_after": "ffn_norm2",
    }
    return (
        *linear(f"{block}.adaLN_modulation.0", f"{path}/modulation"),
        *joint.attention(f"{block}.attention", f"{path}/", order),
        *linear(f"{block}.attention.to_out.0", f"{path}/output"),
        *linear(f"{block}.feed_forward.w1 {block}.feed_forward.w3", f"{path}/mlp_0"),
        *linear(f"{block}.feed_forward.w2", f"{path}/mlp_1"),
        *(Rule(f"{path}/{name}/scale", (f"{block}.{norm}.weight",)) for name, norm in norms.items()),
    )


params = naming.Conversion(rules)
