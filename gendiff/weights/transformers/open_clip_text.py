"""The text tower of an OpenCLIP model, or of OpenAI's own files, as `networks.TextEncoder`: fields and rules.

Their attention keeps queries, keys and values in one array, as ours does.
"""

from collections.abc import Mapping

from gendiff.core.errors import ConfigError
from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule, linear, norm

KIND = "the text_cfg of OpenCLIP"
DEFAULTS: Config = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "ls_init_value": None,
    "pad_id": 0,
    "embed_cls": False,
    "no_causal_mask": False,
    "final_ln_after_pool": False,
    "pool_type": "argmax",
    "proj_type": "linear",
    "proj_bias": False,
    "output_tokens": False,
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "ls_init_value": (None,),
    "embed_cls": (False,),
    "no_causal_mask": (False,),
    "final_ln_after_pool": (False,),
    "pool_type": ("argmax",),
    "proj_type": ("linear",),
    "proj_bias": (False,),
    "output_tokens": (True, False),
}
WHOLE: Config = {"embed_dim": 512, "quick_gelu": False}
"""The settings of a whole model that its text tower has a part in."""
LEFT_OUT = ("visual.", "logit_scale", "logit_bias", "attn_mask", "input_resolution", "context_length", "vocab_size")
"""Prefixes of arrays outside the text tower: the image tower, the temperature, buffers, numbers of OpenAI's files."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.TextEncoder` that make it equal to the text tower of a model.

    Args:
        config: of the whole model: an open_clip_config.json, or what stands in it under model_cfg.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    model = config.get("model_cfg", config) if isinstance(config, Mapping) else config
    if not isinstance(model, Mapping) or not isinstance(model.get("text_cfg"), Mapping):
        raise ConfigError(f"config = {config!r} must be a mapping with text_cfg, as in open_clip_config.json")
    outer = settings.from_config(
        {name: model[name] for name in WHOLE if name in model}, ("an OpenCLIP model",), WHOLE, {}, {}
    )
    values = settings.from_config(model["text_cfg"], (KIND,), DEFAULTS, SUPPORTED, {})
    ratio = values["mlp_ratio"]
    settings.refuse_unless(ratio >= 1 and float(ratio).is_integer(), KIND, "mlp_ratio", ratio, "only whole numbers")
    return {
        "vocabulary": values["vocab_size"],
        "positions": values["context_length"],
        "width": values["width"],
        "depth": values["layers"],
        "heads": values["heads"],
        "expansion": int(ratio),
        "causal": True,
        "norm_first": True,
        "activation": "quick_gelu" if outer["quick_gelu"] else "gelu",
        "epsilon": 1e-5,
        "pooling": "end",
        "end": values["vocab_size"] - 1,  # theirs takes the largest id of a text
        "projection": outer["embed_dim"],
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the text tower.

    Raises:
        ConfigError: as `network_fields` does.
    """
    network_fields(config)
    block = "transformer.resblocks.{block}"
    return (
        Rule("token", ("token_embedding.weight",)),
        Rule("position", ("positional_embedding",)),
        *norm(f"{block}.ln_1", "block_{block}/norm_0"),
        Rule("block_{block}/qkv/kernel", (f"{block}.attn.in_proj_weight",), layouts.LINEAR),
        Rule("block_{block}/qkv/bias", (f"{block}.attn.in_proj_bias",)),
        *linear(f"{block}.attn.out_proj", "block_{block}/output"),
        *norm(f"{block}.ln_2", "block_{block}/norm_1"),
        *linear(f"{block}.mlp.c_fc", "block_{block}/mlp_0"),
        *linear(f"{block}.mlp.c_proj", "block_{block}/mlp_1"),
        *norm("ln_final", "output_norm"),
        Rule("projection/kernel", ("text_projection",)),  # (in, out) there too
    )


def _used(config: Config, arrays: Arrays) -> Arrays:
    """Without the image tower; names may begin with "text.", as in a model whose towers are two modules."""
    named = {name.removeprefix("text."): array for name, array in arrays.items()}
    return {name: array for name, array in named.items() if not name.startswith(LEFT_OUT)}


params = naming.Conversion(rules, _used)
